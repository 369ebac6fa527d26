//! The runner.

use std::ffi::OsString;
use std::io::Read as _;
use std::path::PathBuf;

use lifecycle_heroku::{
    BuildOptions, ConfigVars, HerokuError, Profiles, Purpose, RunOptions, Start, check, run, slug,
};
use lifecycle_sandbox::{Exit, Forwarding, Stdio, Streams};

use crate::support::Fixture;

fn options(slug: PathBuf, start: &[&str]) -> RunOptions {
    let words: Vec<OsString> = start.iter().map(OsString::from).collect();
    RunOptions {
        start: Start::parse(&words, &slug::processes(&slug).unwrap()).unwrap(),
        slug,
        give: true,
        stack: Fixture::stack(),
        env: Vec::new(),
        port: None,
        profiles: Profiles::App,
        streams: Streams::default(),
        forwarding: Forwarding::default(),
    }
}

/// Runs one process to its end: what it wrote, and how it ended.
fn outcome(f: &Fixture, mut options: RunOptions) -> (String, Exit) {
    let (mut output, input) = std::io::pipe().unwrap();
    let errors = input.try_clone().unwrap();
    let (stdout, stderr) = (Stdio::Fd(input.into()), Stdio::Fd(errors.into()));
    options.streams = Streams::Separate {
        stdin: Stdio::Null,
        stdout,
        stderr,
    };
    let running = run(options, &f.rooms).unwrap();
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    (text, running.wait(&f.log).unwrap())
}

#[test]
fn a_slug_runs_as_it_was_built_sr_02_sr_03_sr_04_sr_05() {
    let Some(f) = Fixture::of_root() else { return };
    f.app(&[("contract", "")]);
    let built = f.build(f.options(&["contract"])).unwrap();
    let expected = "hello from .profile.d on 5000, it's \"$HOME\" `id`\n";
    assert_eq!(
        outcome(&f, options(built.directory(), &[])),
        (expected.to_owned(), Exit::Code(0))
    );

    let mut own = options(built.directory(), &["start", "web"]);
    own.env = vec![
        ("MOTTO".to_owned(), "mine".into()),
        ("PORT".to_owned(), "80".into()),
    ];
    assert_eq!(outcome(&f, own).0, "hello from .profile.d on 80, mine\n");

    let command = options(built.directory(), &["echo $HOME $GREETING; pwd; id -u; exit 3"]);
    assert_eq!(
        outcome(&f, command),
        (
            "/app hello from .profile.d\n/app\n2000\n".to_owned(),
            Exit::Code(3)
        )
    );
    let words = options(built.directory(), &["echo", "$HOME;", "x  y"]);
    assert_eq!(outcome(&f, words).0, "$HOME; x  y\n");
}

#[test]
fn a_failing_profile_script_is_reported_sr_03() {
    let Some(f) = Fixture::of_root() else { return };
    let slug = f.app(&[
        ("Procfile", "web: echo $A $B\n"),
        (".profile.d/1.sh", "export A=one"),
        (".profile.d/2.sh", "false"),
        (".profile.d/3.sh", "export B=$A-three; unset C"),
    ]);
    let (text, exit) = outcome(&f, options(slug.clone(), &[]));
    assert_eq!(
        text,
        " !     /app/.profile.d/2.sh ended with status 1\none one-three\n"
    );
    assert!(exit.success());
    std::fs::write(slug.join(".profile.d/2.sh"), "exit 4").unwrap();
    let (text, exit) = outcome(&f, options(slug, &[]));
    assert_eq!(
        (text.as_str(), exit),
        (
            " !     /app/.profile.d/2.sh ended the start of the process\n",
            Exit::Code(4)
        )
    );
}

/// Neither a variable that is not set nor a failing command in the middle ends the start: no script is sourced under
/// `set -e` or `set -u`.
#[test]
fn profile_scripts_are_sourced_without_strictness_pit_08() {
    let Some(f) = Fixture::of_root() else { return };
    let slug = f.app(&[
        ("Procfile", "web: echo $A\n"),
        (".profile.d/1.sh", "false; A=$_UNSET_; export A=${A}reached\n"),
    ]);
    assert_eq!(
        outcome(&f, options(slug, &[])),
        ("reached\n".to_owned(), Exit::Code(0))
    );
}

/// What `.profile.d` says depends on the machine that the process starts on, not on the one that built the slug.
#[test]
fn profile_scripts_ask_the_running_machine_pit_20() {
    let Some(f) = Fixture::of_root() else { return };
    f.app(&[
        ("Procfile", "web: echo $WEB_CONCURRENCY\n"),
        (".env", "WEB_MEMORY=7\n"),
    ]);
    let concurrency = r#"mkdir "$1/.profile.d"; echo 'export WEB_CONCURRENCY=$((${WEB_MEMORY:-512} / 128))' >"$1/.profile.d/x.sh""#;
    let built = f
        .build(f.options(&[&f.buildpack("web", &[("compile", concurrency)])]))
        .unwrap();
    for (memory, expected) in [(None, "4\n"), (Some("1024"), "8\n"), (Some("256"), "2\n")] {
        let mut own = options(built.directory(), &[]);
        own.env
            .extend(memory.map(|memory| ("WEB_MEMORY".to_owned(), memory.into())));
        assert_eq!(
            outcome(&f, own).0,
            expected,
            "{memory:?}; HE-04: `.env` is not read here"
        );
    }
}

#[test]
fn a_release_type_starts_when_it_is_named_pf_07() {
    let Some(f) = Fixture::of_root() else { return };
    let slug = f.app(&[("Procfile", "release: echo migrated\n")]);
    let words: [OsString; 0] = [];
    let error = Start::parse(&words, &slug::processes(&slug).unwrap()).unwrap_err();
    assert!(error.to_string().contains("only release"), "{error}");
    assert_eq!(outcome(&f, options(slug, &["start", "release"])).0, "migrated\n");
}

#[test]
fn nothing_needs_to_be_written_to_the_app_sr_07() {
    let Some(f) = Fixture::of_root() else { return };
    let slug = f.app(&[
        (
            "Procfile",
            "web: echo $A; touch /app/x 2>/dev/null || echo read-only\n",
        ),
        (".profile.d/a.sh", "export A=b"),
    ]);
    let own = RunOptions {
        give: false,
        ..options(slug, &[])
    };
    assert_eq!(outcome(&f, own).0, "b\nread-only\n");
}

#[test]
fn signals_reach_the_process_sr_06() {
    let Some(f) = Fixture::of_root() else { return };
    let server = "#!/bin/sh\ntrap 'echo stopped; exit 5' TERM\necho ready\nwhile :; do sleep 0.05; done\n";
    let slug = f.app(&[("Procfile", "web: sh ./server\n"), ("server", server)]);
    let (mut output, input) = std::io::pipe().unwrap();
    let mut own = options(slug, &[]);
    let forwarding = own.forwarding.clone();
    own.streams = Streams::Separate {
        stdin: Stdio::Null,
        stdout: Stdio::Fd(input.into()),
        stderr: Stdio::Inherit,
    };
    let running = run(own, &f.rooms).unwrap();
    let mut ready = [0; 6];
    output.read_exact(&mut ready).unwrap();
    assert!(forwarding.signal(15));
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert_eq!(
        (rest.as_str(), running.wait(&f.log).unwrap()),
        ("stopped\n", Exit::Code(5))
    );
}

#[test]
fn several_processes_have_prefixes_and_end_together() {
    let Some(f) = Fixture::of_root() else { return };
    // The worker ends when both others have said something.
    let web = "echo on $PORT; touch said.$PORT; sleep 86400";
    let wait = "until [ -e said.5000 ] && [ -e said.5001 ]; do sleep 0.05; done";
    let procfile = format!("web: {web}\nworker: {wait}; echo on $PORT; exit 6\n");
    let slug = f.app(&[("Procfile", &procfile)]);
    let running = run(options(slug, &["start", "web=2", "worker"]), &f.rooms).unwrap();
    assert_eq!(running.wait(&f.log).unwrap(), Exit::Code(6));
    let log = f.log.take();
    let mut lines: Vec<_> = log.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        ["web.1    | on 5000", "web.2    | on 5001", "worker.1 | on 5100"]
    );
}

#[test]
fn tests_of_an_app_run_with_its_profile_and_variables_hc_09() {
    let Some(f) = Fixture::of_root() else { return };
    f.app(&[("contract", "")]);
    let mut vars = ConfigVars::default();
    vars.set("SECRET", "s").unwrap();
    let build = || {
        f.build(BuildOptions {
            purpose: Purpose::Tests,
            ..f.options(&["contract"])
        })
        .unwrap()
    };
    check(&build(), &Fixture::stack(), &vars, f.surroundings()).unwrap();
    let log = f.log.take();
    assert!(
        log.ends_with(
            "-----> Running test\n       1..1\n       ok 1 - hello from .profile.d, tests, /app, SECRET=s\n"
        ),
        "{log}"
    );

    f.app(&[("app.json", r#"{"scripts": {"test": "echo $GREETING; exit 8"}}"#)]);
    let error = check(&build(), &Fixture::stack(), &vars, f.surroundings()).unwrap_err();
    assert!(matches!(error, HerokuError::Script { code: 8, .. }), "{error}");
}
