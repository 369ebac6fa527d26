//! E. ARG, ENV, scopes.

use lifecycle_dockerfile::{BuildArgs, DEFAULT_PATH};

use crate::build::Build;

#[test]
fn global_args_have_to_be_imported_e1() {
    let text = "ARG V=1\nARG W=${V}2\nFROM base:$W\nENV A=$V\nARG V\nENV B=$V";
    let build = Build::new(text);
    assert_eq!(
        (build.value("A").unwrap(), build.value("B").unwrap()),
        (String::new(), "1".to_owned())
    );
    let image = build
        .with_plan(|plan| format!("{:?}", plan.target().base))
        .unwrap();
    assert_eq!(image, "Image(\"base:12\")");
}

#[test]
fn value_in_a_stage_e2() {
    let text = "ARG X=global\nFROM base\nARG X\nARG Y=own\nARG Z\nARG E=";
    let build = Build::new(text);
    assert_eq!(build.value("X").unwrap(), "global");
    assert_eq!(build.value("Y").unwrap(), "own");
    assert_eq!(build.value("Z"), None);
    assert_eq!(build.value("E").unwrap(), "");
    let build = build.arg("X", "given").arg("Y", "given").arg("Z", "given");
    for name in ["X", "Y", "Z"] {
        assert_eq!(build.value(name).unwrap(), "given", "{name}");
    }
}

#[test]
fn later_args_of_a_line_see_earlier_ones_e3() {
    let build = Build::on_base("ARG A=1 D=$A\nARG A=2");
    assert_eq!(
        (build.value("D").unwrap(), build.value("A").unwrap()),
        ("1".to_owned(), "2".to_owned())
    );
    assert_eq!(build.history()[0], "ARG A=1 D=1");
}

#[test]
fn order_decides_between_env_and_arg_e4() {
    let text = "ENV A=env\nARG A=dflt\nRUN x\nENV A=env2\nRUN y";
    let values = |build: Build| -> Vec<String> {
        build
            .runs()
            .iter()
            .map(|run| run.environment.get("A").unwrap().to_owned())
            .collect()
    };
    assert_eq!(values(Build::on_base(text)), ["dflt", "env2"]);
    assert_eq!(values(Build::on_base(text).arg("A", "given")), ["given", "env2"]);
    assert_eq!(
        Build::on_base("ARG A=dflt")
            .base_env(&["A=inherited"])
            .value("A")
            .unwrap(),
        "dflt"
    );
    // The configuration holds ENV only.
    assert_eq!(Build::on_base(text).history()[0], "ENV A=env");
}

#[test]
fn child_stage_sees_the_configured_value_again_e4() {
    let text = "FROM base AS p\nENV A=env\nARG A=arg\nRUN x\nFROM p\nRUN y";
    assert_eq!(
        Build::new(text).target("p").run().environment.get("A"),
        Some("arg")
    );
    assert_eq!(
        Build::new(text).history(),
        ["RUN |1 A=env /bin/sh -c y # buildkit"]
    );
    let configured: Vec<(String, String)> = Build::new(text)
        .scope()
        .config_env()
        .iter()
        .map(|(n, v)| (n.to_owned(), v.to_owned()))
        .collect();
    assert_eq!(configured[1], ("A".to_owned(), "env".to_owned()));
}

#[test]
fn child_stage_inherits_env_and_args_e5() {
    let text = "FROM base AS a\nENV E=1\nARG A=2\nARG U\nFROM a\nRUN x $E";
    let run = Build::new(text).run();
    assert_eq!(
        (run.environment.get("E"), run.environment.get("A")),
        (Some("1"), Some("2"))
    );
    assert_eq!(
        Build::new(text).history(),
        ["RUN |2 A=2 U= /bin/sh -c x $E # buildkit"]
    );
    let copied = "FROM base AS a\nENV E=1\nFROM base\nCOPY --from=a x y\nRUN x";
    assert_eq!(Build::new(copied).run().environment.get("E"), None);
}

#[test]
fn unused_build_args_are_ignored_e6() {
    assert!(Build::on_base("RUN x").arg("NOBODY", "asks").try_run().is_ok());
}

#[test]
fn proxies_come_in_both_cases_and_leave_no_trace_e7() {
    let args: BuildArgs = [("Http_Proxy", "h"), ("NO_PROXY", "n"), ("other", "o")]
        .into_iter()
        .collect();
    let proxies: Vec<String> = args
        .proxies()
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(
        proxies,
        ["HTTP_PROXY=h", "NO_PROXY=n", "http_proxy=h", "no_proxy=n"]
    );
    let build = Build::on_base("RUN x").arg("http_proxy", "h");
    assert_eq!(build.history(), ["RUN /bin/sh -c x # buildkit"]);
    assert_eq!(build.run().environment.get("http_proxy"), None);
}

#[test]
fn platform_args_e8() {
    let text = "FROM --platform=$BUILDPLATFORM base AS b\nENV BEFORE=$TARGETARCH\nARG TARGETPLATFORM TARGETOS \
                TARGETARCH TARGETVARIANT BUILDPLATFORM BUILDARCH TARGETSTAGE";
    let build = Build::new(text);
    for (name, value) in [
        ("BEFORE", ""),
        ("TARGETPLATFORM", "linux/arm/v7"),
        ("TARGETOS", "linux"),
        ("TARGETARCH", "arm"),
        ("TARGETVARIANT", "v7"),
        ("BUILDPLATFORM", "linux/amd64"),
        ("BUILDARCH", "amd64"),
        ("TARGETSTAGE", "b"),
    ] {
        assert_eq!(build.value(name).unwrap(), value, "{name}");
    }
    let platform = |build: &Build| {
        build
            .with_plan(|plan| plan.platform_of(plan.target()).to_string())
            .unwrap()
    };
    assert_eq!(platform(&build), "linux/amd64");
    assert_eq!(
        platform(&build.clone().arg("BUILDPLATFORM", "linux/s390x")),
        "linux/s390x"
    );
    assert_eq!(
        Build::new("FROM base\nARG TARGETSTAGE")
            .value("TARGETSTAGE")
            .unwrap(),
        "default"
    );
    let named = Build::new("FROM base AS a\nARG TARGETSTAGE\nFROM base AS b").target("A");
    assert_eq!(named.value("TARGETSTAGE").unwrap(), "A");
}

#[test]
fn control_args_are_never_environment_e9() {
    let build = Build::on_base("ARG BUILDKIT_SBOM_SCAN_STAGE=true\nARG SOURCE_DATE_EPOCH\nRUN x")
        .arg("SOURCE_DATE_EPOCH", "5");
    let run = build.run();
    assert_eq!(run.environment.get("BUILDKIT_SBOM_SCAN_STAGE"), None);
    assert_eq!(run.environment.get("SOURCE_DATE_EPOCH"), Some("5"));
    let epoch = |build: Build| {
        build
            .with_plan(|plan| plan.source_date_epoch().map(str::to_owned))
            .unwrap()
    };
    assert_eq!(epoch(build).as_deref(), Some("5"));
    assert_eq!(
        epoch(Build::new("ARG SOURCE_DATE_EPOCH=7\nFROM base")).as_deref(),
        Some("7")
    );
    assert_eq!(epoch(Build::new("FROM base")), None);
}

#[test]
fn base_without_path_gets_the_default_e10() {
    assert_eq!(
        Build::new("FROM scratch\nUSER x").value("PATH").unwrap(),
        DEFAULT_PATH
    );
    assert_eq!(
        Build::on_base("USER x")
            .base_env(&["PATH=/p"])
            .value("PATH")
            .unwrap(),
        "/p"
    );
    assert_eq!(
        Build::new("FROM scratch\nUSER x").scope().working_directory(),
        "/"
    );
}
