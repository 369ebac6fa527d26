//! What a layer hides of the layers below it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{FileType, Mode, mknodat, openat};
use rustix::io::Errno;

use super::place::{At, Placer, c_name};
use super::{ExtractError, Whiteouts};
use crate::descent::DIRECTORY;
use crate::entry::{ancestors, show};
use crate::tree::remove_name;
use crate::walk::{Order, Walk};
use crate::xattrs;

pub(super) const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Names that aufs kept for itself and that old layers still carry.
const AUFS: &[u8] = b".wh..wh.";

impl Placer<'_> {
    /// Hides what lower layers have under a name, or in a directory.
    pub(super) fn whiteout(&mut self, path: &[u8], above: &[u8], hidden: &[u8]) -> Result<(), ExtractError> {
        let full = [WHITEOUT, hidden].concat();
        if full == OPAQUE {
            return self.opaque(above);
        }
        if full.starts_with(AUFS) {
            return Ok(());
        }
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(ExtractError::Whiteout { path: show(path) });
        }
        let mut target = above.to_vec();
        if !above.is_empty() {
            target.push(b'/');
        }
        target.extend_from_slice(hidden);
        let name = c_name(&target, hidden)?;
        let overlay = matches!(self.options.whiteouts, Whiteouts::Overlay(_));
        let directory = if overlay {
            self.make_directories(above)?
        } else {
            match self.find_directory(above)? {
                Some(directory) => directory,
                None => return Ok(()),
            }
        };
        let at = At {
            directory: directory.as_fd(),
            name: &name,
            path: &target,
        };
        if self.made.contains(&target) {
            // This layer has the name itself: what was below it goes, what this layer put there stays.
            return match FileType::from_raw_mode(at.stat()?.st_mode) {
                FileType::Directory if overlay => self.make_opaque(&at),
                FileType::Directory => self.opaque(&target),
                _ => Ok(()),
            };
        }
        if overlay {
            match mknodat(at.directory, at.name, FileType::CharacterDevice, Mode::empty(), 0) {
                Ok(()) | Err(Errno::EXIST) => Ok(()),
                Err(error) => Err(at.error(error)),
            }
        } else {
            self.clear(&at)
        }
    }

    /// Hides everything that lower layers have in a directory.
    pub(super) fn opaque(&mut self, path: &[u8]) -> Result<(), ExtractError> {
        if let Whiteouts::Overlay(xattr) = self.options.whiteouts {
            let directory = self.make_directories(path)?;
            return set_opaque(directory.as_fd(), xattr.name(), path);
        }
        let Some(directory) = self.find_directory(path)? else {
            return Ok(());
        };
        let fail = |error: io::Error| ExtractError::Io {
            path: show(path),
            cause: error,
        };
        let mut walk = Walk::new(directory.as_fd(), Order::DepthFirst).map_err(fail)?;
        let mut full = Vec::new();
        loop {
            let gone = match walk.next() {
                None => break,
                Some(Err(error)) => return Err(fail(error.cause)),
                Some(Ok(found)) => {
                    crate::contents::place(&mut full, path, found.path);
                    if self.made.contains(&full) {
                        false
                    } else {
                        remove_name(found.directory, found.name).map_err(fail)?;
                        true
                    }
                }
            };
            if gone {
                walk.skip();
                self.forget(&full);
            }
        }
        Ok(())
    }

    pub(super) fn make_opaque(&self, at: &At<'_>) -> Result<(), ExtractError> {
        let Whiteouts::Overlay(xattr) = self.options.whiteouts else {
            return Ok(());
        };
        let handle =
            openat(at.directory, at.name, DIRECTORY, Mode::empty()).map_err(|error| at.error(error))?;
        set_opaque(handle.as_fd(), xattr.name(), at.path)
    }

    /// Remembers that this layer made a path.
    pub(super) fn remember(&mut self, path: Vec<u8>) {
        if self.options.whiteouts == Whiteouts::Literal {
            return;
        }
        // What is above a known directory is known too.
        for above in ancestors(&path).rev() {
            if self.made.contains(above) {
                break;
            }
            self.made.insert(above.to_vec());
        }
        self.made.insert(path);
    }
}

fn set_opaque(directory: BorrowedFd<'_>, xattr: &str, path: &[u8]) -> Result<(), ExtractError> {
    // Without the marker, hidden files would come back: never something to skip.
    xattrs::set(directory, xattr.as_bytes(), b"y").map_err(|cause| ExtractError::Io {
        path: format!("{} ({xattr})", show(path)),
        cause,
    })
}
