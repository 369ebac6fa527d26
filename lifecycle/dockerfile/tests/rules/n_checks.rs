//! N. Build checks, outline and targets.

use lifecycle_dockerfile::{BaseConfig, Platform, Rule};

use crate::build::{Build, strings};

/// Each rule: a file that violates it with what is said, and a corrected one about which nothing is said.
#[test]
fn every_rule_fires_and_stays_silent_n1() {
    let build = Build::new;
    let shell = BaseConfig {
        shell: strings(&["bash", "-c"]),
        ..BaseConfig::default()
    };
    let amd64 = BaseConfig {
        platform: Some(Platform::new("linux", "amd64")),
        ..BaseConfig::default()
    };
    let arm = BaseConfig {
        platform: Some(Platform::new("linux", "arm")),
        ..BaseConfig::default()
    };
    let cases: Vec<(Rule, Build, &str, Build)> = vec![
        (
            Rule::StageNameCasing,
            build("FROM base AS Build"),
            "1 StageNameCasing: Stage name 'Build' should be lowercase",
            build("FROM base AS build"),
        ),
        (
            Rule::FromAsCasing,
            build("FROM base as build"),
            "1 FromAsCasing: 'as' and 'FROM' keywords' casing do not match",
            build("from base as build"),
        ),
        (
            Rule::NoEmptyContinuation,
            build("FROM base\nRUN a \\\n\n b"),
            "3 NoEmptyContinuation: Empty continuation line",
            build("FROM base\nRUN a \\\n# comment\n b"),
        ),
        (
            Rule::ConsistentInstructionCasing,
            build("FROM base\nrun a\nUSER x"),
            "2 ConsistentInstructionCasing: Command 'run' should match the case of the command majority (uppercase)",
            build("from base\nrun a\nuser x"),
        ),
        (
            Rule::DuplicateStageName,
            build("FROM base AS a\nFROM base AS a"),
            "2 DuplicateStageName: Duplicate stage name \"a\", stage names should be unique",
            build("FROM base AS a\nFROM base AS b"),
        ),
        (
            Rule::ReservedStageName,
            build("FROM base AS context"),
            "1 ReservedStageName: Stage name should not use the same name as reserved stage \"context\"",
            build("FROM base AS contexts"),
        ),
        (
            Rule::JsonArgsRecommended,
            build("FROM base\nENTRYPOINT a"),
            "2 JSONArgsRecommended: JSON arguments recommended for ENTRYPOINT to prevent unintended behavior related \
             to OS signals",
            build("FROM base\nENTRYPOINT a").base(shell),
        ),
        (
            Rule::MaintainerDeprecated,
            build("FROM base\nMAINTAINER me"),
            "2 MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label",
            build("FROM base\nLABEL org.opencontainers.image.authors=me"),
        ),
        (
            Rule::UndefinedArgInFrom,
            build("ARG VERSION=1\nFROM base:${VERSON:-2}"),
            "2 UndefinedArgInFrom: FROM argument 'VERSON' is not declared (did you mean VERSION?)",
            build("ARG VERSION=1\nFROM base:$VERSION"),
        ),
        (
            Rule::WorkdirRelativePath,
            build("FROM base\nWORKDIR app"),
            "2 WorkdirRelativePath: Relative workdir \"app\" can have unexpected results if the base image changes",
            build("FROM base AS a\nWORKDIR /\nFROM a\nWORKDIR app"),
        ),
        (
            Rule::UndefinedVar,
            build("FROM base\nENV A=1\nCOPY $APP b"),
            "3 UndefinedVar: Usage of undefined variable '$APP' (did you mean $A?)",
            build("FROM base\nARG APP\nCOPY $APP b"),
        ),
        (
            Rule::MultipleInstructionsDisallowed,
            build("FROM base\nCMD [\"a\"]\nCMD [\"b\"]"),
            "2 MultipleInstructionsDisallowed: Multiple CMD instructions should not be used in the same stage because \
             only the last one will be used",
            build("FROM base AS a\nCMD [\"a\"]\nFROM a\nCMD [\"b\"]"),
        ),
        (
            Rule::LegacyKeyValueFormat,
            build("FROM base\nENV A b"),
            "2 LegacyKeyValueFormat: \"ENV key=value\" should be used instead of legacy \"ENV key value\" format",
            build("FROM base\nENV A=b"),
        ),
        (
            Rule::InvalidBaseImagePlatform,
            build("FROM base").base(amd64),
            "1 InvalidBaseImagePlatform: Base image base was pulled with platform \"linux/amd64\", expected \
             \"linux/arm/v7\" for current build",
            build("FROM base").base(arm),
        ),
        (
            Rule::RedundantTargetPlatform,
            build("FROM --platform=$TARGETPLATFORM base"),
            "1 RedundantTargetPlatform: Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this \
             is the default behavior",
            build("FROM --platform=$BUILDPLATFORM base"),
        ),
        (
            Rule::SecretsUsedInArgOrEnv,
            build("FROM base\nARG GITHUB_TOKEN"),
            "2 SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ARG \"GITHUB_TOKEN\")",
            build("FROM base\nARG TOKENS\nENV PASSWORD_FILE=x PUBLIC_KEY=y"),
        ),
        (
            Rule::InvalidDefaultArgInFrom,
            build("ARG TAG\nFROM base:${TAG}").arg("TAG", "1"),
            "2 InvalidDefaultArgInFrom: Default value for ARG base:${TAG} results in empty or invalid base image name",
            build("ARG TAG=1\nFROM base:${TAG}").arg("TAG", "2"),
        ),
        (
            Rule::FromPlatformFlagConstDisallowed,
            build("FROM --platform=linux/amd64 base"),
            "1 FromPlatformFlagConstDisallowed: FROM --platform flag should not use constant value \"linux/amd64\"",
            build("FROM --platform=linux/amd64 base AS build-amd64"),
        ),
        (
            Rule::CopyIgnoredFile,
            build("FROM base\nCOPY a b c /d/").ignore("b"),
            "2 CopyIgnoredFile: Attempting to Copy file \"b\" that is excluded by .dockerignore",
            build("FROM base\nCOPY a b c /d/").ignore("b\n!b/x"),
        ),
        (
            Rule::ExposeProtoCasing,
            build("FROM base\nEXPOSE 80/TCP"),
            "2 ExposeProtoCasing: Defined protocol '80/TCP' in EXPOSE instruction should be lowercase",
            build("FROM base\nEXPOSE 80/tcp"),
        ),
        (
            Rule::ExposeInvalidFormat,
            build("FROM base\nEXPOSE 8080:80"),
            "2 ExposeInvalidFormat: EXPOSE instruction should not define an IP address or host-port mapping, found \
             '8080:80'",
            build("FROM base\nEXPOSE 80"),
        ),
        (
            Rule::InvalidDefinitionDescription,
            build("# check=experimental=all\n# wrong\nFROM base AS x"),
            "3 InvalidDefinitionDescription: Comment for FROM should follow the format: `# x <description>`",
            build("# check=experimental=all\n# x right\nFROM base AS x"),
        ),
    ];
    for (rule, violating, finding, corrected) in &cases {
        assert_eq!(violating.lint(), [*finding], "{rule:?}");
        assert_eq!(corrected.lint(), [""; 0], "{rule:?}");
    }
    let mut covered: Vec<Rule> = cases.iter().map(|case| case.0).collect();
    covered.sort_unstable();
    let mut all = Rule::ALL.to_vec();
    all.sort_unstable();
    assert_eq!(covered, all);
}

#[test]
fn experimental_rule_is_off_by_default_n1() {
    assert_eq!(Build::new("# wrong\nFROM base AS x").lint(), [""; 0]);
}

#[test]
fn whole_context_ignored_is_found_n1() {
    let copy = |ignore: &str| Build::new("FROM base\nCOPY . /d/").ignore(ignore).lint().len();
    assert_eq!((copy("*"), copy("**"), copy("a"), copy("*\n!a")), (1, 1, 0, 0));
    assert_eq!(
        Build::new("FROM base\nFROM base\nCOPY --from=0 b /d/")
            .ignore("b")
            .lint(),
        [""; 0]
    );
    assert!(Build::new("FROM base\nADD b /d/").ignore("b").lint()[0].contains("Attempting to Add file"));
}

#[test]
fn findings_before_an_error_are_kept_n2() {
    let lint = Build::new("FROM base\nENV A b\nSTOPSIGNAL nope").lint();
    assert!(
        lint[0].contains("LegacyKeyValueFormat") && lint[1].contains("invalid signal: nope"),
        "{lint:?}"
    );
    let url = Rule::SecretsUsedInArgOrEnv.url().unwrap();
    assert!(url.ends_with("/rule/secrets-used-in-arg-or-env/"), "{url}");
    assert!(
        Rule::JsonArgsRecommended
            .url()
            .unwrap()
            .ends_with("/rule/json-args-recommended/")
    );
}

#[test]
fn targets_n3() {
    let text = "# a first one\nFROM base AS a\n# not about b\nFROM --platform=$X a AS b\nFROM b";
    let file = crate::build::parse(text).unwrap();
    let targets: Vec<String> = file
        .targets()
        .iter()
        .map(|target| serde_json::to_string(target).unwrap())
        .collect();
    assert_eq!(
        targets,
        [
            r#"{"name":"a","description":"first one","default":false,"base":"base","platform":null,"line":2}"#,
            r#"{"name":"b","description":null,"default":false,"base":"a","platform":"$X","line":4}"#,
            r#"{"name":null,"description":null,"default":true,"base":"b","platform":null,"line":5}"#,
        ]
    );
}

#[test]
fn outline_n3() {
    let text = "# REGISTRY where from\nARG REGISTRY=r.test\nARG IMAGE=${REGISTRY}/base\nARG UNUSED\nFROM $IMAGE AS a\n\
                RUN --mount=type=secret,id=s --mount=type=cache,target=/c x\n\
                # out the result\nFROM scratch AS out\n# MODE how\nARG MODE=fast\nARG REGISTRY\n\
                COPY --from=a x y\nRUN --mount=type=ssh,required y";
    let outline = Build::new(text)
        .arg("MODE", "slow")
        .with_plan(|plan| plan.outline().unwrap())
        .unwrap();
    assert_eq!(
        (outline.name.as_deref(), outline.description.as_deref()),
        (Some("out"), Some("the result"))
    );
    let args: Vec<_> = outline
        .args
        .iter()
        .map(|arg| (arg.name.as_str(), arg.value.as_deref(), arg.line))
        .collect();
    assert_eq!(
        args,
        [
            ("REGISTRY", Some("r.test"), 2),
            ("IMAGE", Some("r.test/base"), 3),
            ("MODE", Some("slow"), 10)
        ]
    );
    assert_eq!(outline.args[0].description.as_deref(), Some("where from"));
    let mounts = |list: &[lifecycle_dockerfile::OutlineMount]| -> Vec<_> {
        list.iter()
            .map(|mount| (mount.id.clone(), mount.required))
            .collect()
    };
    assert_eq!(mounts(&outline.secrets), [("s".to_owned(), false)]);
    assert_eq!(mounts(&outline.ssh), [("default".to_owned(), true)]);
    assert_eq!(mounts(&outline.caches), [("/c".to_owned(), false)]);
}
