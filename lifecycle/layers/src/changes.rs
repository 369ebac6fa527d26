//! What changed in a file system, as a layer.
//!
//! Changes come from an overlay's upper directory, or from comparing the metadata of a tree before and after.
//! Either way the result is a [`ChangeSet`]: paths in order, which are written from the tree itself when the
//! layer is packed.

mod lower;
mod overlay;
mod snapshot;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, statat};

pub(crate) use self::lower::show_through;
pub use self::snapshot::Snapshot;

use crate::contents::{LayerWriter, c_name, image_path, io_error, open_directory};
use crate::entry::{ancestors, split};
use crate::root::Root;
use crate::walk::Found;
use crate::{Contents, Entry, Owners, PackError, Style};

/// What a step changed in a file system.
///
/// As a layer it follows what image builders agree on: entries sorted by path with the directories above them,
/// a whiteout for each lost name and never an opaque marker, hard links among changed files kept
/// (dockerfile.md M1 to M3).
#[derive(Debug, Clone)]
pub struct ChangeSet {
    name: String,
    /// Where changed files are read.
    tree: PathBuf,
    changes: BTreeMap<Key, Change>,
    owners: Owners,
    latest: Option<i64>,
}

/// What happened to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is new, it is different, or something below it is.
    Present,
    /// It is gone.
    Deleted,
}

/// A path that sorts name by name, so that what is in a directory follows it: slashes become NUL bytes, which
/// no name has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key(Box<[u8]>);

impl Key {
    fn new(path: &[u8]) -> Self {
        Self(
            path.iter()
                .map(|&byte| if byte == b'/' { 0 } else { byte })
                .collect(),
        )
    }

    fn path(&self) -> Vec<u8> {
        self.0
            .iter()
            .map(|&byte| if byte == 0 { b'/' } else { byte })
            .collect()
    }

    /// Whether this is below `other`.
    fn is_below(&self, other: &Self) -> bool {
        self.0
            .strip_prefix(&*other.0)
            .is_some_and(|rest| rest.first() == Some(&0))
    }
}

impl ChangeSet {
    /// What is in the overlay directory `upper` and not in the directories below it, topmost first.
    ///
    /// The directories below may be layers in overlay form or whole trees. Files that were only touched, and
    /// so were copied up with the same metadata and content, are left out. So are paths of `exclude`, with
    /// everything below them: places that were made for mounts.
    pub fn of_overlay(upper: &Path, lower: &[PathBuf], exclude: &[PathBuf]) -> Result<Self, PackError> {
        Self::of_overlay_and_owners(upper, lower, exclude, &|_| false)
    }

    /// The same where files do not have their owners themselves: what looks the same belongs to the changes too when
    /// `is_given` says that it was given to somebody else.
    pub fn of_overlay_and_owners(
        upper: &Path,
        lower: &[PathBuf],
        exclude: &[PathBuf],
        is_given: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Self, PackError> {
        let mut set = Self::empty(upper);
        overlay::compare(&mut set, upper, lower, &exclusion(exclude), is_given)?;
        Ok(set)
    }

    /// What changed in `tree` since the snapshot was taken. Leaves out what the snapshot left out.
    pub fn since(before: &Snapshot, tree: &Path) -> Result<Self, PackError> {
        Ok(Self::between(before, &before.again(tree)?, tree))
    }

    /// What changed in `tree` between two snapshots of it, which leave out the same paths.
    pub fn between(before: &Snapshot, after: &Snapshot, tree: &Path) -> Self {
        let mut set = Self::empty(tree);
        snapshot::compare(&mut set, before, after);
        set
    }

    /// Sets the owners in the layer.
    #[must_use]
    pub fn owners(self, owners: Owners) -> Self {
        Self { owners, ..self }
    }

    /// Times later than this, in seconds since the epoch, become this (`SOURCE_DATE_EPOCH`).
    #[must_use]
    pub fn latest(self, latest: Option<i64>) -> Self {
        Self { latest, ..self }
    }

    /// Sets what the change set is called in messages: the instruction that made it.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..self
        }
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The changed paths in the order of the layer, without a leading slash.
    pub fn iter(&self) -> impl Iterator<Item = (Vec<u8>, Change)> {
        self.changes.iter().map(|(key, change)| (key.path(), *change))
    }

    fn empty(tree: &Path) -> Self {
        Self {
            name: tree.display().to_string(),
            tree: tree.to_path_buf(),
            changes: BTreeMap::new(),
            owners: Owners::Keep,
            latest: None,
        }
    }

    /// Adds a path, and the directories above it.
    fn add(&mut self, path: &[u8], change: Change) {
        // What is above a known path is known too.
        for above in ancestors(path).rev() {
            let key = Key::new(above);
            if self.changes.contains_key(&key) {
                break;
            }
            self.changes.insert(key, Change::Present);
        }
        self.changes.insert(Key::new(path), change);
    }
}

impl Contents for ChangeSet {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn write(&self, tar: &mut dyn Write) -> Result<(), PackError> {
        let style = Style::Oci { latest: self.latest };
        let mut layer = LayerWriter::new(tar, style, &self.owners, &self.tree);
        let root = Root::new(open_directory(&self.tree)?.as_fd())
            .map_err(|error| io_error(&self.tree, b"", error))?;
        let mut open: Option<(Vec<u8>, OwnedFd)> = None;
        for (path, change) in self.iter() {
            let fail = |error| io_error(&self.tree, &path, error);
            let (above, name) = split(&path);
            if change == Change::Deleted {
                layer.entry(&whiteout(above, name))?;
                continue;
            }
            let directory = match open.take() {
                Some((open, handle)) if open == above => handle,
                _ => root.exact(above).map_err(fail)?,
            };
            let name = c_name(name).map_err(fail)?;
            let stat = statat(&directory, name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|error| fail(error.into()))?;
            let found = Found {
                path: &path,
                name: &name,
                directory: directory.as_fd(),
                stat,
            };
            layer.found(&path, &found)?;
            open = Some((above.to_vec(), directory));
        }
        layer.finish()
    }
}

/// The entry that says that a name is gone: mode 0, size 0, the epoch (dockerfile.md M2).
pub(crate) fn whiteout(above: &[u8], name: &[u8]) -> Entry<'static> {
    let mut path = above.to_vec();
    if !above.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(b".wh.");
    path.extend_from_slice(name);
    Entry {
        mode: 0,
        ..Entry::file(path, 0)
    }
}

/// Paths to leave out, as walks find them.
fn exclusion(paths: &[PathBuf]) -> Vec<Vec<u8>> {
    paths.iter().map(image_path).collect()
}
