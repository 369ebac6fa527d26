//! A way down into a tree of directories, by handles only, for trees of any depth.
//!
//! Each step opens one name in the directory above it and never follows a link, so no rename or link that
//! appears meanwhile can lead elsewhere. Only the deepest handles stay open; on the way up, a directory that
//! was closed is reached through `..` and must then be the same one as before.

use std::ffi::{CStr, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, Stat, fstat, openat};

/// How many handles stay open, whatever the depth.
const OPEN: usize = 48;

/// Opens a directory for listing and as a place to work from.
pub(crate) const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// The directory above a path, and the path's last name in it. Above a single name is the present directory.
pub(crate) fn parent_and_name(path: &Path) -> Option<(&Path, &OsStr)> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    Some((parent.unwrap_or(Path::new(".")), path.file_name()?))
}

/// Which file or directory a handle stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Identity {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

impl Identity {
    pub(crate) fn of(stat: &Stat) -> Self {
        #[allow(
            clippy::unnecessary_cast,
            clippy::useless_conversion,
            reason = "the fields' types differ between processors"
        )]
        Self {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
        }
    }
}

#[derive(Debug)]
enum Level {
    Open(OwnedFd),
    Closed(Identity),
}

/// The directories from a root down to the current one.
#[derive(Debug)]
pub(crate) struct Descent {
    root: OwnedFd,
    levels: Vec<Level>,
}

impl Descent {
    /// Starts at the directory `root`, which is opened anew: it may be a handle of any kind.
    pub(crate) fn new(root: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self {
            root: openat(root, c".", DIRECTORY, Mode::empty())?,
            levels: Vec::new(),
        })
    }

    /// The current directory.
    pub(crate) fn here(&self) -> BorrowedFd<'_> {
        match self.levels.last() {
            Some(Level::Open(handle)) => handle.as_fd(),
            // The deepest level is always open: `leave` reopens it before it becomes the deepest.
            _ => self.root.as_fd(),
        }
    }

    /// How many levels below the root the current directory lies.
    pub(crate) fn depth(&self) -> usize {
        self.levels.len()
    }

    /// Goes down into `name`.
    pub(crate) fn enter(&mut self, name: &CStr) -> io::Result<()> {
        let handle = openat(self.here(), name, DIRECTORY, Mode::empty())?;
        self.levels.push(Level::Open(handle));
        let closing = self.levels.len().checked_sub(OPEN + 1);
        if let Some(level) = closing.and_then(|at| self.levels.get_mut(at))
            && let Level::Open(handle) = level
        {
            *level = Level::Closed(Identity::of(&fstat(handle)?));
        }
        Ok(())
    }

    /// Goes back up to the directory above.
    pub(crate) fn leave(&mut self) -> io::Result<()> {
        if let [.., Level::Closed(expected), Level::Open(here)] = self.levels.as_slice() {
            let above = openat(here, c"..", DIRECTORY, Mode::empty())?;
            if Identity::of(&fstat(&above)?) != *expected {
                return Err(io::Error::other(
                    "the directory was moved while it was being read",
                ));
            }
            let at = self.levels.len() - 2;
            self.levels[at] = Level::Open(above);
        }
        self.levels.pop();
        Ok(())
    }
}
