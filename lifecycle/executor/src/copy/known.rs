//! Hashes of files of the context that an earlier build has read.
//!
//! A file is taken for the same as long as the kernel says so: device, inode, size, and the times of the last
//! change of content and of anything, the latter of which no program can set. What was changed a moment before it
//! was read could be changed again without a trace and is not remembered.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use lifecycle_store::{Record, Store, StoreError};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::key::{hex, unhex};

/// Device, inode, size, and the two times with their nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp(pub(crate) [i64; 7]);

/// The SHA-256 of a file's content.
pub(crate) type Sum = [u8; 32];

/// What stands for a stamp: half a SHA-256. Every file of a context has one, a [`Stamp`] would take three times the memory.
pub(crate) type Mark = [u8; 16];

/// Digits of a mark and a sum.
const LINE: usize = 2 * (size_of::<Mark>() + size_of::<Sum>());

/// More than a record should hold; files beyond that are read each time.
const MOST: usize = 200_000;

/// Longer than the clock of a file system with fine times ticks.
const TICK: Duration = Duration::from_millis(50);

/// The same for those that keep whole seconds.
const COARSE_TICK: Duration = Duration::from_secs(3);

impl Stamp {
    pub(crate) fn mark(&self) -> Mark {
        let mut hasher = Sha256::new();
        for number in self.0 {
            hasher.update(number.to_le_bytes());
        }
        let mut mark = Mark::default();
        mark.copy_from_slice(&hasher.finalize()[..size_of::<Mark>()]);
        mark
    }

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
    before: RwLock<Option<HashMap<Mark, Known>>>,
    fresh: Mutex<Vec<(Mark, Sum)>>,
    /// How many files this build has seen that are to be known to the next one.
    count: AtomicUsize,
}

#[derive(Debug)]
struct Known {
    sum: Sum,
    /// This build has asked for it.
    is_seen: AtomicBool,
}

impl KnownFiles {
    /// For the context of this name.
    pub(crate) fn new(store: &Store, context: Option<&std::path::Path>) -> Self {
        Self {
            store: store.clone(),
            key: context.map(|path| format!("files of {}", path.display())),
            before: RwLock::default(),
            fresh: Mutex::default(),
            count: AtomicUsize::new(0),
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
        let text = match record.map(|record| record.value) {
            Some(Value::String(text)) => text,
            // None, or how an earlier version kept them.
            _ => String::new(),
        };
        let lines = text.as_bytes().chunks_exact(LINE).take(MOST);
        *before = Some(lines.filter_map(parse).collect());
        Ok(())
    }

    pub(crate) fn get(&self, mark: &Mark) -> Option<Sum> {
        let before = self.before.read().unwrap_or_else(PoisonError::into_inner);
        let known = before.as_ref()?.get(mark)?;
        if !known.is_seen.swap(true, Ordering::Relaxed) {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        Some(known.sum)
    }

    /// Remembers a file that was just read and had this stamp before and after.
    pub(crate) fn put(&self, stamp: Stamp, sum: Sum) {
        if self.key.is_some() && stamp.is_settled() && self.count.fetch_add(1, Ordering::Relaxed) < MOST {
            let mut fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
            fresh.push((stamp.mark(), sum));
        }
    }

    /// Keeps what this build has seen for the next one.
    pub(crate) fn save(&self) -> Result<(), StoreError> {
        let Some(key) = &self.key else { return Ok(()) };
        let mut files = std::mem::take(&mut *self.fresh.lock().unwrap_or_else(PoisonError::into_inner));
        if files.is_empty() {
            return Ok(());
        }
        let before = self.before.write().unwrap_or_else(PoisonError::into_inner).take();
        let mut before: Vec<(Mark, Known)> = before.into_iter().flatten().collect();
        before.retain(|(_, known)| known.is_seen.load(Ordering::Relaxed));
        files.extend(before.into_iter().map(|(mark, known)| (mark, known.sum)));
        files.sort_unstable();
        files.dedup();
        files.truncate(MOST);
        let mut text = String::with_capacity(files.len() * LINE);
        for (mark, sum) in files {
            text.push_str(&hex(&mark));
            text.push_str(&hex(&sum));
        }
        self.store.remember(&Record {
            key: key.clone(),
            value: Value::String(text),
            blobs: Vec::new(),
        })
    }
}

fn parse(line: &[u8]) -> Option<(Mark, Known)> {
    let (mark, sum) = line.split_at_checked(2 * size_of::<Mark>())?;
    let known = Known {
        sum: unhex(sum)?,
        is_seen: AtomicBool::new(false),
    };
    Some((unhex(mark)?, known))
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
        let sum = [7; 32];
        let first = KnownFiles::new(&store, Some(context));
        first.load().unwrap();
        assert_eq!(first.get(&old.mark()), None);
        first.put(old, sum);
        first.put(fresh, sum);
        first.save().unwrap();
        let second = KnownFiles::new(&store, Some(context));
        second.load().unwrap();
        assert_eq!(second.get(&old.mark()), Some(sum));
        assert_eq!(second.get(&fresh.mark()), None);
        let other = KnownFiles::new(&store, None);
        other.load().unwrap();
        assert_eq!(other.get(&old.mark()), None);
    }
}
