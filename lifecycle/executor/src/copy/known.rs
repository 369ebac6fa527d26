//! Hashes of files of the context that an earlier build has read.
//!
//! A file is taken for the same as long as the kernel says so, by its [`Stamp`]. What was changed a moment before it was
//! read could be changed again without a trace and is not remembered.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};

use lifecycle_layers::Stamp;
use lifecycle_store::{Record, Store, StoreError};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::key::{hex, unhex};

/// The SHA-256 of a file's content.
pub(crate) type Sum = [u8; 32];

/// What stands for a stamp: half a SHA-256. Every file of a context has one, a [`Stamp`] would take three times the memory.
pub(crate) type Mark = [u8; 16];

/// Digits of a mark and a sum.
const LINE: usize = 2 * (size_of::<Mark>() + size_of::<Sum>());

/// More than a record should hold; files beyond that are read each time.
const MOST: usize = 200_000;

/// What stands for a stamp.
pub(crate) fn mark(stamp: &Stamp) -> Mark {
    let mut mark = Mark::default();
    mark.copy_from_slice(&Sha256::digest(stamp.to_bytes())[..size_of::<Mark>()]);
    mark
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
            fresh.push((mark(&stamp), sum));
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
        let mut stat = rustix::fs::stat("/").unwrap();
        stat.st_ctime = 6;
        let old = Stamp::of(&stat);
        stat.st_ctime = i64::MAX;
        let fresh = Stamp::of(&stat);
        let sum = [7; 32];
        let first = KnownFiles::new(&store, Some(context));
        first.load().unwrap();
        assert_eq!(first.get(&mark(&old)), None);
        first.put(old, sum);
        first.put(fresh, sum);
        first.save().unwrap();
        let second = KnownFiles::new(&store, Some(context));
        second.load().unwrap();
        assert_eq!(second.get(&mark(&old)), Some(sum));
        assert_eq!(second.get(&mark(&fresh)), None);
        let other = KnownFiles::new(&store, None);
        other.load().unwrap();
        assert_eq!(other.get(&mark(&old)), None);
    }
}
