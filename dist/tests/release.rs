//! The release as it is made and taken: equal bytes, programs that run where nothing else is, images that other tools
//! read.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![expect(clippy::print_stdout, reason = "a test that cannot run here says so")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use lifecycle_builder::PHASES;
use lifecycle_spec::{Apis, LifecycleToml};
use tempfile::TempDir;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Builds a program of the workspace, as `make dist` does, and says where it is.
fn build(arguments: &[&str]) -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(workspace)
        .args(["build", "--quiet", "--message-format=json"])
        .args(arguments);
    let output = done(&mut command);
    let messages = String::from_utf8(output.stdout).unwrap();
    let mut programs = messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).unwrap();
        Some(PathBuf::from(message["executable"].as_str()?))
    });
    programs.next_back().unwrap()
}

fn launcher() -> &'static Path {
    static LAUNCHER: OnceLock<PathBuf> = OnceLock::new();
    LAUNCHER.get_or_init(|| build(&["--package", "lifecycle-launcher", "--profile", "launcher"]))
}

fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| build(&["--package", "lifecycle", "--bin", "lifecycle"]))
}

fn done(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Makes a release of `program` into `out`.
fn make(program: &Path, out: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lifecycle-dist"));
    command
        .arg("make")
        .arg("--program")
        .arg(program)
        .arg("--launcher")
        .arg(launcher())
        .arg("--out")
        .arg(out);
    command
}

/// A release of programs that are small, for everything but running them.
fn small() -> &'static Path {
    static RELEASE: OnceLock<TempDir> = OnceLock::new();
    let release = RELEASE.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        done(&mut make(launcher(), directory.path()));
        directory
    });
    release.path()
}

/// The only file of a release with this beginning and end.
fn file(release: &Path, start: &str, end: &str) -> PathBuf {
    let names = fs::read_dir(release)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let found: Vec<String> = names
        .filter(|name| name.starts_with(start) && name.ends_with(end))
        .collect();
    assert_eq!(found.len(), 1, "{found:?}");
    release.join(&found[0])
}

fn check(tarball: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lifecycle-dist"))
        .arg("check")
        .arg(tarball)
        .output()
        .unwrap()
}

/// What the debug image is made with.
fn has_busybox() -> bool {
    let found = Path::new("/bin/busybox").exists();
    if !found {
        println!("skipped: busybox is not installed");
    }
    found
}

fn is_installed(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        println!("skipped: {program} is not installed");
    }
    found
}

#[test]
fn two_runs_give_the_same_bytes() {
    let again = tempfile::tempdir().unwrap();
    // Neither where nor when nor as whom it is run shows.
    let mut command = make(launcher(), again.path());
    done(
        command
            .current_dir("/")
            .env("TZ", "Asia/Tokyo")
            .env("SOURCE_DATE_EPOCH", "1")
            .env("LC_ALL", "C"),
    );
    let names = |directory: &Path| -> Vec<_> {
        let mut names: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(small()), names(again.path()));
    // Each with its checksum.
    assert_eq!(names(small()).len(), if has_busybox() { 8 } else { 6 });
    for name in names(small()) {
        let equal = fs::read(small().join(&name)).unwrap() == fs::read(again.path().join(&name)).unwrap();
        assert!(equal, "{} differs", name.display());
    }
}

#[test]
fn another_time_gives_other_bytes() {
    let later = tempfile::tempdir().unwrap();
    done(make(launcher(), later.path()).args(["--epoch", "1700000000"]));
    let listed = done(Command::new("tar").env("TZ", "UTC").arg("tvf").arg(file(
        later.path(),
        "lifecycle",
        ".tgz",
    )));
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(
        listed.lines().all(|line| line.contains(" 2023-11-14 22:13 ")),
        "{listed}"
    );
}

#[test]
fn names_and_checksums_lt_05() {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "x86-64",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        other => other,
    };
    let tarball = format!("lifecycle-v{VERSION}+linux.{architecture}.tgz");
    assert!(small().join(&tarball).exists(), "{tarball}");
    let debug = has_busybox().then_some("executor-debug");
    for start in ["lifecycle", "executor"].into_iter().chain(debug) {
        assert!(
            small()
                .join(format!("{start}-v{VERSION}+linux.{architecture}.oci.tar"))
                .exists()
        );
    }
    for name in fs::read_dir(small())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
    {
        if name.to_str().unwrap().ends_with(".sha256") {
            done(
                Command::new("sha256sum")
                    .current_dir(small())
                    .args(["--check", "--strict"])
                    .arg(name),
            );
        }
    }
}

#[test]
fn a_tarball_lists_files_of_root_one_directory_deep_lci_01_lci_04() {
    let listed = done(
        Command::new("tar")
            .args(["tvf"])
            .arg(file(small(), "lifecycle", ".tgz")),
    );
    let listed = String::from_utf8(listed.stdout).unwrap();
    let names: Vec<&str> = listed
        .lines()
        .map(|line| line.split_whitespace().nth(5).unwrap())
        .collect();
    let (first, rest) = names.split_first().unwrap();
    assert_eq!(*first, "lifecycle.toml");
    assert!(rest.is_sorted(), "{rest:?}");
    assert!(rest.iter().all(|name| {
        name.strip_prefix("lifecycle/")
            .is_some_and(|file| !file.contains('/'))
    }));
    assert!(
        listed
            .lines()
            .all(|line| line.split_whitespace().nth(1) == Some("0/0")),
        "{listed}"
    );
    // Every phase is a link to the program beside it; the launcher is a program of its own (1.9, LT-03).
    let links: Vec<(&str, &str)> = listed
        .lines()
        .filter_map(|line| line.split_once(" -> "))
        .map(|(line, target)| (line.rsplit('/').next().unwrap(), target))
        .collect();
    let mut phases = PHASES.map(|phase| (phase, "lifecycle")).to_vec();
    phases.sort_unstable();
    assert_eq!(links, phases);
    // LCI-04
    for program in ["lifecycle", "launcher"] {
        for format in ["cdx", "spdx", "syft"] {
            let name = format!("lifecycle/{program}.sbom.{format}.json");
            assert!(names.contains(&name.as_str()), "{name}");
        }
    }
}

#[test]
fn every_missing_program_is_named_lt_01() {
    let whole = file(small(), "lifecycle", ".tgz");
    let accepted = check(&whole);
    assert!(accepted.status.success());
    assert!(String::from_utf8(accepted.stdout).unwrap().contains(VERSION));

    let directory = tempfile::tempdir().unwrap();
    let without = |name: &str| {
        let tarball = directory.path().join("changed.tgz");
        let tree = tempfile::tempdir().unwrap();
        done(
            Command::new("tar")
                .arg("xf")
                .arg(&whole)
                .arg("-C")
                .arg(tree.path()),
        );
        fs::remove_file(tree.path().join(name)).unwrap();
        let names = fs::read_dir(tree.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        let mut repack = Command::new("tar");
        done(
            repack
                .arg("czf")
                .arg(&tarball)
                .arg("-C")
                .arg(tree.path())
                .args(names),
        );
        let refused = check(&tarball);
        assert!(!refused.status.success(), "{name}");
        String::from_utf8(refused.stderr).unwrap()
    };
    for name in [
        "detector", "restorer", "analyzer", "builder", "exporter", "launcher", "creator",
    ] {
        let error = without(&format!("lifecycle/{name}"));
        assert!(error.contains(&format!("has no program {name}")), "{error}");
    }
    assert!(without("lifecycle/lifecycle").contains("is a link to lifecycle, which is not beside it"));
    assert!(without("lifecycle.toml").contains("has no lifecycle.toml"));
}

#[test]
fn sboms_say_what_is_linked_lci_04() {
    let read = |name: &str| -> serde_json::Value {
        let tarball = file(small(), "lifecycle", ".tgz");
        let output = done(
            Command::new("tar")
                .arg("xOf")
                .arg(tarball)
                .arg(format!("lifecycle/{name}")),
        );
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            !text.contains(env!("CARGO_MANIFEST_DIR")),
            "{name} names a path of this machine"
        );
        serde_json::from_str(&text).unwrap()
    };
    let names = |list: &serde_json::Value| -> Vec<String> {
        list.as_array()
            .unwrap()
            .iter()
            .map(|item| item["name"].as_str().unwrap().to_owned())
            .collect()
    };
    for (program, inside, outside) in [
        // What only tests, build scripts and procedural macros need is not in a program.
        ("lifecycle", "reqwest", "proptest"),
        ("launcher", "toml", "serde_derive"),
    ] {
        let cyclonedx = read(&format!("{program}.sbom.cdx.json"));
        let components = names(&cyclonedx["components"]);
        assert!(
            components.contains(&inside.to_owned()) && !components.contains(&outside.to_owned()),
            "{components:?}"
        );
        for component in cyclonedx["components"].as_array().unwrap() {
            let ours = component["name"].as_str().unwrap().starts_with("lifecycle-");
            assert_eq!(component["hashes"].is_null(), ours, "{component}");
        }
        let spdx = names(&read(&format!("{program}.sbom.spdx.json"))["packages"]);
        let syft = names(&read(&format!("{program}.sbom.syft.json"))["artifacts"]);
        assert_eq!(spdx, syft);
        assert_eq!(spdx.len(), components.len() + 1, "the program itself is one, too");
    }
}

#[test]
fn every_program_runs_in_an_empty_root_lt_03_lt_04() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root may enter another root");
        return;
    }
    let release = tempfile::tempdir().unwrap();
    done(&mut make(program(), release.path()));
    let root = tempfile::tempdir().unwrap();
    done(
        Command::new("tar")
            .arg("xf")
            .arg(file(release.path(), "lifecycle", ".tgz"))
            .arg("-C")
            .arg(root.path()),
    );
    let run = |name: &str, api: &str, argument: &str| {
        let mut command = Command::new("chroot");
        command
            .arg(root.path())
            .arg(format!("/lifecycle/{name}"))
            .arg(argument);
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("CNB_PLATFORM_API", api)
            .output()
            .unwrap()
    };
    for phase in PHASES {
        let output = run(phase, "0.15", "-version");
        let version = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success() && version.starts_with(VERSION),
            "{phase}: {version:?}"
        );
    }
    // LT-02: what the descriptor promises is what the program takes.
    let text = fs::read(root.path().join("lifecycle.toml")).unwrap();
    let descriptor = LifecycleToml::parse(Path::new("lifecycle.toml"), &text).unwrap();
    assert_eq!(descriptor.apis, Apis::own());
    for api in &descriptor.apis.platform.supported {
        assert!(run("detector", api, "-version").status.success(), "{api}");
    }
    assert_eq!(run("detector", "0.99", "-version").status.code(), Some(11));
    assert!(run("lifecycle", "0.15", "--version").status.success());
    // A name that is no phase's is that of the program, which says how it is used.
    std::os::unix::fs::symlink("lifecycle", root.path().join("lifecycle/unknown")).unwrap();
    let output = run("unknown", "0.15", "x");
    let usage = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.code() == Some(2) && usage.contains("Usage: "),
        "{usage}"
    );
    // The launcher has nothing to launch here, and says so itself.
    let output = run("launcher", "0.15", "x");
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("/layers/config/metadata.toml"), "{error}");
    assert!(
        fs::metadata(root.path().join("lifecycle/launcher"))
            .unwrap()
            .len()
            <= 4 << 20
    );
}

#[test]
fn other_tools_read_the_lifecycle_image_lci_03_ka_02() {
    if !is_installed("skopeo") {
        return;
    }
    let archive = format!("oci-archive:{}", file(small(), "lifecycle", ".oci.tar").display());
    let inspected = done(Command::new("skopeo").args(["inspect", "--config", &archive]));
    let config: serde_json::Value = serde_json::from_slice(&inspected.stdout).unwrap();
    let labels = &config["config"]["Labels"];
    assert_eq!(labels["io.buildpacks.lifecycle.version"], VERSION);
    assert_eq!(labels["io.buildpacks.lifecycle.apis"], Apis::own().to_json());
    let old: serde_json::Value =
        serde_json::from_str(labels["io.buildpacks.builder.metadata"].as_str().unwrap()).unwrap();
    assert_eq!(old["lifecycle"]["version"], VERSION);
    assert_eq!(
        old["lifecycle"]["api"]["platform"],
        Apis::own().platform.supported[0]
    );
    assert_eq!(config["config"]["WorkingDir"], "/layers");
    let host = lifecycle_image::Platform::host();
    assert_eq!(
        (config["os"].as_str(), config["architecture"].as_str()),
        (Some(&*host.os), Some(&*host.architecture))
    );

    // The last layer holds what the tarball holds, below /cnb.
    let directory = tempfile::tempdir().unwrap();
    let copy = format!("dir:{}", directory.path().display());
    done(Command::new("skopeo").args(["copy", "--quiet", &archive, &copy]));
    let inspected = done(Command::new("skopeo").args(["inspect", "--raw", &archive]));
    let manifest: serde_json::Value = serde_json::from_slice(&inspected.stdout).unwrap();
    let layer = manifest["layers"].as_array().unwrap().last().unwrap()["digest"]
        .as_str()
        .unwrap();
    let layer = directory.path().join(layer.trim_start_matches("sha256:"));
    let names = |tar: &Path| {
        let listed = done(Command::new("tar").arg("--absolute-names").arg("-tf").arg(tar));
        String::from_utf8(listed.stdout).unwrap()
    };
    let in_image: Vec<String> = names(&layer)
        .lines()
        .filter_map(|name| Some(name.strip_prefix("/cnb/")?.to_owned()))
        .collect();
    let tarball = names(&file(small(), "lifecycle", ".tgz"));
    let in_tarball: Vec<&str> = tarball.lines().map(|name| name.trim_end_matches('/')).collect();
    assert_eq!(in_image, in_tarball);
}

/// Unpacks an image of the release: its root and its configuration.
fn unpack(start: &str, directory: &Path) -> (PathBuf, serde_json::Value) {
    let archive = format!("oci-archive:{}", file(small(), start, ".oci.tar").display());
    let layout = directory.join("layout");
    done(
        Command::new("skopeo")
            .args(["copy", "--quiet", &archive])
            .arg(format!("oci:{}:x", layout.display())),
    );
    let bundle = directory.join("bundle");
    let mut unpack = Command::new("umoci");
    unpack.arg("unpack");
    if !rustix::process::geteuid().is_root() {
        unpack.arg("--rootless");
    }
    done(
        unpack
            .arg("--image")
            .arg(format!("{}:x", layout.display()))
            .arg(&bundle),
    );
    let config = fs::read_to_string(bundle.join("config.json")).unwrap();
    (bundle.join("rootfs"), serde_json::from_str(&config).unwrap())
}

/// What executor images have, whether for debugging or not.
fn is_executor(root: &Path, config: &serde_json::Value) {
    for name in ["executor", "warmer", "lifecycle"] {
        let program = fs::read(root.join("kaniko").join(name)).unwrap();
        assert!(program == fs::read(launcher()).unwrap(), "{name}");
    }
    for directory in ["kaniko/.docker", "kaniko/store", "workspace", "cache", "tmp"] {
        assert!(root.join(directory).is_dir(), "{directory}");
    }
    let roots = fs::read_to_string(root.join("etc/ssl/certs/ca-certificates.crt")).unwrap();
    assert!(roots.matches("-----BEGIN CERTIFICATE-----\n").count() > 50);
    assert!(
        fs::read_to_string(root.join("etc/passwd"))
            .unwrap()
            .starts_with("root:x:0:0:")
    );
    assert_eq!(config["process"]["args"][0], "/kaniko/executor");
    let environment = config["process"]["env"].to_string();
    assert!(
        environment.contains("\"DOCKER_CONFIG=/kaniko/.docker/\""),
        "{environment}"
    );
    assert_eq!(config["process"]["cwd"], "/workspace");
}

#[test]
fn the_executor_image_runs_the_program_with_roots_and_users() {
    if !is_installed("skopeo") || !is_installed("umoci") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (root, config) = unpack("executor-v", directory.path());
    is_executor(&root, &config);
    assert!(!root.join("bin").exists() && !root.join("busybox").exists());
}

#[test]
fn the_debug_image_is_the_executor_image_with_a_shell() {
    if !is_installed("skopeo") || !is_installed("umoci") || !has_busybox() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (root, config) = unpack("executor-debug-v", directory.path());
    is_executor(&root, &config);
    let environment = config["process"]["env"].to_string();
    let path = "/usr/local/bin:/kaniko:/busybox";
    assert!(environment.contains(&format!("\"PATH={path}\"")), "{environment}");
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can enter the image");
        return;
    }
    let script = "for file in /kaniko/*; do basename $file; done; which grep";
    for shell in ["/bin/sh", "/busybox/sh"] {
        let mut enter = Command::new("chroot");
        enter
            .arg(&root)
            .args(["/busybox/env", "-i", &format!("PATH={path}")]);
        let said = done(enter.args([shell, "-c", script])).stdout;
        assert_eq!(
            String::from_utf8(said).unwrap(),
            "executor\nlifecycle\nstore\nwarmer\n/busybox/grep\n"
        );
    }
}

#[test]
fn a_release_without_busybox_says_what_is_not_made() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = make(launcher(), directory.path());
    let said = done(command.args(["--busybox", "/nonexistent"])).stdout;
    let said = String::from_utf8(said).unwrap();
    assert!(
        said.contains(".oci.tar is NOT made: there is no /nonexistent; install the package busybox-static"),
        "{said}"
    );
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 6);
}

#[test]
fn programs_that_need_more_are_refused_lt_03() {
    let out = tempfile::tempdir().unwrap();
    let output = make(Path::new("/bin/sh"), out.path()).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && error.contains("is not static"),
        "{error}"
    );
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
}
