//! What ends a start before there is a process, and with which exit code.

use std::fs;

use crate::image::{Image, failed, new_image, stdout};

#[test]
fn platform_api_is_checked_first_gen_01_lau_15() {
    // Nothing else is there, and nothing else is complained about.
    let image = Image::new();
    for (api, text) in [
        (
            None,
            "ERROR: failed to get platform API version; please set 'CNB_PLATFORM_API' to specify the desired platform API version\n",
        ),
        (Some("x"), "ERROR: failed to parse platform API 'x'\n"),
        (
            Some("0.2"),
            "ERROR: failed to set platform API: platform API version '0.2' is incompatible with the lifecycle\n",
        ),
    ] {
        let mut command = image.command("web");
        fs::remove_file(image.path("layers/config/metadata.toml")).unwrap();
        match api {
            Some(api) => command.env("CNB_PLATFORM_API", api),
            None => command.env_remove("CNB_PLATFORM_API"),
        };
        assert_eq!(failed(command.output().unwrap()), (11, text.to_owned()));
    }
}

#[test]
fn buildpack_apis_are_checked_lau_15() {
    for (api, text) in [
        (
            "0.2",
            "ERROR: failed to set API for buildpack 'acme/a@1': buildpack API version '0.2' is incompatible with the lifecycle\n",
        ),
        (
            "",
            "ERROR: failed to parse buildpack API '<nil>' for buildpack 'acme/a@1'\n",
        ),
    ] {
        let image = new_image()
            .buildpack("acme/a", api)
            .env_process("web", "acme/new");
        assert_eq!(failed(image.run("web", &[])), (12, text.to_owned()));
    }
}

#[test]
fn missing_or_broken_metadata_is_82() {
    let image = new_image();
    let mut command = image.command("web");
    fs::remove_file(image.path("layers/config/metadata.toml")).unwrap();
    let (code, text) = failed(command.output().unwrap());
    assert_eq!(code, 82);
    assert!(text.starts_with("ERROR: failed to launch: read /"), "{text}");

    let image = new_image().process("web", "command = 1");
    let (code, text) = failed(image.run("web", &[]));
    assert_eq!(code, 82);
    assert!(
        text.ends_with("metadata.toml:7:11: `command` must be a list of strings, not an integer\n"),
        "{text}"
    );
}

#[test]
fn a_process_that_does_not_exist_is_82_lau_06() {
    let image = new_image().env_process("web", "acme/new");
    let (code, text) = failed(image.run("worker", &[]));
    assert_eq!(code, 82);
    assert!(
        text.contains("no process type was named and no command was given; processes in this image: web"),
        "{text}"
    );
}

#[test]
fn a_program_that_does_not_exist_is_82_lau_14() {
    let image = new_image().process(
        "web",
        "command = ['no-such-program']\ndirect = true\nbuildpack-id = 'acme/new'",
    );
    let (code, text) = failed(image.run("web", &[]));
    let expected = "ERROR: failed to launch: path lookup: `no-such-program` is no executable file in PATH (/usr/bin:/bin)\n";
    assert_eq!((code, text.as_str()), (82, expected));
}

#[test]
fn preparation_has_an_order_lau_07() {
    let image = Image::new()
        .buildpack("acme/a", "0.8")
        .directory("app/sub")
        .file("layers/acme_a/l/env.launch/SEEN", "env,")
        .program(
            "layers/acme_a/l/exec.d/x",
            "#!/bin/sh\necho \"SEEN = '${SEEN}exec.d,'\" >&3\n",
        )
        .file(
            "layers/acme_a/l/profile.d/x.sh",
            "export SEEN=${SEEN}profile.d,\n",
        )
        .file("app/.profile", "export SEEN=${SEEN}.profile,${PWD##*/},\n")
        .process(
            "web",
            "command = 'echo $SEEN${PWD##*/}'\ndirect = false\nbuildpack-id = 'acme/a'\nworking-dir = 'sub'",
        );
    assert_eq!(
        stdout(image.run("web", &[])),
        "env,exec.d,profile.d,.profile,app,sub\n"
    );
}
