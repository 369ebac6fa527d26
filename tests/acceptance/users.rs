//! The same job as every kind of user.

use crate::support::Registry;
use crate::support::accounts::Account;

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
