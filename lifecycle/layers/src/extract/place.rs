//! Puts entries into a tree: where each belongs, what was there before, whose it is.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::{CStr, CString};
use std::io::{self, BufRead};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{
    AtFlags, FileType, Gid, Timespec, Timestamps, UTIME_OMIT, Uid, chownat, fchown, statat, unlinkat,
};
use rustix::io::Errno;

use super::directories::Finish;
use super::whiteout::WHITEOUT;
use super::{ExtractError, ExtractOptions, Extracted, Ownership, Refused, Skipped, Whiteouts};
use crate::entry::{ancestors, show, split};
use crate::root::Root;
use crate::tree::remove_name;
use crate::{Entry, Kind, Owner, OwnerTable, ReadEntry, TarReader, Xattr, xattrs};

/// Puts entries into a tree.
pub(super) struct Placer<'a> {
    pub(super) options: &'a ExtractOptions<'a>,
    pub(super) root: Root,
    /// Directories by path, the last used one at the end.
    pub(super) open: Vec<(Vec<u8>, Rc<OwnedFd>)>,
    /// What directories get at the end.
    pub(super) directories: BTreeMap<Vec<u8>, Finish>,
    /// What this layer made, with all directories above. A whiteout hides what lower layers have, never this.
    pub(super) made: HashSet<Vec<u8>>,
    /// Directories that were made and that the archive has not described so far; the root among them.
    pub(super) implied: BTreeSet<Vec<u8>>,
    entries: u64,
    pub(super) bytes: u64,
    owners: OwnerTable,
    skipped: Vec<Skipped>,
    pub(super) devices: Vec<Entry<'static>>,
    pub(super) privileged: bool,
}

/// Where an entry belongs.
pub(super) enum Place {
    Root,
    /// Above the part of the archive that is wanted.
    Above,
    Path(Vec<u8>),
}

impl<'a> Placer<'a> {
    pub(super) fn new(into: BorrowedFd<'_>, options: &'a ExtractOptions<'a>) -> Result<Self, ExtractError> {
        let root = Root::new(into).map_err(|cause| ExtractError::Io {
            path: ".".into(),
            cause,
        })?;
        Ok(Self {
            options,
            root,
            open: Vec::new(),
            directories: BTreeMap::new(),
            made: HashSet::new(),
            implied: BTreeSet::from([Vec::new()]),
            entries: 0,
            bytes: 0,
            owners: OwnerTable::default(),
            skipped: Vec::new(),
            devices: Vec::new(),
            privileged: rustix::process::geteuid().is_root(),
        })
    }

    /// Puts one entry into the tree, taking its data from `reader`.
    pub(super) fn place<R: BufRead>(
        &mut self,
        entry: ReadEntry,
        reader: &mut TarReader<R>,
    ) -> Result<(), ExtractError> {
        self.entries += 1;
        check_limit("entries", self.entries, self.options.limits.entries)?;
        let path = match self.locate(&entry.path)? {
            Place::Above => return Ok(()),
            Place::Root if entry.kind == Kind::Directory => return self.describe_root(entry),
            Place::Root => return Err(ExtractError::Root),
            Place::Path(path) => path,
        };
        let (above, name) = split(&path);
        if self.options.whiteouts != Whiteouts::Literal
            && let Some(hidden) = name.strip_prefix(WHITEOUT)
        {
            return self.whiteout(&path, above, hidden);
        }
        let directory = self.make_directories(above)?;
        let at = At {
            directory: directory.as_fd(),
            name: &c_name(&path, name)?,
            path: &path,
        };
        match &entry.kind {
            Kind::File { size } => self.file(&at, *size, &entry, reader)?,
            Kind::Directory => self.directory(&at, &entry)?,
            Kind::Symlink(target) => self.symlink(&at, target, &entry)?,
            Kind::HardLink(target) => self.hard_link(&at, target)?,
            Kind::Fifo => self.node(&at, FileType::Fifo, None, &entry)?,
            Kind::CharDevice(device) => {
                self.node(&at, FileType::CharacterDevice, Some(*device), &entry)?;
            }
            Kind::BlockDevice(device) => self.node(&at, FileType::BlockDevice, Some(*device), &entry)?,
        }
        self.remember(path);
        Ok(())
    }

    /// Ends the tree when everything is in it.
    pub(super) fn finish(mut self) -> Result<Extracted, ExtractError> {
        self.finish_directories()?;
        Ok(Extracted {
            entries: self.entries,
            bytes: self.bytes,
            owners: self.owners,
            implied: self.implied,
            skipped: self.skipped,
            devices: self.devices,
        })
    }

    /// Where a name of the archive belongs. `..` is refused rather than resolved: no honest writer makes it,
    /// and what it means behind a link depends on who is asked (CVE-2026-28406).
    pub(super) fn locate(&self, raw: &[u8]) -> Result<Place, ExtractError> {
        let outside = || ExtractError::Outside { path: show(raw) };
        let mut path = Vec::with_capacity(raw.len());
        for name in raw.split(|&byte| byte == b'/') {
            match name {
                b"" | b"." => continue,
                b".." => return Err(outside()),
                _ => {}
            }
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name);
        }
        let below = self.options.below;
        if below.is_empty() {
            return Ok(if path.is_empty() {
                Place::Root
            } else {
                Place::Path(path)
            });
        }
        if path == below {
            return Ok(Place::Root);
        }
        if path.is_empty() || ancestors(below).any(|above| above == path) {
            return Ok(Place::Above);
        }
        match path.strip_prefix(below) {
            Some([b'/', rest @ ..]) => Ok(Place::Path(rest.to_vec())),
            _ => Err(outside()),
        }
    }

    fn describe_root(&mut self, entry: ReadEntry) -> Result<(), ExtractError> {
        if let Some(owner) = self.owner(b"", entry.owner)? {
            let (user, group) = ids(owner);
            fchown(self.root.handle(), user, group).map_err(|error| io_error(b"", error))?;
        }
        self.implied.remove(&b""[..]);
        self.directories.insert(Vec::new(), Finish::of(entry));
        Ok(())
    }

    /// Removes what has the name, with everything below it.
    pub(super) fn clear(&mut self, at: &At<'_>) -> Result<(), ExtractError> {
        let stat = match statat(at.directory, at.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(at.error(error)),
        };
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
            self.owners.remove(at.path);
            return unlinkat(at.directory, at.name, AtFlags::empty()).map_err(|error| at.error(error));
        }
        remove_name(at.directory, at.name).map_err(|cause| ExtractError::Io {
            path: show(at.path),
            cause,
        })?;
        self.forget(at.path);
        Ok(())
    }

    /// Forgets what was known about a path and everything below it. Open directories may have been reached
    /// through a link that is gone now, so all of them are.
    pub(super) fn forget(&mut self, path: &[u8]) {
        self.open.clear();
        self.owners.remove(path);
        let mut below = path.to_vec();
        below.push(b'/');
        let is_gone = |other: &[u8]| other == path || other.starts_with(&below);
        let mut rest = self.directories.split_off(path);
        rest.retain(|other, _| !is_gone(other));
        self.directories.append(&mut rest);
        let mut rest = self.implied.split_off(path);
        rest.retain(|other| !is_gone(other));
        self.implied.append(&mut rest);
    }

    /// Gives an entry to its owner.
    pub(super) fn give(&mut self, at: &At<'_>, owner: Owner) -> Result<(), ExtractError> {
        let Some(owner) = self.owner(at.path, owner)? else {
            return Ok(());
        };
        let (user, group) = ids(owner);
        chownat(at.directory, at.name, user, group, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| at.error(error))
    }

    /// The owner on disk, or nothing when it stays the present user and the table remembers.
    pub(super) fn owner(&mut self, path: &[u8], owner: Owner) -> Result<Option<Owner>, ExtractError> {
        match self.options.ownership {
            Ownership::Keep => Ok(Some(owner)),
            Ownership::Map(map) => match map.outside(owner) {
                Some(outside) => Ok(Some(outside)),
                None => Err(ExtractError::Owner {
                    path: show(path),
                    owner,
                }),
            },
            Ownership::Squash => {
                self.owners.set(path, owner);
                Ok(None)
            }
        }
    }

    /// Decides about what the system refused.
    pub(super) fn allow(
        &mut self,
        path: &[u8],
        what: &str,
        result: io::Result<()>,
    ) -> Result<(), ExtractError> {
        match result {
            Ok(()) => Ok(()),
            Err(cause) if self.options.refused == Refused::Skip && is_refusal(&cause) => {
                self.skipped.push(Skipped {
                    path: show(path),
                    what: what.to_owned(),
                    reason: cause.to_string(),
                });
                Ok(())
            }
            Err(cause) => Err(ExtractError::Io {
                path: format!("{} ({what})", show(path)),
                cause,
            }),
        }
    }
}

/// The place of an entry: a directory, and a name in it that is one for the kernel.
pub(super) struct At<'a> {
    pub(super) directory: BorrowedFd<'a>,
    pub(super) name: &'a CStr,
    pub(super) path: &'a [u8],
}

impl At<'_> {
    pub(super) fn stat(&self) -> Result<rustix::fs::Stat, ExtractError> {
        statat(self.directory, self.name, AtFlags::SYMLINK_NOFOLLOW).map_err(|error| self.error(error))
    }

    pub(super) fn error(&self, error: Errno) -> ExtractError {
        io_error(self.path, error)
    }
}

pub(super) fn traveling(all: &[Xattr]) -> impl Iterator<Item = &Xattr> {
    all.iter().filter(|xattr| xattrs::travels(&xattr.name))
}

/// Whether the system has no place for something or does not let this user do it.
pub(super) fn is_refusal(error: &io::Error) -> bool {
    [
        Errno::PERM,
        Errno::ACCESS,
        Errno::OPNOTSUPP,
        Errno::INVAL,
        Errno::NOSYS,
        Errno::NOENT,
    ]
    .iter()
    .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

pub(super) fn check_limit(what: &'static str, value: u64, limit: Option<u64>) -> Result<(), ExtractError> {
    match limit {
        Some(limit) if value > limit => Err(ExtractError::Limit { what, limit }),
        _ => Ok(()),
    }
}

pub(super) fn ids(owner: Owner) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)))
}

pub(super) fn timespec(seconds: i64) -> Timespec {
    Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    }
}

/// A modification time; the time of access stays.
pub(crate) fn times(mtime: Timespec) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: mtime,
    }
}

pub(super) fn c_name(path: &[u8], name: &[u8]) -> Result<CString, ExtractError> {
    CString::new(name).map_err(|_| io_error(path, Errno::INVAL))
}

pub(super) fn io_error(path: &[u8], error: Errno) -> ExtractError {
    ExtractError::Io {
        path: if path.is_empty() { ".".into() } else { show(path) },
        cause: error.into(),
    }
}
