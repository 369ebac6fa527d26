//! Who owns what: on disk, and in the layer.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::Owner;

/// How owners on disk become owners in a layer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Owners {
    /// As they are on disk.
    #[default]
    Keep,
    /// One owner for everything.
    Fixed(Owner),
    /// On disk everything belongs to the one id that the build may use; the table remembers the real owners.
    Table(Arc<OwnerTable>),
    /// On disk the ids are those outside a user namespace; the layer gets those inside.
    Unmapped(Arc<IdMap>),
}

impl Owners {
    /// The owner in the layer of what belongs to `on_disk` and lies at `path`.
    pub fn of(&self, path: &[u8], on_disk: Owner) -> Owner {
        match self {
            Self::Keep => on_disk,
            Self::Fixed(owner) => *owner,
            Self::Table(table) => table.get(path),
            Self::Unmapped(map) => map.inside(on_disk),
        }
    }
}

/// The owners of files that belong to somebody else on disk, by path in the image. What is not listed belongs
/// to root.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OwnerTable(BTreeMap<Vec<u8>, Owner>);

impl OwnerTable {
    /// The owner of a path.
    pub fn get(&self, path: &[u8]) -> Owner {
        self.0.get(path).copied().unwrap_or(Owner::ROOT)
    }

    /// Remembers the owner of a path.
    pub fn set(&mut self, path: &[u8], owner: Owner) {
        if owner == Owner::ROOT {
            self.0.remove(path);
        } else {
            self.0.insert(path.to_vec(), owner);
        }
    }

    /// Forgets a path and everything below it.
    pub fn remove(&mut self, path: &[u8]) {
        self.0.remove(path);
        let mut below = path.to_vec();
        below.push(b'/');
        let gone: Vec<_> = self
            .0
            .range(below.clone()..)
            .map(|(path, _)| path)
            .take_while(|path| path.starts_with(&below))
            .cloned()
            .collect();
        for path in gone {
            self.0.remove(&path);
        }
    }

    /// Takes over another table, whose owners win: the table of the next layer.
    pub fn extend(&mut self, upper: &Self) {
        for (path, owner) in &upper.0 {
            self.0.insert(path.clone(), *owner);
        }
    }

    /// The paths that do not belong to root, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Owner)> {
        self.0.iter().map(|(path, owner)| (path.as_slice(), *owner))
    }

    /// Whether everything belongs to root.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The id maps of a user namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IdMap {
    /// Ranges of users.
    pub users: Vec<IdRange>,
    /// Ranges of groups.
    pub groups: Vec<IdRange>,
}

/// A range of ids, as a line of `/proc/self/uid_map` gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdRange {
    /// The first id inside the namespace.
    pub inside: u32,
    /// The first id outside.
    pub outside: u32,
    /// How many ids.
    pub count: u32,
}

/// What the kernel shows for an id without a mapping.
const OVERFLOW: u32 = 65534;

impl IdMap {
    /// The owner inside the namespace; ids without a mapping become 65534, as the kernel shows them.
    pub fn inside(&self, outside: Owner) -> Owner {
        let map = |ranges: &[IdRange], id| shift(ranges, id, |range| (range.outside, range.inside));
        Owner::new(
            map(&self.users, outside.uid).unwrap_or(OVERFLOW),
            map(&self.groups, outside.gid).unwrap_or(OVERFLOW),
        )
    }

    /// The owner outside the namespace, if both ids have a mapping.
    pub fn outside(&self, inside: Owner) -> Option<Owner> {
        let map = |ranges: &[IdRange], id| shift(ranges, id, |range| (range.inside, range.outside));
        Some(Owner::new(
            map(&self.users, inside.uid)?,
            map(&self.groups, inside.gid)?,
        ))
    }
}

fn shift(ranges: &[IdRange], id: u32, ends: impl Fn(&IdRange) -> (u32, u32)) -> Option<u32> {
    ranges.iter().find_map(|range| {
        let (from, to) = ends(range);
        let offset = id.checked_sub(from)?;
        (offset < range.count).then(|| to.checked_add(offset)).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_map_there_and_back() {
        let range = |inside, outside, count| IdRange {
            inside,
            outside,
            count,
        };
        let map = IdMap {
            users: vec![range(0, 1000, 1), range(1, 100_000, 65_536)],
            groups: vec![range(0, 1000, 1)],
        };
        assert_eq!(map.outside(Owner::new(0, 0)), Some(Owner::new(1000, 1000)));
        assert_eq!(map.outside(Owner::new(33, 0)), Some(Owner::new(100_032, 1000)));
        assert_eq!(map.outside(Owner::new(33, 33)), None);
        assert_eq!(map.inside(Owner::new(100_032, 1000)), Owner::new(33, 0));
        assert_eq!(map.inside(Owner::new(7, 1000)), Owner::new(65_534, 0));
    }

    #[test]
    fn a_removed_directory_takes_its_owners_along() {
        let mut table = OwnerTable::default();
        for path in ["a", "a/b", "a/b/c", "a-b"] {
            table.set(path.as_bytes(), Owner::new(7, 7));
        }
        table.remove(b"a");
        let left: Vec<_> = table.iter().collect();
        assert_eq!(left, [(&b"a-b"[..], Owner::new(7, 7))]);
    }
}
