//! Content-addressed places, and the images that lie in them.
//!
//! A layout directory, an archive and the store keep the same thing, blobs by digest, in different ways.
//! Each says how it opens a blob; what makes images of blobs is here, once.

use std::error::Error;
use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use crate::manifest::MAX_DOCUMENT;
use crate::{
    Artifact, BlobReader, Descriptor, DiffId, Digest, Image, Index, Layer, LayerError, Manifest, MediaType,
    RawDocument, Repository, TransferError, TransferErrorKind, Verifying,
};

/// Configurations larger than this are refused. They have no limit of their own in any specification, but
/// they are read into memory.
const MAX_CONFIG: u64 = 64 * 1024 * 1024;

/// How deep indexes may be nested before a search gives up: documents can point at each other freely.
const MAX_DEPTH: usize = 4;

/// A place that keeps blobs by digest.
pub trait Blobs: Send + Sync + fmt::Debug {
    /// What the place is, for messages: `the layout at out`.
    fn place(&self) -> String;

    /// Opens a blob at `offset`, without verifying it.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when the blob is not here.
    fn open(&self, digest: &Digest, offset: u64) -> io::Result<Blob>;

    /// The registry repositories that a blob is known to have been in, the latest first.
    fn origins(&self, _digest: &Digest) -> Vec<Repository> {
        Vec::new()
    }
}

/// An opened blob.
pub struct Blob {
    /// Its bytes, from the offset on.
    pub reader: BlobReader,
    /// The size of the whole blob in bytes.
    pub size: u64,
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blob")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// A layer whose bytes lie in a content-addressed place. Reading verifies them.
#[derive(Debug, Clone)]
pub struct StoredLayer {
    blobs: Arc<dyn Blobs>,
    descriptor: Descriptor,
    diff_id: DiffId,
}

impl StoredLayer {
    /// A view of the layer that `descriptor` points at.
    pub fn new(blobs: Arc<dyn Blobs>, descriptor: Descriptor, diff_id: DiffId) -> Self {
        Self {
            blobs,
            descriptor,
            diff_id,
        }
    }

    fn failed(&self, cause: io::Error) -> LayerError {
        let cause = match cause.kind() {
            io::ErrorKind::NotFound => io::Error::new(
                io::ErrorKind::NotFound,
                format!("{} does not hold its blob", self.blobs.place()),
            ),
            _ => cause,
        };
        LayerError::new(self.descriptor.digest.as_str(), cause)
    }
}

impl Layer for StoredLayer {
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
        let Descriptor { digest, size, .. } = &self.descriptor;
        let blob = self
            .blobs
            .open(digest, offset)
            .map_err(|cause| self.failed(cause))?;
        if blob.size != *size {
            let text = format!(
                "expected {size} bytes but {} holds {}",
                self.blobs.place(),
                blob.size
            );
            return Err(self.failed(io::Error::new(io::ErrorKind::InvalidData, text)));
        }
        Ok(match offset {
            0 => Box::new(Verifying::new(blob.reader, digest.clone(), *size)),
            _ => blob.reader,
        })
    }

    fn media_type(&self) -> MediaType {
        self.descriptor.media_type.clone()
    }

    fn origins(&self) -> Vec<Repository> {
        self.blobs.origins(&self.descriptor.digest)
    }
}

/// Reads a small blob whole and verifies it.
pub fn document(blobs: &dyn Blobs, descriptor: &Descriptor) -> Result<RawDocument, TransferError> {
    let Descriptor { digest, size, .. } = descriptor;
    let limit = if descriptor.media_type.is_manifest() || descriptor.media_type.is_index() {
        MAX_DOCUMENT
    } else {
        MAX_CONFIG
    };
    let failed =
        |cause| TransferError::from_io(format!("cannot read {digest} from {}", blobs.place()), cause);
    if *size > limit {
        let text = format!("it has {size} bytes, more than the {limit} that are allowed");
        return Err(failed(io::Error::new(io::ErrorKind::InvalidData, text)));
    }
    let blob = blobs.open(digest, 0).map_err(failed)?;
    let mut bytes = Vec::new();
    Verifying::new(blob.reader, digest.clone(), *size)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Ok(RawDocument {
        descriptor: descriptor.clone(),
        bytes: bytes.into(),
    })
}

/// The image or index that `descriptor` points at.
pub fn artifact(blobs: &Arc<dyn Blobs>, descriptor: &Descriptor) -> Result<Artifact, TransferError> {
    if descriptor.media_type.is_index() {
        let index = index(&**blobs, descriptor)?;
        return Ok(Artifact::Index(Box::new(index)));
    }
    Ok(Artifact::Image(Box::new(image(blobs, descriptor)?)))
}

/// The image whose manifest `descriptor` points at.
pub fn image(blobs: &Arc<dyn Blobs>, descriptor: &Descriptor) -> Result<Image, TransferError> {
    if !descriptor.media_type.is_manifest() {
        return Err(TransferError::new(
            TransferErrorKind::Unsupported,
            format!(
                "{} in {} is no image but {}",
                descriptor.digest,
                blobs.place(),
                descriptor.media_type
            ),
        ));
    }
    let document = document(&**blobs, descriptor)?;
    let parsed = parse_manifest(&**blobs, &document)?;
    let config = self::document(&**blobs, &parsed.config)?;
    Image::read(document, config, |descriptor, diff_id| {
        Arc::new(StoredLayer::new(Arc::clone(blobs), descriptor, diff_id))
    })
    .map_err(|cause| corrupt("image", descriptor, &**blobs, cause))
}

/// The manifest that `descriptor` points at.
pub fn manifest(blobs: &dyn Blobs, descriptor: &Descriptor) -> Result<Manifest, TransferError> {
    parse_manifest(blobs, &document(blobs, descriptor)?)
}

fn parse_manifest(blobs: &dyn Blobs, document: &RawDocument) -> Result<Manifest, TransferError> {
    let descriptor = &document.descriptor;
    Manifest::parse(&document.bytes, &descriptor.media_type)
        .map_err(|cause| corrupt("image", descriptor, blobs, cause))
}

fn corrupt(
    what: &str,
    descriptor: &Descriptor,
    blobs: &dyn Blobs,
    cause: impl Into<Box<dyn Error + Send + Sync>>,
) -> TransferError {
    TransferError::caused(
        TransferErrorKind::Corrupt,
        format!("cannot use the {what} {} in {}", descriptor.digest, blobs.place()),
        cause,
    )
}

/// Finds the descriptor of `digest` among `roots` and the members of the indexes among them.
pub fn find(
    blobs: &dyn Blobs,
    roots: &[Descriptor],
    digest: &Digest,
) -> Result<Option<Descriptor>, TransferError> {
    find_below(blobs, roots, digest, MAX_DEPTH)
}

fn find_below(
    blobs: &dyn Blobs,
    members: &[Descriptor],
    digest: &Digest,
    depth: usize,
) -> Result<Option<Descriptor>, TransferError> {
    if let Some(found) = members.iter().find(|member| member.digest == *digest) {
        return Ok(Some(found.clone()));
    }
    if depth == 0 {
        return Ok(None);
    }
    for member in members.iter().filter(|member| member.media_type.is_index()) {
        // Of an index for many platforms some members may be missing; that is no reason to find nothing.
        let below = match index(blobs, member) {
            Ok(below) => below,
            Err(error) if error.kind == TransferErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if let Some(found) = find_below(blobs, &below.manifests, digest, depth - 1)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The index that `descriptor` points at.
pub fn index(blobs: &dyn Blobs, descriptor: &Descriptor) -> Result<Index, TransferError> {
    let document = document(blobs, descriptor)?;
    Index::parse(document.bytes, &descriptor.media_type)
        .map_err(|cause| corrupt("index", descriptor, blobs, cause))
}
