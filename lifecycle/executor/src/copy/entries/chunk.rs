//! Entries that lie next to each other, and what they have in common.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use lifecycle_layers::Owner;

use crate::copy::item::{Data, Item};
use crate::copy::known::Mark;
use crate::files::{FileHandle, Node, NodeKind, join};

/// As many share a chunk.
const MOST: usize = 1024;

#[derive(Debug, Clone)]
pub(super) struct Chunk {
    /// How many entries lie before it.
    pub(super) first: usize,
    /// The directory that all paths begin with.
    above: Vec<u8>,
    /// Where files are read: an opened root, and the directory in it that stands for `above`.
    sources: Vec<(Arc<OwnedFd>, Vec<u8>)>,
    owners: Vec<Owner>,
    rows: Vec<Row>,
    /// The paths below `above`, and the targets of links.
    texts: Vec<u8>,
    /// One for each row, or none at all.
    marks: Vec<Mark>,
    /// Rows that a row does not hold.
    rare: BTreeMap<usize, Item>,
}

/// An entry without what the chunk knows.
#[derive(Debug, Clone, Copy)]
struct Row {
    size: u64,
    mtime: i64,
    /// The end of its text.
    end: u32,
    /// The length of its path; what follows is the target of a link.
    path: u16,
    mode: u16,
    kind: RowKind,
    /// One more than the number of its source; 0 for none.
    source: u8,
    /// The number of its owner.
    owner: u8,
    implied: bool,
}

// A million of them are in memory at a time.
const _: () = assert!(size_of::<Row>() == 32);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RowKind {
    File,
    Directory,
    Symlink,
    Fifo,
    Socket,
    Rare,
}

impl Chunk {
    /// An empty chunk that has a place for `item`.
    pub(super) fn for_item(first: usize, item: &Item) -> Self {
        let (above, sources) = match &item.data {
            Data::File(handle) => {
                let (above, base) = before_common_end(&item.path, &handle.path);
                (above.to_vec(), vec![(Arc::clone(&handle.root), base.to_vec())])
            }
            Data::Nothing | Data::Memory(_) => (Vec::new(), Vec::new()),
        };
        Self {
            first,
            above,
            sources,
            owners: Vec::new(),
            rows: Vec::new(),
            texts: Vec::new(),
            marks: Vec::new(),
            rare: BTreeMap::new(),
        }
    }

    /// Gives back memory that was taken for more entries.
    pub(super) fn shrink(&mut self) {
        self.rows.shrink_to_fit();
        self.texts.shrink_to_fit();
        self.marks.shrink_to_fit();
    }

    /// How many entries it has.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Takes an entry, or gives it back when another chunk has to take it.
    pub(super) fn push(&mut self, item: Item) -> Option<Item> {
        let number = self.rows.len();
        let is_like_others = number == 0 || item.node.mark.is_some() != self.marks.is_empty();
        if number == MOST || !is_like_others {
            return Some(item);
        }
        let Some(path) = below(&self.above, &item.path) else {
            return Some(item);
        };
        let Some(source) = self.source_of(&item.data, path) else {
            return Some(item);
        };
        let node = &item.node;
        let Some(owner) = self.number_of(node.owner) else {
            return Some(item);
        };
        let (kind, size, target) = match &node.kind {
            NodeKind::File { size } => (RowKind::File, *size, &b""[..]),
            NodeKind::Directory => (RowKind::Directory, 0, &b""[..]),
            NodeKind::Symlink(target) => (RowKind::Symlink, 0, target.as_slice()),
            NodeKind::Fifo => (RowKind::Fifo, 0, &b""[..]),
            NodeKind::Socket => (RowKind::Socket, 0, &b""[..]),
            NodeKind::CharDevice(_) | NodeKind::BlockDevice(_) => (RowKind::Rare, 0, &b""[..]),
        };
        let is_plain = node.xattrs.is_empty()
            && node.identity.is_none()
            && kind != RowKind::Rare
            && !matches!(item.data, Data::Memory(_));
        let (Ok(length), Ok(mode), Ok(end)) = (
            u16::try_from(path.len()),
            u16::try_from(node.mode),
            u32::try_from(self.texts.len() + path.len() + target.len()),
        ) else {
            return Some(item);
        };
        self.texts.extend_from_slice(path);
        self.texts.extend_from_slice(target);
        self.rows.push(Row {
            size,
            mtime: node.mtime,
            end,
            path: length,
            mode,
            kind: if is_plain { kind } else { RowKind::Rare },
            source,
            owner,
            implied: item.implied,
        });
        self.marks.extend(node.mark);
        if !is_plain {
            self.rare.insert(number, item);
        }
        None
    }

    /// Takes an entry that no row can hold.
    pub(super) fn push_rare(&mut self, item: Item) {
        self.rows.push(Row {
            size: 0,
            mtime: 0,
            end: 0,
            path: 0,
            mode: 0,
            kind: RowKind::Rare,
            source: 0,
            owner: 0,
            implied: false,
        });
        self.rare.insert(self.rows.len() - 1, item);
    }

    /// The number of the source that has the file of this path; nothing when there is no place for another one.
    fn source_of(&mut self, data: &Data, path: &[u8]) -> Option<u8> {
        let Data::File(handle) = data else {
            return Some(0);
        };
        let base = without_end(&handle.path, path)?;
        let is_same =
            |(root, known): &(Arc<OwnedFd>, Vec<u8>)| Arc::ptr_eq(root, &handle.root) && known == base;
        let at = self.sources.iter().position(is_same).unwrap_or_else(|| {
            self.sources.push((Arc::clone(&handle.root), base.to_vec()));
            self.sources.len() - 1
        });
        u8::try_from(at + 1).ok()
    }

    /// The number of an owner; nothing when there is no place for another one.
    fn number_of(&mut self, owner: Owner) -> Option<u8> {
        let at = self
            .owners
            .iter()
            .position(|known| *known == owner)
            .unwrap_or_else(|| {
                self.owners.push(owner);
                self.owners.len() - 1
            });
        u8::try_from(at).ok()
    }

    /// Puts another entry of the same path in the place of one.
    pub(super) fn replace(&mut self, row: usize, item: Item) {
        self.rows[row].kind = RowKind::Rare;
        self.rare.insert(row, item);
    }

    /// Forgets what tells whether files have changed.
    pub(super) fn forget_marks(&mut self) {
        self.marks = Vec::new();
    }

    fn text(&self, row: usize) -> (&[u8], &[u8]) {
        let start = row.checked_sub(1).map_or(0, |before| self.rows[before].end);
        let Row { end, path, .. } = self.rows[row];
        self.texts[start as usize..end as usize].split_at(usize::from(path))
    }

    pub(super) fn put_path(&self, row: usize, buffer: &mut Vec<u8>) {
        buffer.clear();
        if let Some(item) = self.rare.get(&row) {
            buffer.extend_from_slice(&item.path);
            return;
        }
        let (path, _) = self.text(row);
        buffer.extend_from_slice(&self.above);
        if !self.above.is_empty() && !path.is_empty() {
            buffer.push(b'/');
        }
        buffer.extend_from_slice(path);
    }

    pub(super) fn item(&self, number: usize) -> Item {
        if let Some(item) = self.rare.get(&number) {
            return item.clone();
        }
        let row = &self.rows[number];
        let (path, target) = self.text(number);
        let source = usize::from(row.source).checked_sub(1);
        let data = match source.and_then(|source| self.sources.get(source)) {
            None => Data::Nothing,
            Some((root, base)) => Data::File(FileHandle {
                root: Arc::clone(root),
                path: join(base, path),
            }),
        };
        let node = Node {
            kind: match row.kind {
                RowKind::File | RowKind::Rare => NodeKind::File { size: row.size },
                RowKind::Directory => NodeKind::Directory,
                RowKind::Symlink => NodeKind::Symlink(target.to_vec()),
                RowKind::Fifo => NodeKind::Fifo,
                RowKind::Socket => NodeKind::Socket,
            },
            mode: row.mode.into(),
            owner: self
                .owners
                .get(usize::from(row.owner))
                .copied()
                .unwrap_or(Owner::ROOT),
            mtime: row.mtime,
            identity: None,
            mark: match row.kind {
                RowKind::File => self.marks.get(number).copied(),
                _ => None,
            },
            xattrs: Vec::new(),
        };
        let mut item = Item::new(join(&self.above, path), node, data);
        item.implied = row.implied;
        item
    }

    pub(super) fn truncate(&mut self, length: usize) {
        self.rows.truncate(length);
        self.marks.truncate(length);
        self.rare.split_off(&length);
        self.texts
            .truncate(self.rows.last().map_or(0, |row| row.end as usize));
    }
}

/// Whether a path lies in a directory, and under which path.
fn below<'a>(above: &[u8], path: &'a [u8]) -> Option<&'a [u8]> {
    if above.is_empty() {
        return Some(path);
    }
    match path.strip_prefix(above)?.split_first() {
        None => Some(b""),
        Some((b'/', rest)) => Some(rest),
        Some(_) => None,
    }
}

/// What comes before `end` in a path, if it ends so.
fn without_end<'a>(path: &'a [u8], end: &[u8]) -> Option<&'a [u8]> {
    let before = path.strip_suffix(end)?;
    if before.is_empty() || end.is_empty() {
        return Some(before);
    }
    before.strip_suffix(b"/")
}

/// What two paths have before the names at the end that they have in common.
fn before_common_end<'a>(one: &'a [u8], other: &'a [u8]) -> (&'a [u8], &'a [u8]) {
    let names = |path: &'a [u8]| path.rsplit(|&byte| byte == b'/');
    let same = names(one)
        .zip(names(other))
        .take_while(|(name, other)| name == other);
    let common: usize = same.map(|(name, _)| name.len() + 1).sum();
    (
        &one[..one.len().saturating_sub(common)],
        &other[..other.len().saturating_sub(common)],
    )
}
