//! Source to slug directory.

use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use lifecycle_heroku::{BuildOptions, HerokuError, IgnoreAt, Purpose, Source};

use crate::support::{Fixture, addresses, buildpack, paths, read};

#[test]
fn a_buildpack_is_given_what_the_contract_says_hc_03_hc_04_hc_05_hc_10() {
    let Some(f) = Fixture::of_root() else { return };
    f.app(&[("contract", ""), (".git/config", "[core]")]);
    let mut options = f.options(&["contract"]);
    options.config_vars.set("SECRET", "s3cret\n").unwrap();
    options.source_version = Some("abc123".to_owned());
    options.request_id = Some("42".to_owned());
    let built = f.build(options).unwrap();
    let log = f.log.take();
    let expected = "\
-----> Contract app detected
-----> Compiling
       STACK=heroku-24 HOME=/app APP_DIR=/app
       arguments: /tmp/build /tmp/cache /tmp/env
       secret as variable: none, as file: s3cret
       git: none, version: abc123, request: 42, language: C.UTF-8
         two blanks and a \\ backslash
       to standard error
       /app is a place of its own
       builds before this one: 0
       export: not sourced
-----> Discovering process types
       Default process types for Contract -> web, worker
";
    assert!(log.ends_with(expected), "{log}");
    assert_eq!(built.reports[0].text, "{\"contract\": \"fulfilled\"}\n");
    let directory = built.directory();
    assert!(!directory.join(".git").exists());
    assert!(read(directory.join("Procfile")).starts_with("web: echo"), "PF-05");
    assert_eq!(std::fs::metadata(directory.join("built")).unwrap().uid(), 2000);
    assert_eq!(
        read(directory.join(".profile.d/00_config_vars.sh")),
        "[ -n \"${MOTTO+set}\" ] || export MOTTO='it'\\''s \"$HOME\" `id`'\n"
    );
}

#[test]
fn the_cache_survives_to_the_next_build_and_not_a_failed_one() {
    let Some(f) = Fixture::of_root() else { return };
    f.app(&[("contract", "")]);
    for count in ["1", "2"] {
        f.build(f.options(&["contract"])).unwrap();
        assert_eq!(f.count(), count);
    }
    let error = f
        .build(f.options(&["contract", "failing", "second"]))
        .unwrap_err();
    assert!(
        matches!(&error, HerokuError::Script { script, code: 7 } if script.script == "bin/compile"),
        "{error}"
    );
    assert_eq!((error.exit_code(), f.count().as_str()), (7, "2"));
    let log = f.log.take();
    assert!(
        log.contains("       this cannot be built\n") && !log.contains("Second app"),
        "{log}"
    );
    assert!(!f.path("cache.previous").exists() && !f.path("cache.next").exists());
    // What the failed build left behind is no part of the next one.
    f.build(f.options(&["contract"])).unwrap();
    assert_eq!(f.count(), "3");
}

#[test]
fn later_buildpacks_see_exports_and_the_last_release_wins_mp_03_hc_06() {
    let Some(f) = Fixture::of_root() else { return };
    let list = format!(
        "# both\n{}\n{}\n",
        buildpack("contract").display(),
        buildpack("second").display()
    );
    f.app(&[
        ("contract", ""),
        (".buildpacks", &list),
        ("Procfile", "web: mine\n"),
    ]);
    let built = f.build(f.options(&[])).unwrap();
    let log = f.log.take();
    assert!(log.contains("       exported: from export\n"), "{log}");
    assert!(
        log.contains("       Procfile declares types -> web\n") && !log.contains("Default process"),
        "{log}"
    );
    assert_eq!(built.buildpacks, ["Contract", "Second"]);
    assert!(built.release.is_empty(), "HC-07");

    let built = f.build(f.options(&["second", "contract"])).unwrap();
    assert_eq!(built.processes.command("web"), Some("mine"));
    assert_eq!(built.processes.names(), "web, worker", "PF-04");
    assert_eq!(read(built.directory().join("Procfile")), "web: mine\n");
}

#[test]
fn who_says_no_is_used_when_chosen_and_stops_a_list_mp_03_mp_07() {
    let Some(f) = Fixture::of_root() else { return };
    f.app(&[("x", "")]);
    let built = f.build(f.options(&["never"])).unwrap();
    let log = f.log.take();
    assert!(
        log.contains(" !     bin/detect of never does not take the app; it is used all the same\n"),
        "{log}"
    );
    assert!(log.contains("       compiled all the same\n"), "{log}");
    assert!(built.processes.is_empty());

    f.app(&[(
        ".buildpacks",
        &format!(
            "{}\n{}\n",
            buildpack("second").display(),
            buildpack("never").display()
        ),
    )]);
    let error = f.build(f.options(&[])).unwrap_err();
    assert!(matches!(error, HerokuError::NotDetected { .. }), "{error}");
}

#[test]
fn the_first_that_takes_the_app_is_used_mp_08() {
    let Some(f) = Fixture::of_root() else { return };
    f.app(&[("contract", "")]);
    let detect = |names: &[&str]| BuildOptions {
        defaults: addresses(names),
        ..f.options(&[])
    };
    let built = f.build(detect(&["never", "second", "contract"])).unwrap();
    assert_eq!(built.buildpacks, ["Second"]);
    let log = f.log.take();
    assert!(
        log.contains(" !     Several buildpacks take the app: Second, Contract. The first is used.\n"),
        "{log}"
    );

    let error = f.build(detect(&["never"])).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("Unable to select a buildpack: none of never takes the app"),
        "{error}"
    );
    assert_eq!(error.exit_code(), 1);
}

#[test]
fn a_bad_address_stops_before_anything_compiles_mp_06() {
    let f = Fixture::new();
    f.app(&[(
        ".buildpacks",
        &format!("{}\nfile:///nowhere/b.git\n", buildpack("second").display()),
    )]);
    let error = f.build(f.options(&[])).unwrap_err();
    assert!(
        error
            .to_string()
            .contains(".buildpacks:2: `file:///nowhere/b.git` is not a buildpack"),
        "{error}"
    );
    assert_eq!(f.log.take(), "");
}

#[test]
fn a_malformed_release_or_procfile_is_named_by_line() {
    let Some(f) = Fixture::of_root() else { return };
    f.app(&[("Procfile", "web: run\nnonsense\n")]);
    let error = f.build(f.options(&["malformed"])).unwrap_err();
    assert!(error.to_string().starts_with("bin/release:"), "{error}");
    let error = f.build(f.options(&["second"])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Procfile:2: expected `name: command`, found `nonsense`"
    );
    assert_eq!(f.count(), "");
}

/// What this program itself reads and writes in the app, on this machine and as its own user, is in the app.
#[test]
fn links_of_an_app_are_neither_read_nor_written_through_sl_08() {
    let Some(f) = Fixture::of_root() else { return };
    let app = f.app(&[("contract", "")]);
    std::fs::create_dir(f.path("outside")).unwrap();
    std::fs::write(f.path("outside/canary"), "canary: alive\n").unwrap();
    let canary = f.path("outside/canary");
    for (name, target) in [
        ("Procfile", canary.clone()),
        (".profile.d", f.path("outside")),
        (".buildpacks", canary.clone()),
        ("app.json", canary.clone()),
        (".slugignore", canary.clone()),
        (".env", canary.clone()),
    ] {
        std::os::unix::fs::symlink(&target, app.join(name)).unwrap();
        let buildpacks: &[&str] = if name == ".buildpacks" || name == "app.json" {
            &[]
        } else {
            &["contract"]
        };
        let options = BuildOptions {
            dot_env: true,
            ..f.options(buildpacks)
        };
        let error = f.build(options).unwrap_err().to_string();
        // The fixture buildpack itself cannot write to `.profile.d` then, which is a link to nowhere for it.
        let expected = match name {
            ".profile.d" => "bin/compile of contract failed with exit code ".to_owned(),
            name => format!("{name}: it is a link that leads out of "),
        };
        assert!(error.starts_with(&expected), "{name}: {error}");
        std::fs::remove_file(app.join(name)).unwrap();
    }
    // One that a script makes, at the last moment.
    let compile = format!(
        "ln -s {} \"$1/.profile.d\"; ln -s {} \"$1/.release\"",
        f.path("outside").display(),
        canary.display()
    );
    let release = "echo 'config_vars: {A: b}'";
    let linking = f.buildpack("linking", &[("compile", &compile), ("release", release)]);
    let error = f.build(f.options(&[&linking])).unwrap_err().to_string();
    assert!(
        error.starts_with(".profile.d: it is a link that leads out of "),
        "{error}"
    );
    assert_eq!(paths(&f.path("outside")), [std::path::Path::new("canary")]);
    assert_eq!(read(&canary), "canary: alive\n");
    // And a buildpack whose scripts are others'.
    std::fs::create_dir(f.path("bp")).unwrap();
    std::fs::write(f.path("outside/compile"), "").unwrap();
    std::os::unix::fs::symlink(f.path("outside"), f.path("bp/bin")).unwrap();
    let error = f
        .build(f.options(&[f.path("bp").to_str().unwrap()]))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("bin: it is a link that leads out of "),
        "{error}"
    );
    assert_eq!(
        std::fs::metadata(f.path("outside/compile")).unwrap().mode() & 0o111,
        0
    );
}

#[test]
fn slugignore_acts_before_the_build_or_on_the_slug_sl_03_sl_04() {
    let Some(f) = Fixture::of_root() else { return };
    let ignore = "*.psd\nProcfile\n.profile.d\nbuilt\n";
    f.app(&[("contract", ""), ("art.psd", ""), (".slugignore", ignore)]);
    let built = f.build(f.options(&["contract"])).unwrap();
    let left = |name: &str| built.directory().join(name).exists();
    assert!(!left("art.psd") && left("Procfile") && left(".profile.d/contract.sh") && left("built"));

    let at_slug = BuildOptions {
        slugignore: IgnoreAt::Slug,
        ..f.options(&["contract"])
    };
    let built = f.build(at_slug).unwrap();
    let left = |name: &str| built.directory().join(name).exists();
    assert!(!left("art.psd") && !left("built") && left("Procfile") && left(".profile.d/00_config_vars.sh"));
}

#[test]
fn time_is_limited_and_everything_ends_sl_11() {
    let Some(f) = Fixture::of_root() else { return };
    // They sleep for as long as nothing else does.
    let seconds = format!("86{:07}", std::process::id());
    f.app(&[("seconds", &seconds)]);
    let build_within = |seconds| {
        let options = BuildOptions {
            limit: Some(Duration::from_secs(seconds)),
            ..f.options(&["endless"])
        };
        let error = f.build(options).unwrap_err().to_string();
        let (script, rest) = error.split_once(" of endless").unwrap();
        assert_eq!(
            rest,
            format!(" was ended: the build took longer than {seconds} s")
        );
        script == "bin/compile"
    };
    // On a busy machine detection may take long; compiling never ends.
    assert!([5, 30, 120].into_iter().any(build_within));
    // Neither the script nor what it left behind runs on.
    let ours = |entry: std::fs::DirEntry| {
        let words = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        words
            .split(|byte| *byte == 0)
            .any(|word| word == seconds.as_bytes())
            .then(|| entry.path())
    };
    let left: Vec<_> = std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(ours)
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn hooks_of_the_app_run_around_the_build_when_asked_sb_01() {
    let Some(f) = Fixture::of_root() else { return };
    let hook = "#!/bin/sh\necho \"hook in $(pwd), compiled: $(ls second 2>&1)\"\n";
    let end = "#!/bin/sh\necho \"hook after $(cat second), $(head -n 1 .release)\"\nexit 9\n";
    f.app(&[("bin/pre-compile", hook), ("bin/post-compile", end)]);
    f.build(f.options(&["second"])).unwrap();
    assert!(!f.log.take().contains("hook"));
    let error = f
        .build(BuildOptions {
            hooks: true,
            ..f.options(&["second"])
        })
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "bin/post-compile of the app failed with exit code 9"
    );
    let log = f.log.take();
    let expected = "\
-----> Running bin/pre-compile of the app
       hook in /tmp/build, compiled: ls: second: No such file or directory
-----> Second app detected
       exported: nothing
-----> Running bin/post-compile of the app
       hook after second, ---
";
    assert!(log.ends_with(expected), "{log}");
}

/// What the app's own script makes has no say in which buildpack it gets.
#[test]
fn a_buildpack_is_chosen_before_the_hooks_run_sb_01() {
    let Some(f) = Fixture::of_root() else { return };
    f.app(&[("bin/pre-compile", "#!/bin/sh\ntouch contract\n")]);
    let built = f
        .build(BuildOptions {
            defaults: addresses(&["contract", "second"]),
            hooks: true,
            ..f.options(&[])
        })
        .unwrap();
    assert_eq!(built.buildpacks, ["Second"]);
}

#[test]
fn tests_prepare_with_their_own_script() {
    let Some(f) = Fixture::of_root() else { return };
    f.app(&[("contract", "")]);
    let built = f
        .build(BuildOptions {
            purpose: Purpose::Tests,
            ..f.options(&["contract"])
        })
        .unwrap();
    assert_eq!(read(built.directory().join("prepared")), "tests\n");
}

#[test]
fn source_comes_as_a_tar_too_and_a_hostile_one_stays_inside_sb_05_sl_08() {
    let Some(f) = Fixture::of_root() else { return };
    f.app(&[("contract", ""), ("deep/file", "x")]);
    let tar = |arguments: &str| {
        let script = format!("tar c {arguments}");
        let mut command = std::process::Command::new("sh");
        let output = command
            .args(["-c", &script])
            .current_dir(f.path("source"))
            .output()
            .unwrap();
        Source::Tar {
            name: "standard input".to_owned(),
            reader: Box::new(std::io::Cursor::new(output.stdout)),
        }
    };
    let options = BuildOptions {
        source: tar("-z ."),
        ..f.options(&["contract"])
    };
    let built = f.build(options).unwrap();
    assert_eq!(read(built.directory().join("deep/file")), "x");

    let options = BuildOptions {
        source: tar("--transform s,contract,../escaped, contract"),
        ..f.options(&["second"])
    };
    let error = f.build(options).unwrap_err();
    assert!(
        error.to_string().contains("leads out of the directory"),
        "{error}"
    );
}

#[test]
fn a_dot_env_is_read_when_asked_he_04() {
    let Some(f) = Fixture::of_root() else { return };
    f.app(&[("contract", ""), (".env", "SECRET=$(id)\n")]);
    f.build(BuildOptions {
        dot_env: true,
        ..f.options(&["contract"])
    })
    .unwrap();
    assert!(f.log.take().contains("as variable: none, as file: $(id)\n"));
}
