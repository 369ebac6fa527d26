//! A layer written straight from its sources.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read as _, Write};
use std::sync::Arc;

use lifecycle_layers::{Contents, Entry, Kind, Owner, PackError, Style, TarWriter};

use super::entries::{Entries, compare};
use super::item::{Data, Item};
use crate::files::{Node, Said, join};

/// Entries with the places their bytes come from, in the order of the layer.
#[derive(Debug)]
pub(crate) struct PlacedFiles {
    name: String,
    files: Entries,
    latest: Option<i64>,
    /// Directories that go away when nobody reads them any more.
    _keeps: Vec<Keep>,
}

/// Something that has to stay as long as a layer is read.
pub(crate) type Keep = Arc<dyn Any + Send + Sync>;

/// Contents together with what they need to stay.
#[derive(Debug)]
pub(crate) struct Kept<C> {
    pub(crate) contents: C,
    pub(crate) _keeps: Vec<Keep>,
}

impl<C: Contents> Contents for Kept<C> {
    fn name(&self) -> String {
        self.contents.name()
    }

    fn write(&self, tar: &mut dyn Write) -> Result<(), PackError> {
        self.contents.write(tar)
    }
}

/// Entries by path, in the order of a layer. Those that come in this order already take little memory.
#[derive(Debug, Default)]
pub(crate) struct Placed {
    in_order: Entries,
    /// The path of the last one in order.
    last: Vec<u8>,
    /// What comes before that, or in the place of something.
    others: BTreeMap<PathKey, Item>,
}

/// A path that sorts name by name, so that what is in a directory follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct PathKey(Vec<u8>);

impl Ord for PathKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        compare(&self.0, &other.0)
    }
}

impl PartialOrd for PathKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Placed {
    /// Puts an entry at its path, in the place of what is there.
    pub(crate) fn insert(&mut self, item: Item) {
        if self.in_order.is_empty() || compare(&item.path, &self.last).is_gt() {
            self.last.clone_from(&item.path);
            self.in_order.push(item);
        } else {
            self.others.insert(PathKey(item.path.clone()), item);
        }
    }

    pub(crate) fn get(&self, path: &[u8]) -> Option<Item> {
        if self.in_order.is_empty() || compare(path, &self.last).is_gt() {
            return None;
        }
        if !self.others.is_empty()
            && let Some(other) = self.others.get(&PathKey(path.to_vec()))
        {
            return Some(other.clone());
        }
        self.in_order.find(path)
    }

    /// All entries, sorted.
    fn finish(self) -> Entries {
        if self.others.is_empty() {
            return self.in_order;
        }
        let mut sorted = Entries::default();
        let mut others = self.others.into_values().peekable();
        for item in self.in_order.into_items() {
            while let Some(other) = others.next_if(|other| compare(&other.path, &item.path).is_lt()) {
                sorted.push(other);
            }
            let replaced = others.next_if(|other| other.path == item.path);
            sorted.push(replaced.unwrap_or(item));
        }
        for other in others {
            sorted.push(other);
        }
        sorted
    }
}

impl PlacedFiles {
    /// The layer of these entries.
    pub(crate) fn new(name: String, files: Placed, latest: Option<i64>, keeps: Vec<Keep>) -> Self {
        Self {
            name,
            files: files.finish(),
            latest,
            _keeps: keeps,
        }
    }

    /// What the layer says about a path.
    pub(crate) fn say(&self, path: &[u8]) -> Said {
        let (above, name) = split(path);
        if name.starts_with(WHITEOUT) {
            return Said::Nothing;
        }
        match self.files.find(path) {
            Some(item) => Said::Node(item.node),
            None if self.has_whiteout(above, name) => Said::Gone,
            None => Said::Nothing,
        }
    }

    /// Whether the layer hides what is below it at the path of a directory.
    pub(crate) fn is_opaque(&self, path: &[u8]) -> bool {
        let (above, name) = split(path);
        self.files.find(&join(path, OPAQUE)).is_some() || self.has_whiteout(above, name)
    }

    /// The paths that belong to root.
    pub(crate) fn given_to_root(&self) -> Vec<Vec<u8>> {
        let items = self.files.iter();
        items
            .filter(|item| item.node.owner == Owner::ROOT)
            .map(|item| item.path)
            .collect()
    }

    /// A copied file may have the name of a whiteout, and then it is one.
    fn has_whiteout(&self, above: &[u8], name: &[u8]) -> bool {
        !name.is_empty()
            && self
                .files
                .find(&join(above, &[WHITEOUT, name].concat()))
                .is_some()
    }
}

/// What the names of whiteouts begin with.
const WHITEOUT: &[u8] = b".wh.";
/// The name that hides everything below a directory.
const OPAQUE: &[u8] = b".wh..wh..opq";

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

impl Contents for PlacedFiles {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn write(&self, tar: &mut dyn Write) -> Result<(), PackError> {
        let mut writer = TarWriter::new(tar, Style::Oci { latest: self.latest });
        let mut piece = vec![0; 256 << 10];
        // Files that are one file under several names become hard links (H6).
        let mut first: HashMap<(u64, u64), Vec<u8>> = HashMap::new();
        for item in self.files.iter() {
            if let Some(identity) = item.node.identity {
                if let Some(target) = first.get(&identity) {
                    writer.entry(&entry(&item.path, &item.node, Kind::HardLink(target.into())))?;
                    continue;
                }
                first.insert(identity, item.path.clone());
            }
            let entry = entry(&item.path, &item.node, item.node.kind.to_entry());
            writer.entry(&entry)?;
            match &item.data {
                Data::Nothing => {}
                Data::Memory(bytes) => writer.data(bytes)?,
                Data::File(handle) => {
                    let path = || String::from_utf8_lossy(&handle.path).into_owned();
                    let fail = |cause| PackError::Io { path: path(), cause };
                    let mut file = handle.open().map_err(fail)?;
                    let expected = entry.size();
                    let mut left = expected;
                    while left > 0 {
                        let most = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                        let count = match file.read(&mut piece[..most]) {
                            Ok(count) => count,
                            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                            Err(error) => return Err(fail(error)),
                        };
                        if count == 0 {
                            return Err(PackError::Changed {
                                path: path(),
                                expected,
                                actual: expected - left,
                            });
                        }
                        writer.data(&piece[..count])?;
                        left -= count as u64;
                    }
                    if file.read(&mut piece[..1]).map_err(fail)? != 0 {
                        return Err(PackError::Changed {
                            path: path(),
                            expected,
                            actual: expected + 1,
                        });
                    }
                }
            }
        }
        writer.finish().map(|_| ())
    }
}

fn entry<'e>(path: &'e [u8], node: &Node, kind: Kind<'e>) -> Entry<'e> {
    Entry {
        path: path.into(),
        kind,
        mode: node.mode,
        owner: node.owner,
        mtime: node.mtime,
        xattrs: node.xattrs.clone(),
    }
}
