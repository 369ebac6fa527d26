//! File system to layer and back.
//!
//! [`Contents`] is anything that can write itself as a tar: a [`DirectoryLayer`], an [`AppLayer`] with its
//! slices, a [`FilesLayer`] of generated files, a [`ChangeSet`]. [`hash()`] reads contents once and says which
//! layer they are; [`pack()`] reads them once and makes the layer: tar, diff ID, block-parallel compression and
//! digest in a single pass, with bytes that do not depend on the number of cores.
//!
//! There is one model of an [`Entry`] and two [`Style`]s of writing it with a [`TarWriter`]: the reference
//! lifecycle's, byte for byte, and that of image builders. A [`TarReader`] reads what anybody wrote.
//!
//! [`extract()`] unpacks a layer into a directory handle, whatever the archive tries; whiteouts are applied or
//! become what overlay file systems understand, owners are kept, mapped or remembered in an [`OwnerTable`].
//! A [`Cover`] keeps directories that an archive leaves out from hiding what lower layers of an overlay say about them.
//! [`restore()`] does the same for a cached buildpack layer and puts it in place only once it is verified.
//!
//! A [`ChangeSet`] is what a build step changed, taken from an overlay's upper directory or from a
//! [`Snapshot`] before and a look after. [`mod@tree`] removes, copies and measures whole trees.
//!
//! A [`Stamp`] says whether a file is still the one that was read.
//!
//! All of it works on directory handles and single names. Paths from archives or from trees under
//! construction are never joined and opened.

mod blocks;
mod changes;
mod contents;
mod descent;
mod entry;
mod extract;
mod flatten;
mod memory;
mod overlay;
mod owners;
mod pack;
mod room;
mod root;
mod stamp;
mod tar;
pub mod tree;
mod walk;
mod xattrs;

pub use changes::{Change, ChangeSet, Snapshot};
pub use contents::{
    AppLayer, DirectoryLayer, FilesLayer, Glob, Parents, RepackedLayer, RetimedLayer, open_tar,
};
pub use entry::{Device, Entry, Kind, Owner, Xattr};
pub use extract::{
    CachedLayer, Devices, ExtractError, ExtractOptions, Extracted, Limits, OpaqueXattr, Ownership, Refused,
    Skipped, Threads, ThroughError, Whiteouts, decoder, extract, restore, write_through,
};
pub use flatten::{FlattenError, MergedLayer, flatten};
pub use memory::{MemoryGroup, MemoryWatch};
pub use overlay::{Cover, OverlayLayer};
pub use owners::{IdMap, IdRange, OwnerTable, Owners};
pub use pack::{Contents, PackError, Packed, Packing, hash, pack};
pub use room::{ROOM_IN_A_POD, exhausted};
pub use stamp::Stamp;
pub use tar::{FormatError, ReadEntry, Segment, Style, TarReader, TarWriter};
pub use xattrs::read as read_xattrs;
