//! Locks on files, which end with whoever holds them, however they end.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub(crate) struct FileLock {
    path: PathBuf,
    _file: File,
    removed: bool,
}

impl FileLock {
    /// Waits until nobody else holds the lock.
    pub(crate) fn exclusive(path: &Path) -> io::Result<Self> {
        Self::acquire(path, File::lock)
    }

    /// Waits until nobody holds the lock exclusively.
    pub(crate) fn shared(path: &Path) -> io::Result<Self> {
        Self::acquire(path, File::lock_shared)
    }

    /// Takes the lock if nobody holds it.
    pub(crate) fn attempt(path: &Path) -> io::Result<Option<Self>> {
        let attempt = Self::acquire(path, |file| match file.try_lock() {
            Ok(()) => Ok(()),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(cause)) => Err(cause),
        });
        match attempt {
            Ok(lock) => Ok(Some(lock)),
            Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(cause) => Err(cause),
        }
    }

    /// Removes the lock's file when the lock ends. Only for exclusive locks.
    #[must_use]
    pub(crate) fn removed_at_end(mut self) -> Self {
        self.removed = true;
        self
    }

    fn acquire(path: &Path, lock: impl Fn(&File) -> io::Result<()>) -> io::Result<Self> {
        loop {
            let mut options = File::options();
            options
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600);
            let file = options.open(path)?;
            lock(&file)?;
            // Whoever held the lock before may have removed or moved the file; then this lock locks nothing.
            let held = file.metadata()?;
            match std::fs::metadata(path) {
                Ok(there) if (there.dev(), there.ino()) == (held.dev(), held.ino()) => {
                    return Ok(Self {
                        path: path.to_owned(),
                        _file: file,
                        removed: false,
                    });
                }
                Ok(_) => {}
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
                Err(cause) => return Err(cause),
            }
        }
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        if self.removed {
            // While the lock is held, so that nobody can have taken it anew. What fails to be removed is
            // garbage that the next holder uses again.
            drop(std::fs::remove_file(&self.path));
        }
    }
}
