//! The command line as a user meets it: help, errors, exit codes.

#![expect(clippy::unwrap_used, reason = "a test")]

mod creator;
#[path = "../support/executable.rs"]
#[expect(dead_code, reason = "shared with tests that copy programs")]
mod executable;
mod phases;

use std::path::Path;

use snapbox::cmd::{Command, cargo_bin};
use snapbox::str;

/// The program without anything of this machine's environment, and with a store of its own.
pub(crate) fn lifecycle(directory: &Path) -> Command {
    Command::new(cargo_bin!("lifecycle"))
        .env_clear()
        .env("LIFECYCLE_STORE", directory.join("store"))
        .current_dir(directory)
}

pub(crate) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn version_says_the_version() {
    let version = concat!("lifecycle ", env!("CARGO_PKG_VERSION"), "\n");
    let directory = scratch();
    lifecycle(directory.path())
        .arg("--version")
        .assert()
        .success()
        .stdout_eq(version)
        .stderr_eq("");
    assert!(!directory.path().join("store").exists());
}

#[test]
fn dockerfile_as_the_last_word_is_the_usual_file() {
    let directory = scratch();
    fs_err::write(directory.path().join("Dockerfile"), "FROM scratch\nENV A=1\n").unwrap();
    for words in [
        &["build", ".", "--tag", "app", "--dockerfile"][..],
        &["build", ".", "--tag", "app", "-f"],
    ] {
        lifecycle(directory.path()).args(words).assert().success();
    }
}

#[test]
fn every_command_explains_itself_with_an_example() {
    let directory = scratch();
    for words in [
        "build",
        "run",
        "inspect",
        "sbom",
        "push",
        "pull",
        "copy",
        "tag",
        "images",
        "rmi",
        "cache ls",
        "cache prune",
        "cache verify",
        "stack create",
        "stack list",
        "stack inspect",
        "builder create",
        "builder inspect",
        "doctor",
        "completions",
        "man",
    ] {
        let output = lifecycle(directory.path())
            .args(words.split(' '))
            .arg("--help")
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{words}");
        assert!(text.contains(&format!("Usage: lifecycle {words}")), "{text}");
        let example = format!("  lifecycle {words}");
        assert!(
            text.contains("\nExample") && text.lines().any(|line| line.starts_with(&example)),
            "{text}"
        );
        assert!(text.lines().all(|line| line.chars().count() <= 110), "{text}");
    }
}

#[test]
fn help_of_tag() {
    lifecycle(scratch().path())
        .args(["tag", "-h"])
        .assert()
        .success()
        .stdout_eq(str![[r#"
Give an image of the store another name

Usage: lifecycle tag [OPTIONS] <IMAGE> <NAMES>...

Arguments:
  <IMAGE>     Present name or digest
  <NAMES>...  New names

Options:
...
Registry options:
...
Example:
  lifecycle tag demo registry.example.com/me/demo:1

"#]]);
}

#[test]
fn errors_say_what_to_do_next() {
    let directory = scratch();
    let run = |words: &str| {
        lifecycle(directory.path())
            .args(words.split(' '))
            .assert()
            .code(1)
            .stdout_eq("")
    };
    run("tag r.test/nope other").stderr_eq(str![[r#"
error[not-found]: the store has no image r.test/nope:latest
 |
 = help: `lifecycle images` lists what the store has

"#]]);
    run("copy oci:missing oci:other").stderr_eq(str![[r#"
error[not-found]: cannot open the OCI layout missing
 |
 = caused by: failed to open file `missing/oci-layout`: No such file or directory (os error 2)

"#]]);
    run("pull Upper").stderr_eq(str![[r#"
error[failed]: "Upper" does not name an image: the repository must be in lower case

"#]]);
    run("builder create -t b -o nowhere debian-12").stderr_eq(str![[r#"
error[output]: "nowhere" is no place for an image
 |
 = help: --output is store, registry, oci:DIR, oci-archive:FILE, docker-archive:FILE, or attributes: type=image|registry|oci|docker|local|tar,…; --tag names the image

"#]]);
}

/// An app with a Dockerfile that needs no command, and that has the two stages of the example.
fn dockerfile(directory: &Path) {
    let text =
        "FROM scratch AS final\nARG VERSION\nENV RELEASE=$VERSION\nCOPY a.txt /\nFROM scratch\nCOPY none /\n";
    fs_err::write(directory.join("Dockerfile"), text).unwrap();
    fs_err::write(directory.join("a.txt"), "content\n").unwrap();
}

#[test]
fn the_example_of_a_dockerfile_works_as_help_shows_it() {
    let directory = scratch();
    dockerfile(directory.path());
    let example = "build . -t demo --dockerfile --build-arg VERSION=1 --target final";
    let help = lifecycle(directory.path())
        .args(["build", "--help"])
        .output()
        .unwrap();
    assert!(String::from_utf8(help.stdout).unwrap().contains(example));
    lifecycle(directory.path())
        .args(example.split(' '))
        .assert()
        .success();
    let inspected = lifecycle(directory.path())
        .args(["inspect", "demo", "--output", "json"])
        .output()
        .unwrap();
    assert!(
        String::from_utf8(inspected.stdout)
            .unwrap()
            .contains(r#""RELEASE=1""#)
    );
}

#[test]
fn an_option_of_another_kind_of_build_is_an_error() {
    let directory = scratch();
    fs_err::create_dir(directory.path().join("app")).unwrap();
    dockerfile(directory.path());
    let refused = |words: &[&str], message: &str| {
        let assert = lifecycle(directory.path())
            .args(["build", "-t", "demo"])
            .args(words)
            .assert();
        assert.code(2).stdout_eq("").stderr_eq(message.to_owned());
    };
    refused(
        &["app", "--label", "a=b"],
        "error[option]: --label means nothing to a build with buildpacks
 |
 = help: it is for builds of a Dockerfile: --dockerfile asks for one
",
    );
    refused(
        &[".", "--env", "A=b"],
        "building ./Dockerfile; --buildpacks-only uses buildpacks instead
error[option]: --env means nothing to a build of a Dockerfile
 |
 = help: it is for builds with buildpacks: --buildpacks-only asks for one
",
    );
    refused(
        &[".", "-f", "Dockerfile", "--on", "kubernetes", "--ssh", "default"],
        "error[option]: --ssh means nothing to a build of a Dockerfile on a cluster: the socket of an agent does not reach into a pod
 |
 = help: leave it out, or build here, without --on kubernetes
",
    );
    refused(
        &[
            "https://git.example.com/app.git",
            "-f",
            "Dockerfile",
            "--on",
            "kubernetes",
            "--gitignore",
        ],
        "error[option]: --gitignore means nothing to a source that the pod fetches by itself
 |
 = help: leave it out, or name a directory of this machine
",
    );
    refused(
        &["app", "--namespace", "builds"],
        "error[option]: --namespace means nothing to a build with buildpacks
 |
 = help: it is for builds on a cluster: --on kubernetes asks for one
",
    );
}

#[test]
fn buildpacks_of_a_project_are_not_forgotten_on_a_cluster() {
    let directory = scratch();
    let project = "[_]\nschema-version = '0.2'\n[[io.buildpacks.group]]\nid = 'a'\n";
    fs_err::write(directory.path().join("project.toml"), project).unwrap();
    let words = [
        "build",
        ".",
        "-t",
        "demo",
        "--on",
        "kubernetes",
        "--dry-run",
        "--builder",
        "b",
    ];
    let refused = lifecycle(directory.path()).args(words).assert().code(1);
    refused.stdout_eq("").stderr_eq(str![[r#"
error[on-kubernetes]: project.toml says which buildpacks to use, which a build on a cluster does not read
 |
 = help: name those of the builder with --buildpack, or build here

"#]]);
}

#[test]
fn a_flaw_in_a_file_is_pointed_at() {
    let directory = scratch();
    std::fs::write(directory.path().join("stack.toml"), "schema = 1\nid = 3\n").unwrap();
    lifecycle(directory.path())
        .args(["stack", "inspect", "stack.toml"])
        .assert()
        .code(1)
        .stderr_eq(str![[r#"
error[document]: invalid type: integer `3`, expected a string
 --> stack.toml:2:6
  |
2 | id = 3
  |      ^ [..]

"#]]);
}

#[test]
fn errors_are_json_on_request() {
    let output = lifecycle(scratch().path())
        .args(["push", "nope", "--log-format", "json"])
        .output()
        .unwrap();
    let line: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(line["event"], "diagnostic");
    assert_eq!(line["diagnostic"]["code"], "not-found");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let directory = scratch();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let program = std::process::Command::new(cargo_bin!("lifecycle"))
        .args(["completions", "bash"])
        .env("LIFECYCLE_STORE", directory.path().join("store"))
        .stdout(writer)
        .stderr(std::process::Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(program.status.code(), Some(141));
    assert_eq!(String::from_utf8_lossy(&program.stderr), "");
}

#[test]
fn an_empty_store_is_no_error() {
    let directory = scratch();
    lifecycle(directory.path())
        .args(["images", "--output", "json"])
        .assert()
        .success()
        .stdout_eq("[]\n");
    lifecycle(directory.path())
        .args(["cache", "verify"])
        .assert()
        .success()
        .stdout_eq(str![[r#"
0 blobs (0 B) and 0 extracted layers checked, all whole

"#]]);
    lifecycle(directory.path())
        .args(["cache", "prune"])
        .assert()
        .success()
        .stdout_eq(str![[r#"
freed 0 B (0 entries)

"#]]);
}

#[test]
fn manual_pages_are_written_for_every_command() {
    let directory = scratch();
    lifecycle(directory.path())
        .args(["man", "pages"])
        .assert()
        .success();
    for page in ["lifecycle.1", "lifecycle-build.1", "lifecycle-cache-prune.1"] {
        assert!(directory.path().join("pages").join(page).is_file(), "{page}");
    }
}
