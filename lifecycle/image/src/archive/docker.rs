//! Images of a Docker archive: `manifest.json`, configurations and layer tars.

use std::fmt;
use std::io::{self, Read};
use std::sync::{Arc, OnceLock};

use serde::Deserialize;

use super::members::{Members, Section};
use crate::{
    Artifact, BlobReader, Compression, Descriptor, DiffId, Digest, Family, Hashing, Image, ImageConfig,
    Layer, LayerError, MediaType, RawDocument, Reference, TransferError, TransferErrorKind, Verifying,
};

/// The document that names the images.
pub(super) const MANIFEST: &str = "manifest.json";

/// One image of `manifest.json`. Other fields (`Parent`, `LayerSources`) say nothing that is needed here.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

/// The images of a Docker archive.
#[derive(Debug, Clone)]
pub(super) struct DockerImages {
    members: Arc<Members>,
    entries: Arc<[Entry]>,
}

impl DockerImages {
    pub(super) fn read(members: Arc<Members>) -> Result<Self, TransferError> {
        let entries: Vec<Entry> = serde_json::from_slice(&members.document(MANIFEST)?)
            .map_err(|cause| corrupt(format!("cannot use {MANIFEST} of {}", place(&members)), cause))?;
        Ok(Self {
            members,
            entries: entries.into(),
        })
    }

    pub(super) fn artifact(&self, reference: &Reference) -> Result<Artifact, TransferError> {
        if let Some(digest) = reference.digest() {
            return Ok(Artifact::Image(Box::new(self.by_digest(digest)?)));
        }
        let found: Vec<_> = self
            .entries
            .iter()
            .filter(|entry| {
                let mut tags = entry.repo_tags.iter().flatten();
                tags.any(|tag| tag.parse::<Reference>().ok().as_ref() == Some(reference))
            })
            .collect();
        self.single(&found, &format!("called {reference}"))
    }

    pub(super) fn named(&self, name: Option<&str>) -> Result<Artifact, TransferError> {
        match name {
            None => self.single(&self.entries.iter().collect::<Vec<_>>(), "at all"),
            Some(name) => match name.parse() {
                Ok(reference) => self.artifact(&reference),
                Err(cause) => Err(TransferError::caused(
                    TransferErrorKind::NotFound,
                    format!("{} holds no image called {name:?}", place(&self.members)),
                    cause,
                )),
            },
        }
    }

    /// The image whose configuration (Docker's image ID) or manifest has the digest.
    pub(super) fn by_digest(&self, digest: &Digest) -> Result<Image, TransferError> {
        for entry in &*self.entries {
            let image = self.image(entry)?;
            if image.encode_config()?.descriptor.digest == *digest || image.digest()? == *digest {
                return Ok(image);
            }
        }
        Err(self.missing(&format!("with the digest {digest}")))
    }

    pub(super) fn names(&self) -> Vec<String> {
        let tags = |entry: &Entry| match &entry.repo_tags {
            Some(tags) if !tags.is_empty() => tags.clone(),
            _ => vec![entry.config.clone()],
        };
        self.entries.iter().flat_map(tags).collect()
    }

    fn single(&self, found: &[&Entry], which: &str) -> Result<Artifact, TransferError> {
        match found {
            [] => Err(self.missing(which)),
            [entry] => Ok(Artifact::Image(Box::new(self.image(entry)?))),
            _ => Err(TransferError::new(
                TransferErrorKind::Unsupported,
                format!(
                    "{} holds {} images {which}; name one of {}",
                    place(&self.members),
                    found.len(),
                    self.names().join(", ")
                ),
            )),
        }
    }

    fn missing(&self, which: &str) -> TransferError {
        TransferError::new(
            TransferErrorKind::NotFound,
            format!(
                "{} holds no image {which}, only {}",
                place(&self.members),
                self.names().join(", ")
            ),
        )
    }

    fn image(&self, entry: &Entry) -> Result<Image, TransferError> {
        let bytes = self.members.document(&entry.config)?;
        let failed = |cause| {
            corrupt(
                format!("cannot use {} of {}", entry.config, place(&self.members)),
                cause,
            )
        };
        let config: ImageConfig = serde_json::from_slice(&bytes).map_err(failed)?;
        let names = entry.layers.as_deref().unwrap_or_default();
        let layers = names
            .iter()
            .zip(config.rootfs.diff_ids)
            .map(|(name, diff_id)| self.layer(name, diff_id))
            .collect::<Result<Vec<_>, _>>()?;
        if layers.len() != names.len() {
            return Err(TransferError::new(
                TransferErrorKind::Corrupt,
                format!(
                    "{} of {} names {} layers but the image has {}",
                    MANIFEST,
                    place(&self.members),
                    names.len(),
                    layers.len()
                ),
            ));
        }
        let config = RawDocument::new(MediaType::config(Family::Docker), bytes);
        if named_digest(&entry.config).is_some_and(|named| named != config.descriptor.digest) {
            return Err(TransferError::new(
                TransferErrorKind::Corrupt,
                format!(
                    "{} of {} is named for its digest but hashes to {}",
                    entry.config,
                    place(&self.members),
                    config.descriptor.digest
                ),
            ));
        }
        Ok(Image::assemble(config, layers)?)
    }

    fn layer(&self, name: &str, diff_id: DiffId) -> Result<Arc<dyn Layer>, TransferError> {
        let open = || {
            let section = self.members.section(name)?;
            let mut start = Vec::new();
            section.clone().take(4).read_to_end(&mut start)?;
            Ok((section, start))
        };
        let (section, start) = open().map_err(|cause: io::Error| {
            TransferError::from_io(format!("cannot read {name} of {}", place(&self.members)), cause)
        })?;
        let compression = match super::Wrapping::of(&start) {
            super::Wrapping::None => Compression::None,
            super::Wrapping::Gzip => Compression::Gzip,
            super::Wrapping::Zstd => Compression::Zstd,
        };
        let descriptor = OnceLock::new();
        let media_type = MediaType::layer(Family::Docker, compression);
        if compression == Compression::None {
            // The digest of an uncompressed layer is its diff ID.
            let plain = Descriptor::new(media_type.clone(), diff_id.0.clone(), section.left());
            descriptor.get_or_init(|| plain);
        }
        Ok(Arc::new(DockerLayer {
            name: format!("{name} of {}", place(&self.members)),
            section,
            media_type,
            diff_id,
            descriptor,
        }))
    }
}

/// A layer of a Docker archive. The digest of a compressed one is written nowhere; it is found by reading the
/// layer once, when somebody asks.
struct DockerLayer {
    name: String,
    section: Section,
    media_type: MediaType,
    diff_id: DiffId,
    descriptor: OnceLock<Descriptor>,
}

impl Layer for DockerLayer {
    fn known(&self) -> Option<Descriptor> {
        self.descriptor.get().cloned()
    }

    fn descriptor(&self) -> Result<Descriptor, LayerError> {
        if let Some(known) = self.descriptor.get() {
            return Ok(known.clone());
        }
        let mut hashing = Hashing::new(self.section.clone());
        io::copy(&mut hashing, &mut io::sink()).map_err(|cause| LayerError::new(&self.name, cause))?;
        let (_, digest, size) = hashing.finish();
        let found = Descriptor::new(self.media_type.clone(), digest, size);
        Ok(self.descriptor.get_or_init(|| found).clone())
    }

    fn diff_id(&self) -> Result<DiffId, LayerError> {
        Ok(self.diff_id.clone())
    }

    fn open(&self, offset: u64) -> Result<BlobReader, LayerError> {
        let mut section = self.section.clone();
        if offset > 0 {
            section.skip(offset);
            return Ok(Box::new(section));
        }
        let Descriptor { digest, size, .. } = self.descriptor()?;
        Ok(Box::new(Verifying::new(section, digest, size)))
    }

    fn media_type(&self) -> MediaType {
        self.media_type.clone()
    }
}

impl fmt::Debug for DockerLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DockerLayer").field(&self.name).finish()
    }
}

/// The digest that a configuration is named for, as nearly all writers do: `<hex>.json`, `sha256:<hex>`, or a
/// blob of a layout.
fn named_digest(name: &str) -> Option<Digest> {
    let name = name.rsplit('/').next()?;
    let name = name.strip_suffix(".json").unwrap_or(name);
    let hex = name.strip_prefix("sha256:").unwrap_or(name);
    format!("sha256:{hex}").parse().ok()
}

fn place(members: &Members) -> String {
    crate::Blobs::place(members)
}

fn corrupt(message: String, cause: serde_json::Error) -> TransferError {
    TransferError::caused(TransferErrorKind::Corrupt, message, cause)
}
