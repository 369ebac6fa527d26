//! Which program is started, where, with which arguments, and how it ends.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::image::{environment_in, failed, new_image, stdout, succeeded, value};

#[test]
fn user_processes_have_no_type_lau_17() {
    let image = new_image()
        .file("layers/acme_new/l/env.launch/ALL", "1")
        .file("layers/acme_new/l/env.launch/launcher/TYPED", "1");
    let environment = environment_in(&succeeded(image.run("launcher", &["--", "env", "-0"])));
    assert_eq!(value(&environment, "ALL"), Some("1".into()));
    assert_eq!(value(&environment, "TYPED"), None);
}

#[test]
fn arguments_are_replaced_or_appended_lau_04_lau_05() {
    let command = "command = ['printf', '%s,']\nargs = ['default']\ndirect = true\nbuildpack-id = 'acme/new'";
    let image = new_image().process("web", command);
    assert_eq!(stdout(image.run("web", &[])), "default,");
    assert_eq!(stdout(image.run("web", &["a b", "c"])), "a b,c,");
    let old = image
        .command("web")
        .env("CNB_PLATFORM_API", "0.9")
        .arg("user")
        .output()
        .unwrap();
    assert_eq!(stdout(old), "default,user,");
}

#[test]
fn working_dir_is_below_the_app_lau_03() {
    let image = new_image()
        .directory("app/sub")
        .process(
            "web",
            "command = ['pwd']\ndirect = true\nbuildpack-id = 'acme/new'\nworking-dir = 'sub'",
        )
        .process(
            "gone",
            "command = ['pwd']\ndirect = true\nbuildpack-id = 'acme/new'\nworking-dir = 'gone'",
        );
    let app = fs::canonicalize(image.path("app")).unwrap();
    assert_eq!(
        Path::new(stdout(image.run("web", &[])).trim_end()),
        app.join("sub")
    );
    assert_eq!(
        Path::new(stdout(image.run("launcher", &["--", "pwd"])).trim_end()),
        app
    );
    let (code, text) = failed(image.run("gone", &[]));
    assert_eq!(code, 82);
    assert!(
        text.contains("change to directory") && text.contains("/app/gone: "),
        "{text}"
    );
}

#[test]
fn a_relative_program_is_found_in_the_working_dir() {
    let image = new_image()
        .program("app/sub/run", "#!/bin/sh\necho \"$0\"\n")
        .process(
            "web",
            "command = ['./run']\ndirect = true\nbuildpack-id = 'acme/new'\nworking-dir = 'sub'",
        );
    assert_eq!(stdout(image.run("web", &[])), "./run\n");
}

#[test]
fn execution_environments_lau_02() {
    let image = new_image().process(
        "web",
        "command = ['echo', 'ok']\ndirect = true\nbuildpack-id = 'acme/new'\nexec-env = ['test']",
    );
    let run = |api: &str, env: &str| {
        image
            .command("web")
            .env("CNB_PLATFORM_API", api)
            .env("CNB_EXEC_ENV", env)
            .output()
            .unwrap()
    };
    assert_eq!(stdout(run("0.15", "test")), "ok\n");
    assert_eq!(stdout(run("0.14", "production")), "ok\n");
    let (code, text) = failed(run("0.15", ""));
    assert_eq!(code, 82);
    assert!(
        text.contains("is for the execution environments test, not for `production`"),
        "{text}"
    );
}

/// Whoever starts a container may pass descriptors in (socket activation). They are for the process.
#[test]
fn a_descriptor_3_of_the_container_stays_for_the_process() {
    let image = new_image()
        .program(
            "layers/acme_new/l/exec.d/x",
            "#!/bin/sh\necho \"A = 'set'\" >&3\n",
        )
        .process(
            "web",
            "command = ['sh', '-c', 'echo $A; cat <&3']\ndirect = true\nbuildpack-id = 'acme/new'",
        );
    let launcher = image.command("web");
    let mut sh = Command::new("/bin/sh");
    sh.env_clear().envs(
        launcher
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    sh.args(["-c", "echo given | { exec 3<&0 </dev/null; exec \"$0\"; }"])
        .arg(launcher.get_program());
    assert_eq!(stdout(sh.output().unwrap()), "set\ngiven\n");
}

#[test]
fn the_process_passes_its_own_status_on() {
    let image = new_image();
    assert_eq!(
        image.run("launcher", &["--", "sh", "-c", "exit 3"]).status.code(),
        Some(3)
    );
}

#[test]
fn the_name_that_counts_is_argv_0_lau_01() {
    let image = new_image().process(
        "web",
        "command = ['echo', 'web']\ndirect = true\nbuildpack-id = 'acme/new'",
    );
    let output = image.command("launcher").arg0("/elsewhere/web").output().unwrap();
    assert_eq!(stdout(output), "web\n");
}

#[test]
fn programs_are_looked_up_where_layers_put_them_lau_14() {
    let image = new_image()
        .program("layers/acme_new/l/bin/tool", "#!/bin/sh\necho \"$0 $*\"\n")
        .process(
            "web",
            "command = ['tool', 'fixed']\nargs = ['a b']\ndirect = true\nbuildpack-id = 'acme/new'",
        );
    let tool = image.path("layers/acme_new/l/bin/tool");
    assert_eq!(
        stdout(image.run("web", &[])),
        format!("{} fixed a b\n", tool.display())
    );
}
