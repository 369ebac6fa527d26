//! `io.buildpacks.lifecycle.cache.metadata`: which layers a cache holds.

use serde::{Deserialize, Serialize};

use super::{BuildpackLayers, LayerSha, label};
use crate::json::{default_when_null, null_when_empty};

/// What a cache holds, as a label of a cache image or as a file of a cache directory (CACHE-03).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CacheLabel {
    /// The layer with the SBOM files of cached layers.
    #[serde(default, deserialize_with = "default_when_null")]
    pub sbom: LayerSha,
    /// Cached layers by buildpack.
    #[serde(
        default,
        serialize_with = "null_when_empty",
        deserialize_with = "default_when_null"
    )]
    pub buildpacks: Vec<BuildpackLayers>,
}

label!(CacheLabel, CACHE);

impl CacheLabel {
    /// The file of a cache directory: the label and a newline.
    #[must_use]
    pub fn to_file(&self) -> String {
        self.to_json() + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::CacheLabel;

    #[test]
    fn golden_bytes_cache_03() {
        let text = r#"{"sbom":{"sha":"sha256:s"},"buildpacks":[{"key":"a/b","version":"1","layers":{"l":{"sha":"sha256:b","data":null,"build":true,"launch":false,"cache":true}}}]}"#;
        let label = CacheLabel::parse(text).unwrap();
        assert_eq!(label.to_json(), text);
        assert_eq!(label.to_file(), format!("{text}\n"));
        assert_eq!(CacheLabel::parse(&label.to_file()).unwrap(), label);
        assert_eq!(
            CacheLabel::default().to_json(),
            r#"{"sbom":{"sha":""},"buildpacks":null}"#
        );
    }
}
