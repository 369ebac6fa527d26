//! What is going to be copied.

use std::sync::Arc;

use lifecycle_layers::Entry;

use super::entries::Entries;
use crate::files::{FileHandle, Node};

/// One thing that a source stands for.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    /// The name it gets in a directory.
    pub(crate) name: Vec<u8>,
    pub(crate) shape: Shape,
    pub(crate) items: Entries,
    /// The time that a download came with: part of the key where it was part of the answer (K3).
    pub(crate) last_modified: Option<i64>,
}

/// How a selection goes into its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One file, or whatever is no directory.
    File,
    /// What is in a directory; the first item is the directory itself (H2).
    Tree,
    /// What is in an unpacked archive: --chmod and --exclude do not concern it (H18, H22).
    Archive,
    /// Files with the directories above them (H23).
    WithParents,
}

/// An entry to copy.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    /// Below the selection; empty for the selection itself.
    pub(crate) path: Vec<u8>,
    pub(crate) node: Node,
    pub(crate) data: Data,
    /// Only there because something below it is copied (H24).
    pub(crate) implied: bool,
}

impl Item {
    pub(crate) fn new(path: Vec<u8>, node: Node, data: Data) -> Self {
        Self {
            path,
            node,
            data,
            implied: false,
        }
    }

    /// Something without content.
    pub(crate) fn of_entry(entry: &Entry<'_>) -> Self {
        Self::new(entry.path.to_vec(), Node::of_entry(entry), Data::Nothing)
    }
}

impl Selection {
    /// A single file.
    pub(crate) fn of_file(name: Vec<u8>, item: Item) -> Self {
        let mut items = Entries::default();
        items.push(item);
        Self {
            name,
            shape: Shape::File,
            items,
            last_modified: None,
        }
    }
}

/// Where an entry's bytes are.
#[derive(Debug, Clone)]
pub(crate) enum Data {
    Nothing,
    File(FileHandle),
    Memory(Arc<[u8]>),
}
