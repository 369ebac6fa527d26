//! No input makes the parser panic, forget a place, or grow without bound (U5).

use std::collections::BTreeSet;

use lifecycle_diagnostics::RenderOptions;
use lifecycle_dockerfile::{
    BuildArgs, Dockerfile, LintOptions, Parent, PlanOptions, Platform, Platforms, Stage, exercise, lint,
};
use proptest::prelude::*;

const FRAGMENTS: [&str; 52] = [
    "FROM a\n",
    "FROM a AS b\n",
    "FROM ",
    " AS x",
    "ARG A=1\n",
    "ARG ",
    "ENV A=$A$A\n",
    "ENV ",
    "LABEL a=b ",
    "RUN ",
    "RUN x\n",
    "COPY ",
    "COPY --from=b c d\n",
    "COPY --from=0 c d\n",
    "ADD ",
    "ONBUILD ",
    "HEALTHCHECK CMD ",
    "NONE",
    "EXPOSE 80 ",
    "VOLUME ",
    "USER ",
    "WORKDIR ",
    "STOPSIGNAL ",
    "SHELL ",
    "CMD ",
    "ENTRYPOINT ",
    "MAINTAINER ",
    "<<E ",
    "<<-'E' ",
    "\nE\n",
    "\\\n",
    "\\",
    "`",
    "\n",
    "\n\n",
    " ",
    "\t",
    "# c\n",
    "# escape=`\n",
    "# check=skip=all\n",
    "[\"a\", \"b\"]",
    "[",
    "\"",
    "'",
    "$A",
    "${A:-",
    "${A/a/b}",
    "}",
    "--mount=type=cache,target=/x ",
    "--chmod=u+x ",
    "--",
    "\u{feff}\r\n",
];

fn fragments() -> impl Strategy<Value = Vec<u8>> {
    let fragment = prop::sample::select(FRAGMENTS.to_vec());
    prop::collection::vec(fragment, 0..25).prop_map(|fragments| fragments.concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        exercise(&bytes);
    }

    #[test]
    fn any_text_of_the_language(text in fragments(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        exercise(&text);
        let mut damaged = text;
        let at = at.index(damaged.len() + 1);
        damaged.insert(at, byte);
        exercise(&damaged);
    }

    #[test]
    fn every_error_has_a_place_in_the_file(text in fragments()) {
        let lines = text.split(|&byte| byte == b'\n').count();
        for error in Dockerfile::parse("f", text).err().into_iter().flatten() {
            let place = error.span().expect("a place").start();
            prop_assert!((1..=lines).contains(&place.line));
            prop_assert!(error.render(RenderOptions::default()).contains("--> f:"));
        }
    }
}

fn options<'a>(args: &'a BuildArgs, contexts: &'a BTreeSet<String>) -> PlanOptions<'a> {
    let platforms = Platforms::native(Platform::new("linux", "amd64"));
    PlanOptions {
        target: None,
        build_args: args,
        platforms,
        contexts,
        ignore: None,
    }
}

/// What comes out is no larger than a constant times what went in, whatever is repeated.
#[test]
fn output_is_bounded_by_input() {
    const COUNT: usize = 20_000;
    for line in [
        "RUN a \\\n",
        "ENV A=1\n",
        "# c\n",
        "FROM a AS b\n",
        "COPPY\n",
        "RUN <<E\nE\n",
        "ENV A=${U:-x}\n",
        "LABEL a b\n",
        "COPY --from=0 a b\n",
        "\n",
        "EXPOSE $U\n",
        "ARG A\n",
        "ONBUILD RUN x\n",
        "CMD a\n",
    ] {
        let text = format!("FROM a\n{}", line.repeat(COUNT));
        let size = text.len();
        match Dockerfile::parse("f", text) {
            Err(errors) => assert!(errors.len() <= 50, "{line:?}: {}", errors.len()),
            Ok(file) => {
                let written: usize = file
                    .stages()
                    .iter()
                    .flat_map(Stage::instructions)
                    .map(|i| i.text.len())
                    .sum();
                assert!(written <= size, "{line:?}");
                let (args, contexts) = (BuildArgs::default(), BTreeSet::new());
                let lint_options = LintOptions {
                    target: None,
                    build_args: &args,
                    platforms: Platforms::native(Platform::new("linux", "amd64")),
                    contexts: &contexts,
                    ignore: None,
                };
                assert!(lint(&file, &lint_options, |_, _| None).len() <= 1001, "{line:?}");
            }
        }
    }
}

#[test]
fn stages_of_any_number_are_planned() {
    let text: String = std::iter::once("FROM a AS s0\n".to_owned())
        .chain((1..20_000).map(|n| format!("FROM s{} AS s{n}\n", n - 1)))
        .collect();
    let file = Dockerfile::parse("f", text).unwrap();
    let (args, contexts) = (BuildArgs::default(), BTreeSet::new());
    let plan = file.plan(&options(&args, &contexts)).unwrap();
    assert_eq!(plan.stages().count(), 20_000);
    assert!(plan.evaluate(plan.target(), Parent::Unknown).is_ok());
}

#[test]
fn triggers_do_not_multiply_without_end() {
    let text = format!(
        "FROM a AS p\n{}{}",
        "ONBUILD RUN x\n".repeat(1_000),
        "FROM p\n".repeat(1_000)
    );
    let file = Dockerfile::parse("f", text).unwrap();
    let (args, contexts) = (BuildArgs::default(), BTreeSet::new());
    let error = file.plan(&options(&args, &contexts)).unwrap_err();
    assert!(
        error.message.contains("ONBUILD triggers come to more than"),
        "{error}"
    );
}

#[test]
fn deep_nesting_is_refused_not_followed() {
    for text in [
        format!("FROM a\nCMD {}", "[".repeat(60_000)),
        format!("FROM a\nENV A={}", "${A:-".repeat(12_000)),
        format!("FROM a\nENV A={}", "\"${A:-".repeat(10_000)),
        format!("FROM a\n{}", "ONBUILD ".repeat(8_000)),
        format!("FROM a\nRUN {}<<E", "${A:-".repeat(12_000)),
    ] {
        exercise(text.as_bytes());
    }
}

#[test]
fn bytes_that_are_not_utf8_have_a_place() {
    let error = Dockerfile::parse("f", b"FROM a\nRUN a \\\n  b\xffc\n".as_slice())
        .unwrap_err()
        .remove(0);
    assert_eq!(
        crate::build::show(&error),
        "3:4 instruction is not valid UTF-8 (save the file as UTF-8)"
    );
    assert!(Dockerfile::parse("f", b"# \xff\nFROM a\n".as_slice()).is_ok());
}
