//! Digests of files of the context that an earlier build has read.
//!
//! A file is taken for the same as long as the kernel says so: device, inode, size, and the times of the last
//! change of content and of anything, the latter of which no program can set. What was changed a moment before it
//! was read could be changed again without a trace and is not remembered.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use lifecycle_image::Digest;
use lifecycle_store::{Record, Store, StoreError};
use serde::{Deserialize, Serialize};

/// Device, inode, size, and the two times with their nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Stamp(pub(crate) [i64; 7]);

/// More than a record should hold; files beyond that are read each time.
const MOST: usize = 200_000;

/// Longer than the clock of a file system with fine times ticks.
const TICK: Duration = Duration::from_millis(50);

/// The same for those that keep whole seconds.
const COARSE_TICK: Duration = Duration::from_secs(3);

impl Stamp {
    fn is_settled(&self) -> bool {
        let [.., seconds, nanoseconds] = self.0;
        let changed = Duration::new(
            u64::try_from(seconds).unwrap_or(u64::MAX),
            u32::try_from(nanoseconds).unwrap_or(0),
        );
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let tick = if nanoseconds == 0 { COARSE_TICK } else { TICK };
        now.checked_sub(changed).is_some_and(|age| age > tick)
    }
}

/// What is known of a context.
#[derive(Debug)]
pub(crate) struct KnownFiles {
    store: Store,
    /// Of the record; nothing remembers nothing.
    key: Option<String>,
    before: RwLock<Option<HashMap<Stamp, Digest>>>,
    seen: Mutex<HashMap<Stamp, Digest>>,
    is_new: AtomicBool,
}

impl KnownFiles {
    /// For the context of this name.
    pub(crate) fn new(store: &Store, context: Option<&std::path::Path>) -> Self {
        Self {
            store: store.clone(),
            key: context.map(|path| format!("files of {}", path.display())),
            before: RwLock::default(),
            seen: Mutex::default(),
            is_new: AtomicBool::new(false),
        }
    }

    /// Reads what earlier builds remembered, once. Without it files are read anew.
    pub(crate) fn load(&self) -> Result<(), StoreError> {
        let mut before = self.before.write().unwrap_or_else(PoisonError::into_inner);
        if before.is_some() {
            return Ok(());
        }
        let record = match &self.key {
            Some(key) => self.store.record(key)?,
            None => None,
        };
        let known: Vec<(Stamp, Digest)> = record
            .and_then(|record| serde_json::from_value(record.value).ok())
            .unwrap_or_default();
        *before = Some(known.into_iter().collect());
        Ok(())
    }

    pub(crate) fn get(&self, stamp: &Stamp) -> Option<Digest> {
        let before = self.before.read().unwrap_or_else(PoisonError::into_inner);
        let digest = before.as_ref()?.get(stamp)?.clone();
        self.see(*stamp, digest.clone());
        Some(digest)
    }

    /// Remembers a file that was just read and had this stamp before and after.
    pub(crate) fn put(&self, stamp: Stamp, digest: Digest) {
        if self.key.is_some() && stamp.is_settled() {
            self.is_new.store(true, Ordering::Relaxed);
            self.see(stamp, digest);
        }
    }

    fn see(&self, stamp: Stamp, digest: Digest) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() < MOST {
            seen.insert(stamp, digest);
        }
    }

    /// Keeps what this build has seen for the next one.
    pub(crate) fn save(&self) -> Result<(), StoreError> {
        let Some(key) = &self.key else { return Ok(()) };
        if !self.is_new.load(Ordering::Relaxed) {
            return Ok(());
        }
        let seen = std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        let mut seen: Vec<(Stamp, Digest)> = seen.into_iter().collect();
        seen.sort_unstable_by_key(|(stamp, _)| stamp.0);
        self.store.remember(&Record {
            key: key.clone(),
            value: serde_json::to_value(seen).unwrap_or_default(),
            blobs: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_that_have_settled_are_remembered() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let context = std::path::Path::new("/context");
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs()
            .cast_signed();
        let (old, fresh) = (
            Stamp([1, 2, 3, 4, 5, 6, 7]),
            Stamp([1, 3, 3, now, 1, now, 999_999_999]),
        );
        let digest = Digest::of(b"x");
        let first = KnownFiles::new(&store, Some(context));
        first.load().unwrap();
        assert_eq!(first.get(&old), None);
        first.put(old, digest.clone());
        first.put(fresh, digest.clone());
        first.save().unwrap();
        let second = KnownFiles::new(&store, Some(context));
        second.load().unwrap();
        assert_eq!(second.get(&old), Some(digest));
        assert_eq!(second.get(&fresh), None);
        let other = KnownFiles::new(&store, None);
        other.load().unwrap();
        assert_eq!(other.get(&old), None);
    }
}
