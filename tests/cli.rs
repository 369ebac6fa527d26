//! The command line as a user meets it: help, errors, exit codes.

#![expect(missing_docs, reason = "a test program")]

use snapbox::cmd::{Command, cargo_bin};

/// The program without anything of this machine's environment.
fn lifecycle() -> Command {
    Command::new(cargo_bin!("lifecycle")).env_clear()
}

#[test]
fn version_says_the_version() {
    let version = concat!("lifecycle ", env!("CARGO_PKG_VERSION"), "\n");
    lifecycle().arg("--version").assert().success().stdout_eq(version).stderr_eq("");
}

#[test]
fn without_a_home_the_store_has_to_be_named() {
    if rustix::process::geteuid().is_root() {
        // Root's store has a place of its own.
        return;
    }
    lifecycle().arg("images").assert().code(1).stderr_eq(snapbox::str![[r#"
error[no-store]: there is no place for the local store: HOME is not set
 = help: name a directory with --store or LIFECYCLE_STORE

"#]]);
}
