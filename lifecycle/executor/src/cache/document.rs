//! What a cache says about its layers. `docs/cache.md` describes the format.

use std::collections::BTreeMap;

use lifecycle_image::{DiffId, Digest};
use serde::{Deserialize, Serialize};

/// The artifact's type.
pub(super) const ARTIFACT_TYPE: &str = "application/vnd.lifecycle.build-cache.v1";
/// The type of its configuration.
pub(super) const CONFIG_TYPE: &str = "application/vnd.lifecycle.build-cache.config.v1+json";
/// The field of an image configuration that holds the cache of the image's own layers.
pub(super) const INLINE_FIELD: &str = "lifecycle.build-cache.v1";

const VERSION: u32 = 1;

/// Results by key. Nothing of a key can be read from it: keys are hashes, and no secret goes into one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CacheDocument {
    version: u32,
    /// The blobs of the layers; empty in an image, whose own layers they are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) layers: BTreeMap<DiffId, Digest>,
    pub(super) records: Vec<CacheRecord>,
    /// Saved cache mounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) mounts: Vec<CachedMount>,
}

/// The result of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CacheRecord {
    pub(super) key: String,
    /// The step alone, whatever it was done on.
    pub(super) step: String,
    pub(super) diff_id: DiffId,
    /// When the layer was made, in seconds since 1970.
    pub(super) created: i64,
    /// The same step, defined by the contents that it copies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) by_content: Option<String>,
    /// The day on which a build last used it, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) used: Option<i64>,
}

/// The content of a cache mount, as a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CachedMount {
    pub(super) key: String,
    pub(super) diff_id: DiffId,
    pub(super) used: i64,
}

impl CacheDocument {
    pub(super) fn new(records: Vec<CacheRecord>) -> Self {
        Self {
            version: VERSION,
            layers: BTreeMap::new(),
            records,
            mounts: Vec::new(),
        }
    }

    /// Reads a document; why not, if it is none that we know.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let document: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        document.checked()
    }

    pub(super) fn of_value(value: &serde_json::Value) -> Result<Self, String> {
        let document: Self = serde_json::from_value(value.clone()).map_err(|error| error.to_string())?;
        document.checked()
    }

    fn checked(self) -> Result<Self, String> {
        match self.version {
            VERSION => Ok(self),
            other => Err(format!("it has version {other}, and only {VERSION} is known")),
        }
    }
}
