//! Room for work that is thrown away.

use std::path::Path;

use crate::directory::RemovedAtEnd;
use crate::{Store, StoreError};

/// A directory on the store's file system, empty at first, that goes with everything in it when this is dropped.
/// If the process is killed, a later prune removes it.
#[derive(Debug)]
pub struct Scratch(RemovedAtEnd);

impl Scratch {
    /// The directory.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Store {
    /// A directory for work that is thrown away: change sets, roots, the files of a build.
    pub fn scratch(&self) -> Result<Scratch, StoreError> {
        self.directory().temporary_directory().map(Scratch)
    }
}
