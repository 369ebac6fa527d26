//! Directories that builds keep their caches in.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use fs_err as fs;

use crate::directory::{Directory, RemovedAtEnd, create_private, entries, hashed_name, touch, used};
use crate::lock::FileLock;
use crate::{Store, StoreError};

/// The file that holds a cache's key.
const KEY: &str = "key";
/// The file that is locked while a cache is in use.
const LOCK: &str = "lock";
/// The directory that builds see.
const DATA: &str = "data";

/// How a cache is used by several builds at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// All at once.
    Shared,
    /// One after the other.
    Locked,
    /// Each has a directory of its own: whoever finds the first in use gets the next one.
    Private,
}

/// A build cache, which stays what it is until this is dropped.
#[derive(Debug)]
pub struct Cache {
    path: PathBuf,
    _lock: FileLock,
}

impl Cache {
    /// The directory. Whoever writes to it is not held to write atomically: a cache may be left in any state.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A build cache in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheEntry {
    /// Its key.
    pub key: String,
    /// Its directory.
    pub path: PathBuf,
    /// When it was used last.
    pub used: SystemTime,
}

impl Store {
    /// The build cache of `key`, which is made when there is none. Waits while somebody else uses it in a way
    /// that does not go together with `sharing`.
    pub fn cache(&self, key: &str, sharing: Sharing) -> Result<Cache, StoreError> {
        for number in 1_u32.. {
            let lock = match sharing {
                Sharing::Shared => |path: &Path| FileLock::shared(path).map(Some),
                Sharing::Locked => |path: &Path| FileLock::exclusive(path).map(Some),
                Sharing::Private => FileLock::attempt,
            };
            if let Some(cache) = self.numbered_cache(key, number, lock)? {
                return Ok(cache);
            }
        }
        Err(StoreError::io(
            "find a free cache in",
            &self.directory().path("caches"),
            io::ErrorKind::QuotaExceeded.into(),
        ))
    }

    /// The build caches, in no meaningful order. Damaged ones are left out; [`Store::verify`] names them.
    pub fn caches(&self) -> Result<Vec<CacheEntry>, StoreError> {
        let paths = entries(&self.directory().path("caches"))?;
        Ok(paths.into_iter().filter_map(cache_entry).collect())
    }

    fn numbered_cache(
        &self,
        key: &str,
        number: u32,
        lock: impl Fn(&Path) -> io::Result<Option<FileLock>>,
    ) -> Result<Option<Cache>, StoreError> {
        let name = hashed_name(&format!("{number} {key}"));
        let path = self.directory().path("caches").join(name);
        loop {
            create_private(&path)?;
            match lock(&path.join(LOCK)) {
                Ok(None) => return Ok(None),
                Ok(Some(lock)) => {
                    create_private(&path.join(DATA))?;
                    if !touch(&path.join(KEY))? {
                        self.directory().put(&path.join(KEY), key.as_bytes())?;
                    }
                    return Ok(Some(Cache {
                        path: path.join(DATA),
                        _lock: lock,
                    }));
                }
                // Somebody removed the cache between the two steps.
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
                Err(cause) => return Err(StoreError::io("lock", &path, cause)),
            }
        }
    }
}

impl Directory {
    /// Takes a cache out of the store, unless somebody uses it.
    pub(crate) fn take_cache(&self, path: &Path) -> Result<Option<RemovedAtEnd>, StoreError> {
        match FileLock::attempt(&path.join(LOCK)) {
            Ok(Some(_lock)) => self.doom(path).map(Some),
            Ok(None) => Ok(None),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(StoreError::io("lock", path, cause)),
        }
    }
}

/// What the directory of a cache says about itself.
pub(crate) fn cache_entry(path: PathBuf) -> Option<CacheEntry> {
    Some(CacheEntry {
        key: fs::read_to_string(path.join(KEY)).ok()?,
        used: used(&path.join(KEY))?,
        path,
    })
}
