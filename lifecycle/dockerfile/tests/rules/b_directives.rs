//! B. Parser directives.

use lifecycle_dockerfile::{CheckOptions, Command, is_dockerfile_frontend};

use crate::build::{Build, parse, parse_error, show};

fn escape(text: &str) -> char {
    parse(text).unwrap().directives().escape
}

fn syntax(text: &str) -> Option<String> {
    // The file need not be a Dockerfile: only its top matters, so an error elsewhere would hide it.
    parse(text)
        .unwrap()
        .directives()
        .syntax
        .clone()
        .map(|word| word.text)
}

#[test]
fn directives_end_at_the_first_other_line_b1() {
    assert_eq!(escape("# escape=`\nFROM a"), '`');
    assert_eq!(escape("# foo=bar\n# escape=`\nFROM a"), '\\');
    assert_eq!(escape("\n# escape=`\nFROM a"), '\\');
    assert_eq!(escape("# a comment\n# escape=`\nFROM a"), '\\');
    assert_eq!(escape("# syntax=docker/dockerfile:1\n# escape=`\nFROM a"), '`');
}

#[test]
fn keys_in_any_case_blanks_allowed_no_repetition_b2() {
    assert_eq!(escape("#  EsCaPe  =  ` \nFROM a"), '`');
    assert_eq!(
        parse_error("# escape=`\n# escape=\\\nFROM a"),
        "2:10 only one escape parser directive can be used"
    );
}

#[test]
fn escape_is_backslash_or_backtick_b3() {
    assert_eq!(
        parse_error("# escape=x\nFROM a"),
        "1:10 invalid escape token 'x' does not match ` or \\"
    );
    let file = parse("# escape=`\nFROM a\nRUN a `\nb \\\nUSER x").unwrap();
    assert_eq!(file.stages()[0].instructions().len(), 2);
    let build = Build::new("# escape=`\nFROM scratch\nENV A=`$x B=\\y C=\"a`\"b\"");
    assert_eq!(build.history(), ["ENV A=$x B=\\y C=a\"b"]);
}

#[test]
fn syntax_is_found_in_other_kinds_of_files_b4() {
    assert_eq!(
        syntax("# syntax=docker/dockerfile:1 --x\nFROM a").as_deref(),
        Some("docker/dockerfile:1")
    );
    assert_eq!(
        syntax("#!/usr/bin/env x\n# syntax=a/b\nFROM a").as_deref(),
        Some("a/b")
    );
    assert_eq!(syntax("FROM a\n# syntax=a/b"), None);
    // These are for other frontends, so the rest is no Dockerfile.
    assert!(parse_error("// syntax=a/b\nanything").contains("unknown instruction"));
    let other = Build::new("# syntax=a/b\nFROM scratch").arg("BUILDKIT_SYNTAX", "dockerfile.v0");
    assert!(other.try_run().is_ok());
}

#[test]
fn other_frontends_are_refused_b5() {
    for name in [
        "docker/dockerfile",
        "docker/dockerfile:1",
        "docker/dockerfile:1.7-labs",
        "docker/dockerfile-upstream:master",
        "host.test/docker/dockerfile@sha256:00",
        "dockerfile.v0",
    ] {
        assert!(is_dockerfile_frontend(name), "{name}");
    }
    for name in [
        "a/b",
        "docker/other",
        "host.test:5000/x/dockerfile",
        "dockerfile",
        "x/y/docker/dockerfile",
    ] {
        assert!(!is_dockerfile_frontend(name), "{name}");
    }
    let error = Build::new("# syntax=a/b:1\nFROM scratch").error();
    assert!(
        error.starts_with("1:10 frontend a/b:1 is not the Dockerfile frontend"),
        "{error}"
    );
    assert!(
        Build::new("FROM scratch")
            .arg("BUILDKIT_SYNTAX", "a/b")
            .error()
            .contains("BUILDKIT_SYNTAX")
    );
}

#[test]
fn check_options_b6() {
    let options = CheckOptions::parse("skip=A, B;error=true;experimental=all").unwrap();
    assert!(options.skip.contains("A") && options.skip.contains("B") && !options.skip.contains("C"));
    assert!(options.error && options.experimental.contains("anything"));
    for text in ["nonsense", "skp=A", "error=maybe"] {
        assert!(CheckOptions::parse(text).is_err(), "{text}");
    }
    let error = CheckOptions::parse("skp=A").unwrap_err();
    assert!(show(&error).contains("did you mean skip?"));
}

#[test]
fn checks_are_switched_in_three_places_b6() {
    let text = "FROM scratch as x\nMAINTAINER me\n";
    let codes = |build: Build| -> Vec<String> {
        build
            .lint()
            .iter()
            .map(|found| found.split([' ', ':']).nth(1).unwrap().to_owned())
            .collect()
    };
    assert_eq!(codes(Build::new(text)), ["FromAsCasing", "MaintainerDeprecated"]);
    assert_eq!(
        codes(Build::new(&format!("# check=skip=FromAsCasing\n{text}"))),
        ["MaintainerDeprecated"]
    );
    assert_eq!(codes(Build::new(&format!("# check=skip=all\n{text}"))), [""; 0]);
    let above = "FROM scratch as x\n# check=skip=MaintainerDeprecated\nMAINTAINER me\n";
    assert_eq!(codes(Build::new(above)), ["FromAsCasing"]);
    let argument = Build::new(&format!("# check=skip=all\n{text}"))
        .arg("BUILDKIT_DOCKERFILE_CHECK", "skip=FromAsCasing");
    assert_eq!(codes(argument), ["MaintainerDeprecated"]);
    let failing = Build::new(&format!("# check=error=true\n{text}")).lint();
    assert_eq!(
        failing.last().unwrap(),
        "0 lint-violation: lint violation found for rules: FromAsCasing, MaintainerDeprecated"
    );
    assert!(
        Build::new("# check=nonsense\nFROM scratch")
            .error()
            .contains("invalid check option")
    );
}

#[test]
fn directive_is_no_description_of_what_follows() {
    let file = parse("# escape=`\n# x about x\nFROM a AS x\nARG A").unwrap();
    assert_eq!(file.stages()[0].base().description.as_deref(), Some("about x"));
    assert!(matches!(
        file.stages()[0].instructions()[0].command,
        Command::Arg(_)
    ));
}
