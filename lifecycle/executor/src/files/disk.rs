//! Files in a directory of this machine: a build context, or an extracted layer.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use lifecycle_layers::{Device, Owner, OwnerTable, Stamp};
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, Stat, fgetxattr, fstat, major, minor, open, readlinkat, statat,
};
use rustix::io::Errno;

use super::node::{Node, NodeKind};
use super::open::{FileHandle, open_beneath};
use crate::copy::known;

/// A directory with everything below it.
#[derive(Debug)]
pub(crate) struct DiskFiles {
    root: Arc<OwnedFd>,
    owners: DiskOwners,
    /// Directories that nobody described.
    implied: BTreeSet<Vec<u8>>,
}

/// Who owns the files.
#[derive(Debug)]
pub(crate) enum DiskOwners {
    /// Who the disk says.
    Keep,
    /// Root: local sources arrive so (H6).
    Root,
    /// Who the table says.
    Table(OwnerTable),
}

/// What a layer says about a name.
#[derive(Debug)]
pub(crate) enum Said {
    /// Nothing.
    Nothing,
    /// That it is gone.
    Gone,
    /// What it is.
    Node(Node),
    /// That it is a directory, because something is in it. What it looks like is for lower layers to say; only if none
    /// does, it is this.
    Implied(Node),
}

pub(super) const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW);

impl DiskFiles {
    /// The files below `path`, whose own links are followed: the caller vouches for it.
    pub(crate) fn open(path: &Path, owners: DiskOwners) -> io::Result<Self> {
        let root = open(
            path,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        Ok(Self::new(root, owners))
    }

    pub(crate) fn new(root: OwnedFd, owners: DiskOwners) -> Self {
        Self {
            root: Arc::new(root),
            owners,
            implied: BTreeSet::new(),
        }
    }

    /// These directories are there only because something is in them.
    pub(crate) fn implying(self, implied: BTreeSet<Vec<u8>>) -> Self {
        Self { implied, ..self }
    }

    pub(crate) fn handle(&self, path: &[u8]) -> FileHandle {
        FileHandle {
            root: Arc::clone(&self.root),
            path: path.to_vec(),
        }
    }

    pub(super) fn top(&self) -> io::Result<OwnedFd> {
        Ok(open_beneath(&*self.root, b"", DIRECTORY)?)
    }

    /// What is said about the directory itself.
    pub(super) fn say_root(&self) -> io::Result<Said> {
        let node = self.node(b"", &fstat(&*self.root)?, || Ok(Vec::new()))?;
        Ok(self.said(b"", node))
    }

    fn said(&self, path: &[u8], node: Node) -> Said {
        if self.implied.contains(path) {
            Said::Implied(node)
        } else {
            Said::Node(node)
        }
    }

    pub(super) fn say(&self, directory: BorrowedFd<'_>, path: &[u8], name: &[u8]) -> io::Result<Said> {
        let name = c_name(name)?;
        let stat = match statat(directory, name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(Said::Nothing),
            Err(error) => return Err(error.into()),
        };
        if FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0 {
            return Ok(Said::Gone);
        }
        let target = || match readlinkat(directory, name.as_c_str(), Vec::new()) {
            Ok(target) => Ok(target.into_bytes()),
            Err(Errno::INVAL) => Err(io::Error::other("it changed while it was read: it was a link")),
            Err(error) => Err(error.into()),
        };
        Ok(self.said(path, self.node(path, &stat, target)?))
    }

    fn node(&self, path: &[u8], stat: &Stat, target: impl Fn() -> io::Result<Vec<u8>>) -> io::Result<Node> {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => NodeKind::Directory,
            FileType::Symlink => NodeKind::Symlink(target()?),
            FileType::Fifo => NodeKind::Fifo,
            FileType::CharacterDevice => NodeKind::CharDevice(device(stat)),
            FileType::BlockDevice => NodeKind::BlockDevice(device(stat)),
            FileType::Socket => NodeKind::Socket,
            FileType::RegularFile | FileType::Unknown => NodeKind::File {
                size: u64::try_from(stat.st_size).unwrap_or(0),
            },
        };
        let shared = stat.st_nlink > 1 && matches!(kind, NodeKind::File { .. });
        Ok(Node {
            kind,
            mode: stat.st_mode & 0o7777,
            owner: match &self.owners {
                DiskOwners::Keep => Owner::new(stat.st_uid, stat.st_gid),
                DiskOwners::Root => Owner::ROOT,
                DiskOwners::Table(table) => table.get(path),
            },
            mtime: stat.st_mtime,
            identity: shared.then_some((stat.st_dev, stat.st_ino)),
            mark: matches!(self.owners, DiskOwners::Root).then(|| known::mark(&Stamp::of(stat))),
            xattrs: Vec::new(),
        })
    }
}

pub(super) fn names(directory: BorrowedFd<'_>) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    Ok(names)
}

/// The directory of a name, if it is one.
pub(super) fn enter(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    let name = c_name(name)?;
    let flags = DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(
        directory,
        name.as_c_str(),
        flags,
        Mode::empty(),
    )?)
}

/// Whether a directory hides what the layers below have in it.
pub(super) fn is_opaque(directory: BorrowedFd<'_>) -> bool {
    let has = |name: &CStr| {
        let mut value = [0; 2];
        matches!(fgetxattr(directory.as_fd(), name, &mut value[..]), Ok(1)) && value[0] == b'y'
    };
    has(c"trusted.overlay.opaque") || has(c"user.overlay.opaque")
}

fn c_name(name: &[u8]) -> io::Result<CString> {
    Ok(CString::new(name)?)
}

#[allow(
    clippy::useless_conversion,
    reason = "the field's type differs between processors"
)]
fn device(stat: &Stat) -> Device {
    let number = stat.st_rdev.into();
    Device {
        major: major(number),
        minor: minor(number),
    }
}
