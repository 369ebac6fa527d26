//! Entries by the million. As an [`Item`] one takes some 250 bytes and several allocations; here it takes 32 bytes and the
//! characters of its name, and 16 more until its content has been looked at.

mod chunk;

use std::cmp::Ordering;

use self::chunk::Chunk;
use super::item::Item;

/// A list of entries. Whoever uses it up gives its memory back chunk by chunk.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entries {
    chunks: Vec<Chunk>,
}

impl Entries {
    pub(crate) fn len(&self) -> usize {
        self.chunks.last().map_or(0, |chunk| chunk.first + chunk.len())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    pub(crate) fn push(&mut self, item: Item) {
        let first = self.len();
        let item = match self.chunks.last_mut() {
            Some(chunk) => chunk.push(item),
            None => Some(item),
        };
        let Some(item) = item else { return };
        let mut chunk = Chunk::for_item(first, &item);
        if let Some(item) = chunk.push(item) {
            chunk.push_rare(item);
        }
        if let Some(last) = self.chunks.last_mut() {
            last.shrink();
        }
        self.chunks.push(chunk);
    }

    /// Forgets all but the first entries.
    pub(crate) fn truncate(&mut self, length: usize) {
        while let Some(chunk) = self.chunks.last_mut() {
            if chunk.first < length {
                chunk.truncate(length - chunk.first);
                return;
            }
            self.chunks.pop();
        }
    }

    pub(crate) fn first(&self) -> Option<Item> {
        self.iter().next()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Item> {
        self.chunks
            .iter()
            .flat_map(|chunk| (0..chunk.len()).map(|row| chunk.item(row)))
    }

    /// Uses the entries up.
    pub(crate) fn into_items(self) -> impl Iterator<Item = Item> {
        self.chunks.into_iter().flat_map(|chunk| {
            let count = chunk.len();
            (0..count).map(move |row| chunk.item(row))
        })
    }

    /// The entries from one number up to another.
    pub(crate) fn range(&self, from: usize, to: usize) -> Vec<Item> {
        let mut items = Vec::with_capacity(to - from);
        let start = self.chunks.partition_point(|chunk| chunk.first <= from).max(1) - 1;
        for chunk in &self.chunks[start..] {
            let end = to.saturating_sub(chunk.first).min(chunk.len());
            items.extend((from.saturating_sub(chunk.first)..end).map(|row| chunk.item(row)));
        }
        items
    }

    /// Puts another entry of the same path in the place of one.
    pub(crate) fn replace(&mut self, at: usize, item: Item) {
        let number = self.chunks.partition_point(|chunk| chunk.first <= at).max(1) - 1;
        if let Some(chunk) = self.chunks.get_mut(number) {
            chunk.replace(at - chunk.first, item);
        }
    }

    /// Forgets what tells whether files have changed, of the entries up to one number.
    pub(crate) fn forget_marks(&mut self, to: usize) {
        let past = self
            .chunks
            .partition_point(|chunk| chunk.first + chunk.len() <= to);
        self.chunks[..past].iter_mut().for_each(Chunk::forget_marks);
    }

    /// The entry at a path. Only where entries are sorted by [`compare`].
    pub(crate) fn find(&self, path: &[u8]) -> Option<Item> {
        let mut buffer = Vec::new();
        let mut order = |chunk: &Chunk, row: usize| {
            chunk.put_path(row, &mut buffer);
            compare(&buffer, path)
        };
        let after = self
            .chunks
            .partition_point(|chunk| order(chunk, 0) != Ordering::Greater);
        let chunk = self.chunks.get(after.checked_sub(1)?)?;
        let (mut low, mut high) = (0, chunk.len());
        while low < high {
            let middle = low.midpoint(high);
            match order(chunk, middle) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Some(chunk.item(middle)),
                Ordering::Greater => high = middle,
            }
        }
        None
    }
}

/// Compares paths name by name, so that what is in a directory follows it.
pub(crate) fn compare(one: &[u8], other: &[u8]) -> Ordering {
    // No name has a NUL.
    let by_name = |&byte: &u8| if byte == b'/' { 0 } else { byte };
    one.iter().map(by_name).cmp(other.iter().map(by_name))
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::sync::Arc;

    use lifecycle_layers::{Device, Owner, Xattr};

    use super::*;
    use crate::copy::item::Data;
    use crate::files::{FileHandle, Node, NodeKind};

    fn root() -> Arc<OwnedFd> {
        Arc::new(std::fs::File::open("/").unwrap().into())
    }

    fn item(path: &str, kind: NodeKind, data: Data) -> Item {
        let (mode, owner, mtime) = (0o640, Owner::new(7, 8), -5);
        let node = Node {
            kind,
            mode,
            owner,
            mtime,
            identity: None,
            mark: None,
            xattrs: Vec::new(),
        };
        Item::new(path.into(), node, data)
    }

    fn file(path: &str, root: &Arc<OwnedFd>, from: &str) -> Item {
        let (root, from) = (Arc::clone(root), from.into());
        let data = Data::File(FileHandle { root, path: from });
        let mut file = item(path, NodeKind::File { size: 3 }, data);
        file.node.mark = Some([7; 16]);
        file
    }

    /// Entries of every kind, and more than go into one chunk.
    fn samples() -> Vec<Item> {
        let (one, other) = (root(), root());
        let mut rich = file("a/rich", &one, "from/a/rich");
        rich.node.xattrs.push(Xattr {
            name: b"user.x".to_vec(),
            value: b"y".to_vec(),
        });
        let mut shared = file("a/shared", &one, "from/a/shared");
        shared.node.identity = Some((1, 2));
        let mut implied = item("b", NodeKind::Directory, Data::Nothing);
        implied.implied = true;
        let mut items = vec![
            item("", NodeKind::Directory, Data::Nothing),
            item("a", NodeKind::Directory, Data::Nothing),
            item(
                "a/device",
                NodeKind::CharDevice(Device { major: 1, minor: 3 }),
                Data::Nothing,
            ),
            item("a/fifo", NodeKind::Fifo, Data::Nothing),
            file("a/file", &one, "from/a/file"),
            item("a/link", NodeKind::Symlink(b"../b".to_vec()), Data::Nothing),
            item("a/long", NodeKind::Symlink(vec![b'x'; 70_000]), Data::Nothing),
            item(
                "a/memory",
                NodeKind::File { size: 2 },
                Data::Memory((*b"ab").into()),
            ),
            file("a/other", &other, "from/a/other"),
            file("a/renamed", &one, "from/elsewhere"),
            rich,
            shared,
            item("a/socket", NodeKind::Socket, Data::Nothing),
            item(
                &format!("a/{}", "x".repeat(70_000)),
                NodeKind::Directory,
                Data::Nothing,
            ),
            implied,
        ];
        items.extend((0..3000).map(|number| {
            let root = if number % 7 == 0 { &other } else { &one };
            let path = format!("b/{number:04}");
            file(&path, root, &format!("from/{path}"))
        }));
        items
    }

    /// Short texts for entries, long ones by their hash.
    fn shown(items: impl IntoIterator<Item = Item>) -> Vec<String> {
        let show = |item: Item| {
            let text = format!("{item:?}");
            let hash = lifecycle_image::Digest::of(text.as_bytes());
            if text.len() < 500 { text } else { hash.to_string() }
        };
        items.into_iter().map(show).collect()
    }

    fn assert_same(actual: &[String], expected: &[String]) {
        assert_eq!(actual.len(), expected.len());
        for (actual, expected) in actual.iter().zip(expected) {
            assert_eq!(actual, expected);
        }
    }

    fn collect(items: Vec<Item>) -> Entries {
        let mut entries = Entries::default();
        for item in items {
            entries.push(item);
        }
        entries
    }

    #[test]
    fn entries_come_back_as_they_went_in() {
        let items = samples();
        let expected = shown(items.clone());
        let mut entries = collect(items.clone());
        assert_eq!(entries.len(), items.len());
        assert!(entries.chunks.len() < 12, "{}", entries.chunks.len());
        assert_same(&shown(entries.iter()), &expected);
        assert_same(&shown(entries.range(3, 2500)), &expected[3..2500]);
        assert_same(&shown(entries.first()), &expected[..1]);
        for item in &items {
            let found = entries.find(&item.path);
            assert_same(&shown(found), &shown([item.clone()]));
        }
        for missing in ["0", "a/filed", "a-b", "b/0000/x", "c"] {
            assert!(entries.find(missing.as_bytes()).is_none(), "{missing}");
        }
        for length in [2000, 15, 9, 1] {
            entries.truncate(length);
            assert_same(&shown(entries.iter()), &expected[..length]);
        }
        entries.push(items[1].clone());
        assert_same(&shown(entries.into_items()), &expected[..2]);
        assert!(Entries::default().is_empty());
    }

    #[test]
    fn an_entry_can_be_replaced_and_marks_forgotten() {
        let items = samples();
        let mut entries = collect(items.clone());
        let mut other = items[2000].clone();
        other.node.mode = 0o7777;
        entries.replace(2000, other.clone());
        entries.forget_marks(entries.len());
        let plain = |mut item: Item| {
            item.node.mark = None;
            item
        };
        let mut expected: Vec<Item> = items.into_iter().map(plain).collect();
        expected[2000] = plain(other);
        assert_same(&shown(entries.iter().map(plain)), &shown(expected));
    }

    #[test]
    fn paths_are_compared_name_by_name() {
        let sorted: [&[u8]; 6] = [b"", b"a", b"a/b", b"a/b/c", b"a-b", b"b"];
        for (at, one) in sorted.iter().enumerate() {
            for (other_at, other) in sorted.iter().enumerate() {
                assert_eq!(compare(one, other), at.cmp(&other_at));
            }
        }
    }
}
