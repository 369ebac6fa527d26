//! The documents that tie blobs together.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Digest, Family, Image, MediaType, Platform, canonical_json};

/// Documents larger than this are refused; registries refuse them as well.
pub(crate) const MAX_DOCUMENT: u64 = 4 * 1024 * 1024;

/// A pointer to a blob (OCI image specification, "Content Descriptors").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the bytes are.
    pub media_type: MediaType,
    /// The digest of the bytes.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    /// Where else they can be had. Never followed with credentials (CVE-2020-15157).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Remarks.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// In an index: what the member runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// In an index: what kind of artifact the member is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

impl Descriptor {
    /// A descriptor of a blob.
    pub fn new(media_type: MediaType, digest: Digest, size: u64) -> Self {
        Self {
            media_type,
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            platform: None,
            artifact_type: None,
        }
    }

    /// The descriptor of `bytes`.
    pub fn of(media_type: MediaType, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::of(bytes), bytes.len() as u64)
    }
}

/// A document exactly as its author wrote it, with its descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawDocument {
    /// Media type, digest and size.
    pub descriptor: Descriptor,
    /// The bytes.
    pub bytes: Arc<[u8]>,
}

impl RawDocument {
    /// A document of the given type.
    pub fn new(media_type: MediaType, bytes: impl Into<Arc<[u8]>>) -> Self {
        let bytes = bytes.into();
        Self {
            descriptor: Descriptor::of(media_type, &bytes),
            bytes,
        }
    }
}

/// An image manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// The manifest's own type; older writers left it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// What kind of artifact this is, when it is no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The image configuration.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
    /// The manifest this one says something about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Remarks.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// When it is no manifest, or could be read as an index as well (CVE-2021-41190).
    pub fn parse(bytes: &[u8], media_type: &MediaType) -> Result<Self, ManifestError> {
        check_shape(bytes, media_type, "layers", "manifests")?;
        let manifest: Self = serde_json::from_slice(bytes)?;
        if manifest.schema_version == 2 {
            Ok(manifest)
        } else {
            Err(ManifestError::SchemaVersion(manifest.schema_version))
        }
    }

    /// The bytes of a manifest that we are the author of, as canonical JSON.
    pub fn encode(&self) -> Result<RawDocument, ManifestError> {
        let media_type = self
            .media_type
            .clone()
            .unwrap_or_else(|| MediaType::manifest(Family::Oci));
        Ok(RawDocument::new(media_type, canonical_json(self)?))
    }
}

/// An image index, or Docker's manifest list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// The index's own type; older writers left it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// What kind of artifact this is, when it is no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The members.
    pub manifests: Vec<Descriptor>,
    /// The manifest this one says something about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Remarks.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The bytes this index was read from, so that it is passed on unchanged.
    #[serde(skip)]
    raw: Option<RawDocument>,
}

impl Index {
    /// An index of `manifests`.
    pub fn new(family: Family, manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(MediaType::index(family)),
            artifact_type: None,
            manifests,
            subject: None,
            annotations: BTreeMap::new(),
            raw: None,
        }
    }

    /// Reads an index.
    ///
    /// # Errors
    /// When it is no index, or could be read as a manifest as well (CVE-2021-41190).
    pub fn parse(bytes: impl Into<Arc<[u8]>>, media_type: &MediaType) -> Result<Self, ManifestError> {
        let bytes = bytes.into();
        check_shape(&bytes, media_type, "manifests", "layers")?;
        let mut index: Self = serde_json::from_slice(&bytes)?;
        if index.schema_version != 2 {
            return Err(ManifestError::SchemaVersion(index.schema_version));
        }
        index.raw = Some(RawDocument::new(media_type.clone(), bytes));
        Ok(index)
    }

    /// The bytes: those it was read from, or canonical JSON.
    pub fn encode(&self) -> Result<RawDocument, ManifestError> {
        if let Some(raw) = &self.raw {
            return Ok(raw.clone());
        }
        let media_type = self
            .media_type
            .clone()
            .unwrap_or_else(|| MediaType::index(Family::Oci));
        Ok(RawDocument::new(media_type, canonical_json(self)?))
    }

    /// The member for a platform: an exact match of the variant if there is one, else the first that satisfies.
    /// Attestations (`unknown/unknown`) and other artifacts are no candidates.
    pub fn select(&self, platform: &Platform) -> Option<&Descriptor> {
        let candidates = || {
            self.images().filter(|member| {
                // An index of one image may leave the platform out; its configuration tells.
                member.platform.as_ref().is_none_or(|own| own.satisfies(platform))
            })
        };
        candidates()
            .find(|member| member.platform.as_ref() == Some(platform))
            .or_else(|| candidates().next())
    }

    /// The members that are images or indexes, not attestations.
    pub fn images(&self) -> impl Iterator<Item = &Descriptor> {
        self.manifests.iter().filter(|member| {
            (member.media_type.is_manifest() || member.media_type.is_index())
                && member.artifact_type.is_none()
                && member
                    .platform
                    .as_ref()
                    .is_none_or(|platform| platform.os != "unknown")
        })
    }

    /// The platforms of the members, for messages.
    pub fn platforms(&self) -> String {
        let platforms: Vec<String> = self
            .images()
            .filter_map(|member| member.platform.as_ref())
            .map(ToString::to_string)
            .collect();
        if platforms.is_empty() {
            "none".to_owned()
        } else {
            platforms.join(", ")
        }
    }
}

/// What a name stands for.
#[derive(Debug, Clone)]
pub enum Artifact {
    /// One image.
    Image(Box<Image>),
    /// An index of images.
    Index(Box<Index>),
}

/// A document is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is not JSON of the right shape.
    #[error("the document is not valid: {0}")]
    Json(#[from] serde_json::Error),
    /// It has the wrong version, as manifests of before 2016 have.
    #[error("schema version {0} is not supported, only 2")]
    SchemaVersion(u32),
    /// It could be read as two things, which is how content is smuggled past a scanner (CVE-2021-41190).
    #[error("the document has both `layers` and `manifests`")]
    Ambiguous,
    /// Its own media type is not the one it was delivered as.
    #[error("the document says it is {inside} but was delivered as {outside}")]
    MediaType {
        /// The type in the document.
        inside: String,
        /// The type it was delivered as.
        outside: String,
    },
    /// It is larger than any registry would take.
    #[error("the document has {0} bytes, more than {MAX_DOCUMENT}")]
    TooLarge(u64),
}

fn check_shape(
    bytes: &[u8],
    media_type: &MediaType,
    needs: &str,
    excludes: &str,
) -> Result<(), ManifestError> {
    if bytes.len() as u64 > MAX_DOCUMENT {
        return Err(ManifestError::TooLarge(bytes.len() as u64));
    }
    let value: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(bytes)?;
    if value.contains_key(needs) && value.contains_key(excludes) {
        return Err(ManifestError::Ambiguous);
    }
    match value.get("mediaType").and_then(serde_json::Value::as_str) {
        Some(inside) if !inside.is_empty() && inside != media_type.as_str() => {
            Err(ManifestError::MediaType {
                inside: inside.to_owned(),
                outside: media_type.to_string(),
            })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest_type() -> MediaType {
        MediaType::manifest(Family::Oci)
    }

    #[test]
    fn documents_with_two_meanings_are_refused_cve_2021_41190() {
        let digest = Digest::of(b"");
        let config = format!(r#"{{"mediaType":"x","digest":"{digest}","size":0}}"#);
        let both = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[],"manifests":[]}}"#);
        assert!(matches!(
            Manifest::parse(both.as_bytes(), &manifest_type()),
            Err(ManifestError::Ambiguous)
        ));
        let index_type = MediaType::index(Family::Oci);
        assert!(matches!(
            Index::parse(both.into_bytes(), &index_type),
            Err(ManifestError::Ambiguous)
        ));
        let other =
            format!(r#"{{"schemaVersion":2,"mediaType":"{index_type}","config":{config},"layers":[]}}"#);
        let error = Manifest::parse(other.as_bytes(), &manifest_type()).unwrap_err();
        assert!(matches!(error, ManifestError::MediaType { .. }), "{error}");
    }

    #[test]
    fn an_index_is_passed_on_byte_for_byte() {
        let text = r#"{ "schemaVersion": 2, "manifests": [], "x": 1 }"#;
        let index = Index::parse(text.as_bytes(), &MediaType::index(Family::Oci)).unwrap();
        assert_eq!(&*index.encode().unwrap().bytes, text.as_bytes());
    }

    #[test]
    fn select_skips_attestations_and_prefers_the_variant() {
        let member = |name: &str, platform: &str| Descriptor {
            platform: Some(platform.parse().unwrap()),
            ..Descriptor::of(manifest_type(), name.as_bytes())
        };
        let index = Index::new(
            Family::Oci,
            vec![
                member("att", "unknown/unknown"),
                member("v6", "linux/arm/v6"),
                member("v7", "linux/arm/v7"),
            ],
        );
        let select = |platform: &str| index.select(&platform.parse().unwrap()).map(|m| m.digest.clone());
        assert_eq!(select("linux/arm/v7"), Some(Digest::of(b"v7")));
        assert_eq!(select("linux/arm"), Some(Digest::of(b"v6")));
        assert_eq!(select("linux/amd64"), None);
        assert_eq!(index.platforms(), "linux/arm/v6, linux/arm/v7");
    }
}
