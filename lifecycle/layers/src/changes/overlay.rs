//! Changes from an overlay's upper directory.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, Stat, openat, readlinkat};

use super::lower::{Lower, Shown, is_opaque};
use super::{Change, ChangeSet};
use crate::contents::{io_error, open_directory, open_file, walk_error};
use crate::descent::DIRECTORY;
use crate::walk::{Found, Order, Walk, is_whiteout, mode, owner};
use crate::{PackError, xattrs};

/// Adds what `upper` has and the view of `lower` has not.
pub(super) fn compare(
    set: &mut ChangeSet,
    upper: &Path,
    lower: &[PathBuf],
    exclude: &[Vec<u8>],
    is_given: &dyn Fn(&[u8]) -> bool,
) -> Result<(), PackError> {
    let fail = |path: &[u8], error| io_error(upper, path, error);
    let root = open_directory(upper)?;
    let mut lower = Lower::new(lower)?;
    let mut walk = Walk::new(root.as_fd(), Order::DepthFirst).map_err(|error| fail(b"", error))?;
    // For each level, whether lower directories are hidden there, by itself or by one above it.
    let mut hidden = vec![is_opaque(root.as_fd()).map_err(|error| fail(b"", error))?];
    if hidden[0] {
        add_lost(set, &lower, b"", root.as_fd()).map_err(|error| fail(b"", error))?;
    }
    loop {
        let (skip, enter) = {
            let Some(found) = walk.next() else {
                return Ok(());
            };
            let found = found.map_err(|error| walk_error(upper, error))?;
            let fail = |error| io_error(upper, found.path, error);
            let depth = found.depth();
            while lower.depth() > depth {
                lower.leave().map_err(fail)?;
                hidden.pop();
            }
            if exclude.iter().any(|path| path == found.path) {
                (true, None)
            } else {
                let shown = lower.show(found.name).map_err(fail)?;
                if is_whiteout(&found.stat) {
                    if shown.is_some() {
                        set.add(found.path, Change::Deleted);
                    }
                    (true, None)
                } else {
                    refuse_features(&found).map_err(fail)?;
                    if !is_same(&found, shown).map_err(fail)? || is_given(found.path) {
                        set.add(found.path, Change::Present);
                    }
                    if FileType::from_raw_mode(found.stat.st_mode) == FileType::Directory {
                        let handle = openat(found.directory, found.name, DIRECTORY, Mode::empty())
                            .map_err(|error| fail(error.into()))?;
                        let above = hidden.last().copied().unwrap_or(false);
                        let opaque = above || is_opaque(handle.as_fd()).map_err(fail)?;
                        lower.enter(found.name).map_err(fail)?;
                        hidden.push(opaque);
                        (false, opaque.then(|| (found.path.to_vec(), handle)))
                    } else {
                        (false, None)
                    }
                }
            }
        };
        if skip {
            walk.skip();
        }
        if let Some((path, handle)) = enter {
            add_lost(set, &lower, &path, handle.as_fd()).map_err(|error| fail(&path, error))?;
        }
    }
}

/// Adds a deletion for each name that shows in lower directories and that a hiding directory lacks
/// (dockerfile.md M2).
fn add_lost(set: &mut ChangeSet, lower: &Lower, path: &[u8], upper: BorrowedFd<'_>) -> io::Result<()> {
    for name in lower.names()? {
        match rustix::fs::statat(upper, name.as_c_str(), rustix::fs::AtFlags::SYMLINK_NOFOLLOW) {
            Err(rustix::io::Errno::NOENT) => {
                let mut full = Vec::new();
                crate::contents::place(&mut full, path, name.to_bytes());
                set.add(&full, Change::Deleted);
            }
            // A whiteout is found by the walk.
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Features of overlay file systems that keep content elsewhere than in the upper directory. They are off
/// where this project mounts; a layer made from them would be wrong.
fn refuse_features(found: &Found<'_>) -> io::Result<()> {
    let unsupported = |what| Err(io::Error::new(io::ErrorKind::Unsupported, what));
    let has = |handle: BorrowedFd<'_>, names: [&std::ffi::CStr; 2]| -> io::Result<bool> {
        for name in names {
            if xattrs::get(handle, name)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    };
    match FileType::from_raw_mode(found.stat.st_mode) {
        FileType::Directory => {
            let handle = openat(found.directory, found.name, DIRECTORY, Mode::empty())?;
            if has(
                handle.as_fd(),
                [c"trusted.overlay.redirect", c"user.overlay.redirect"],
            )? {
                return unsupported(
                    "the overlay is mounted with redirect_dir, mount it with redirect_dir=off",
                );
            }
        }
        // Only a file without any block of its own can have its content elsewhere.
        FileType::RegularFile if found.stat.st_size > 0 && found.stat.st_blocks == 0 => {
            let (handle, _) = open_file(found)?;
            if has(
                handle.as_fd(),
                [c"trusted.overlay.metacopy", c"user.overlay.metacopy"],
            )? {
                return unsupported("the overlay is mounted with metacopy, mount it with metacopy=off");
            }
        }
        _ => {}
    }
    Ok(())
}

/// Whether an entry of the upper directory is what shows below it: it was only touched (dockerfile.md M3).
fn is_same(found: &Found<'_>, shown: Option<Shown<'_>>) -> io::Result<bool> {
    let Some(shown) = shown else {
        return Ok(false);
    };
    let (a, b) = (&found.stat, &shown.stat);
    let kind = FileType::from_raw_mode(a.st_mode);
    if kind != FileType::from_raw_mode(b.st_mode)
        || mode(a) != mode(b)
        || owner(a) != owner(b)
        || time(a) != time(b)
        || a.st_rdev != b.st_rdev
    {
        return Ok(false);
    }
    let below = Found {
        path: found.path,
        name: found.name,
        directory: shown.directory,
        stat: shown.stat,
    };
    match kind {
        FileType::RegularFile => {
            if a.st_size != b.st_size {
                return Ok(false);
            }
            let (upper, _) = open_file(found)?;
            let (lower, _) = open_file(&below)?;
            Ok(xattrs::read(upper.as_fd())? == xattrs::read(lower.as_fd())?
                && same_bytes(upper.into(), lower.into())?)
        }
        FileType::Directory => {
            let open = |found: &Found<'_>| openat(found.directory, found.name, DIRECTORY, Mode::empty());
            Ok(xattrs::read(open(found)?.as_fd())? == xattrs::read(open(&below)?.as_fd())?)
        }
        FileType::Symlink => {
            let target = |found: &Found<'_>| readlinkat(found.directory, found.name, Vec::new());
            Ok(target(found)? == target(&below)?)
        }
        _ => Ok(true),
    }
}

fn time(stat: &Stat) -> (i64, i64) {
    #[allow(
        clippy::useless_conversion,
        clippy::unnecessary_cast,
        clippy::cast_possible_wrap,
        reason = "the fields' types differ between processors"
    )]
    {
        (stat.st_mtime as i64, stat.st_mtime_nsec as i64)
    }
}

/// Compares files of the same size.
fn same_bytes(mut a: File, mut b: File) -> io::Result<bool> {
    const PIECE: usize = 128 << 10;
    let mut pieces = [Vec::with_capacity(PIECE), Vec::with_capacity(PIECE)];
    loop {
        let [left, right] = &mut pieces;
        left.clear();
        right.clear();
        (&mut a).take(PIECE as u64).read_to_end(left)?;
        (&mut b).take(PIECE as u64).read_to_end(right)?;
        if left != right {
            return Ok(false);
        }
        if left.is_empty() {
            return Ok(true);
        }
    }
}
