//! Changes from metadata before and after, where there is no overlay.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{io, thread};

use lifecycle_image::Digest;
use rayon::prelude::*;
use rustix::fs::{FileType, Stat};

use super::{Change, ChangeSet, Key, exclusion};
use crate::PackError;
use crate::contents::{io_error, open_directory, walk_error};
use crate::entry::ancestors;
use crate::root::Root;
use crate::stamp::{Stamp, now};
use crate::walk::{Order, Walk};

/// The metadata of a tree at one moment: enough to tell later what was changed, without reading any file.
#[derive(Debug, Clone)]
pub struct Snapshot {
    records: Vec<Record>,
    exclude: Vec<Vec<u8>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    key: Key,
    stamp: Stamp,
    mode: u32,
    owner: crate::Owner,
    node: u64,
}

/// The longest time between two ticks of the clock that file systems take their times from.
const TICK: Duration = Duration::from_millis(20);

impl Snapshot {
    /// Looks at every entry below `tree`, on all cores. Paths of `exclude` (as `/proc`) are left out with
    /// everything below them.
    ///
    /// Whoever leaves paths out may put something there for a while: of the directories that they are in, up to the
    /// root, only what a program can set counts.
    ///
    /// Files that were changed within the present tick of the file system's clock could be changed again
    /// without a trace, so the snapshot waits until the tick is over.
    pub fn take(tree: &Path, exclude: &[PathBuf]) -> Result<Self, PackError> {
        let exclude = exclusion(exclude);
        let records = scan(tree, &exclude)?;
        let snapshot = Self { records, exclude };
        snapshot.settle();
        Ok(snapshot)
    }

    /// The same tree now, with the same paths left out. To compare with it, it has to [`settle`](Self::settle).
    pub fn again(&self, tree: &Path) -> Result<Self, PackError> {
        let exclude = self.exclude.clone();
        let records = scan(tree, &exclude)?;
        Ok(Self { records, exclude })
    }

    /// Waits until no file that was seen can be changed without a trace: until the tick of the last change is over.
    pub fn settle(&self) {
        let tick = now().saturating_sub(TICK);
        if self.records.iter().any(|record| record.stamp.changed_since(tick)) {
            thread::sleep(TICK);
        }
    }

    /// Whether exactly these paths are left out.
    pub fn leaves_out(&self, exclude: &[PathBuf]) -> bool {
        self.exclude == exclusion(exclude)
    }

    /// A name for exactly this state. Inodes and times of change are part of it, so neither a copy of the tree nor one
    /// that was changed and changed back has the same.
    pub fn digest(&self) -> Digest {
        let mut text = Vec::new();
        for record in &self.records {
            text.extend_from_slice(&record.key.0);
            // A key has no slash, so this is where it ends.
            text.push(b'/');
            text.extend_from_slice(&record.stamp.to_bytes());
            text.extend_from_slice(&record.node.to_le_bytes());
            for number in [record.mode, record.owner.uid, record.owner.gid] {
                text.extend_from_slice(&number.to_le_bytes());
            }
        }
        Digest::of(&text)
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether the tree has no entries.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

/// Adds what is different in `after`.
pub(super) fn compare(set: &mut ChangeSet, before: &Snapshot, after: &Snapshot) {
    let above = |path| ancestors(path).chain([&b""[..]]).map(Key::new);
    let touched: BTreeSet<Key> = before.exclude.iter().flat_map(|path| above(path)).collect();
    let mut old = before.records.iter().peekable();
    // The last path that is no directory any more; what was below it needs no mention.
    let mut gone: Option<&Key> = None;
    for new in &after.records {
        while let Some(record) = old.next_if(|record| record.key < new.key) {
            add_lost(set, record, &mut gone);
        }
        match old.next_if(|record| record.key == new.key) {
            Some(record) if record == new => {}
            Some(record) if touched.contains(&new.key) && record.looks_like(new) => {}
            Some(record) => {
                set.add(&new.key.path(), Change::Present);
                if record.is_directory() && !new.is_directory() {
                    gone = Some(&record.key);
                }
            }
            None => set.add(&new.key.path(), Change::Present),
        }
    }
    for record in old {
        add_lost(set, record, &mut gone);
    }
}

fn add_lost<'a>(set: &mut ChangeSet, record: &'a Record, gone: &mut Option<&'a Key>) {
    if !gone.is_some_and(|gone| record.key.is_below(gone)) {
        set.add(&record.key.path(), Change::Deleted);
        *gone = Some(&record.key);
    }
}

/// The records of a tree, sorted. Directories on the first two levels are walked in parallel.
fn scan(tree: &Path, exclude: &[Vec<u8>]) -> Result<Vec<Record>, PackError> {
    let fail = |error| io_error(tree, b"", error);
    let root = Root::new(open_directory(tree)?.as_fd()).map_err(fail)?;
    let mut pieces: Vec<(Vec<Record>, Option<Vec<u8>>)> = Vec::new();
    let mut walk = Walk::new(root.handle(), Order::DepthFirst).map_err(fail)?;
    loop {
        let skip = {
            let Some(found) = walk.next() else { break };
            let found = found.map_err(|error| walk_error(tree, error))?;
            if exclude.iter().any(|path| path == found.path) {
                true
            } else {
                let record = Record::new(found.path, &found.stat);
                let deep = record.is_directory() && found.path.contains(&b'/');
                pieces.push((vec![record], deep.then(|| found.path.to_vec())));
                deep
            }
        };
        if skip {
            walk.skip();
        }
    }
    let walked: Result<Vec<Vec<Record>>, PackError> = pieces
        .into_par_iter()
        .map(|(mut records, directory)| {
            if let Some(directory) = directory {
                let handle = root
                    .exact(&directory)
                    .map_err(|error| io_error(tree, &directory, error))?;
                scan_below(handle.as_fd(), &directory, exclude, &mut records)
                    .map_err(|(path, error)| io_error(tree, &path, error))?;
            }
            Ok(records)
        })
        .collect();
    Ok(walked?.into_iter().flatten().collect())
}

fn scan_below(
    directory: BorrowedFd<'_>,
    at: &[u8],
    exclude: &[Vec<u8>],
    records: &mut Vec<Record>,
) -> Result<(), (Vec<u8>, io::Error)> {
    let mut walk = Walk::new(directory, Order::DepthFirst).map_err(|error| (at.to_vec(), error))?;
    let mut path = Vec::new();
    loop {
        let skip = {
            let Some(found) = walk.next() else {
                return Ok(());
            };
            let found = found.map_err(|error| (error.path, error.cause))?;
            crate::contents::place(&mut path, at, found.path);
            let skip = exclude.contains(&path);
            if !skip {
                records.push(Record::new(&path, &found.stat));
            }
            skip
        };
        if skip {
            walk.skip();
        }
    }
}

impl Record {
    fn new(path: &[u8], stat: &Stat) -> Self {
        #[allow(
            clippy::useless_conversion,
            clippy::unnecessary_cast,
            reason = "the fields' types differ between processors"
        )]
        Self {
            key: Key::new(path),
            stamp: Stamp::of(stat),
            mode: stat.st_mode as u32,
            owner: crate::walk::owner(stat),
            node: stat.st_rdev as u64,
        }
    }

    /// Whether only the time of the last change is different.
    fn looks_like(&self, other: &Self) -> bool {
        let other = Self {
            stamp: other.stamp.changed_with(&self.stamp),
            ..other.clone()
        };
        *self == other
    }

    fn is_directory(&self) -> bool {
        FileType::from_raw_mode(self.mode) == FileType::Directory
    }
}
