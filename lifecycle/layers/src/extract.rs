//! Unpacks a layer into a directory.
//!
//! One thread decompresses, one hashes where a diff ID is expected, and the calling thread reads entries and makes files; or
//! the calling thread does all of that, where other layers keep the other cores busy.
//! Nothing is ever resolved as a path string that the archive made up: an entry's parent is opened name by name beneath the
//! root, the entry itself is made in that directory under a single name that did not exist before. So whatever
//! links an archive brings, its files stay below the root (see `hostile.rs` for the attacks this answers).
//!
//! Owners come before modes, because a change of owner clears set-user-ID bits and capabilities; modes, times
//! and access lists of directories come last, because what is made in a directory changes or needs them.

mod cached;
mod directories;
mod make;
mod place;
mod stream;
mod through;
mod whiteout;

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io::{self, BufRead as _, Read};
use std::os::fd::BorrowedFd;
use std::thread;

use lifecycle_image::{Compression, DiffId, Hasher, Meter};

pub use self::cached::{CachedLayer, restore};
pub use self::stream::decoder;
pub use self::through::{ThroughError, write_through};

pub(crate) use self::place::times;

use self::place::Placer;
use self::stream::{BlockReader, Blocks, Piece, hand_out};
use crate::blocks::{Pool, hash_blocks};
use crate::pack::join;
use crate::{FormatError, IdMap, Owner, OwnerTable, TarReader};

/// How a layer is unpacked.
#[derive(Debug, Clone, Default)]
pub struct ExtractOptions<'a> {
    /// What a whiteout does.
    pub whiteouts: Whiteouts,
    /// Who owns what is made.
    pub ownership: Ownership<'a>,
    /// What happens when the file system or a missing permission refuses an extended attribute or a device.
    pub refused: Refused,
    /// What happens to devices.
    pub devices: Devices,
    /// Bounds against archives that are made to fill disks.
    pub limits: Limits,
    /// The diff ID that the layer must have; without it nothing is hashed. It is checked at the end, so the tree is
    /// there by then and must be thrown away.
    pub expected: Option<&'a DiffId>,
    /// Only what lies below this path of the archive is taken, and it is taken as the root. Directories above
    /// it are passed over, anything else is an error. This is how a cached buildpack layer, whose names are
    /// paths of the image, becomes the layer's directory again.
    pub below: &'a [u8],
    /// Who does the work.
    pub threads: Threads,
}

/// Who does the work on a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Threads {
    /// Several threads, so that one layer is there soon.
    #[default]
    Several,
    /// The calling thread, which has in its core's cache what it reads, hashes and writes. So many layers are there
    /// soonest if each core has one of its own.
    One,
}

/// What a whiteout does (OCI image specification, "Whiteouts").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Whiteouts {
    /// It removes what lower layers put into the same tree.
    #[default]
    Apply,
    /// The tree becomes one layer of an overlay: a whiteout becomes a character device 0:0, an opaque marker
    /// becomes this extended attribute of its directory.
    Overlay(OpaqueXattr),
    /// A cached layer has none: its files are ordinary, whatever they are called.
    Literal,
}

/// Where an overlay file system looks for its opaque marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpaqueXattr {
    /// `trusted.overlay.opaque`, for mounts by the initial user namespace's root.
    Trusted,
    /// `user.overlay.opaque`, for mounts with the option `userxattr`.
    User,
}

impl OpaqueXattr {
    /// The attribute's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Trusted => "trusted.overlay.opaque",
            Self::User => "user.overlay.opaque",
        }
    }
}

/// Who owns what is made.
#[derive(Debug, Clone, Copy, Default)]
pub enum Ownership<'a> {
    /// Who the archive says. Needs the right to give files away.
    #[default]
    Keep,
    /// Who the archive says, inside a user namespace with these maps.
    Map(&'a IdMap),
    /// The present user; [`Extracted::owners`] remembers who it should be.
    Squash,
}

/// What happens when the system refuses something that is not a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Refused {
    /// It is an error.
    #[default]
    Fail,
    /// It is left out, and [`Extracted::skipped`] says so.
    Skip,
}

/// What happens to devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Devices {
    /// They are made.
    #[default]
    Make,
    /// They are an error, and none is ever there.
    Refuse,
}

/// Bounds; nothing means no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// The most entries.
    pub entries: Option<u64>,
    /// The most bytes, of the uncompressed archive and of the files with their holes, each.
    pub bytes: Option<u64>,
}

/// What came out of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extracted {
    /// The number of entries.
    pub entries: u64,
    /// The bytes of all files, with their holes.
    pub bytes: u64,
    /// Owners other than root, when they were not given to the files themselves.
    pub owners: OwnerTable,
    /// Directories that had to be made though the archive does not describe them, and the root (an empty path) if it
    /// does not describe that.
    pub implied: BTreeSet<Vec<u8>>,
    /// What was left out.
    pub skipped: Vec<Skipped>,
    /// The devices among that, for who writes another layer from this one.
    pub devices: Vec<crate::Entry<'static>>,
}

/// Something that was left out because the system refused it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The entry.
    pub path: String,
    /// What about it: `device`, or an extended attribute's name.
    pub what: String,
    /// Why.
    pub reason: String,
}

/// A layer could not be unpacked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExtractError {
    /// The archive cannot be read.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// An entry's name or link leads out of the tree.
    #[error("the archive holds {path:?}, which leads out of the directory it is unpacked into")]
    Outside {
        /// The name as written.
        path: String,
    },
    /// The entry stands for the root, which can only be a directory (CVE-2021-29136).
    #[error("the archive replaces its root by something that is no directory")]
    Root,
    /// A whiteout's name hides something that has no name.
    #[error("the archive holds the whiteout {path:?}, which names no entry")]
    Whiteout {
        /// The name as written.
        path: String,
    },
    /// A character device 0:0, which an overlay would take for a whiteout.
    #[error("the archive holds the device 0:0 as {path:?}, which would hide files of other layers")]
    WhiteoutDevice {
        /// The name.
        path: String,
    },
    /// A device where none is wanted.
    #[error("the archive holds the device {path:?}, and devices are refused here")]
    Device {
        /// The name.
        path: String,
    },
    /// A hard link to nothing.
    #[error("the archive holds {path:?} as a hard link to {target:?}: {cause}")]
    HardLink {
        /// The link.
        path: String,
        /// What it should be another name of.
        target: String,
        /// Why it cannot be.
        #[source]
        cause: io::Error,
    },
    /// The owner has no place in the user namespace.
    #[error(
        "{path:?} belongs to {uid}:{gid}, which the user namespace has no ids for; give the user a larger range in /etc/subuid and /etc/subgid",
        uid = owner.uid, gid = owner.gid
    )]
    Owner {
        /// The entry.
        path: String,
        /// Who should own it.
        owner: Owner,
    },
    /// The file system refused.
    #[error("cannot unpack {path:?}: {cause}")]
    Io {
        /// The entry, or `.` for the root.
        path: String,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// There is more than was allowed.
    #[error("the archive has more than the {limit} {what} that are allowed")]
    Limit {
        /// Entries or bytes.
        what: &'static str,
        /// The bound.
        limit: u64,
    },
    /// The archive is compressed in a way that layers are not.
    #[error("the archive is compressed with {0}; layers are plain tar, gzip or zstd")]
    Compression(&'static str),
    /// The archive is not the one that was asked for.
    #[error("expected the layer {expected}, but the archive hashes to {actual}")]
    DiffId {
        /// Which layer it should be.
        expected: DiffId,
        /// Which it is.
        actual: DiffId,
    },
}

/// The size of the blocks between the threads: small enough to stay in a core's cache.
const BLOCK: usize = 256 << 10;
/// How many of them there are at a time.
const BLOCKS: usize = 8;

/// Unpacks the layer in `stored` into the directory `into`.
///
/// `stored` is read to its end, so that a verifying reader gets to its verdict. Without `compression`, it is
/// told from the first bytes. `meter` sees the stored bytes.
pub fn extract(
    stored: impl Read + Send,
    compression: Option<Compression>,
    into: BorrowedFd<'_>,
    options: &ExtractOptions<'_>,
    meter: &dyn Meter,
) -> Result<Extracted, ExtractError> {
    let mut placer = Placer::new(into, options)?;
    let diff_id = match options.threads {
        Threads::Several => on_several_threads(stored, compression, &mut placer, meter)?,
        Threads::One => on_this_thread(stored, compression, &mut placer, meter)?,
    };
    let extracted = placer.finish()?;
    match options.expected {
        Some(expected) if *expected != diff_id => Err(ExtractError::DiffId {
            expected: expected.clone(),
            actual: diff_id,
        }),
        _ => Ok(extracted),
    }
}

fn on_several_threads(
    stored: impl Read + Send,
    compression: Option<Compression>,
    placer: &mut Placer<'_>,
    meter: &dyn Meter,
) -> Result<DiffId, ExtractError> {
    let (to_parser, blocks) = crossbeam_channel::unbounded();
    let (to_hash, hashed) = crossbeam_channel::unbounded();
    let to_hash = placer.options.expected.map(|_| to_hash);
    thread::scope(|scope| {
        scope.spawn(move || {
            let blocks = Blocks::new(stored, compression, Pool::new(BLOCKS, BLOCK), meter);
            hand_out(blocks, &to_parser, to_hash.as_ref());
        });
        let hasher = scope.spawn(move || hash_blocks(&hashed));
        // The blocks are dropped by the end of it, so a decompressor that is not done ends.
        let placed = place_all(blocks, placer);
        let (diff_id, _) = join(hasher);
        placed.map(|()| diff_id)
    })
}

fn on_this_thread(
    stored: impl Read,
    compression: Option<Compression>,
    placer: &mut Placer<'_>,
    meter: &dyn Meter,
) -> Result<DiffId, ExtractError> {
    let mut hasher = placer.options.expected.map(|_| Hasher::default());
    let blocks = Blocks::new(stored, compression, Pool::new(1, BLOCK), meter);
    let blocks = blocks.map_err(|error| stream::error(FormatError::Read(error)))?;
    let hashed = blocks.inspect(|piece| {
        if let (Some(hasher), Ok(block)) = (&mut hasher, piece) {
            hasher.update(block);
        }
    });
    place_all(hashed, placer)?;
    Ok(DiffId(hasher.unwrap_or_default().finish()))
}

/// Places all entries of an archive that comes in blocks, and reads it to its end.
fn place_all(blocks: impl IntoIterator<Item = Piece>, placer: &mut Placer<'_>) -> Result<(), ExtractError> {
    let blocks = blocks.into_iter();
    let mut reader = TarReader::new(BlockReader::new(blocks, placer.options.limits.bytes));
    loop {
        match reader.next_entry() {
            Ok(Some(entry)) => placer.place(entry, &mut reader)?,
            Ok(None) => break,
            Err(error) => return Err(stream::error(error)),
        }
    }
    // What follows the end of the archive belongs to the diff ID too.
    let mut input = reader.into_inner();
    loop {
        let bytes = input
            .fill_buf()
            .map_err(|error| stream::error(FormatError::Read(error)))?
            .len();
        if bytes == 0 {
            return Ok(());
        }
        input.consume(bytes);
    }
}
