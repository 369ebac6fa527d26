//! D. Variable expansion.

use lifecycle_dockerfile::{Action, CopySource, Environment, Expander, LONGEST_EXPANSION};

use crate::build::{Build, strings};

fn environment() -> Environment {
    Environment::from_assignments(["A=value", "E=", "P=/usr/local/bin", "F=abcabc", "S=a b"])
}

fn expand(text: &str) -> String {
    match Expander::new('\\').text(text, &environment()) {
        Ok(expansion) => expansion.text,
        Err(error) => format!("error: {error}"),
    }
}

#[test]
fn every_form_d1() {
    for (text, expected) in [
        ("$A", "value"),
        ("${A}", "value"),
        ("${A:-w} ${E:-w} ${U:-w}", "value w w"),
        ("${A-w} ${E-w} ${U-w}", "value  w"),
        ("${A:+w} ${E:+w} ${U:+w}", "w  "),
        ("${A+w} ${E+w} ${U+w}", "w w "),
        ("${A:?m} ${A?m}", "value value"),
        ("${P#*/} ${P##*/}", "usr/local/bin bin"),
        ("${P%/*} ${P%%/*}", "/usr/local "),
        ("${F/b/X} ${F//b/X}", "aXcabc aXcaXc"),
        ("${F/c*/X}", "abX"),
        ("${U#x}${U%x}${U/a/b}", ""),
    ] {
        assert_eq!(expand(text), expected, "{text}");
    }
}

#[test]
fn names_and_special_parameters_d2() {
    for (text, expected) in [
        ("$A_x", ""),
        ("$A.x", "value.x"),
        ("$1x $12 $@x $* $# $? $- $$ $! $0", "x  x       "),
        ("a$", "a$"),
        ("$.", "$."),
        ("a$ b", "a$ b"),
        ("${1:-x}${@:-y}", "xy"),
    ] {
        assert_eq!(expand(text), expected, "{text}");
    }
}

#[test]
fn malformed_substitutions_d3() {
    for (text, error) in [
        ("${}", "bad substitution"),
        ("${:x}", "bad substitution"),
        ("${{", "bad substitution"),
        ("${A", "missing '}'"),
        ("${", "missing '}'"),
        ("${A:-x", "missing '}'"),
        ("${A/b", "missing '/'"),
        ("${A/b/c", "missing '}'"),
        ("${A:#x}", "unsupported modifier (:#)"),
        ("${A:%x}", "unsupported modifier (:%)"),
        ("${A:=x}", "unsupported modifier (:=)"),
        ("${A=x}", "unsupported modifier (=)"),
        ("${.}", "unsupported modifier (.)"),
        ("'a", "single quote"),
        ("\"a", "double quote"),
    ] {
        assert!(expand(text).contains(error), "{text}: {}", expand(text));
    }
}

#[test]
fn pattern_language_d4() {
    let environment = Environment::from_assignments(["V=a*b?c}d/e", "W=xaxbx"]);
    for (text, expected) in [
        ("${V#a\\*}", "b?c}d/e"),
        ("${V%\\?*}", "a*b"),
        ("${V/\\}/_}", "a*b?c_d/e"),
        ("${V/\\//_}", "a*b?c}d_e"),
        ("${W#*x}", "axbx"),
        ("${W##*x}", ""),
        ("${W/x*b/_}", "_x"),
        ("${W//x/}", "ab"),
    ] {
        assert_eq!(
            Expander::new('\\').text(text, &environment).unwrap().text,
            expected,
            "{text}"
        );
    }
    assert!(expand("${A#\\a}").contains("invalid escape '\\a'"));
}

#[test]
fn words_behind_modifiers_expand_d5() {
    assert_eq!(expand("${U:-${V:-${A}}}"), "value");
    assert_eq!(expand("${A:+${U:-x}}y"), "xy");
    assert_eq!(expand("${P#${U:-/usr}}"), "/local/bin");
    assert_eq!(expand("${U:-\\$A}"), "$A");
}

#[test]
fn quotes_and_escapes_d6() {
    for (text, expected) in [
        ("'$A \\x'", "$A \\x"),
        ("\"$A\"", "value"),
        ("\"\\x \\$A \\\" \\\\\"", "\\x $A \" \\"),
        ("\\x\\$A\\\\", "x$A\\"),
        ("a\\", "a"),
        ("\"it's\"", "it's"),
        ("'a'\"b\"c", "abc"),
    ] {
        assert_eq!(expand(text), expected, "{text}");
    }
    let backtick = Expander::new('`')
        .text("`$A \\x \"`\"\"", &environment())
        .unwrap();
    assert_eq!(backtick.text, "$A \\x \"");
}

#[test]
fn required_variables_d7() {
    assert_eq!(expand("${U?}"), "error: U: is not allowed to be unset");
    assert_eq!(expand("${E:?}"), "error: E: is not allowed to be empty");
    assert_eq!(expand("${U:?set it}"), "error: U: set it");
    assert_eq!(expand("${E?}"), "");
}

#[test]
fn unset_becomes_empty_and_is_remembered_d8() {
    let expansion = Expander::new('\\').text("$U$A${V:-x}", &environment()).unwrap();
    assert_eq!(expansion.text, "valuex");
    assert_eq!(expansion.undefined.into_iter().collect::<Vec<_>>(), ["U", "V"]);
    assert_eq!(expansion.used.into_iter().collect::<Vec<_>>(), ["A"]);
}

#[test]
fn one_instruction_sees_one_snapshot_d9() {
    assert_eq!(Build::on_base("ENV A=1\nENV A=2 B=$A").value("B").unwrap(), "1");
}

#[test]
fn builder_expands_d10() {
    let build = Build::on_base(
        "ARG A=/v\nENV U=me L=key PORTS=\"80 443\"\nCOPY --chown=$U --chmod=${M:-644} $A/x$A /d$A\nLABEL $L=$A\nUSER $U\nVOLUME $A\n\
         WORKDIR $A\nSTOPSIGNAL ${S:-KILL}\nEXPOSE $PORTS\nARG D=$A/d",
    );
    assert_eq!(
        build.history()[2..],
        [
            "COPY --chown=me --chmod=644 /v/x/v /d/v # buildkit",
            "LABEL key=/v",
            "USER me",
            "VOLUME [/v]",
            "WORKDIR /v",
            "STOPSIGNAL KILL",
            "EXPOSE [80/tcp 443/tcp]",
            "ARG D=/v/d",
        ]
    );
    let sum = format!("sha256:{}", "0".repeat(64));
    let build = Build::on_base("ARG SUM\nADD --checksum=$SUM https://host.test/f /").arg("SUM", &sum);
    assert!(
        matches!(&build.copy().sources[0], CopySource::Http { checksum: Some(given), .. } if *given == sum)
    );
    let run = Build::on_base("ARG T=/t\nRUN --mount=target=$T,type=tmpfs x").run();
    assert_eq!(run.mounts[0].target, "/t");
    assert_eq!(
        Build::on_base("ENV X=1").trigger("ENV Y=$X").history(),
        ["ENV Y=", "ENV X=1"]
    );
}

#[test]
fn builder_does_not_expand_d11() {
    let build = Build::on_base(
        "ENV A=v\nRUN echo $A\nCMD [\"$A\"]\nENTRYPOINT $A\nHEALTHCHECK CMD $A\nSHELL [\"$A\"]\nMAINTAINER $A",
    );
    assert_eq!(
        build.history()[1..],
        [
            "RUN /bin/sh -c echo $A # buildkit",
            "CMD [\"$A\"]",
            "ENTRYPOINT [\"/bin/sh\" \"-c\" \"$A\"]",
            "HEALTHCHECK {Test:[CMD-SHELL $A] Interval:0s Timeout:0s StartPeriod:0s StartInterval:0s Retries:0}",
            "SHELL [$A]",
            "MAINTAINER $A",
        ]
    );
    assert_eq!(
        Build::on_base("ARG A=v\nCOPY --exclude=$A a b").copy().exclude,
        ["$A"]
    );
}

#[test]
fn copy_from_is_not_expanded_d11() {
    let error = Build::on_base("ARG A=v\nCOPY --from=$A a b").error();
    assert!(
        error.starts_with("3:6 variable expansion is not supported for --from (define a new stage"),
        "{error}"
    );
}

#[test]
fn mount_from_is_not_expanded_d11() {
    let error = Build::on_base("ARG A=v\nRUN --mount=from=$A,target=/x y");
    let error = crate::build::show(&error.try_run().unwrap_err());
    assert!(
        error.starts_with("3:5 'from' doesn't support variable expansion"),
        "{error}"
    );
}

#[test]
fn expose_splits_after_expansion_and_volume_does_not_d12() {
    let build = Build::on_base("ENV V=\"1 2\"\nEXPOSE $V\nVOLUME $V");
    let actions: Vec<Action> = build.steps().into_iter().map(|step| step.action).collect();
    assert!(matches!(&actions[1], Action::Expose(ports) if *ports == strings(&["1/tcp", "2/tcp"])));
    assert!(matches!(&actions[2], Action::Volume(volumes) if *volumes == strings(&["1 2"])));
}

#[test]
fn nesting_and_growth_are_bounded() {
    let deep = format!("{}x{}", "${U:-".repeat(100_000), "}".repeat(100_000));
    assert!(expand(&deep).contains("nested more than"));
    let doubling: String = (0..60).map(|_| "ENV A=$A$A\n").collect();
    let error = Build::on_base(&format!("ENV A=0123456789abcdef\n{doubling}")).error();
    assert!(
        error.contains(&format!("adds more than {LONGEST_EXPANSION} bytes")),
        "{error}"
    );
    let many = (0..20)
        .map(|n| format!("ENV V{n}=$B\n"))
        .collect::<Vec<_>>()
        .concat();
    let fill = format!("ENV B={}\n", "x".repeat(60_000));
    let grow = "ENV B=$B$B$B$B$B$B$B$B$B$B\n";
    let error = Build::on_base(&format!("{fill}{grow}{many}")).error();
    assert!(error.contains("variables of the stage hold more than"), "{error}");
}
