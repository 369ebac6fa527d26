//! Opening what was found, without following any link.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

/// A file below a directory that is held open, to be opened when its content is wanted.
#[derive(Debug, Clone)]
pub(crate) struct FileHandle {
    pub(crate) root: Arc<OwnedFd>,
    /// Without a leading slash; no part of it is a link.
    pub(crate) path: Vec<u8>,
}

impl FileHandle {
    /// Opens the file for reading. Somebody who puts a link or a pipe in its place meanwhile gets an error
    /// (CVE-2018-15664).
    pub(crate) fn open(&self) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW;
        Ok(open_beneath(self.root.as_fd(), &self.path, flags)?.into())
    }
}

/// Opens a path below a directory; links in it are refused.
pub(crate) fn open_beneath(root: impl AsFd, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b"." } else { path };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    loop {
        // The kernel gives up when somebody renames directories on the way.
        match openat2(&root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
}

/// The content of a file that should be small; nothing if it is larger than `limit` bytes.
pub(crate) fn read_bounded(file: File, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= limit).then_some(bytes))
}
