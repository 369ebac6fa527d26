//! One pass from contents to a layer.
//!
//! A reader thread lets the contents write their tar into fixed blocks of 1 MiB. Each block goes, shared and
//! uncopied, to a thread that hashes the tar and to whoever compresses it; the calling thread writes the
//! result in order and hashes it again on the way out. A pool with a fixed number of blocks is the only
//! brake: whoever is slow, the reader waits, and memory stays constant. Because blocks are cut by position
//! alone, the bytes do not depend on the number of threads, the machine, or how the contents cut their writes.

mod gzip;
mod plain;
mod stargz;
mod zstd;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::thread::{self, ScopedJoinHandle};

use lifecycle_image::{Compression, DiffId, Digest, Meter};

use crate::blocks::{BlockWriter, Pool, hash_blocks};
use crate::memory::MemoryGroup;

/// The size of a block: large enough that a gzip member of its own costs no ratio worth speaking of.
const BLOCK: usize = 1 << 20;

/// Something that can be written as the tar of a layer.
///
/// Writing may happen twice (once to hash, once to pack) and must give the same bytes both times, as long as
/// nobody changes the files below.
pub trait Contents: Send + Sync + fmt::Debug {
    /// What the contents are, for messages: a path or a layer's name.
    fn name(&self) -> String;

    /// Writes the tar, with its end-of-archive blocks.
    fn write(&self, tar: &mut dyn Write) -> Result<(), PackError>;
}

/// How a layer is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Packing {
    /// The compression.
    pub compression: Compression,
    /// The compression level: gzip 0 to 12 (1 when absent), Zstandard 1 to 22 (3 when absent).
    pub level: Option<i32>,
    /// Gzip that can be read file by file: eStargz. The tar gets a table of contents, so the diff ID is another one.
    pub stargz: bool,
    /// Worker threads; by default one for each core, 16 at most. The bytes do not depend on it.
    pub threads: Option<usize>,
}

/// A layer that was packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// The digest of the tar.
    pub diff_id: DiffId,
    /// The size of the tar in bytes.
    pub tar_size: u64,
    /// The digest of the compressed bytes.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    /// What the layer's descriptor has to say about the form.
    pub annotations: BTreeMap<String, String>,
}

/// Contents could not be packed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// Reading a file failed.
    #[error("cannot pack {path}: {cause}")]
    Io {
        /// The file that was being packed.
        path: String,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The layer could not be written to where it goes.
    #[error("cannot write the layer: {0}")]
    Output(#[source] io::Error),
    /// A file had another size than its directory entry said: somebody is writing to it.
    #[error(
        "{path} changed while it was being packed: it had {expected} bytes, but {actual} could be read; stop what writes to it and try again"
    )]
    Changed {
        /// The file.
        path: String,
        /// Its size when the entry was begun.
        expected: u64,
        /// The bytes that were read; one more than `expected` stands for any growth.
        actual: u64,
    },
    /// A file was deleted or replaced between being listed and being read.
    #[error("{path} vanished while its directory was being packed; stop what deletes it and try again")]
    Vanished {
        /// The file.
        path: String,
    },
    /// The compression level does not exist.
    #[error("{compression:?} has no level {level}; use one from {lowest} to {highest}")]
    Level {
        /// The compression.
        compression: Compression,
        /// The level asked for.
        level: i32,
        /// The lowest level there is.
        lowest: i32,
        /// The highest level there is.
        highest: i32,
    },
    /// The entry cannot be told in a tar.
    #[error("cannot pack {path}: {reason}")]
    Unrepresentable {
        /// The file.
        path: String,
        /// What the format lacks.
        reason: &'static str,
    },
    /// A slice's pattern is not a glob.
    #[error("{pattern:?} is not a pattern: {reason}")]
    Pattern {
        /// The pattern as written.
        pattern: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// Reads `contents` and says which layer they make, without compressing: the diff ID and the size of the tar.
pub fn hash(contents: &dyn Contents, meter: &dyn Meter) -> Result<(DiffId, u64), PackError> {
    let pool = Pool::new(4, BLOCK);
    let (to_hash, hashed) = crossbeam_channel::unbounded();
    thread::scope(|scope| {
        let hasher = scope.spawn(move || hash_blocks(&hashed));
        let mut writer = BlockWriter::new(pool, |block| {
            meter.advance(block.len() as u64);
            to_hash.send(block).is_ok()
        });
        let written = contents.write(&mut writer).and_then(|()| writer.finish());
        drop(to_hash);
        let result = join(hasher);
        written.map(|()| result)
    })
}

/// Reads `contents` once and writes the layer they make to `out`.
///
/// After an error, what `out` got is the beginning of a layer at best.
pub fn pack(
    contents: &dyn Contents,
    packing: &Packing,
    out: &mut dyn Write,
    meter: &dyn Meter,
) -> Result<Packed, PackError> {
    let threads = packing.threads.unwrap_or_else(default_threads).max(1);
    match packing.compression {
        Compression::Gzip if packing.stargz => stargz::pack(contents, packing.level.unwrap_or(1), out, meter),
        Compression::None => plain::pack(contents, out, meter),
        Compression::Gzip => gzip::pack(contents, packing.level.unwrap_or(1), threads, out, meter),
        Compression::Zstd => zstd::pack(contents, packing.level.unwrap_or(3), threads, out, meter),
    }
}

/// One for each core, but more than 16 only costs memory: reading and hashing are the limit by then. A container with
/// many cores and little memory has fewer.
fn default_threads() -> usize {
    /// What a compressor of Zstandard takes with its window and its input.
    const OF_A_THREAD: u64 = 32 << 20;
    let limit = MemoryGroup::own().and_then(|group| group.limit());
    let room = limit.map_or(16, |limit| usize::try_from(limit / OF_A_THREAD).unwrap_or(16));
    thread::available_parallelism().map_or(1, |cores| cores.get().min(16).min(room.max(1)))
}

/// Joins a thread and passes its panic on.
pub(crate) fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
