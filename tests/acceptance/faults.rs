//! A full disk, a kill at any moment, an interrupt, two builds at once: nothing half-written, and the store goes on.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::fake_registry::{Action, FakeRegistry};
use crate::support::images::{BUILDER, RUN};
use crate::support::{Invocation, Machine, Registry, as_root};

/// An app that takes a while to pack.
fn large_app(machine: &Machine) -> PathBuf {
    let number = |line: u64| line.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_string();
    let content = (0..1_000_000).map(number).collect::<Vec<_>>().join("\n");
    machine.files(
        "large",
        &[("one", &content), ("two", &content), ("page.txt", "page\n")],
    )
}

/// A store of its own with the builder.
fn own_builder() -> Machine {
    let machine = Machine::new();
    let shared = Machine::with_builder();
    for name in [BUILDER, RUN] {
        let from = format!("oci:{}:{name}", machine.text("images"));
        shared
            .lifecycle(&["copy", &format!("store:{name}"), &from])
            .succeeds();
        machine.lifecycle(&["pull", &from, "--tag", name]).succeeds();
    }
    machine
}

/// Files under temporary names, and scratch directories.
fn left_over(store: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(store.join("tmp")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// The files among them. Directories that a disk is slow to remove are the next command's.
fn unfinished_files(store: &Path) -> Vec<PathBuf> {
    let mut left = left_over(store);
    left.retain(|path| path.is_file());
    left
}

#[test]
fn killed_at_any_moment_the_store_stays_whole() {
    let machine = own_builder();
    let app = large_app(&machine);
    let build = machine.build(&app, &["--tag", "faults/killed"]);
    let begin = Instant::now();
    build.succeeds();
    let whole = begin.elapsed();
    let digest = machine.digest("faults/killed");
    machine.lifecycle(&["rmi", "faults/killed"]).succeeds();
    for moment in 0..12 {
        machine.lifecycle(&["cache", "prune", "--all"]).succeeds();
        let running = build.start();
        std::thread::sleep(whole * moment / 12);
        running.signal(Signal::KILL);
        running.wait();
        machine.store_is_sound();
        // Either the whole image is there under its name, or none.
        if machine
            .lifecycle(&["inspect", "store:faults/killed"])
            .run()
            .status()
            .success()
        {
            machine.lifecycle(&["run", "faults/killed"]).succeeds();
            machine.lifecycle(&["rmi", "faults/killed"]).succeeds();
        }
    }
    build.succeeds();
    assert_eq!(machine.digest("faults/killed"), digest);
    machine.lifecycle(&["cache", "prune", "--all"]).succeeds();
    assert_eq!(left_over(machine.store()), [""; 0].map(PathBuf::from));
}

#[test]
fn an_interrupt_ends_with_130_a_sigterm_with_143_and_both_leave_nothing() {
    let machine = own_builder();
    let app = large_app(&machine);
    let build = machine.build(&app, &["--tag", "faults/interrupted"]);
    let begin = Instant::now();
    build.succeeds();
    let whole = begin.elapsed();
    let digest = machine.digest("faults/interrupted");
    machine.lifecycle(&["rmi", "faults/interrupted"]).succeeds();
    machine.lifecycle(&["cache", "prune", "--all"]).succeeds();
    for moment in 1..8 {
        let mut running = build.start();
        // Before that it may not listen yet.
        running.wait_until_it_says("===> ANALYZING");
        std::thread::sleep(whole * moment / 8);
        let (signal, code) = if moment % 2 == 0 {
            (Signal::INT, 130)
        } else {
            (Signal::TERM, 143)
        };
        running.signal(signal);
        let finished = running.wait();
        // When the signal came late the image has its name already, whole; and then the command may be done, too.
        let found = machine
            .lifecycle(&["inspect", "store:faults/interrupted", "--output", "json"])
            .run();
        if found.status().success() {
            assert_eq!(found.json()["digest"], digest.as_str());
            machine.lifecycle(&["rmi", "faults/interrupted"]).succeeds();
        }
        if !finished.status().success() {
            finished.with_code(code).says("stop");
        }
        assert_eq!(
            unfinished_files(machine.store()),
            [""; 0].map(PathBuf::from),
            "after {moment}/8"
        );
        machine.store_is_sound();
    }
    machine.lifecycle(&["cache", "prune"]).succeeds();
    assert_eq!(left_over(machine.store()), [""; 0].map(PathBuf::from));
    build.succeeds();
    assert_eq!(machine.digest("faults/interrupted"), digest);
}

#[test]
fn an_interrupted_process_is_told_and_waited_for() {
    let machine = Machine::with_builder();
    let trap = "trap 'echo got it; exit 7' TERM; echo ready >&2; while :; do sleep 0.05; done";
    let run = machine.lifecycle(&["run", RUN, "--entrypoint", "/bin/sh", "--", "-c", trap]);
    let mut running = run.start();
    running.wait_until_it_says("ready");
    running.signal(Signal::TERM);
    running.wait().with_code(7).says("got it");
}

#[test]
fn a_killed_push_leaves_no_tag() {
    let machine = Machine::with_builder();
    let registry = Registry::start();
    let app = large_app(&machine);
    let name = registry.name("faults/pushed:1");
    machine.build(&app, &["--tag", &name]).succeeds();
    let push = machine.lifecycle(&["push", &name]);
    for milliseconds in [5, 20, 60] {
        let running = push.start();
        std::thread::sleep(Duration::from_millis(milliseconds));
        running.signal(Signal::KILL);
        running.wait();
        let tag = machine
            .lifecycle(&["inspect", &format!("registry:{name}"), "--output", "json"])
            .run();
        assert!(!tag.status().success() || tag.json()["digest"] == machine.digest(&name).as_str());
    }
    push.succeeds();
    assert_eq!(
        machine.digest(&format!("registry:{name}")),
        machine.digest(&format!("store:{name}"))
    );
}

/// Takes blobs, but does not answer; or takes all of them, and does not answer for the manifest.
fn slow_registry(part: &'static str) -> FakeRegistry {
    let registry = FakeRegistry::start();
    registry.rule("PATCH", part, 1000, Action::Delay(Duration::from_hours(1)));
    registry.rule("PUT", part, 1000, Action::Delay(Duration::from_hours(1)));
    registry
}

/// While the registry takes its time with blobs or with the manifest, either signal ends the command at once: nothing has a
/// name then that it did not have before, and both sides are usable.
#[test]
fn an_upload_to_a_slow_registry_is_interrupted_and_nothing_is_half_written() {
    let machine = own_builder();
    let app = large_app(&machine);
    machine.build(&app, &["--tag", "faults/slow"]).succeeds();
    let digest = machine.digest("faults/slow");
    for part in ["/blobs/uploads/", "/manifests/"] {
        for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
            let registry = slow_registry(part);
            let name = format!("{}/faults/slow:1", registry.address());
            let push = machine.lifecycle(&["push", "faults/slow", &name]);
            let build = machine.build(&app, &["--tag", &name, "--output", "registry"]);
            for command in [push, build] {
                registry.forget();
                let running = command.start();
                // The first of these requests has arrived, and nothing more happens.
                let since = Instant::now();
                while registry.waiting(part) == 0 {
                    assert!(since.elapsed() < Duration::from_mins(5), "{}", registry.log());
                    std::thread::sleep(Duration::from_millis(20));
                }
                running.signal(signal);
                running.wait().with_code(code).says("stop");
                assert_eq!(registry.tags("faults/slow"), [""; 0], "{part}");
                assert_eq!(
                    unfinished_files(machine.store()),
                    [""; 0].map(PathBuf::from),
                    "{part}"
                );
            }
            machine.store_is_sound();
        }
    }
    machine.lifecycle(&["cache", "prune"]).succeeds();
    assert_eq!(left_over(machine.store()), [""; 0].map(PathBuf::from));
    // The same store serves a registry that answers.
    let registry = FakeRegistry::start();
    let name = format!("{}/faults/slow:1", registry.address());
    machine.lifecycle(&["push", "faults/slow", &name]).succeeds();
    assert_eq!(machine.digest(&format!("registry:{name}")), digest);
}

/// Runs a shell script as whoever may look into the store's caches: subordinate ids own what builds of an ordinary user left.
fn in_store(script: &str, arguments: &[&str]) -> String {
    let words = [&["-euc", script, "sh"], arguments].concat();
    as_root(Invocation::new("sh", &words)).succeeds().stdout()
}

/// The files below a directory whose one line this is: inodes with their times of birth, as inodes are given out again, and names.
fn with_line(directory: &Path, line: &str) -> Vec<(String, PathBuf)> {
    let script =
        r#"{ grep -rlxF --exclude='*.tar' -e "$2" "$1" || true; } | sort | xargs -r stat -c '%i:%.9W %n'"#;
    let found = in_store(script, &[directory.to_str().unwrap(), line]);
    let pairs = found.lines().map(|line| line.split_once(' ').unwrap());
    pairs
        .map(|(inode, path)| (inode.to_owned(), path.into()))
        .collect()
}

/// Cached layers lie unpacked in the store between builds. Each build gets those very files, unless somebody touched them
/// meanwhile; whatever becomes of them, the build finds what is in its cache.
#[test]
fn cached_layers_that_stay_unpacked_are_only_used_as_they_were() {
    let machine = own_builder();
    let app = machine.app();
    let build = |more: &[&str]| machine.build(&app, &[&["--tag", "faults/trees"], more].concat());
    let caches = machine.store().join("caches");
    let warm = "fx-layers: build-cache-launch: metadata=yes contents=yes";
    let kept = || with_line(&caches, "build-cache-launch 1");
    build(&[]).succeeds();
    let digest = machine.digest("faults/trees");
    let first = kept();
    assert_eq!(first.len(), 1, "{first:?}");

    // The next build has the same file, and puts it back.
    build(&[]).succeeds().says(warm);
    assert_eq!(kept(), first);
    // One that fails puts it back too.
    build(&["--buildpack", "fx-layers", "--buildpack", "fx-fail-build"]).fails(51);
    assert_eq!(kept(), first);

    // What somebody else wrote there is not what the cache holds, even as long and as old as before.
    let path = |found: &[(String, PathBuf)]| found[0].1.to_str().unwrap().to_owned();
    let touch = r#"time=$(stat -c %y "$1"); echo 'build-cache-launch 9' >"$1"; touch -d "$time" "$1""#;
    in_store(touch, &[&path(&first)]);
    build(&[]).succeeds().says(warm);
    assert_eq!(with_line(&caches, "build-cache-launch 9"), []);
    let second = kept();
    assert_eq!(second.len(), 1);
    assert_ne!(second, first, "it came from its archive");
    // Nor is a file more, or nothing at all.
    in_store(r#"echo planted >"${1%/*}/more""#, &[&path(&second)]);
    build(&[]).succeeds().says(warm);
    assert_eq!(with_line(machine.store(), "planted"), []);
    in_store(r#"rm -r "${1%/*}""#, &[&path(&kept())]);
    build(&[]).succeeds().says(warm);
    assert_eq!(kept().len(), 1);
    assert_eq!(machine.digest("faults/trees"), digest);

    // With another result there is another tree, and the old one is gone.
    build(&["--env", "FX_KEY=2"]).succeeds();
    assert_eq!(kept(), []);
    assert_eq!(with_line(&caches, "build-cache-launch 2").len(), 1);
    machine.store_is_sound();
    machine.lifecycle(&["cache", "prune", "--all"]).succeeds();
    assert_eq!(with_line(&caches, "build-cache-launch 2"), []);
    build(&[]).succeeds();
    assert_eq!(machine.digest("faults/trees"), digest);
}

#[test]
fn two_builds_of_one_name_at_once_both_succeed() {
    let machine = own_builder();
    let app = large_app(&machine);
    let builds: Vec<_> = (0..3)
        .map(|_| machine.build(&app, &["--tag", "faults/twice"]).start())
        .collect();
    for build in builds {
        build.wait().with_code(0);
    }
    machine.store_is_sound();
    machine.lifecycle(&["run", "faults/twice"]).succeeds();
}

#[test]
fn a_full_disk_is_told_with_its_path_and_nothing_stays() {
    let machine = own_builder();
    let app = large_app(&machine);
    // The builder's root is unpacked now.
    machine
        .build(&app, &["--tag", "faults/full", "--cache", "none"])
        .succeeds();
    machine.lifecycle(&["rmi", "faults/full"]).succeeds();
    machine.lifecycle(&["cache", "prune"]).succeeds();
    // The store lies on a small file system of a mount namespace; the second mount leaves no room for the app.
    let script = r#"
        store=$1; shift
        mount -t tmpfs -o size="$SIZE" tmpfs "$store.small"
        cp -a "$store/." "$store.small/"
        mount --bind "$store.small" "$store"
        "$@"; code=$?
        "$1" cache verify || exit 99
        "$1" inspect store:faults/full && exit 98
        [ -z "$(ls "$store/tmp")" ] || { ls -R "$store/tmp"; exit 97; }
        exit "$code""#;
    let store = machine.store().to_str().unwrap().to_owned();
    std::fs::create_dir(format!("{store}.small")).unwrap();
    let used = std::process::Command::new("du")
        .args(["-sm", &store])
        .output()
        .unwrap();
    let used: u64 = String::from_utf8(used.stdout)
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let mut user = vec!["unshare", "--mount"];
    if !crate::support::accounts::is_root() {
        user.extend(["--map-root-user", "--map-auto"]);
    }
    for room in [2, 20, 50] {
        let size = format!("{}m", used + room);
        let wrapper = [&user[..], &["sh", "-c", script, "sh", &store]].concat();
        let build = machine
            .build(&app, &["--tag", "faults/full"])
            .under(&wrapper)
            .env("SIZE", size);
        let failed = build.run();
        let code = failed.status().code();
        // Before the export phase, or in it.
        assert!(matches!(code, Some(1 | 62)), "{code:?}\n{}", failed.text());
        failed.says("No space left on device").says(&store);
    }
    machine.build(&app, &["--tag", "faults/full"]).succeeds();
}
