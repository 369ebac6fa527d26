//! Where images come from and where they go.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use crate::{
    Artifact, Digest, Image, ImageError, Index, Layer, LayerError, Platform, RawDocument, Reference,
};

/// A place that images can be read from: a registry, the store, a layout, an archive.
pub trait Source: Send + Sync + fmt::Debug {
    /// The document that `reference` names, as it is: an image, or an index of images.
    fn artifact(&self, reference: &Reference) -> Result<Artifact, TransferError>;

    /// One member of an index that came from `reference`'s repository, by digest.
    fn member(&self, reference: &Reference, digest: &Digest) -> Result<Image, TransferError>;

    /// The image for `platform` that `reference` names; an index is resolved to its best match.
    ///
    /// # Errors
    /// [`TransferErrorKind::NotFound`] when there is no such image, [`TransferErrorKind::NoPlatform`]
    /// when an index holds none for the platform (the message lists what it holds),
    /// [`TransferErrorKind::Unsupported`] when it is an artifact, as a build cache is.
    fn image(&self, reference: &Reference, platform: &Platform) -> Result<Image, TransferError> {
        match self.artifact(reference)? {
            Artifact::Image(image) => match image.artifact_type() {
                None => Ok(*image),
                Some(kind) => Err(TransferError::new(
                    TransferErrorKind::Unsupported,
                    format!("{reference} is no image but an artifact of type {kind}"),
                )),
            },
            Artifact::Index(index) => match index.select(platform) {
                Some(member) => self.member(reference, &member.digest),
                None => Err(TransferError::new(
                    TransferErrorKind::NoPlatform,
                    format!(
                        "{reference} has no image for {platform}, only for {}",
                        index.platforms()
                    ),
                )),
            },
        }
    }
}

/// A place that keeps small documents, so that what is known by its digest need not be fetched twice.
pub trait Documents: Send + Sync + fmt::Debug {
    /// The document with this digest, if it is here, whole, and of `limit` bytes at most.
    fn find(&self, digest: &Digest, limit: u64) -> Option<Vec<u8>>;

    /// Keeps a document, if it can.
    fn keep(&self, document: &RawDocument);
}

/// A place that images can be written to.
pub trait Sink: Send + Sync + fmt::Debug {
    /// Begins to write one image (or one index and its members) under `names`, which all lie in this sink.
    ///
    /// Nothing is visible under a name before [`Upload::finish`]; an upload that is dropped leaves at most
    /// unreferenced blobs.
    fn begin(&self, names: &[Reference]) -> Result<Box<dyn Upload>, TransferError>;
}

/// An image on its way.
pub trait Upload: Send {
    /// Starts to move a layer and returns at once; layers still in the making are followed. Failures show
    /// up in [`Upload::finish`]. A layer given twice moves once.
    fn layer(&mut self, layer: Arc<dyn Layer>);

    /// Writes `image` as a member of an index: by digest only, under no name.
    fn member(&mut self, image: &Image) -> Result<Receipt, TransferError>;

    /// Waits for the layers, then writes configuration, manifest and names, in this order.
    fn finish(self: Box<Self>, image: &Image) -> Result<Receipt, TransferError>;

    /// Writes an index whose members were given to [`Upload::member`], and the names.
    fn finish_index(self: Box<Self>, index: &Index) -> Result<Receipt, TransferError>;
}

/// What a finished upload wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The names that now point at the image.
    pub names: Vec<Reference>,
    /// The digest of the manifest or index.
    pub digest: Digest,
    /// The size of the manifest or index in bytes.
    pub manifest_size: u64,
    /// Bytes of blobs that were sent.
    pub sent: u64,
    /// Blobs that were there already.
    pub existed: usize,
    /// Blobs that a registry took over from another repository.
    pub mounted: usize,
}

/// An image could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct TransferError {
    /// What sort of failure it is, for callers that act on it.
    pub kind: TransferErrorKind,
    /// What happened, to which image, where, and what to do next.
    pub message: String,
    /// The failure below, if there is one.
    #[source]
    pub cause: Option<Box<dyn Error + Send + Sync>>,
}

/// The sorts of failure that callers tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransferErrorKind {
    /// The name or digest does not exist.
    NotFound,
    /// An index holds nothing for the platform.
    NoPlatform,
    /// Credentials are missing or wrong (401), or do not suffice (403).
    Unauthorized,
    /// The other side does not answer, or kept failing after retries.
    Unavailable,
    /// Bytes are not what their digest or document promised.
    Corrupt,
    /// The reference or document is of a form that cannot be handled.
    Unsupported,
    /// Reading or writing on this machine failed.
    Local,
}

impl TransferError {
    /// An error without a failure below it.
    pub fn new(kind: TransferErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            cause: None,
        }
    }

    /// An error that another one caused.
    pub fn caused(
        kind: TransferErrorKind,
        message: impl Into<String>,
        cause: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self {
            kind,
            message: message.into(),
            cause: Some(cause.into()),
        }
    }

    /// An error of the file system, or of bytes that were read from it; the kind follows from the cause.
    pub fn from_io(message: impl Into<String>, cause: io::Error) -> Self {
        Self::caused(kind_of(&cause), message, cause)
    }
}

impl From<LayerError> for TransferError {
    fn from(error: LayerError) -> Self {
        Self {
            kind: kind_of(&error.cause),
            message: format!("cannot read layer {}", error.name),
            cause: Some(Box::new(error.cause)),
        }
    }
}

impl From<ImageError> for TransferError {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::Layer(error) => error.into(),
            other => Self::caused(
                TransferErrorKind::Corrupt,
                "the image's documents do not fit",
                other,
            ),
        }
    }
}

fn kind_of(cause: &io::Error) -> TransferErrorKind {
    match cause.kind() {
        io::ErrorKind::NotFound => TransferErrorKind::NotFound,
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => TransferErrorKind::Corrupt,
        io::ErrorKind::Unsupported => TransferErrorKind::Unsupported,
        _ => TransferErrorKind::Local,
    }
}
