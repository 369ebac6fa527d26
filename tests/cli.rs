//! The command line as a user meets it: help, errors, exit codes.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use lifecycle_image::layout::Layout;
use lifecycle_image::{Image, Platform, Sink};
use snapbox::cmd::{Command, cargo_bin};
use snapbox::str;

/// The program without anything of this machine's environment, and with a store of its own.
fn lifecycle(directory: &Path) -> Command {
    Command::new(cargo_bin!("lifecycle"))
        .env_clear()
        .env("LIFECYCLE_STORE", directory.join("store"))
        .current_dir(directory)
}

/// The program under the name of a phase.
fn phase(name: &str, directory: &Path) -> Command {
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

fn scratch() -> tempfile::TempDir {
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
        "error[option]: --ssh means nothing to a build of a Dockerfile on a cluster
 |
 = help: it is for builds of a Dockerfile on this machine: leave out --on kubernetes for one
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

/// A buildpack that tells what it can see of the lifecycle that runs it.
const BUILD: &str = r#"#!/bin/sh
cat /proc/$PPID/environ >/dev/null 2>&1 && echo "LEAK: the lifecycle's environment"
env | grep -q s3cr3t && echo "LEAK: in the environment"
mkdir "$CNB_LAYERS_DIR/deps" && echo dep > "$CNB_LAYERS_DIR/deps/file"
printf '[types]\nlaunch = true\n' > "$CNB_LAYERS_DIR/deps.toml"
echo '{"bomFormat":"CycloneDX","specVersion":"1.5","components":[{"name":"x","version":"1"}]}' > "$CNB_LAYERS_DIR/deps.sbom.cdx.json"
printf '[[processes]]\ntype = "web"\ncommand = ["/bin/web"]\ndefault = true\n' > "$CNB_LAYERS_DIR/launch.toml"
echo "built as $(id -u)"
"#;

/// Everything that the creator needs: an app, a buildpack, its order, a launcher, and a run image without layers.
fn builder(directory: &Path) {
    let write = |path: &str, text: &str, mode: u32| {
        let path = directory.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    };
    let module =
        "[buildpack]\nid = 'acme/a'\nversion = '1.0.0'\nsbom-formats = ['application/vnd.cyclonedx+json']\n";
    write(
        "buildpacks/acme_a/1.0.0/buildpack.toml",
        &format!("api = '0.10'\n{module}"),
        0o644,
    );
    write("buildpacks/acme_a/1.0.0/bin/detect", "#!/bin/sh\nexit 0\n", 0o755);
    write("buildpacks/acme_a/1.0.0/bin/build", BUILD, 0o755);
    write(
        "order.toml",
        "[[order]]\n[[order.group]]\nid = 'acme/a'\nversion = '1.0.0'\n",
        0o644,
    );
    write("app/index", "hello\n", 0o644);
    write("launcher", "launcher\n", 0o755);
    let layout = Layout::create(directory.join("layouts/r.test/run/1")).unwrap();
    let image = Image::empty(&Platform::host());
    layout
        .begin(&["r.test/run:1".parse().unwrap()])
        .unwrap()
        .finish(&image)
        .unwrap();
    for shared in ["", "app", "layouts", "layouts/r.test", "layers"] {
        let path = directory.join(shared);
        std::fs::create_dir_all(&path).unwrap();
        let mode = if shared == "layers" { 0o755 } else { 0o777 };
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
}

#[test]
fn the_creator_gives_up_root_and_keeps_its_secrets_1_12_auth_04() {
    let directory = scratch();
    builder(directory.path());
    let is_root = rustix::process::geteuid().is_root();
    let uid = if is_root {
        1234
    } else {
        rustix::process::geteuid().as_raw()
    };
    let gid = if is_root {
        1235
    } else {
        rustix::process::getegid().as_raw()
    };
    let create = phase("creator", directory.path())
        .env("PATH", "/usr/bin:/bin")
        .env("CNB_EXPERIMENTAL_MODE", "silent")
        .env("CNB_REGISTRY_AUTH", r#"{"r.test": "Bearer s3cr3t"}"#)
        .args([
            "-app",
            "app",
            "-layers",
            "layers",
            "-buildpacks",
            "buildpacks",
            "-order",
            "order.toml",
        ])
        .args([
            "-platform",
            "platform",
            "-launcher",
            "launcher",
            "-launcher-sbom",
            "sboms",
        ])
        .args(["-layout", "-layout-dir", "layouts", "-run-image", "r.test/run:1"])
        .args([
            format!("-uid={uid}"),
            format!("-gid={gid}"),
            "r.test/app:1".to_owned(),
        ]);
    let output = create.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        text.contains("===> ANALYZING") && text.contains(&format!("built as {uid}\n")),
        "{text}"
    );
    assert!(!text.contains("LEAK"), "{text}");

    let image = "oci:layouts/r.test/app/1";
    let inspect = lifecycle(directory.path())
        .args(["inspect", image, "--output", "json"])
        .output()
        .unwrap();
    let report: serde_json::Value = serde_json::from_slice(&inspect.stdout).unwrap();
    assert_eq!(report["buildpacks"][0]["id"], "acme/a");
    assert_eq!(report["processes"][0]["command"][0], "/bin/web");
    assert_eq!(report["layers"][0]["origin"], "buildpack");
    assert_eq!(report["layers"][0]["name"], "deps");
    assert_eq!(report["sbom"]["components"], 1);
    let sbom = lifecycle(directory.path())
        .args(["sbom", image])
        .output()
        .unwrap();
    let sbom: serde_json::Value = serde_json::from_slice(&sbom.stdout).unwrap();
    assert_eq!(sbom["components"][0]["name"], "x");
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
            "failed to analyze: -run-image is required when there is no run metadata available",
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
    fs_err::create_dir(directory.path().join("bin")).unwrap();
    fs_err::write(
        &program,
        format!(
            "#!/bin/sh\necho \"$@\" >{}\necho no route >&2\nexit 255\n",
            arguments.display()
        ),
    )
    .unwrap();
    fs_err::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}/bin:/usr/bin:/bin", directory.path().display());
    // What ssh says on its own behalf is for people to read.
    phase("analyzer", directory.path())
        .env("PATH", path)
        .env("DOCKER_HOST", "ssh://me@there")
        .args(["-daemon", "-layers", "layers", "-run-image", "x", "y"])
        .assert()
        .code(1)
        .stderr_eq(
            "no route\nERROR: failed to initialize docker client: cannot reach a daemon at ssh://me@there[..]\n\n",
        );
    assert_eq!(
        fs_err::read_to_string(arguments).unwrap(),
        "-o ConnectTimeout=30 -T -l me -- there docker system dial-stdio\n"
    );
}
