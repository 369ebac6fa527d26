//! What processes left that were killed, or that ended without tidying up.

use std::sync::Arc;
use std::thread;

use crate::directory::{Directory, entries, remove_file, remove_tree, used};
use crate::{Store, StoreError};

impl Store {
    /// Begins to remove unfinished work of processes that are gone, on a thread that nobody waits for: when this process
    /// ends first, the next one goes on. Interrupted downloads stay, they are continued.
    pub fn tidy_up(&self) {
        let directory = Arc::clone(self.directory());
        let tidy_up = move || {
            if let Err(error) = directory.tidy_up() {
                tracing::debug!("{error}");
            }
        };
        // Without the thread all of it stays as it is, for a prune.
        drop(thread::Builder::new().name("tidy-up".to_owned()).spawn(tidy_up));
    }
}

impl Directory {
    fn tidy_up(&self) -> Result<(), StoreError> {
        // Whoever works here was here before what it makes.
        let Some(oldest) = self.oldest_lease()? else {
            return Ok(());
        };
        for path in entries(&self.path("tmp"))? {
            let is_partial = path.extension().is_some_and(|extension| extension == "partial");
            if is_partial || used(&path).is_none_or(|used| used >= oldest) {
                continue;
            }
            if path.is_dir() {
                remove_tree(&path)?;
            } else {
                remove_file(&path)?;
            }
        }
        Ok(())
    }
}
