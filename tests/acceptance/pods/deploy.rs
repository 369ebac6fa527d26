//! The files that people copy from `deploy/`: their command lines, and what the tools that they are for say of them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::peers::{file, peer};
use crate::support::{Invocation, Machine};

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)
}

fn documents(path: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&fs::read_to_string(deploy(path)).unwrap()).unwrap()
}

/// All texts of a document in the order of their keys.
fn texts<'a>(value: &'a Value, into: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => into.push(text),
        Value::Array(values) => values.iter().for_each(|value| texts(value, into)),
        Value::Object(values) => values.values().for_each(|value| texts(value, into)),
        _ => {}
    }
}

/// The words of a line of a script as a shell would part them, as far as ours go: quotes and pipes.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut is_quoted) = (vec![String::new()], false);
    for character in line.chars() {
        match character {
            '"' => is_quoted = !is_quoted,
            ' ' if !is_quoted => words.push(String::new()),
            _ => words.last_mut().unwrap().push(character),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The commands of ours that a file holds: as a list of words, or as lines of a script.
fn commands(path: &str) -> Vec<Vec<String>> {
    const OURS: [&str; 5] = [
        "lifecycle",
        "/kaniko/lifecycle",
        "/kaniko/executor",
        "/cnb/lifecycle/lifecycle",
        "/cnb/lifecycle/creator",
    ];
    fn lists(value: &Value, into: &mut Vec<Vec<String>>) {
        match value {
            Value::Array(values)
                if values
                    .first()
                    .is_some_and(|first| OURS.iter().any(|own| first == own)) =>
            {
                into.push(
                    values
                        .iter()
                        .map(|word| word.as_str().unwrap().to_owned())
                        .collect(),
                );
            }
            Value::Array(values) => values.iter().for_each(|value| lists(value, into)),
            Value::Object(values) => values.values().for_each(|value| lists(value, into)),
            _ => {}
        }
    }
    let mut commands = Vec::new();
    for document in documents(path) {
        lists(&document, &mut commands);
        let mut lines = Vec::new();
        texts(&document, &mut lines);
        for line in lines.iter().flat_map(|text| text.lines()).map(words) {
            let own = line.iter().position(|word| OURS.contains(&word.as_str()));
            commands.extend(own.filter(|_| line.len() > 1).map(|at| line[at..].to_vec()));
        }
    }
    commands
}

#[test]
fn every_option_that_people_copy_is_one_of_ours() {
    let machine = Machine::new();
    for tool in ["lifecycle", "executor", "creator"] {
        symlink(env!("CARGO_BIN_EXE_lifecycle"), machine.path(tool)).unwrap();
    }
    for path in [
        "tekton/buildpacks.yaml",
        "tekton/dockerfile.yaml",
        "skaffold/skaffold.yaml",
        "ci/github.yml",
        "ci/gitlab-ci.yml",
        "kubernetes/job-restricted.yaml",
        "kubernetes/job-host-users.yaml",
        "kubernetes/job-with-volume.yaml",
        "kubernetes/job-buildpacks.yaml",
        "kubernetes/cronjob.yaml",
    ] {
        let commands = commands(path);
        assert!(!commands.is_empty(), "{path}");
        for command in commands {
            let (program, words) = command.split_first().unwrap();
            let tool = Path::new(program).file_name().unwrap().to_str().unwrap();
            // Help is what is asked for after everything else was understood; what is wrong before it is an error.
            let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
            let first = words.iter().position(|word| !word.starts_with('-'));
            let tail = if tool == "creator" {
                words.split_off(first.unwrap())
            } else {
                Vec::new()
            };
            let run = |more: &[&str]| {
                let program = machine.path(tool);
                let invocation = Invocation::new(program, &[&words[..], more, &tail[..]].concat());
                invocation.env("CNB_PLATFORM_API", "0.12").run()
            };
            let finished = run(&["--help"]);
            let wrong = run(&["--no-such", "--help"]);
            assert!(wrong.text().contains("no-such"), "{path}: {command:?}");
            for fault in ["error:", "not defined", "unknown", "invalid value"] {
                assert!(
                    !finished.text().contains(fault),
                    "{path}: {command:?}\n{}",
                    finished.text()
                );
            }
        }
    }
}

#[test]
fn published_schemas_take_what_people_copy() {
    let check = |words: &[&str], path: &str| {
        let judged = deploy(path);
        let words = [words, &[judged.to_str().unwrap()]].concat();
        if let Some(judge) = peer("check-jsonschema", &words) {
            judge.succeeds();
        }
    };
    check(&["--builtin-schema", "vendor.github-workflows"], "ci/github.yml");
    check(
        &[
            "--builtin-schema",
            "vendor.gitlab-ci",
            "--data-transform",
            "gitlab-ci",
        ],
        "ci/gitlab-ci.yml",
    );
    if let Some(schema) = file("skaffold-v4beta13.json") {
        check(
            &["--schemafile", schema.to_str().unwrap()],
            "skaffold/skaffold.yaml",
        );
    }
}
