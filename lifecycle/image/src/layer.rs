//! Layers, seen lazily.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use crate::{Descriptor, DiffId, MediaType, Repository};

/// The stored (usually compressed) bytes of a blob.
pub type BlobReader = Box<dyn Read + Send>;

/// A layer: what it is called, and its bytes when somebody wants them.
///
/// A layer may still be in the making: a writer is compressing it on other threads. [`Layer::known`]
/// says what is known now; the other methods wait. [`Layer::open`] may be called at once, the reader
/// follows the writer. That is how an upload starts before the layer's digest exists.
pub trait Layer: Send + Sync + fmt::Debug {
    /// The descriptor of the stored bytes, if it is known already. Never waits.
    fn known(&self) -> Option<Descriptor>;

    /// What is known once it is decided whether the bytes are made now or were made before. Waits for that decision
    /// only: nothing is known then of bytes that are being made. Whoever could do with less than all bytes asks here
    /// before [`Layer::open`].
    fn decided(&self) -> Option<Descriptor> {
        self.known()
    }

    /// The descriptor of the stored bytes: media type, digest and size. Waits for a layer in the making.
    fn descriptor(&self) -> Result<Descriptor, LayerError>;

    /// The digest of the uncompressed tar. Waits for a layer in the making.
    fn diff_id(&self) -> Result<DiffId, LayerError>;

    /// Opens the stored bytes at `offset`. Readers of a known layer verify what they hand out when they
    /// start at 0. May be called any number of times, so that a failed upload can begin again.
    fn open(&self, offset: u64) -> Result<BlobReader, LayerError>;

    /// The media type, which is known from the start.
    fn media_type(&self) -> MediaType;

    /// Registry repositories that are known to have held the blob, the latest first, for mounting it across
    /// repositories. Never waits.
    fn origins(&self) -> Vec<Repository> {
        Vec::new()
    }
}

/// A layer's bytes could not be had.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot read layer {name}: {cause}")]
pub struct LayerError {
    /// The layer's digest, or what it is made from when it has none yet.
    pub name: String,
    /// What went wrong. Shared, because every waiter of a layer in the making gets the same answer.
    #[source]
    pub cause: Arc<io::Error>,
}

impl LayerError {
    /// An error about the layer called `name`.
    pub fn new(name: impl Into<String>, cause: io::Error) -> Self {
        Self {
            name: name.into(),
            cause: Arc::new(cause),
        }
    }
}

impl From<LayerError> for io::Error {
    fn from(error: LayerError) -> Self {
        io::Error::new(error.cause.kind(), error)
    }
}

/// A layer, and what is known about it that it does not say itself.
#[derive(Debug, Clone)]
pub struct DescribedLayer {
    layer: Arc<dyn Layer>,
    diff_id: Option<DiffId>,
    annotations: BTreeMap<String, String>,
    origin: Option<Repository>,
}

impl DescribedLayer {
    /// The layer as it is.
    pub fn new(layer: Arc<dyn Layer>) -> Self {
        Self {
            layer,
            diff_id: None,
            annotations: BTreeMap::new(),
            origin: None,
        }
    }

    /// The diff ID that somebody promises. Whoever unpacks the layer finds out.
    #[must_use]
    pub fn promised(mut self, diff_id: DiffId) -> Self {
        self.diff_id = Some(diff_id);
        self
    }

    /// Remarks on the layer's descriptor.
    #[must_use]
    pub fn annotated(mut self, annotations: BTreeMap<String, String>) -> Self {
        self.annotations.extend(annotations);
        self
    }

    /// A repository that has the blob by now.
    #[must_use]
    pub fn in_repository(mut self, repository: Repository) -> Self {
        self.origin = Some(repository);
        self
    }

    fn describe(&self, mut descriptor: Descriptor) -> Descriptor {
        descriptor.annotations.extend(self.annotations.clone());
        descriptor
    }
}

impl Layer for DescribedLayer {
    fn known(&self) -> Option<Descriptor> {
        self.layer.known().map(|known| self.describe(known))
    }

    fn decided(&self) -> Option<Descriptor> {
        self.layer.decided().map(|known| self.describe(known))
    }

    fn descriptor(&self) -> Result<Descriptor, LayerError> {
        self.layer.descriptor().map(|known| self.describe(known))
    }

    fn diff_id(&self) -> Result<DiffId, LayerError> {
        self.diff_id.clone().map_or_else(|| self.layer.diff_id(), Ok)
    }

    fn open(&self, offset: u64) -> Result<BlobReader, LayerError> {
        self.layer.open(offset)
    }

    fn media_type(&self) -> MediaType {
        self.layer.media_type()
    }

    fn origins(&self) -> Vec<Repository> {
        self.origin.iter().cloned().chain(self.layer.origins()).collect()
    }
}

/// A small layer held in memory.
#[derive(Clone)]
pub struct BytesLayer {
    descriptor: Descriptor,
    diff_id: DiffId,
    bytes: Arc<[u8]>,
}

impl BytesLayer {
    /// A layer of stored bytes whose uncompressed form hashes to `diff_id`.
    pub fn new(media_type: MediaType, bytes: impl Into<Arc<[u8]>>, diff_id: DiffId) -> Self {
        let bytes = bytes.into();
        Self {
            descriptor: Descriptor::of(media_type, &bytes),
            diff_id,
            bytes,
        }
    }
}

impl fmt::Debug for BytesLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BytesLayer").field(&self.descriptor).finish()
    }
}

impl Layer for BytesLayer {
    fn known(&self) -> Option<Descriptor> {
        Some(self.descriptor.clone())
    }

    fn descriptor(&self) -> Result<Descriptor, LayerError> {
        Ok(self.descriptor.clone())
    }

    fn diff_id(&self) -> Result<DiffId, LayerError> {
        Ok(self.diff_id.clone())
    }

    fn open(&self, offset: u64) -> Result<BlobReader, LayerError> {
        let start = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(self.bytes.len());
        let mut cursor = io::Cursor::new(Arc::clone(&self.bytes));
        cursor.set_position(start as u64);
        Ok(Box::new(cursor))
    }

    fn media_type(&self) -> MediaType {
        self.descriptor.media_type.clone()
    }
}
