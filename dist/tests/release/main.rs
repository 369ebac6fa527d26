//! The release as it is made and taken: equal bytes, programs that run where nothing else is, images that other tools
//! read.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![expect(clippy::print_stdout, reason = "a test that cannot run here says so")]

mod images;
mod making;

use std::fs;
use std::path::Path;
use std::process::Command;

use lifecycle_builder::PHASES;
use lifecycle_spec::{Apis, LifecycleToml};

use crate::making::{VERSION, check, done, file, has_busybox, launcher, make, program, small};

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
