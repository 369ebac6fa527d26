//! Source to slug directory.

use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

use lifecycle_heroku::{BuildOptions, HerokuError, IgnoreAt, Purpose, Source};

use crate::support::{Fixture, addresses, buildpack, read};

#[test]
fn a_buildpack_is_given_what_the_contract_says_hc_03_hc_04_hc_05_hc_10() {
    let f = Fixture::new();
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
    let f = Fixture::new();
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
    let f = Fixture::new();
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
    let f = Fixture::new();
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
    let f = Fixture::new();
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
    let f = Fixture::new();
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

#[test]
fn slugignore_acts_before_the_build_or_on_the_slug_sl_03_sl_04() {
    let f = Fixture::new();
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
    let f = Fixture::new();
    f.app(&[("x", "")]);
    let begun = Instant::now();
    let options = BuildOptions {
        limit: Some(Duration::from_millis(300)),
        ..f.options(&["endless"])
    };
    let error = f.build(options).unwrap_err();
    assert!(matches!(error, HerokuError::Time { .. }), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[test]
fn hooks_of_the_app_run_around_the_build_when_asked_sb_01() {
    let f = Fixture::new();
    let hook = "#!/bin/sh\necho \"hook in $(pwd)\"\n";
    f.app(&[
        ("bin/pre-compile", hook),
        ("bin/post-compile", "#!/bin/sh\nexit 9\n"),
    ]);
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
    assert!(f.log.take().contains("       hook in /tmp/build\n"));
}

#[test]
fn tests_prepare_with_their_own_script() {
    let f = Fixture::new();
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
    let f = Fixture::new();
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
    let f = Fixture::new();
    f.app(&[("contract", ""), (".env", "SECRET=$(id)\n")]);
    f.build(BuildOptions {
        dot_env: true,
        ..f.options(&["contract"])
    })
    .unwrap();
    assert!(f.log.take().contains("as variable: none, as file: $(id)\n"));
}
