//! Media types of the two families that images come in.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The two families of media types. A manifest never mixes them: other tools refuse that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Family {
    /// `application/vnd.oci.image.…`
    #[default]
    Oci,
    /// `application/vnd.docker.…`
    Docker,
}

/// How a layer's tar is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, which everything reads.
    #[default]
    Gzip,
    /// Zstandard, which has no Docker media type of its own; the name used there is what BuildKit writes.
    Zstd,
}

/// A media type, as written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MediaType(String);

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const OCI_FOREIGN_LAYER: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
const DOCKER_FOREIGN_LAYER: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar";

impl MediaType {
    /// A media type of any kind.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The type of image manifests.
    pub fn manifest(family: Family) -> Self {
        Self::new(match family {
            Family::Oci => OCI_MANIFEST,
            Family::Docker => DOCKER_MANIFEST,
        })
    }

    /// The type of image indexes (Docker: manifest lists).
    pub fn index(family: Family) -> Self {
        Self::new(match family {
            Family::Oci => OCI_INDEX,
            Family::Docker => DOCKER_INDEX,
        })
    }

    /// The type of image configurations.
    pub fn config(family: Family) -> Self {
        Self::new(match family {
            Family::Oci => OCI_CONFIG,
            Family::Docker => DOCKER_CONFIG,
        })
    }

    /// The type of layers.
    pub fn layer(family: Family, compression: Compression) -> Self {
        Self::new(match (family, compression) {
            (Family::Oci, Compression::None) => OCI_LAYER.to_owned(),
            (Family::Oci, Compression::Gzip) => format!("{OCI_LAYER}+gzip"),
            (Family::Oci, Compression::Zstd) => format!("{OCI_LAYER}+zstd"),
            (Family::Docker, Compression::None) => DOCKER_LAYER.to_owned(),
            (Family::Docker, Compression::Gzip) => format!("{DOCKER_LAYER}.gzip"),
            (Family::Docker, Compression::Zstd) => format!("{DOCKER_LAYER}.zstd"),
        })
    }

    /// Every type that a registry may answer a request for a manifest with.
    pub fn manifests() -> [Self; 4] {
        [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_INDEX].map(Self::new)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is an image manifest.
    pub fn is_manifest(&self) -> bool {
        matches!(self.as_str(), OCI_MANIFEST | DOCKER_MANIFEST)
    }

    /// Whether this is an index or manifest list.
    pub fn is_index(&self) -> bool {
        matches!(self.as_str(), OCI_INDEX | DOCKER_INDEX)
    }

    /// Whether this is an image configuration.
    pub fn is_config(&self) -> bool {
        matches!(self.as_str(), OCI_CONFIG | DOCKER_CONFIG)
    }

    /// The family the type belongs to, if it belongs to one.
    pub fn family(&self) -> Option<Family> {
        if self.0.starts_with("application/vnd.oci.image.") {
            Some(Family::Oci)
        } else if self.0.starts_with("application/vnd.docker.") {
            Some(Family::Docker)
        } else {
            None
        }
    }

    /// How a layer of this type is compressed; nothing for types that are no layers.
    pub fn compression(&self) -> Option<Compression> {
        let layers = [OCI_LAYER, OCI_FOREIGN_LAYER, DOCKER_LAYER, DOCKER_FOREIGN_LAYER];
        let suffix = layers.iter().find_map(|layer| self.0.strip_prefix(layer))?;
        match suffix {
            "" => Some(Compression::None),
            "+gzip" | ".gzip" => Some(Compression::Gzip),
            "+zstd" | ".zstd" => Some(Compression::Zstd),
            _ => None,
        }
    }

    /// The same kind of document or layer in another family. Types of neither family stay as they are.
    #[must_use]
    pub fn in_family(&self, family: Family) -> Self {
        if self.is_manifest() {
            Self::manifest(family)
        } else if self.is_index() {
            Self::index(family)
        } else if self.is_config() {
            Self::config(family)
        } else {
            match self.compression() {
                Some(compression) if !self.is_foreign() => Self::layer(family, compression),
                _ => self.clone(),
            }
        }
    }

    /// Whether a layer of this type is not meant to be pushed.
    pub fn is_foreign(&self) -> bool {
        self.0.starts_with(OCI_FOREIGN_LAYER) || self.0.starts_with(DOCKER_FOREIGN_LAYER)
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_translate_between_families() {
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let oci = MediaType::layer(Family::Oci, compression);
            let docker = MediaType::layer(Family::Docker, compression);
            assert_eq!(oci.in_family(Family::Docker), docker);
            assert_eq!(docker.in_family(Family::Oci), oci);
            assert_eq!(oci.compression(), Some(compression));
            assert_eq!(docker.compression(), Some(compression));
            assert_eq!(docker.family(), Some(Family::Docker));
        }
        let other = MediaType::new("application/vnd.in-toto+json");
        assert_eq!(other.in_family(Family::Docker), other);
        assert_eq!(other.compression(), None);
    }
}
