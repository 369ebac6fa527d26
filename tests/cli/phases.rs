//! The phases as their programs: names, flags, errors, exit codes.

use std::os::unix::fs::symlink;
use std::path::Path;

use snapbox::cmd::{Command, cargo_bin};
use snapbox::str;

use crate::executable::write_program;
use crate::{lifecycle, scratch};

/// The program under the name of a phase.
pub(crate) fn phase(name: &str, directory: &Path) -> Command {
    let link = directory.join(name);
    if !link.exists() {
        symlink(cargo_bin!("lifecycle"), &link).unwrap();
    }
    Command::new(link)
        .env_clear()
        .env("CNB_PLATFORM_API", "0.12")
        .env("CNB_NO_COLOR", "true")
        .current_dir(directory)
}

/// All phases, by the names of their programs.
const PHASES: [&str; 8] = [
    "analyzer", "detector", "restorer", "extender", "builder", "exporter", "creator", "rebaser",
];

#[test]
fn the_platform_api_comes_first_gen_01_x_01() {
    let directory = scratch();
    for (api, text) in [
        (
            "",
            "failed to get platform API version; please set 'CNB_PLATFORM_API' to specify the desired platform API version",
        ),
        ("x", "failed to parse platform API 'x'"),
        (
            "0.99",
            "failed to set platform API: platform API version '0.99' is incompatible with the lifecycle",
        ),
    ] {
        for name in PHASES {
            let run = phase(name, directory.path())
                .env("CNB_PLATFORM_API", api)
                .arg("-nope");
            run.assert()
                .code(11)
                .stdout_eq("")
                .stderr_eq(format!("ERROR: {text}\n\n"));
        }
    }
}

#[test]
fn every_phase_says_its_version_and_does_without_colours_gen_11() {
    let directory = scratch();
    for name in PHASES {
        phase(name, directory.path())
            .arg("-version")
            .assert()
            .success()
            .stdout_eq(concat!(env!("CARGO_PKG_VERSION"), "\n"))
            .stderr_eq("");
        for (variable, flags, start) in [
            ("false", &[][..], "\u{1b}[1;31mERROR:"),
            ("true", &[], "ERROR:"),
            ("false", &["-no-color"], "ERROR:"),
        ] {
            let failing = phase(name, directory.path()).env("CNB_NO_COLOR", variable);
            let output = failing.args(flags).args(["-log-level", "loud"]).output().unwrap();
            let text = String::from_utf8(output.stderr).unwrap();
            assert!(text.starts_with(start), "{name} {variable} {flags:?}: {text:?}");
        }
    }
}

#[test]
fn flags_are_gos_1_1() {
    let directory = scratch();
    let run = |name: &str, words: &str| phase(name, directory.path()).args(words.split(' ')).assert();
    run("analyzer", "-version")
        .success()
        .stdout_eq(concat!(env!("CARGO_PKG_VERSION"), "\n"));
    run("detector", "-h").success().stderr_eq(str![[r#"
Usage of detector:
  -analyzed string
    	path to analyzed.toml (default "<layers>/analyzed.toml") [$CNB_ANALYZED_PATH]
...
"#]]);
    run("detector", "-uid 1").code(2).stderr_eq(str![[r#"
flag provided but not defined: -uid
Usage of detector:
...
"#]]);
    run("exporter", "-daemon=maybe x").code(2).stderr_eq(str![[r#"
invalid boolean value "maybe" for -daemon: parse error
Usage of exporter:
...
"#]]);
}

#[test]
fn wrong_arguments_end_with_3_1_3() {
    let directory = scratch();
    for (name, words, text) in [
        (
            "analyzer",
            "a b",
            "failed to parse arguments: received 2 arguments, but expected 1",
        ),
        (
            "creator",
            "-skip-restore",
            "failed to parse arguments: received 0 arguments, but expected 1",
        ),
        (
            "detector",
            "x",
            "failed to parse arguments: received unexpected arguments",
        ),
        (
            "builder",
            "x",
            "failed to parse arguments: received unexpected arguments",
        ),
        (
            "restorer",
            "x",
            "failed to parse arguments: received unexpected Args",
        ),
        ("exporter", "-tag", "flag"),
        (
            "exporter",
            "-run-image r x",
            "failed to resolve inputs: -run-image is unsupported",
        ),
        (
            "exporter",
            "-image r x",
            "failed to resolve inputs: -image is unsupported",
        ),
        (
            "exporter",
            "-layers l",
            "failed to parse arguments: at least one image argument is required",
        ),
        (
            "rebaser",
            "-run-image a -image b x",
            "failed to resolve inputs: supply only one of -run-image or (deprecated) -image",
        ),
    ] {
        let assert = phase(name, directory.path()).args(words.split(' ')).assert();
        if text == "flag" {
            assert.code(2);
        } else {
            assert.code(3).stderr_eq(format!("ERROR: {text}\n\n"));
        }
    }
}

#[test]
fn the_phases_have_verbs_and_the_launcher_is_another_program_gen_08() {
    let directory = scratch();
    let verb = |words: &str| {
        lifecycle(directory.path())
            .env("CNB_PLATFORM_API", "0.12")
            .env("NO_COLOR", "1")
            .args(words.split(' '))
            .assert()
    };
    verb("restore x")
        .code(3)
        .stderr_eq("ERROR: failed to parse arguments: received unexpected Args\n\n");
    verb("build -log-level loud").code(1).stderr_eq(str![[r#"
ERROR: failed to parse log level: "loud" is not a level: it is one of debug, info, warn, error and fatal


"#]]);
    phase("launcher", directory.path()).assert().code(82).stderr_eq(str![[r#"
ERROR: failed to launch: the launcher is a program of its own; app images have it as /cnb/lifecycle/launcher, `lifecycle run` starts them


"#]]);
    phase("extender", directory.path())
        .assert()
        .code(102)
        .stderr_eq("ERROR: failed to extend: [..]\n\n");
}

#[test]
fn credentials_that_cannot_be_read_are_told_without_them_1_10() {
    let directory = scratch();
    let run = phase("exporter", directory.path())
        .env("CNB_REGISTRY_AUTH", "{s3cr3t")
        .arg("r.test/x");
    run.assert().code(1).stderr_eq(str![[r#"
ERROR: failed to resolve keychain: failed to parse CNB_REGISTRY_AUTH value: cannot use the credentials in CNB_REGISTRY_AUTH: it is not valid JSON at line 1, column 2


"#]]);
}

#[test]
fn layouts_are_an_experiment_mode_01() {
    let directory = scratch();
    let run = |mode: &str| {
        phase("exporter", directory.path())
            .env("CNB_EXPERIMENTAL_MODE", mode)
            .args([
                "-layers",
                "layers",
                "-layout",
                "-layout-dir",
                "layouts",
                "r.test/x",
            ])
            .assert()
    };
    run("").code(1).stderr_eq(str![[r#"
Warning: Platform requested experimental feature 'export to OCI layout format'
ERROR: failed to resolve inputs: experimental features are disabled by CNB_EXPERIMENTAL_MODE=error


"#]]);
    // It gets further: to the files of a build that there never was.
    run("silent").code(62).stderr_eq(
        "ERROR: failed to export: failed to open file `[..]`: No such file or directory (os error 2)\n\n",
    );
}

#[test]
fn what_layouts_need_and_exclude_an_12_an_13() {
    let directory = scratch();
    for (flags, error) in [
        (
            &["-layout", "-daemon"][..],
            "failed to resolve inputs: -daemon and -layout exclude each other",
        ),
        (
            &["-layout"],
            "failed to resolve inputs: -layout-dir is required with -layout",
        ),
        (
            &["-layout", "-layout-dir", "layouts", "-run", "run.toml"],
            "failed to resolve inputs: -run-image is required when there is no run metadata available",
        ),
    ] {
        // The launch cache is for daemons only.
        let warning = if flags.contains(&"-daemon") {
            ""
        } else {
            "Warning: Ignoring -launch-cache, only intended for use with -daemon\n"
        };
        phase("analyzer", directory.path())
            .env("CNB_EXPERIMENTAL_MODE", "silent")
            .args(["-layers", "layers", "-launch-cache", "launch-cache"])
            .args(flags)
            .arg("r.test/app")
            .assert()
            .code(3)
            .stderr_eq(format!("{warning}ERROR: {error}\n\n"));
    }
}

#[test]
fn a_daemon_on_another_machine_is_asked_through_the_ssh_on_the_path() {
    let directory = scratch();
    let (program, arguments) = (
        directory.path().join("bin/ssh"),
        directory.path().join("arguments"),
    );
    let script = format!(
        "#!/bin/sh\necho \"$@\" >{}\necho no route >&2\nexit 255\n",
        arguments.display()
    );
    write_program(&program, &script);
    let path = format!("{}/bin:/usr/bin:/bin", directory.path().display());
    // What ssh says on its own behalf is for people to read.
    phase("analyzer", directory.path())
        .env("PATH", path)
        .env("DOCKER_HOST", "ssh://me@there")
        .args(["-daemon", "-layers", "layers", "-run-image", "x", "y"])
        .assert()
        .code(1)
        .stderr_eq(
            "no route\nERROR: failed to initialize docker client: cannot reach a daemon at ssh://me@there; is it running, and may this user open its socket?: the connection was closed before an answer came\n\n",
        );
    assert_eq!(
        fs_err::read_to_string(arguments).unwrap(),
        "-o ConnectTimeout=30 -T -l me -- there docker system dial-stdio\n"
    );
}
