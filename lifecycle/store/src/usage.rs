//! What a store holds.

use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::directory::{Directory, entries};
use crate::{Store, StoreError};

/// A number of things and their size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// How many.
    pub count: usize,
    /// How many bytes they hold together.
    pub bytes: u64,
}

/// What a store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Names of images; their bytes are among the blobs.
    pub images: usize,
    /// Blobs.
    pub blobs: Amount,
    /// Extracted layers.
    pub trees: Amount,
    /// Build caches.
    pub caches: Amount,
    /// Records.
    pub records: Amount,
    /// Unfinished files.
    pub temporary: Amount,
}

impl Usage {
    /// The bytes of everything.
    pub fn total(&self) -> u64 {
        let parts = [self.blobs, self.trees, self.caches, self.records, self.temporary];
        parts.iter().map(|part| part.bytes).sum()
    }
}

impl Store {
    /// Counts what is here. Others may change it meanwhile.
    pub fn usage(&self) -> Result<Usage, StoreError> {
        let directory = self.directory();
        let amount = |paths: Vec<PathBuf>| Amount {
            count: paths.len(),
            bytes: paths.iter().map(|path| size_of(path)).sum(),
        };
        let part = |name| entries(&directory.path(name)).map(amount);
        Ok(Usage {
            images: entries(&directory.path("images"))?.len(),
            blobs: amount(directory.blob_files()?),
            trees: part("trees")?,
            caches: part("caches")?,
            records: part("records")?,
            temporary: part("tmp")?,
        })
    }
}

impl Directory {
    /// The files of all blobs.
    pub(crate) fn blob_files(&self) -> Result<Vec<PathBuf>, StoreError> {
        let mut files = Vec::new();
        for algorithm in entries(&self.path("blobs"))? {
            files.extend(entries(&algorithm)?);
        }
        Ok(files)
    }
}

/// The bytes in a file, or in all files of a directory. What cannot be looked at, or goes meanwhile, counts
/// nothing.
pub(crate) fn size_of(path: &Path) -> u64 {
    let Ok(found) = fs::symlink_metadata(path) else {
        return 0;
    };
    if !found.is_dir() {
        return found.len();
    }
    let inside = entries(path).unwrap_or_default();
    inside.iter().map(|path| size_of(path)).sum()
}
