//! Running programs as other users.

use std::fs;
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::executable::copy_program;
use super::{Invocation, Machine};

/// The account that tests make for themselves when root runs them. It is reused, never removed.
const NAME: &str = "lifecycle-test";

/// A user id that no account has, so no subordinate ids either.
const STRANGER: u32 = 65_123;

/// Whether the tests run as root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Somebody to run programs as.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    uid: u32,
    gid: u32,
    wrapper: Vec<String>,
    /// Whether there are programs that map subordinate ids.
    maps_ids: bool,
}

impl Account {
    /// Root; nobody when the tests run as an ordinary user.
    pub(crate) fn root() -> Option<Self> {
        is_root().then(Self::own)
    }

    /// An ordinary user with subordinate ids.
    pub(crate) fn ordinary() -> Self {
        if !is_root() {
            return Self::own();
        }
        let (uid, gid) = *account();
        Self {
            uid,
            gid,
            wrapper: setpriv(uid, gid, &["--init-groups"]),
            maps_ids: true,
        }
    }

    /// An ordinary user without any id but its own.
    pub(crate) fn single_id() -> Self {
        if !is_root() {
            return Self {
                maps_ids: false,
                ..Self::own()
            };
        }
        Self {
            uid: STRANGER,
            gid: STRANGER,
            wrapper: setpriv(STRANGER, STRANGER, &["--clear-groups"]),
            maps_ids: false,
        }
    }

    fn own() -> Self {
        let (uid, gid) = (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        );
        Self {
            uid,
            gid,
            wrapper: Vec::new(),
            maps_ids: true,
        }
    }

    /// Hands over a directory with everything in it.
    pub(crate) fn own_tree(&self, directory: &Path) {
        if is_root() {
            chown_tree(directory, self.uid, self.gid);
        }
    }

    /// A machine on which everything belongs to this user, with the builder in its own store, and the program where
    /// the user can reach it.
    pub(crate) fn machine(&self) -> (Machine, PathBuf) {
        let machine = Machine::new();
        let program = machine.path("lifecycle");
        copy_program(env!("CARGO_BIN_EXE_lifecycle"), &program);
        let builder = format!("oci:{}", machine.path("images").display());
        let shared = Machine::with_builder();
        for name in [super::images::BUILDER, super::images::RUN] {
            shared
                .lifecycle(&["copy", &format!("store:{name}"), &format!("{builder}:{name}")])
                .succeeds();
        }
        self.own_tree(&machine.path(""));
        for name in [super::images::BUILDER, super::images::RUN] {
            let pull = machine.lifecycle(&["pull", &format!("{builder}:{name}"), "--tag", name]);
            self.invoke(pull).program(&program).succeeds();
        }
        (machine, program)
    }

    /// The same invocation, as this user.
    pub(crate) fn invoke(&self, invocation: Invocation) -> Invocation {
        let invocation = if self.maps_ids {
            invocation
        } else {
            invocation.env("PATH", "/bin-without-newuidmap:/bin")
        };
        invocation.under(&self.wrapper)
    }
}

fn setpriv(uid: u32, gid: u32, options: &[&str]) -> Vec<String> {
    let words = [
        "setpriv".to_owned(),
        format!("--reuid={uid}"),
        format!("--regid={gid}"),
    ];
    words
        .into_iter()
        .chain(options.iter().map(|&option| option.to_owned()))
        .chain(["--".to_owned()])
        .collect()
}

/// User and group id of the tests' own account, which is made when it is not there.
fn account() -> &'static (u32, u32) {
    static ACCOUNT: OnceLock<(u32, u32)> = OnceLock::new();
    ACCOUNT.get_or_init(|| {
        let find = || {
            let passwd = fs::read_to_string("/etc/passwd").unwrap();
            let line = passwd
                .lines()
                .find(|line| line.starts_with(&format!("{NAME}:")))?
                .to_owned();
            let fields: Vec<&str> = line.split(':').collect();
            Some((fields[2].parse().unwrap(), fields[3].parse().unwrap()))
        };
        find().unwrap_or_else(|| {
            // useradd gives subordinate ids only when the files are there.
            for file in ["/etc/subuid", "/etc/subgid"] {
                fs::OpenOptions::new()
                    .append(true)
                    .create(true)
                    .open(file)
                    .unwrap();
            }
            let made = Command::new("useradd")
                .args(["--create-home", NAME])
                .output()
                .unwrap();
            assert!(
                made.status.success(),
                "useradd: {}",
                String::from_utf8_lossy(&made.stderr)
            );
            find().unwrap()
        })
    })
}

fn chown_tree(path: &Path, uid: u32, gid: u32) {
    lchown(path, Some(uid), Some(gid)).unwrap();
    if path.symlink_metadata().unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            chown_tree(&entry.unwrap().path(), uid, gid);
        }
    }
}
