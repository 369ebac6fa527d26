//! The merged view of the directories below an overlay's upper one.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{AtFlags, Mode, Stat, openat, statat};
use rustix::io::Errno;

use crate::PackError;
use crate::contents::{io_error, open_directory};
use crate::descent::DIRECTORY;
use crate::walk::{Listing, Order, is_whiteout};
use crate::xattrs;

/// How many handles all levels together keep open.
const OPEN: usize = 400;

/// A way down through all lower directories at once.
///
/// Each level holds, topmost first, the directories that show through at its path: none below an opaque one,
/// none below something that is no directory.
#[derive(Debug)]
pub(super) struct Lower {
    roots: Vec<OwnedFd>,
    levels: Vec<Level>,
}

#[derive(Debug)]
struct Level {
    name: CString,
    /// Nothing if the handles were closed to keep their number small.
    directories: Option<Vec<OwnedFd>>,
}

/// An entry of the merged view.
#[derive(Debug)]
pub(super) struct Shown<'a> {
    /// The directory it lies in, of the topmost layer that has it.
    pub(super) directory: BorrowedFd<'a>,
    pub(super) stat: Stat,
}

impl Lower {
    /// The view of these directories, topmost first.
    pub(super) fn new(roots: &[PathBuf]) -> Result<Self, PackError> {
        let mut open = Vec::new();
        for path in roots {
            let root = open_directory(path)?;
            let opaque = is_opaque(root.as_fd()).map_err(|error| io_error(path, b"", error))?;
            open.push(root);
            if opaque {
                break;
            }
        }
        Ok(Self {
            roots: open,
            levels: Vec::new(),
        })
    }

    pub(super) fn depth(&self) -> usize {
        self.levels.len()
    }

    /// What shows under a name in the current directory.
    pub(super) fn show(&self, name: &CStr) -> io::Result<Option<Shown<'_>>> {
        for directory in self.here() {
            match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if is_whiteout(&stat) => return Ok(None),
                Ok(stat) => {
                    return Ok(Some(Shown {
                        directory: directory.as_fd(),
                        stat,
                    }));
                }
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// The names that show in the current directory.
    pub(super) fn names(&self) -> io::Result<BTreeSet<CString>> {
        let mut names = BTreeSet::new();
        let mut scratch = Vec::new();
        for directory in self.here() {
            let listing = Listing::read(directory.as_fd(), Order::DepthFirst, &mut scratch)?;
            names.extend(listing.names().map(CStr::to_owned));
        }
        let mut shown = BTreeSet::new();
        for name in names {
            if self.show(&name)?.is_some() {
                shown.insert(name);
            }
        }
        Ok(shown)
    }

    /// Goes down into a name, whether or not anything shows there.
    pub(super) fn enter(&mut self, name: &CStr) -> io::Result<()> {
        let directories = below(self.here(), name)?;
        self.levels.push(Level {
            name: name.to_owned(),
            directories: Some(directories),
        });
        let mut count: usize = self.levels.iter().map(Level::handles).sum();
        let last = self.levels.len() - 1;
        for level in &mut self.levels[..last] {
            if count <= OPEN {
                break;
            }
            count -= level.handles();
            level.directories = None;
        }
        Ok(())
    }

    /// Goes back up.
    pub(super) fn leave(&mut self) -> io::Result<()> {
        self.levels.pop();
        let Some(Level {
            directories: None, ..
        }) = self.levels.last()
        else {
            return Ok(());
        };
        let mut here: Option<Vec<OwnedFd>> = None;
        for level in &self.levels {
            here = Some(below(here.as_deref().unwrap_or(&self.roots), &level.name)?);
        }
        if let Some(level) = self.levels.last_mut() {
            level.directories = here;
        }
        Ok(())
    }

    fn here(&self) -> &[OwnedFd] {
        match self.levels.last() {
            None => &self.roots,
            Some(level) => level.directories.as_deref().unwrap_or(&[]),
        }
    }
}

impl Level {
    fn handles(&self) -> usize {
        self.directories.as_ref().map_or(0, Vec::len)
    }
}

/// The directories that show under a name.
fn below(above: &[OwnedFd], name: &CStr) -> io::Result<Vec<OwnedFd>> {
    let shown = show_through(above, name)?;
    Ok(shown.into_iter().map(|(_, directory)| directory).collect())
}

/// The directories that show under a name in directories that lie over each other, topmost first: each with the number
/// of the one that it lies in.
pub(crate) fn show_through<'a>(
    above: impl IntoIterator<Item = &'a OwnedFd>,
    name: &CStr,
) -> io::Result<Vec<(usize, OwnedFd)>> {
    let mut directories = Vec::new();
    for (at, directory) in above.into_iter().enumerate() {
        match openat(directory, name, DIRECTORY, Mode::empty()) {
            Ok(handle) => {
                let opaque = is_opaque(handle.as_fd())?;
                directories.push((at, handle));
                if opaque {
                    break;
                }
            }
            Err(Errno::NOENT) => {}
            // A file, a link or a whiteout hides what is below it.
            Err(Errno::NOTDIR | Errno::LOOP) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(directories)
}

/// Whether a directory hides what the layers below have in it.
pub(super) fn is_opaque(directory: BorrowedFd<'_>) -> io::Result<bool> {
    for name in [c"trusted.overlay.opaque", c"user.overlay.opaque"] {
        if xattrs::get(directory, name)?.as_deref() == Some(b"y") {
            return Ok(true);
        }
    }
    Ok(false)
}
