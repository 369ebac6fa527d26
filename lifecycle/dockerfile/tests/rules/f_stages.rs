//! F. FROM, stages, targets, contexts.

use lifecycle_dockerfile::{BaseConfig, Origin, Platform, StageBase};

use crate::build::{Build, command_error, parse_error, strings};

fn base(build: &Build) -> StageBase {
    build.with_plan(|plan| plan.target().base.clone()).unwrap()
}

/// Names of the stages that the target needs.
fn needed(build: &Build) -> Vec<String> {
    build
        .with_plan(|plan| {
            plan.stages()
                .map(lifecycle_dockerfile::PlannedStage::display_name)
                .collect()
        })
        .unwrap()
}

fn plan_error(text: &str) -> String {
    let build = Build::new(text);
    crate::build::show(&build.with_plan(|_| ()).unwrap_err())
}

#[test]
fn names_of_stages_f1() {
    let names = |text: &str| {
        Build::new(text)
            .with_plan(|plan| plan.target().written.name().map(str::to_owned))
            .unwrap()
    };
    assert_eq!(names("FROM a AS A-b_c.1").as_deref(), Some("a-b_c.1"));
    for name in ["1x", "-x", "a/b", "ä"] {
        let error = parse_error(format!("FROM a AS {name}"));
        assert!(error.starts_with("1:11 invalid name for build stage"), "{error}");
    }
    assert!(plan_error("ARG A\nFROM ${A}").starts_with("2:6 base name (${A}) should not be blank"));
}

#[test]
fn lookup_by_case_f2() {
    assert_eq!(base(&Build::new("FROM base AS Xy\nFROM xy")), StageBase::Stage(0));
    let error = plan_error("FROM base AS Xy\nFROM Xy");
    assert!(
        error.starts_with("2:6 failed to parse stage name \"Xy\""),
        "{error}"
    );
    assert!(error.contains("did you mean the stage xy?"), "{error}");
    for text in ["COPY --from=XY a b", "RUN --mount=from=XY,target=/t a"] {
        assert_eq!(
            needed(&Build::new(&format!("FROM base AS Xy\nFROM scratch\n{text}"))),
            ["xy", "stage-1"],
            "{text}"
        );
    }
    assert_eq!(
        needed(&Build::new("FROM base AS Xy\nFROM scratch").target("XY")),
        ["xy"]
    );
}

#[test]
fn last_stage_of_a_name_wins_and_shadows_images_f3() {
    let build = Build::new("FROM a AS base\nFROM b AS base\nFROM base");
    assert_eq!(base(&build), StageBase::Stage(1));
    assert!(build.lint()[0].starts_with("2 DuplicateStageName"));
}

#[test]
fn only_copy_takes_a_stage_index_f4() {
    let origin = |text: &str| {
        let build = Build::new(&format!("FROM base\nFROM scratch\n{text}"));
        build
            .with_plan(|plan| {
                plan.target().images().join(",") + &format!(" {:?}", plan.target().dependencies())
            })
            .unwrap()
    };
    assert_eq!(origin("COPY --from=0 a b"), " [0]");
    assert_eq!(origin("RUN --mount=from=0,target=/t a"), "0 []");
    for index in ["2", "-1", "99999"] {
        let error = plan_error(&format!("FROM base\nFROM scratch\nCOPY --from={index} a b"));
        assert!(
            error.starts_with(&format!("3:6 invalid stage index {index}")),
            "{error}"
        );
    }
    assert!(
        Build::new("FROM base")
            .target("0")
            .error()
            .contains("target stage \"0\" could not be found")
    );
}

#[test]
fn only_what_the_target_needs_is_built_f5() {
    let text = "FROM base AS a\nFROM base AS broken\nCOPY --from=c x y\nFROM a AS b\nFROM base AS c\nCOPY --from=b x y";
    assert_eq!(needed(&Build::new(text)), ["a", "b", "c"]);
    assert_eq!(needed(&Build::new(text).target("a")), ["a"]);
    let error = Build::new(text).target("x").error();
    assert!(error.contains("target stage \"x\" could not be found"), "{error}");
    assert!(
        Build::new("FROM base AS build")
            .target("biuld")
            .error()
            .contains("did you mean build?")
    );
}

#[test]
fn circles_and_forward_references_f6() {
    let error = plan_error("FROM base AS a\nCOPY --from=a x y");
    assert!(
        error.starts_with("2:1 circular dependency detected on stage: a"),
        "{error}"
    );
    let error = plan_error("FROM base AS a\nCOPY --from=b x y\nFROM base AS b\nCOPY --from=a x y");
    assert!(error.contains("circular dependency detected on stage"), "{error}");
    for text in [
        "COPY --from=b x y",
        "COPY --from=1 x y",
        "RUN --mount=from=b,target=/t x",
    ] {
        let build = Build::new(&format!("FROM base AS a\n{text}\nFROM base AS b\nFROM a"));
        let error = build.error();
        assert!(
            error.starts_with("2:1 cannot ") && error.contains("needs to be defined before current stage"),
            "{error}"
        );
    }
}

#[test]
fn copy_from_starts_at_the_root_f7() {
    let copy = Build::new("FROM base AS a\nWORKDIR /w\nFROM base\nCOPY --from=a x y").copy();
    assert_eq!(format!("{:?}", copy.sources), "[Path(\"/x\")]");
    assert_eq!(copy.origin, Origin::Stage(0));
    assert_eq!(
        Build::on_base("COPY --from=other:1 x y").copy().origin,
        Origin::Image("other:1".to_owned())
    );
    assert_eq!(
        Build::on_base("COPY --from=scratch x y").copy().origin,
        Origin::Scratch
    );
}

#[test]
fn configuration_is_inherited_f8() {
    let config = BaseConfig {
        env: strings(&["E=1", "PATH=/p"]),
        working_dir: "/w".to_owned(),
        user: "me".to_owned(),
        shell: strings(&["bash", "-c"]),
        platform: None,
    };
    let run = Build::on_base("WORKDIR sub\nRUN x").base(config.clone()).run();
    assert_eq!(run.arguments, strings(&["bash", "-c", "x"]));
    assert_eq!(
        (
            run.working_directory.as_str(),
            run.user.as_str(),
            run.environment.get("E")
        ),
        ("/w/sub", "me", Some("1"))
    );
    let child = Build::new("FROM base AS a\nUSER you\nFROM a\nRUN x")
        .base(config)
        .run();
    assert_eq!(
        (child.user.as_str(), child.working_directory.as_str()),
        ("you", "/w")
    );
}

#[test]
fn named_contexts_replace_stages_f9() {
    let text = "FROM base AS a\nRUN never\nFROM a\nRUN x";
    assert_eq!(
        Build::new(text)
            .context("a")
            .with_plan(|plan| plan.all_stages()[0].base.clone())
            .unwrap(),
        StageBase::Context("a".to_owned())
    );
    assert!(
        Build::new("FROM base AS a\nRUN never")
            .context("a")
            .steps()
            .is_empty()
    );
    let specific = Build::new(text).context("a").context("a::linux/arm/v7");
    let base = specific
        .with_plan(|plan| plan.all_stages()[0].base.clone())
        .unwrap();
    assert_eq!(base, StageBase::Context("a::linux/arm/v7".to_owned()));
    let reserved = Build::new("FROM base AS context").context("context");
    assert_eq!(
        reserved.with_plan(|plan| plan.target().base.clone()).unwrap(),
        StageBase::Image("base".to_owned())
    );
}

#[test]
fn reserved_names_are_a_warning_f10() {
    let build = Build::new("FROM base AS scratch\nRUN x");
    assert_eq!(
        build.lint(),
        ["1 ReservedStageName: Stage name should not use the same name as reserved stage \"scratch\""]
    );
}

#[test]
fn platform_of_from_f11() {
    let platform =
        |text: &str| Build::new(text).with_plan(|plan| plan.platform_of(plan.target()).to_string());
    assert_eq!(platform("FROM --platform=linux/x86_64 a").unwrap(), "linux/amd64");
    assert_eq!(platform("FROM a").unwrap(), "linux/arm/v7");
    assert_eq!(
        platform("FROM --platform=linux/s390x a AS b\nFROM b").unwrap(),
        "linux/s390x"
    );
    assert!(
        plan_error("FROM --platform=nonsense a").starts_with("1:6 failed to parse platform \"nonsense\"")
    );
    assert!(
        plan_error("FROM --platform=$NOTHING a").contains("empty platform value from expression $NOTHING")
    );
    let config = BaseConfig {
        platform: Some(Platform::new("linux", "amd64")),
        ..BaseConfig::default()
    };
    let lint = Build::on_base("RUN x").base(config).lint();
    assert_eq!(
        lint,
        [
            "1 InvalidBaseImagePlatform: Base image base was pulled with platform \"linux/amd64\", expected \
          \"linux/arm/v7\" for current build"
        ]
    );
}

#[test]
fn names_that_are_no_images_have_a_place() {
    assert!(plan_error("FROM a:b:c").starts_with("1:6 failed to parse stage name"));
    assert!(plan_error("FROM a\nCOPY --from=B x y").starts_with("2:6 failed to parse stage name"));
    assert!(command_error("FROM a b").starts_with("2:1"));
}
