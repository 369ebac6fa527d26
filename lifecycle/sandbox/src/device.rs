//! The /dev of a step: a small tmpfs with the devices every program may use, and no other.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, makedev, mkdirat, mknodat, openat, symlinkat};
use rustix::io::Errno;

use crate::error::SandboxError;
use crate::init::{Attachment, Origin};
use crate::tree::{NO_EXEC, NO_SUID, Tree};

/// Name, major and minor number.
pub(crate) const DEVICES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// The devices that a run in a chroot may find in its root and that are gone after it.
pub fn chroot_devices() -> impl Iterator<Item = PathBuf> {
    DEVICES.iter().map(|(name, ..)| Path::new("/dev").join(name))
}

const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
];

/// The tmpfs for /dev, and the devices that have to be bound over it because none can be made.
pub(crate) fn make_dev() -> Result<(Tree, Vec<Attachment>), SandboxError> {
    let failed = SandboxError::prepare::<Errno>;
    let tree =
        Tree::tmpfs(Some(64 << 10), 0o755, NO_SUID | NO_EXEC).map_err(failed("make a tmpfs for /dev"))?;
    for directory in ["pts", "shm", "mqueue"] {
        mkdirat(&tree, directory, Mode::from_raw_mode(0o755)).map_err(failed("make directories in /dev"))?;
    }
    for (target, name) in LINKS {
        symlinkat(target, &tree, name).map_err(failed("make links in /dev"))?;
    }
    let mut bound = Vec::new();
    for (name, major, minor) in DEVICES {
        if !make_node(&tree, name, major, minor).map_err(failed("make devices in /dev"))? {
            bound.push(bind_node(&tree, name)?);
        }
    }
    Ok((tree, bound))
}

/// Makes a device node; not where the kernel forbids it (in a user namespace) or would not let it be opened.
fn make_node(dev: &Tree, name: &str, major: u32, minor: u32) -> Result<bool, Errno> {
    let everyone = Mode::from_raw_mode(0o666);
    match mknodat(
        dev,
        name,
        FileType::CharacterDevice,
        everyone,
        makedev(major, minor),
    ) {
        Ok(()) => {}
        Err(Errno::PERM) => return Ok(false),
        Err(error) => return Err(error),
    }
    // The umask took bits from the mode.
    rustix::fs::chmodat(dev, name, everyone, rustix::fs::AtFlags::empty())?;
    Ok(true)
}

fn bind_node(dev: &Tree, name: &str) -> Result<Attachment, SandboxError> {
    let source = format!("/dev/{name}");
    let stub = || -> Result<OwnedFd, Errno> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        openat(dev, name, flags, Mode::from_raw_mode(0o666))?;
        openat(
            CWD,
            source.as_str(),
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
        )
    };
    let device = stub()
        .and_then(|fd| Tree::bind(fd.as_fd()))
        .map_err(SandboxError::prepare(format!("bind {source}")))?;
    let target =
        CString::new(format!("dev/{name}")).map_err(|_| SandboxError::NullByte { what: "a device" })?;
    Ok(Attachment {
        origin: Origin::Tree(device),
        target,
    })
}
