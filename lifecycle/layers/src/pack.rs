//! One pass from contents to a layer.

use std::fmt;
use std::io::{self, Write};

use lifecycle_image::{Compression, DiffId, Digest, Meter};

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
    /// The compression level; the default of each format is the fast one.
    pub level: Option<i32>,
    /// Worker threads; by default one for each core. The bytes do not depend on it.
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
}

/// Contents could not be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// Reading a file or writing the layer failed.
    #[error("cannot pack {path}: {cause}")]
    Io {
        /// The file that was being packed.
        path: String,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

/// Reads `contents` and says which layer they make, without compressing.
pub fn hash(contents: &dyn Contents, meter: &dyn Meter) -> Result<(DiffId, u64), PackError> {
    let _ = (contents, meter);
    unimplemented!()
}

/// Reads `contents` once and writes the layer they make to `out`.
pub fn pack(contents: &dyn Contents, packing: &Packing, out: &mut dyn Write, meter: &dyn Meter) -> Result<Packed, PackError> {
    let _ = (contents, packing, out, meter);
    unimplemented!()
}
