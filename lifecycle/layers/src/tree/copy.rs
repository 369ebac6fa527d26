//! Copies a tree.

use std::collections::HashMap;
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, chmodat, chownat, fchmod, fchown,
    futimens, ioctl_ficlone, linkat, mkdirat, mknodat, openat, readlinkat, symlinkat, utimensat,
};
use rustix::io::Errno;

use crate::contents::open_file;
use crate::descent::{Descent, Identity};
use crate::entry::split;
use crate::root::Root;
use crate::walk::{Found, Order, Walk};
use crate::xattrs;

/// How the files of a tree are copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Copying {
    /// Shared blocks where the file system can, bytes otherwise.
    #[default]
    Reflink,
    /// Hard links where possible: as fast as it gets, but who writes to a file in place changes both trees.
    HardLink,
}

/// What was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Copied {
    /// Entries of every kind.
    pub entries: u64,
    /// Files that are hard links to the old tree.
    pub linked: u64,
    /// Files that share their blocks with the old tree.
    pub cloned: u64,
    /// Bytes that had to be copied.
    pub bytes: u64,
}

/// Copies everything below `from` into the directory `to`, which must not have entries of these names.
///
/// Modes, times, extended attributes, holes, hard links within the tree and all kinds of entries are kept, and
/// owners too when the user may give files away. Sockets are left out.
pub fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>, copying: Copying) -> io::Result<Copied> {
    let mut copier = Copier {
        copying,
        // Without the right to give files away, everything belongs to the one who copies.
        owners: rustix::process::geteuid().is_root(),
        root: Root::new(to)?,
        to: Descent::new(to)?,
        directories: Vec::new(),
        links: HashMap::new(),
        copied: Copied::default(),
    };
    let mut walk = Walk::new(from, Order::DepthFirst)?;
    while let Some(found) = walk.next() {
        let found = found.map_err(|error| error.cause)?;
        copier.leave_to(found.depth())?;
        copier.entry(&found)?;
    }
    copier.leave_to(0)?;
    Ok(copier.copied)
}

struct Copier {
    copying: Copying,
    owners: bool,
    root: Root,
    to: Descent,
    /// The originals of the directories from the root to the current one.
    directories: Vec<Stat>,
    /// Files with several names, and the first copy of them.
    links: HashMap<Identity, Vec<u8>>,
    copied: Copied,
}

impl Copier {
    /// Goes up to a level. What was made in a directory has changed its time, so it gets that and its mode on
    /// the way out.
    fn leave_to(&mut self, depth: usize) -> io::Result<()> {
        while self.to.depth() > depth {
            if let Some(stat) = self.directories.pop() {
                fchmod(self.to.here(), Mode::from_raw_mode(stat.st_mode & 0o7777))?;
                futimens(self.to.here(), &times(&stat))?;
            }
            self.to.leave()?;
        }
        Ok(())
    }

    fn entry(&mut self, found: &Found<'_>) -> io::Result<()> {
        let kind = FileType::from_raw_mode(found.stat.st_mode);
        if matches!(kind, FileType::Socket | FileType::Unknown) {
            return Ok(());
        }
        self.copied.entries += 1;
        if kind == FileType::Directory {
            return self.directory(found);
        }
        if found.stat.st_nlink > 1 {
            let identity = Identity::of(&found.stat);
            if let Some(first) = self.links.get(&identity) {
                let (above, name) = split(first);
                let above = self.root.exact(above)?;
                return Ok(linkat(
                    &above,
                    name,
                    self.to.here(),
                    found.name,
                    AtFlags::empty(),
                )?);
            }
            self.links.insert(identity, found.path.to_vec());
        }
        if self.copying == Copying::HardLink && self.link(found)? {
            return Ok(());
        }
        match kind {
            FileType::RegularFile => self.file(found),
            FileType::Symlink => {
                let target = readlinkat(found.directory, found.name, Vec::new())?;
                symlinkat(target.as_c_str(), self.to.here(), found.name)?;
                self.describe(found)
            }
            _ => {
                let mode = Mode::from_raw_mode(found.stat.st_mode & 0o7777);
                mknodat(self.to.here(), found.name, kind, mode, found.stat.st_rdev)?;
                self.give(found.name, &found.stat)?;
                chmodat(self.to.here(), found.name, mode, AtFlags::empty())?;
                self.describe(found)
            }
        }
    }

    fn directory(&mut self, found: &Found<'_>) -> io::Result<()> {
        mkdirat(self.to.here(), found.name, Mode::RWXU)?;
        self.give(found.name, &found.stat)?;
        let original = openat(
            found.directory,
            found.name,
            crate::descent::DIRECTORY,
            Mode::empty(),
        )?;
        self.to.enter(found.name)?;
        self.directories.push(found.stat);
        copy_xattrs(original.as_fd(), self.to.here())
    }

    /// Makes a hard link to the original, unless the file system or the kernel's protection of links refuses.
    fn link(&mut self, found: &Found<'_>) -> io::Result<bool> {
        let here = self.to.here();
        match linkat(found.directory, found.name, here, found.name, AtFlags::empty()) {
            Ok(()) => {
                self.copied.linked += 1;
                Ok(true)
            }
            Err(Errno::XDEV | Errno::MLINK | Errno::PERM | Errno::OPNOTSUPP) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn file(&mut self, found: &Found<'_>) -> io::Result<()> {
        let (original, stat) = open_file(found)?;
        let mut original = File::from(original);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut copy: File = openat(self.to.here(), found.name, flags, Mode::RUSR | Mode::WUSR)?.into();
        if stat.st_size > 0 && ioctl_ficlone(&copy, &original).is_ok() {
            self.copied.cloned += 1;
        } else {
            self.copied.bytes += copy_bytes(&mut original, &mut copy, &stat)?;
        }
        if self.owners {
            let (user, group) = ids(&stat);
            fchown(&copy, user, group)?;
        }
        fchmod(&copy, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
        copy_xattrs(original.as_fd(), copy.as_fd())?;
        Ok(futimens(&copy, &times(&stat))?)
    }

    /// Gives an entry that cannot be opened its owner, attributes and time.
    fn describe(&self, found: &Found<'_>) -> io::Result<()> {
        self.give(found.name, &found.stat)?;
        for xattr in xattrs::read_at(found.directory, found.name)? {
            xattrs::set_at(self.to.here(), found.name, &xattr.name, &xattr.value)?;
        }
        let times = times(&found.stat);
        Ok(utimensat(
            self.to.here(),
            found.name,
            &times,
            AtFlags::SYMLINK_NOFOLLOW,
        )?)
    }

    fn give(&self, name: &CStr, stat: &Stat) -> io::Result<()> {
        if !self.owners {
            return Ok(());
        }
        let (user, group) = ids(stat);
        Ok(chownat(
            self.to.here(),
            name,
            user,
            group,
            AtFlags::SYMLINK_NOFOLLOW,
        )?)
    }
}

/// Copies a file's bytes and leaves its holes holes. The standard library lets the kernel do the copying
/// (`copy_file_range`) where it can.
fn copy_bytes(from: &mut File, to: &mut File, stat: &Stat) -> io::Result<u64> {
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    if stat.st_blocks * 512 >= stat.st_size {
        return io::copy(from, to);
    }
    to.set_len(size)?;
    let mut copied = 0;
    let mut end = 0;
    loop {
        let start = match rustix::fs::seek(&*from, rustix::fs::SeekFrom::Data(end)) {
            Ok(start) => start,
            // There is no data any more.
            Err(Errno::NXIO) => return Ok(copied),
            // The file system cannot tell.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => {
                from.seek(SeekFrom::Start(end))?;
                to.seek(SeekFrom::Start(end))?;
                return Ok(copied + io::copy(from, to)?);
            }
            Err(error) => return Err(error.into()),
        };
        end = rustix::fs::seek(&*from, rustix::fs::SeekFrom::Hole(start))?;
        from.seek(SeekFrom::Start(start))?;
        to.seek(SeekFrom::Start(start))?;
        copied += io::copy(&mut (&*from).take(end - start), to)?;
    }
}

fn copy_xattrs(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    for xattr in xattrs::read(from)? {
        match xattrs::set(to, &xattr.name, &xattr.value) {
            // Attributes that only root may set cannot be copied by others, just like owners.
            Err(error)
                if error.kind() == io::ErrorKind::PermissionDenied
                    && !rustix::process::geteuid().is_root() => {}
            other => other?,
        }
    }
    Ok(())
}

fn ids(stat: &Stat) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))
}

fn times(stat: &Stat) -> Timestamps {
    #[allow(
        clippy::useless_conversion,
        clippy::unnecessary_cast,
        clippy::cast_possible_wrap,
        reason = "the fields' types differ between processors"
    )]
    Timestamps {
        last_access: Timespec {
            tv_sec: stat.st_atime as i64,
            tv_nsec: stat.st_atime_nsec as i64,
        },
        last_modification: Timespec {
            tv_sec: stat.st_mtime as i64,
            tv_nsec: stat.st_mtime_nsec as i64,
        },
    }
}
