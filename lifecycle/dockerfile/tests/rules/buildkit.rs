//! BuildKit's published cases: its parser's results, its refused files and its expansions.
//!
//! They are not part of this repository. `LIFECYCLE_BUILDKIT_CASES` names the directory `frontend/dockerfile` of its
//! sources; without it these tests are skipped.

use std::fs;
use std::path::{Path, PathBuf};

use lifecycle_dockerfile::{Dockerfile, Environment, Expander, dump};

use crate::build::show;

/// A file or directory of the cases.
#[expect(
    clippy::disallowed_methods,
    reason = "where the cases are is a setting of the test run"
)]
fn cases(path: &str) -> Option<PathBuf> {
    let directory = std::env::var_os("LIFECYCLE_BUILDKIT_CASES");
    if directory.is_none() {
        println!("skipped: BuildKit's parser cases not found: LIFECYCLE_BUILDKIT_CASES is not set");
    }
    directory.map(|directory| Path::new(&directory).join(path))
}

/// The directories of cases below `path`, by name; there are some.
fn directories(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut directories: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    directories.sort();
    assert!(!directories.is_empty(), "{}", path.display());
    directories
}

/// Cases that no build accepts: their flags, number of arguments or first instruction are judged after parsing.
const REFUSED_LATER: [(&str, &str); 8] = [
    ("flags", "3:6 unknown flag: --user"),
    ("health", "4:1 HEALTHCHECK requires at least one argument"),
    ("jeztah-invalid-json-json-inside-string", NO_STAGE),
    ("jeztah-invalid-json-json-inside-string-double", NO_STAGE),
    ("jeztah-invalid-json-single-quotes", NO_STAGE),
    ("jeztah-invalid-json-unterminated-bracket", NO_STAGE),
    ("jeztah-invalid-json-unterminated-string", NO_STAGE),
    ("json", NO_STAGE),
];

const NO_STAGE: &str = "1:1 no build stage in current context";

#[test]
fn parser_results_equal_buildkits() {
    let Some(directory) = cases("parser/testfiles") else {
        return;
    };
    for case in directories(&directory) {
        let name = case.file_name().unwrap().to_str().unwrap();
        let text = fs::read(case.join("Dockerfile")).unwrap();
        let expected = fs::read_to_string(case.join("result")).unwrap();
        match dump("Dockerfile", text.clone()) {
            Ok(found) => assert_eq!(found, expected, "{name}"),
            Err(errors) => panic!("{name}: {}", show(&errors[0])),
        }
        let parsed = Dockerfile::parse("Dockerfile", text);
        match REFUSED_LATER.iter().find(|(other, _)| *other == name) {
            Some((_, error)) => {
                let found = show(&parsed.expect_err(name)[0]);
                assert!(found.starts_with(error), "{name}: {found}");
            }
            None => assert!(parsed.is_ok(), "{name}"),
        }
    }
}

#[test]
fn what_buildkits_parser_refuses_is_refused_with_its_place() {
    let Some(directory) = cases("parser/testfiles-negative") else {
        return;
    };
    for case in directories(&directory) {
        let text = fs::read(case.join("Dockerfile")).unwrap();
        for errors in [
            dump("Dockerfile", text.clone()).unwrap_err(),
            Dockerfile::parse("Dockerfile", text).unwrap_err(),
        ] {
            let error = &errors[0];
            let place = error
                .span()
                .unwrap_or_else(|| panic!("{}: {error}", case.display()))
                .start();
            assert!(place.line >= 1 && place.column >= 1, "{}", case.display());
        }
    }
}

/// Every instruction knows its first and last line, as its parser's test has them (A21).
#[test]
fn lines_of_instructions_equal_buildkits_a21() {
    let Some(file) = cases("parser/testfile-line/Dockerfile") else {
        return;
    };
    let file = Dockerfile::parse("Dockerfile", fs::read(file).unwrap()).unwrap();
    let stage = &file.stages()[0];
    let instructions = std::iter::once(stage.from()).chain(stage.instructions());
    let lines: Vec<(usize, usize)> = instructions
        .map(|instruction| (instruction.span.start().line, instruction.span.end().line))
        .collect();
    assert_eq!(lines, [(5, 5), (11, 12), (17, 31)]);
}

#[test]
fn expansions_equal_buildkits_d1() {
    let Some(file) = cases("shell/envVarTest") else {
        return;
    };
    let environment = Environment::from_assignments(["PWD=/home", "SHELL=bash", "KOREAN=한국어", "NULL="]);
    for line in fs::read_to_string(file).unwrap().lines() {
        let [platform, source, expected] = line.split('|').map(str::trim).collect::<Vec<_>>()[..] else {
            continue;
        };
        if platform.starts_with('#') || platform == "W" {
            continue;
        }
        let found = Expander::new('\\').text(source, &environment);
        let found = found.map_or_else(|_| "error".to_owned(), |expansion| expansion.text);
        assert_eq!(found, expected, "{line}");
    }
}

#[test]
fn words_equal_buildkits_d6() {
    let Some(file) = cases("shell/wordsTest") else {
        return;
    };
    let mut environment = Environment::default();
    for line in fs::read_to_string(file).unwrap().lines() {
        if line.starts_with('#') {
            continue;
        }
        if let Some((name, value)) = line.strip_prefix("ENV ").and_then(|line| line.split_once('=')) {
            environment.set(name, value);
            continue;
        }
        let (source, expected) = line.split_once('|').unwrap();
        let expected: Vec<&str> = expected.trim_start_matches(' ').split(',').collect();
        let found = Expander::new('\\').words(source.trim(), &environment);
        assert_eq!(
            found.unwrap_or_else(|_| vec!["error".to_owned()]),
            expected,
            "{line}"
        );
    }
}
