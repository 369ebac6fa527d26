//! File system to layer and back.
//!
//! [`Contents`] is anything that can write itself as a tar: a directory, a change set, a list of generated
//! files. [`hash`] reads contents once and says which layer they are; [`pack`] reads them once and makes the
//! layer: tar, diff ID, block-parallel compression and digest in a single pass, with bytes that do not depend
//! on the number of cores.

mod blocks;
mod changes;
mod contents;
mod descent;
mod entry;
mod extract;
mod owners;
mod pack;
mod root;
mod tar;
pub mod tree;
mod walk;
mod xattrs;

pub use changes::{Change, ChangeSet, Snapshot};
pub use contents::{AppLayer, DirectoryLayer, FilesLayer, Glob, Parents};
pub use entry::{Device, Entry, Kind, Owner, Xattr};
pub use extract::{
    CachedLayer, ExtractError, ExtractOptions, Extracted, Limits, OpaqueXattr, Ownership, Refused, Skipped,
    Whiteouts, extract, restore,
};
pub use owners::{IdMap, IdRange, OwnerTable, Owners};
pub use pack::{Contents, PackError, Packed, Packing, hash, pack};
pub use tar::{FormatError, ReadEntry, Segment, Style, TarReader, TarWriter};
pub use xattrs::read as read_xattrs;
