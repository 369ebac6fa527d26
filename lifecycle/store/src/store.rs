//! The store itself.

use std::path::Path;
use std::sync::Arc;

use lifecycle_image::{NoProgress, Progress};

use crate::StoreError;
use crate::directory::{Directory, LiveScratch, RemovedAtEnd};
use crate::lock::FileLock;
use crate::pack::Packer;

/// A content-addressed store in a directory. Cheap to clone; all clones are the same store.
///
/// While a store is open, nothing that it wrote or handed out is pruned by another process.
#[derive(Debug, Clone)]
pub struct Store {
    open: Arc<Open>,
    progress: Arc<dyn Progress>,
}

/// An open store. The fields are dropped in this order: the packer's thread ends before the directory goes.
#[derive(Debug)]
struct Open {
    packer: Packer,
    _lease: FileLock,
    directory: Arc<Directory>,
    _temporary: Option<RemovedAtEnd>,
}

impl Store {
    /// Opens the store in `directory`, and makes it when there is none.
    ///
    /// # Errors
    /// [`StoreError::NotAStore`], [`StoreError::Version`] or [`StoreError::Owner`] when the directory is not
    /// ours to use.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        Self::over(Directory::open(directory, true)?, None)
    }

    /// A store in a new directory below `parent`, for one run: it is removed when the last clone is dropped,
    /// its layers with it. Nothing is flushed to the disk.
    pub fn temporary(parent: &Path) -> Result<Self, StoreError> {
        let temporary = tempfile::Builder::new()
            .prefix("lifecycle-store-")
            .tempdir_in(parent)
            .map_err(|cause| StoreError::io("create a directory in", parent, cause))?;
        let temporary = RemovedAtEnd::new(temporary, &LiveScratch::default());
        let directory = Directory::open(temporary.path(), false)?;
        Self::over(directory, Some(temporary))
    }

    fn over(directory: Directory, temporary: Option<RemovedAtEnd>) -> Result<Self, StoreError> {
        let directory = Arc::new(directory);
        let open = Open {
            packer: Packer::new(Arc::clone(&directory)),
            _lease: lease(&directory)?,
            directory,
            _temporary: temporary,
        };
        Ok(Self {
            open: Arc::new(open),
            progress: Arc::new(NoProgress),
        })
    }

    /// The same store, with somebody who watches what images written to it bring along.
    #[must_use]
    pub fn watched(self, progress: Arc<dyn Progress>) -> Self {
        Self { progress, ..self }
    }

    /// The store's directory.
    pub fn path(&self) -> &Path {
        self.open.directory.root()
    }

    pub(crate) fn directory(&self) -> &Arc<Directory> {
        &self.open.directory
    }

    pub(crate) fn progress(&self) -> &Arc<dyn Progress> {
        &self.progress
    }

    pub(crate) fn packer(&self) -> &Packer {
        &self.open.packer
    }
}

/// Tells prunes of other processes that somebody works here, and since when.
fn lease(directory: &Directory) -> Result<FileLock, StoreError> {
    let leases = directory.path("leases");
    let failed = |cause| StoreError::io("create a file in", &leases, cause);
    let file = tempfile::Builder::new()
        .prefix("lease-")
        .tempfile_in(&leases)
        .map_err(failed)?;
    let path = file
        .into_temp_path()
        .keep()
        .map_err(|error| failed(error.error))?;
    // Should a prune take the file away before it is locked, locking makes it again.
    let lock = FileLock::exclusive(&path).map_err(|cause| StoreError::io("lock", &path, cause))?;
    Ok(lock.removed_at_end())
}
