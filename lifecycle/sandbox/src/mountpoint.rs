//! Mount points beneath a root: found or made without ever leaving it, removed again without a trace.
//!
//! A root file system is hostile input: any component may be a symbolic link to anywhere. The walk below takes
//! one component at a time, never lets the kernel follow a link, and resolves links itself against the root.
//! What it made is remembered by directory descriptor, so that removal happens in the very directory where the
//! stub was made, even if a step has put a link in its place since (CVE-2024-23652), and only if it still is
//! the same, empty object. Parents get their modification time back (rule I5).

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, ResolveFlags, Stat, Timespec, Timestamps, fchown,
    fstat, futimens, makedev, mkdirat, mknodat, openat, openat2, readlinkat, renameat, renameat_with, statat,
    unlinkat,
};
use rustix::fs::{Gid, Uid};
use rustix::io::Errno;

use crate::{Placed, PlacedContent};

/// Links followed in one path before it counts as a loop; the kernel's own limit.
const MAX_LINKS: u32 = 40;

/// What every root has while a command runs, on whatever rung. In a root that lacked them they stay, as empty directories
/// (rule I5).
pub(crate) const KERNEL_DIRECTORIES: [&str; 3] = ["/dev", "/proc", "/sys"];

/// What a path must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    File,
}

/// Whether what had to be made stays behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifetime {
    Run,
    Forever,
}

/// The root as a step will see it: its own directories, and the mounts that will cover some of them.
#[derive(Debug)]
pub(crate) struct MountPoints {
    root: OwnedFd,
    covers: Vec<Cover>,
    stubs: Vec<Stub>,
}

#[derive(Debug)]
struct Cover {
    at: PathBuf,
    kind: Kind,
    /// The root of the mount; none where it does not exist before the child runs (/proc).
    tree: Option<OwnedFd>,
}

/// Something made for the run.
#[derive(Debug)]
struct Stub {
    parent: OwnedFd,
    name: OsString,
    device: u64,
    inode: u64,
    kind: Kind,
    parent_before: Timespec,
    parent_after: Timespec,
    origin: Origin,
}

/// Where what is at a stub's place came from.
#[derive(Debug)]
enum Origin {
    /// It is an empty file or directory for something to be mounted on.
    Made,
    /// It has content of its own.
    Placed {
        /// Where it goes back to; a file that was written here goes nowhere.
        home: Option<(OwnedFd, OsString)>,
        /// What was there is here meanwhile, in the same directory.
        aside: Option<OsString>,
    },
}

impl MountPoints {
    pub(crate) fn new(root: OwnedFd) -> Self {
        Self {
            root,
            covers: Vec::new(),
            stubs: Vec::new(),
        }
    }

    /// The path of `path` beneath the root with every link resolved, made if missing.
    ///
    /// # Errors
    /// ENOTDIR or EISDIR when something else is there, ELOOP, EPERM beneath a mount that does not exist yet,
    /// and whatever making it answers.
    pub(crate) fn make(&mut self, path: &Path, kind: Kind, lifetime: Lifetime) -> Result<PathBuf, Errno> {
        let mut at = PathBuf::from("/");
        let mut todo: Vec<OsString> = Vec::new();
        push_components(&mut todo, path);
        let mut links = 0;
        while let Some(name) = todo.pop() {
            if name == ".." {
                at.pop();
                continue;
            }
            let here = at.join(&name);
            let last = todo.is_empty();
            if let Some(cover) = self.covers.iter().find(|c| c.at == here) {
                expect_kind(cover.kind, if last { kind } else { Kind::Directory })?;
                at = here;
                continue;
            }
            let directory = self.open_directory(&at)?;
            match statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
                    FileType::Symlink => {
                        links += 1;
                        if links > MAX_LINKS {
                            return Err(Errno::LOOP);
                        }
                        let target = readlinkat(&directory, &name, Vec::new())?;
                        let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                        if target.has_root() {
                            at = PathBuf::from("/");
                        }
                        push_components(&mut todo, &target);
                    }
                    found => {
                        let found = if found == FileType::Directory {
                            Kind::Directory
                        } else {
                            Kind::File
                        };
                        expect_kind(found, if last { kind } else { Kind::Directory })?;
                        at = here;
                    }
                },
                Err(Errno::NOENT) => {
                    let kind = if last { kind } else { Kind::Directory };
                    self.create(&directory, &name, kind, lifetime)?;
                    at = here;
                }
                Err(error) => return Err(error),
            }
        }
        if at == Path::new("/") {
            expect_kind(Kind::Directory, kind)?;
        }
        Ok(at)
    }

    /// From now on `at`, as returned by [`Self::make`], is seen through `tree`.
    pub(crate) fn cover(&mut self, at: PathBuf, kind: Kind, tree: Option<OwnedFd>) {
        self.covers.retain(|c| !c.at.starts_with(&at));
        self.covers.push(Cover { at, kind, tree });
    }

    /// A directory by its resolved path. The kernel refuses links, so a concurrent swap ends in an error.
    fn open_directory(&self, at: &Path) -> Result<OwnedFd, Errno> {
        let cover = self
            .covers
            .iter()
            .filter(|c| at.starts_with(&c.at))
            .max_by_key(|c| c.at.as_os_str().len());
        let (base, rest) = match cover {
            Some(cover) => (
                cover.tree.as_ref().ok_or(Errno::PERM)?,
                at.strip_prefix(&cover.at).map_err(|_| Errno::INVAL)?,
            ),
            None => (&self.root, at.strip_prefix("/").map_err(|_| Errno::INVAL)?),
        };
        let rest = if rest.as_os_str().is_empty() {
            Path::new(".")
        } else {
            rest
        };
        openat2(
            base,
            rest,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
        )
    }

    fn create(
        &mut self,
        directory: &OwnedFd,
        name: &OsStr,
        kind: Kind,
        lifetime: Lifetime,
    ) -> Result<(), Errno> {
        // Times can only be set through a descriptor that is not O_PATH.
        let parent = openat(
            directory,
            ".",
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let before = modified(&fstat(&parent)?);
        match kind {
            Kind::Directory => {
                mkdirat(&parent, name, Mode::from_raw_mode(0o755))?;
                // The mode is not left to the umask of whoever runs the build.
                let made = openat(
                    &parent,
                    name,
                    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                    Mode::empty(),
                )?;
                rustix::fs::fchmod(made, Mode::from_raw_mode(0o755))?;
            }
            Kind::File => {
                let flags =
                    OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let made = openat(&parent, name, flags, Mode::from_raw_mode(0o644))?;
                rustix::fs::fchmod(made, Mode::from_raw_mode(0o644))?;
            }
        }
        if lifetime == Lifetime::Run {
            self.remember(parent, name, kind, before, Origin::Made)?;
        }
        Ok(())
    }

    /// Something in the root itself, for the time of the run; what is there already, be it a link, steps aside.
    pub(crate) fn place(&mut self, placed: &Placed) -> Result<(), Errno> {
        let path = &placed.target;
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Errno::INVAL);
        };
        let directory = self.make(directory, Kind::Directory, Lifetime::Run)?;
        let parent = openat(
            self.open_directory(&directory)?,
            ".",
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let before = modified(&fstat(&parent)?);
        let mut aside = OsString::from(".");
        aside.push(name);
        // Of two at one place each has a name of its own to step aside to.
        aside.push(format!(".lifecycle-{}-{}", std::process::id(), self.stubs.len()));
        let aside = match renameat_with(&parent, name, &parent, &aside, RenameFlags::NOREPLACE) {
            Ok(()) => Some(aside),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(error),
        };
        match put(&placed.content, &parent, name) {
            Ok(home) => self.remember(parent, name, Kind::File, before, Origin::Placed { home, aside }),
            Err(error) => {
                // Half a file stays nowhere.
                match unlinkat(&parent, name, AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(error) => return Err(error),
                }
                if let Some(aside) = aside {
                    renameat(&parent, aside, &parent, name)?;
                }
                Err(error)
            }
        }
    }

    /// A device node in the root itself, for the time of the run; what is there already stays.
    pub(crate) fn make_device(&mut self, path: &Path, major: u32, minor: u32) -> Result<(), Errno> {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Errno::INVAL);
        };
        let directory = self.make(directory, Kind::Directory, Lifetime::Forever)?;
        let directory = self.open_directory(&directory)?;
        let parent = openat(
            &directory,
            ".",
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let before = modified(&fstat(&parent)?);
        let everyone = Mode::from_raw_mode(0o666);
        match mknodat(
            &parent,
            name,
            FileType::CharacterDevice,
            everyone,
            makedev(major, minor),
        ) {
            Err(Errno::EXIST) => return Ok(()),
            other => other?,
        }
        // The umask took bits from the mode; nobody else can have put a link there in the meantime.
        rustix::fs::chmodat(&parent, name, everyone, AtFlags::empty())?;
        self.remember(parent, name, Kind::File, before, Origin::Made)
    }

    fn remember(
        &mut self,
        parent: OwnedFd,
        name: &OsStr,
        kind: Kind,
        before: Timespec,
        origin: Origin,
    ) -> Result<(), Errno> {
        let made = statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let after = modified(&fstat(&parent)?);
        self.stubs.push(Stub {
            parent,
            name: name.to_owned(),
            device: made.st_dev,
            inode: made.st_ino,
            kind,
            parent_before: before,
            parent_after: after,
            origin,
        });
        Ok(())
    }

    /// The stubs alone; the descriptors of covering mounts are closed.
    pub(crate) fn into_stubs(mut self) -> Stubs {
        Stubs(std::mem::take(&mut self.stubs))
    }
}

/// Everything made for a run; removed on drop, newest first.
#[derive(Debug)]
pub(crate) struct Stubs(Vec<Stub>);

impl Drop for Stubs {
    fn drop(&mut self) {
        for stub in self.0.drain(..).rev() {
            if let Err(error) = stub.remove() {
                tracing::warn!(name = %Path::new(&stub.name).display(), %error, "mount point left behind");
            }
        }
    }
}

impl Stub {
    fn remove(&self) -> Result<(), Errno> {
        let now = modified(&fstat(&self.parent)?);
        if self.take_back()? {
            return self.restore_time(now);
        }
        let found = match statat(&self.parent, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => found,
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error),
        };
        if (found.st_dev, found.st_ino) != (self.device, self.inode) {
            return Ok(());
        }
        let removed = match self.kind {
            Kind::Directory => unlinkat(&self.parent, &self.name, AtFlags::REMOVEDIR),
            Kind::File if found.st_size == 0 => unlinkat(&self.parent, &self.name, AtFlags::empty()),
            Kind::File => return Ok(()),
        };
        match removed {
            // The step put something of its own there: then it is the step's.
            Err(Errno::NOTEMPTY) => return Ok(()),
            other => other?,
        }
        self.restore_time(now)
    }

    /// Takes what was placed away, whatever has become of it, and brings back what it stood in for.
    fn take_back(&self) -> Result<bool, Errno> {
        let Origin::Placed { home, aside } = &self.origin else {
            return Ok(false);
        };
        let taken = match home {
            Some((directory, name)) => renameat(&self.parent, &self.name, directory, name),
            None => unlinkat(&self.parent, &self.name, AtFlags::empty()),
        };
        match taken {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
        if let Some(aside) = aside {
            renameat(&self.parent, aside, &self.parent, &self.name)?;
        }
        Ok(true)
    }

    fn restore_time(&self, now: Timespec) -> Result<(), Errno> {
        // A parent that the step changed keeps the time of that change, not of our tidying.
        let time = if now == self.parent_after {
            self.parent_before
        } else {
            now
        };
        let keep = Timespec {
            tv_sec: 0,
            tv_nsec: rustix::fs::UTIME_OMIT,
        };
        futimens(
            &self.parent,
            &Timestamps {
                last_access: keep,
                last_modification: time,
            },
        )
    }
}

/// Makes `content` appear as `name`. Says where it has to go back to.
fn put(
    content: &PlacedContent,
    parent: &OwnedFd,
    name: &OsStr,
) -> Result<Option<(OwnedFd, OsString)>, Errno> {
    match content {
        PlacedContent::File {
            bytes,
            mode,
            uid,
            gid,
        } => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let made = openat(parent, name, flags, Mode::from_raw_mode(0o600))?;
            if (*uid, *gid) != (0, 0) {
                fchown(&made, Some(Uid::from_raw(*uid)), Some(Gid::from_raw(*gid)))?;
            }
            rustix::fs::fchmod(&made, Mode::from_raw_mode(*mode))?;
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let count = rustix::io::write(&made, rest)?;
                rest = &rest[count..];
            }
            Ok(None)
        }
        PlacedContent::Moved(source) => {
            let (Some(above), Some(source)) = (source.parent(), source.file_name()) else {
                return Err(Errno::INVAL);
            };
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let above = openat(CWD, above, flags, Mode::empty())?;
            renameat_with(&above, source, parent, name, RenameFlags::NOREPLACE)?;
            Ok(Some((above, source.to_owned())))
        }
    }
}

fn modified(stat: &Stat) -> Timespec {
    Timespec {
        tv_sec: stat.st_mtime,
        tv_nsec: i64::try_from(stat.st_mtime_nsec).unwrap_or(0),
    }
}

fn expect_kind(found: Kind, wanted: Kind) -> Result<(), Errno> {
    match (found, wanted) {
        (Kind::File, Kind::Directory) => Err(Errno::NOTDIR),
        (Kind::Directory, Kind::File) => Err(Errno::ISDIR),
        _ => Ok(()),
    }
}

/// Pushes the components of `path` so that the first is popped first.
fn push_components(todo: &mut Vec<OsString>, path: &Path) {
    todo.extend(path.components().rev().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    }));
}

/// Opens `path` beneath `root` as the kernel resolves it inside a chroot, magic links refused.
pub(crate) fn open_beneath(root: impl AsFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let path = if path.as_os_str().as_bytes().is_empty() {
        Path::new("/")
    } else {
        path
    };
    loop {
        match openat2(&root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            // RESOLVE_IN_ROOT answers EAGAIN when a rename raced with a `..`.
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests;
