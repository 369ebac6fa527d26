//! The same job as every kind of user.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::support::accounts::Account;
use crate::support::images::RUN;
use crate::support::{Machine, Registry};

/// Builds, runs, pushes and cleans up as `account`.
fn whole_job(account: &Account) -> String {
    let (machine, program) = account.machine();
    let registry = Registry::start();
    let app = machine.app();
    account.own_tree(&app);
    let run = |invocation: crate::support::Invocation| account.invoke(invocation.program(&program));
    let name = registry.name("app");
    run(machine.build(&app, &["--tag", &name])).succeeds();
    run(machine.lifecycle(&["run", &name]))
        .succeeds()
        .says("web: replaceable two words");
    run(machine.lifecycle(&["run", &name, "dots.and_underscores"])).fails(3);
    run(machine.lifecycle(&["push", &name])).succeeds();
    run(machine.build(&app, &["--tag", &name]))
        .succeeds()
        .says("fx-layers: only-launch: metadata=yes");
    let shown = run(machine.lifecycle(&["inspect", &name, "--output", "json"]))
        .succeeds()
        .json();
    run(machine.lifecycle(&["cache", "verify"])).succeeds();
    run(machine.lifecycle(&["rmi", &name])).succeeds();
    run(machine.lifecycle(&["cache", "prune", "--all"])).succeeds();
    shown["digest"].as_str().unwrap().to_owned()
}

#[test]
fn root_and_ordinary_users_get_the_same_image() {
    let ordinary = whole_job(&Account::ordinary());
    assert_eq!(whole_job(&Account::single_id()), ordinary, "a user with one id");
    // When the tests run as an ordinary user there is no root to compare with.
    if let Some(root) = Account::root() {
        assert_eq!(whole_job(&root), ordinary, "root");
    }
}

#[test]
fn doctor_names_the_rung_of_each_user() {
    for (account, rung) in [(Account::ordinary(), "1"), (Account::single_id(), "3")] {
        let (machine, program) = account.machine();
        let doctor = account
            .invoke(machine.lifecycle(&["doctor"]).program(&program))
            .succeeds();
        assert!(doctor.text().contains(rung), "{}", doctor.text());
    }
}

/// The stack debian-12 with a handful of packages, Python among them for its byte code.
fn small_stack(machine: &Machine) -> PathBuf {
    let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join("stacks/debian-12");
    let text = std::fs::read_to_string(whole.join("stack.toml")).unwrap();
    let mut stack: toml::Table = text.parse().unwrap();
    for part in ["build", "run"] {
        let part = stack[part].as_table_mut().unwrap();
        part.insert("variant".to_owned(), "essential".into());
        part.insert("packages".to_owned(), vec!["python3-minimal"].into());
    }
    let mut customize = std::fs::read_to_string(whole.join("customize")).unwrap();
    customize.push_str("\necho \"mounts in $(readlink /proc/self/ns/mnt)\" >&2\n");
    machine.files(
        "stack",
        &[("stack.toml", &stack.to_string()), ("customize", &customize)],
    )
}

#[test]
fn root_and_an_ordinary_user_with_another_umask_make_the_same_stack() {
    let own = fs::read_link("/proc/self/ns/mnt").unwrap();
    let digests = |account: &Account, umask: &str| {
        let (machine, program) = account.machine();
        let stack = small_stack(&machine);
        account.own_tree(&stack);
        let create = machine.lifecycle(&["--verbose", "stack", "create", stack.to_str().unwrap()]);
        let create = create.with_network_settings().program(&program);
        let script = format!("umask {umask}; exec \"$@\"");
        let made = account
            .invoke(create.under(&["sh", "-c", &script, "sh"]))
            .succeeds()
            .says("mounts in mnt:")
            // What a killed mmdebstrap leaves attached goes with it.
            .does_not_say(&format!("mounts in {}", own.display()));
        assert_eq!(made.stdout().lines().count(), 2, "{}", made.stdout());
        made.stdout()
    };
    let ordinary = digests(&Account::ordinary(), "077");
    // When the tests run as an ordinary user it is compared with itself.
    let other = Account::root().unwrap_or_else(Account::ordinary);
    assert_eq!(digests(&other, "022"), ordinary);
}

/// The run image's user is neither root nor whoever calls: it may open its streams all the same, whatever they lead to, and
/// the files stay the caller's.
#[test]
fn a_process_opens_its_streams_as_another_user() {
    let script = "cat /dev/stdin; echo out; echo opened >/dev/stdout; echo err >/dev/stderr; exit 3";
    let accounts = [
        Some(Account::ordinary()),
        Some(Account::single_id()),
        Account::root(),
    ];
    for account in accounts.into_iter().flatten() {
        let (machine, program) = account.machine();
        let directory = machine.files("streams", &[("in", "in\n"), ("out", "before\n")]);
        account.own_tree(&directory);
        let words = ["run", RUN, "--entrypoint", "/bin/sh", "--", "-c", script];
        let run = |redirect: &str| {
            let shell = format!("chmod 600 in out; {redirect}");
            let wrapper = ["sh", "-c", &shell, "sh"];
            let invocation = machine.lifecycle(&words).program(&program);
            account.invoke(invocation.under(&wrapper).directory(&directory))
        };
        run(r#""$@" <in >>out 2>&1"#).fails(3);
        let written = fs::read_to_string(directory.join("out")).unwrap();
        let lines: Vec<_> = written.lines().filter(|line| !line.contains("isolat")).collect();
        for line in ["before", "in", "out", "opened", "err"] {
            assert!(lines.contains(&line), "{account:?}: {written}");
        }
        assert_eq!(lines[0], "before", "{account:?}: {written}");
        run(r#"sh -c '"$@" <in 2>&1; echo "code $?"' sh "$@" | cat"#)
            .succeeds()
            .says("in\nout\nopened\n")
            .says("err\n")
            .says("code 3");
        let owner = |name: &str| fs::metadata(directory.join(name)).unwrap().uid();
        let own = fs::metadata(&directory).unwrap().uid();
        assert_eq!((owner("in"), owner("out")), (own, own), "{account:?}");
    }
}
