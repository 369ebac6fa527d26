//! `lifecycle build` with input that is wrong: what is said can be acted on.

use crate::support::images::RUN;
use crate::support::{Machine, assert_matches};

#[test]
fn no_fitting_buildpack_is_exit_20_with_what_each_one_looked_for() {
    let machine = Machine::with_builder();
    let build = machine.build(
        &machine.app(),
        &["--buildpack", "fx-noop,fx-fail-detect", "--tag", "build/none"],
    );
    let failed = build
        .fails(20)
        .says("fx-fail-detect: looked for nothing, found nothing");
    assert_matches(&failed, &machine, "no-buildpack-fits.txt");
}

#[test]
fn a_broken_detection_is_exit_21() {
    let machine = Machine::with_builder();
    let build = machine.build(
        &machine.app(),
        &["--buildpack", "fx-error-detect", "--tag", "build/error"],
    );
    build.fails(21).says("fx-error-detect: something is broken");
}

#[test]
fn a_failing_buildpack_is_exit_51_with_its_last_words() {
    let machine = Machine::with_builder();
    let build = machine.build(
        &machine.app(),
        &["--buildpack", "fx-fail-build", "--tag", "build/fails"],
    );
    let failed = build
        .fails(51)
        .says("last words on stdout")
        .says("last words on stderr")
        .says("fx-fail-build");
    // What the buildpack itself ended with helps whoever debugs it.
    failed.says("7");
    machine.lifecycle(&["inspect", "store:build/fails"]).fails(1);
}

#[test]
fn a_syntax_error_is_shown_with_file_line_and_column() {
    let machine = Machine::with_builder();
    let app = machine.files(
        "broken",
        &[("project.toml", "[_]\nschema-version = \"0.2\"\n[io.buildpacks\n")],
    );
    let failed = machine.build(&app, &["--tag", "build/broken"]).run();
    assert!(!failed.status().success());
    assert_matches(&failed, &machine, "syntax-error.txt");
    failed.says("project.toml:3:15").says("[io.buildpacks");
}

#[test]
fn a_file_that_leads_out_of_the_source_is_not_read_unasked() {
    let machine = Machine::with_builder();
    let app = machine.app();
    machine.files("outside", &[("netrc", "machine a.test password canary\n")]);
    std::os::unix::fs::symlink("../outside/netrc", app.join("project.toml")).unwrap();
    machine
        .build(&app, &["--tag", "broken/app"])
        .fails(1)
        .says("project.toml is a link that leads out of the source")
        .does_not_say("canary");
    // A Dockerfile that nobody names neither, while one that is named is read wherever it lies.
    std::os::unix::fs::symlink("../outside/netrc", app.join("Dockerfile")).unwrap();
    let source = app.to_str().unwrap();
    machine
        .lifecycle(&["build", source, "--tag", "broken/app"])
        .fails(1)
        .says("Dockerfile is a link that leads out of the source")
        .does_not_say("canary");
    let named = format!("{source}/Dockerfile");
    machine
        .lifecycle(&["build", source, "--dockerfile", &named, "--tag", "broken/app"])
        .fails(1)
        .says("unknown instruction: machine");
    std::fs::remove_file(app.join("Dockerfile")).unwrap();
    // Nor what describes a buildpack of the project.
    let uri = "[_]\nschema-version = \"0.2\"\n[[io.buildpacks.group]]\nuri = \"./folder\"\n";
    std::fs::remove_file(app.join("project.toml")).unwrap();
    std::fs::write(app.join("project.toml"), uri).unwrap();
    std::os::unix::fs::symlink("../../outside/netrc", app.join("folder/buildpack.toml")).unwrap();
    machine
        .build(&app, &["--tag", "broken/app"])
        .fails(1)
        .says("buildpack.toml is a link that leads out of the source")
        .does_not_say("canary");
    std::fs::remove_file(app.join("project.toml")).unwrap();
    // One that stays inside is as good as a file.
    std::fs::write(app.join("folder/own.toml"), "unknwon = 1\n").unwrap();
    std::os::unix::fs::symlink("folder/own.toml", app.join("project.toml")).unwrap();
    machine
        .build(&app, &["--tag", "broken/app"])
        .succeeds()
        .says("unknwon");
}

#[test]
fn an_unknown_key_in_project_toml_is_a_warning() {
    let machine = Machine::with_builder();
    let app = machine.files(
        "unknown",
        &[("project.toml", "[_]\nschema-version = \"0.2\"\nunknwon = 1\n")],
    );
    machine
        .build(&app, &["--tag", "build/unknown"])
        .succeeds()
        .says("warning")
        .says("unknwon");
}

#[test]
fn a_missing_source_is_named() {
    let machine = Machine::with_builder();
    let path = machine.path("not-there");
    machine
        .build(&path, &["--tag", "build/missing"])
        .fails(1)
        .says(path.to_str().unwrap());
    let file = machine.files("file", &[("app", "")]).join("app");
    machine
        .build(&file, &["--tag", "build/missing"])
        .fails(1)
        .says("directory");
}

#[test]
fn an_unknown_buildpack_or_builder_is_named() {
    let machine = Machine::with_builder();
    let app = machine.app();
    machine
        .build(&app, &["--buildpack", "fx-nothing", "--tag", "build/unknown"])
        .fails(1)
        .says("fx-nothing");
    machine
        .build(&app, &["--buildpack", "fx-noop@9.9.9", "--tag", "build/unknown"])
        .fails(1)
        .says("fx-noop@9.9.9");
    let no_builder = machine.lifecycle(&[
        "build",
        app.to_str().unwrap(),
        "--builder",
        RUN,
        "--tag",
        "build/unknown",
    ]);
    no_builder.fails(1).says("not a builder").says(RUN);
}
