//! Images, seen lazily.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{
    Descriptor, DiffId, Digest, Family, History, ImageConfig, Layer, LayerError, Manifest, ManifestError,
    MediaType, Platform, RawDocument, canonical_json,
};

/// An image: a configuration and layers.
///
/// The view holds what is needed to write the image somewhere else. As long as nothing was changed (see
/// [`crate::mutate`]), configuration and manifest are the bytes that their author wrote.
///
/// Whatever else has a manifest, a cache or an attestation, moves in the same way: as an *artifact*, whose
/// configuration is of a type of its own and whose layers are known by their digests alone.
#[derive(Debug, Clone)]
pub struct Image {
    family: Family,
    config: ImageConfig,
    layers: Vec<Arc<dyn Layer>>,
    annotations: BTreeMap<String, String>,
    artifact_type: Option<String>,
    subject: Option<Descriptor>,
    written: Written,
}

/// The author's bytes, as far as they still hold.
#[derive(Debug, Clone, Default)]
struct Written {
    config: Option<RawDocument>,
    manifest: Option<RawDocument>,
}

/// An image's documents do not fit together.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A document is not valid.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The configuration is not valid JSON.
    #[error("the image configuration is not valid: {0}")]
    Config(serde_json::Error),
    /// Manifest and configuration disagree.
    #[error("the manifest has {layers} layers but the configuration names {diff_ids}")]
    LayerCount {
        /// Layers of the manifest.
        layers: usize,
        /// Layers of the configuration.
        diff_ids: usize,
    },
    /// A layer could not be read or finished.
    #[error(transparent)]
    Layer(#[from] LayerError),
}

impl Image {
    /// An image without layers.
    pub fn empty(platform: &Platform) -> Self {
        Self {
            family: Family::Oci,
            config: ImageConfig::new(platform),
            layers: Vec::new(),
            annotations: BTreeMap::new(),
            artifact_type: None,
            subject: None,
            written: Written::default(),
        }
    }

    /// Something that is no image but has a manifest (OCI image specification, "Guidelines for Artifact Usage").
    pub fn artifact(
        artifact_type: impl Into<String>,
        config: RawDocument,
        layers: Vec<Arc<dyn Layer>>,
    ) -> Self {
        Self {
            layers,
            artifact_type: Some(artifact_type.into()),
            written: Written {
                config: Some(config),
                manifest: None,
            },
            ..Self::empty(&Platform::unknown())
        }
    }

    /// An image as a source found it: its two documents, and for each layer (descriptor and diff ID) a view
    /// that `open` makes.
    ///
    /// # Errors
    /// When the documents do not fit together.
    pub fn read(
        manifest: RawDocument,
        config: RawDocument,
        mut open: impl FnMut(Descriptor, DiffId) -> Arc<dyn Layer>,
    ) -> Result<Self, ImageError> {
        let parsed = Manifest::parse(&manifest.bytes, &manifest.descriptor.media_type)?;
        let image_config: ImageConfig = if parsed.config.media_type.is_config() {
            serde_json::from_slice(&config.bytes).map_err(ImageError::Config)?
        } else {
            let digests = parsed.layers.iter().map(|layer| DiffId(layer.digest.clone()));
            let mut unknown = ImageConfig::new(&Platform::unknown());
            unknown.rootfs.diff_ids = digests.collect();
            unknown
        };
        let diff_ids = &image_config.rootfs.diff_ids;
        if diff_ids.len() != parsed.layers.len() {
            return Err(ImageError::LayerCount {
                layers: parsed.layers.len(),
                diff_ids: diff_ids.len(),
            });
        }
        let layers = parsed.layers.into_iter().zip(diff_ids.iter().cloned());
        Ok(Self {
            family: manifest.descriptor.media_type.family().unwrap_or_default(),
            layers: layers
                .map(|(descriptor, diff_id)| open(descriptor, diff_id))
                .collect(),
            config: image_config,
            annotations: parsed.annotations,
            artifact_type: parsed.artifact_type,
            subject: parsed.subject,
            written: Written {
                config: Some(config),
                manifest: Some(manifest),
            },
        })
    }

    /// An image of which only the configuration was written down, as in Docker archives; the manifest is made
    /// when somebody asks for it.
    ///
    /// # Errors
    /// When the configuration is not valid or names another number of layers.
    pub fn assemble(config: RawDocument, layers: Vec<Arc<dyn Layer>>) -> Result<Self, ImageError> {
        let image_config: ImageConfig = serde_json::from_slice(&config.bytes).map_err(ImageError::Config)?;
        let diff_ids = image_config.rootfs.diff_ids.len();
        if diff_ids != layers.len() {
            return Err(ImageError::LayerCount {
                layers: layers.len(),
                diff_ids,
            });
        }
        Ok(Self {
            family: config.descriptor.media_type.family().unwrap_or_default(),
            config: image_config,
            layers,
            annotations: BTreeMap::new(),
            artifact_type: None,
            subject: None,
            written: Written {
                config: Some(config),
                manifest: None,
            },
        })
    }

    /// The configuration.
    pub fn config(&self) -> &ImageConfig {
        &self.config
    }

    /// The layers, lowest first.
    pub fn layers(&self) -> &[Arc<dyn Layer>] {
        &self.layers
    }

    /// The family of media types the image is written in.
    pub fn family(&self) -> Family {
        self.family
    }

    /// The manifest's annotations.
    pub fn annotations(&self) -> &BTreeMap<String, String> {
        &self.annotations
    }

    /// What kind of artifact this is; nothing for an image. An artifact that does not say has its configuration's
    /// media type.
    pub fn artifact_type(&self) -> Option<&str> {
        let config = self
            .written
            .config
            .as_ref()
            .map(|config| &config.descriptor.media_type);
        let foreign = config.filter(|media_type| !media_type.is_config());
        self.artifact_type
            .as_deref()
            .or_else(|| foreign.map(MediaType::as_str))
    }

    /// The manifest that this one says something about.
    pub fn subject(&self) -> Option<&Descriptor> {
        self.subject.as_ref()
    }

    /// What the image runs on.
    pub fn platform(&self) -> Platform {
        self.config.platform()
    }

    /// The configuration's bytes. Waits for layers in the making.
    pub fn encode_config(&self) -> Result<RawDocument, ImageError> {
        if let Some(written) = &self.written.config {
            return Ok(written.clone());
        }
        let mut config = self.config.clone();
        config.rootfs.diff_ids = self
            .layers
            .iter()
            .map(|layer| layer.diff_id())
            .collect::<Result<_, _>>()?;
        let bytes = canonical_json(&config).map_err(ImageError::Config)?;
        Ok(RawDocument::new(MediaType::config(self.family), bytes))
    }

    /// The manifest's bytes. Waits for layers in the making.
    pub fn encode_manifest(&self) -> Result<RawDocument, ImageError> {
        if let Some(written) = &self.written.manifest {
            return Ok(written.clone());
        }
        let layer = |layer: &Arc<dyn Layer>| {
            let descriptor = layer.descriptor()?;
            Ok(Descriptor {
                media_type: descriptor.media_type.in_family(self.family),
                ..descriptor
            })
        };
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(MediaType::manifest(self.family)),
            artifact_type: self.artifact_type.clone(),
            config: self.encode_config()?.descriptor,
            layers: self.layers.iter().map(layer).collect::<Result<_, LayerError>>()?,
            subject: self.subject.clone(),
            annotations: self.annotations.clone(),
        };
        Ok(manifest.encode()?)
    }

    /// The digest that identifies the image. Waits for layers in the making.
    pub fn digest(&self) -> Result<Digest, ImageError> {
        Ok(self.encode_manifest()?.descriptor.digest)
    }

    // The changes below are private to the crate: `mutate` gives them their public names.

    pub(crate) fn change_config(mut self, change: impl FnOnce(&mut ImageConfig)) -> Self {
        change(&mut self.config);
        self.written = Written::default();
        self
    }

    pub(crate) fn change_layers(
        mut self,
        change: impl FnOnce(&mut Vec<Arc<dyn Layer>>, &mut Vec<History>),
    ) -> Self {
        change(&mut self.layers, &mut self.config.history);
        self.written = Written::default();
        self
    }

    pub(crate) fn change_annotations(mut self, change: impl FnOnce(&mut BTreeMap<String, String>)) -> Self {
        change(&mut self.annotations);
        self.written.manifest = None;
        self
    }

    pub(crate) fn change_subject(mut self, subject: Descriptor) -> Self {
        self.subject = Some(subject);
        self.written.manifest = None;
        self
    }

    pub(crate) fn change_family(mut self, family: Family) -> Self {
        if family != self.family {
            self.family = family;
            // A Docker configuration and an OCI one are the same JSON; only its type in the manifest differs.
            self.written.manifest = None;
            if let Some(config) = &mut self.written.config {
                config.descriptor.media_type = MediaType::config(family);
            }
        }
        self
    }
}
