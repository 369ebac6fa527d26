//! File systems to read from: a directory, or the layers of an image seen as one.
//!
//! A [`View`] stacks [`Files`]; a [`Directory`] of it is the union of the directories that show through. Nothing
//! here follows a symbolic link by itself: [`View::resolve`] does, by text, so that a link can never lead out of the
//! view (I13), and contents are opened without following any.

mod disk;
mod index;
mod node;
mod open;
mod resolve;
mod view;

pub(crate) use disk::{DiskFiles, DiskOwners, Said};
pub(crate) use index::LayerIndex;
pub(crate) use node::{Node, NodeKind};
pub(crate) use open::{FileHandle, read_bounded};
pub(crate) use resolve::{clean, join};
pub(crate) use view::{Directory, Files, FilesError, View};
