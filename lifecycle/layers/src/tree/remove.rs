//! Removes a tree.

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, fchmod, openat, statat, unlinkat};
use rustix::io::Errno;

use crate::descent::{DIRECTORY, Descent, parent_and_name};

/// Removes what is called `name` in `directory`, with everything below it. That it does not exist is fine.
///
/// Never follows a link, also not one that takes a directory's place meanwhile (RUSTSEC-2023-0018).
/// Directories that their owner may not write to, as Go's module cache has them, are made writable first.
pub fn remove(directory: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    remove_name(directory, &CString::new(name.as_bytes())?)
}

/// The same for a path: its last name goes from the directory above it.
pub fn remove_path(path: &Path) -> io::Result<()> {
    let (parent, name) = parent_and_name(path).ok_or(io::ErrorKind::InvalidInput)?;
    match File::open(parent) {
        Ok(directory) => remove(directory.as_fd(), name),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// The same for a name that is one for the kernel already.
pub(crate) fn remove_name(directory: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    if matches!(name.to_bytes(), b"" | b"." | b"..") || name.to_bytes().contains(&b'/') {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not the name of a directory entry",
        ));
    }
    match unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    make_accessible(directory, name)?;
    let mut descent = Descent::new(directory)?;
    descent.enter(name)?;
    empty(&mut descent)?;
    ok_if_gone(unlinkat(directory, name, AtFlags::REMOVEDIR))
}

/// Removes everything in the current directory of the descent.
fn empty(descent: &mut Descent) -> io::Result<()> {
    let mut scratch = Vec::with_capacity(32 << 10);
    // For each level, the directories that are still to be removed; the last one is the current one's way.
    let mut pending = vec![unlink_files(descent.here(), &mut scratch)?];
    while let Some(level) = pending.last_mut() {
        let Some(name) = level.last() else {
            pending.pop();
            // Back to the level above, whose last directory is now empty.
            if let Some(name) = pending.last_mut().and_then(Vec::pop) {
                descent.leave()?;
                ok_if_gone(unlinkat(descent.here(), name.as_c_str(), AtFlags::REMOVEDIR))?;
            }
            continue;
        };
        make_accessible(descent.here(), name)?;
        descent.enter(name)?;
        pending.push(unlink_files(descent.here(), &mut scratch)?);
    }
    Ok(())
}

/// Unlinks everything in a directory that is no directory, and returns the names of those that are.
fn unlink_files(directory: BorrowedFd<'_>, scratch: &mut Vec<u8>) -> io::Result<Vec<CString>> {
    let mut directories = Vec::new();
    scratch.clear();
    scratch.reserve(32 << 10);
    let mut entries = RawDir::new(directory, scratch.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let is_directory = match entry.file_type() {
            FileType::Unknown => {
                let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
                FileType::from_raw_mode(stat.st_mode) == FileType::Directory
            }
            known => known == FileType::Directory,
        };
        if is_directory {
            directories.push(name.to_owned());
            continue;
        }
        ok_if_gone(unlinkat(directory, name, AtFlags::empty()))?;
    }
    Ok(directories)
}

/// Lets the owner list, enter and write a directory, if it cannot be done without.
fn make_accessible(directory: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if stat.st_mode & 0o700 == 0o700 || rustix::process::geteuid().is_root() {
        return Ok(());
    }
    match openat(directory, name, DIRECTORY, Mode::empty()) {
        Ok(handle) => Ok(fchmod(handle, Mode::RWXU)?),
        // Not even readable: a handle without access names it all the same, and only /proc takes such a handle.
        Err(Errno::ACCESS) => {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let handle = openat(directory, name, flags, Mode::empty())?;
            let path = format!("/proc/self/fd/{}", handle.as_raw_fd());
            Ok(rustix::fs::chmod(path, Mode::RWXU)?)
        }
        Err(error) => Err(error.into()),
    }
}

fn ok_if_gone(result: rustix::io::Result<()>) -> io::Result<()> {
    match result {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
