//! Room for work that is thrown away.

use std::path::Path;

use crate::directory::{LiveScratch, RemovedAtEnd};
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

    /// Leaves it to [`LiveScratch::remove_all`], or to [`Store::tidy_up`] of a later process, because somebody is in a hurry.
    pub fn abandon(self) {
        self.0.abandon();
    }
}

impl Store {
    /// A directory for work that is thrown away: change sets, roots, the files of a build.
    pub fn scratch(&self) -> Result<Scratch, StoreError> {
        self.directory().temporary_directory().map(Scratch)
    }

    /// All directories of this kind that this process has at any time, also those of unfinished work.
    pub fn live_scratch(&self) -> LiveScratch {
        self.directory().live_scratch().clone()
    }
}
