//! What goes into a cache.

use std::collections::BTreeMap;
use std::sync::Arc;

use lifecycle_image::{DiffId, Layer, Outcome, Step};
use lifecycle_layers::Contents;
use lifecycle_spec::label::{BuildpackLayers, CacheLabel, LayerMetadata, LayerSha};
use lifecycle_spec::{BuildpackId, LayerName};

use super::directory::CacheError;
use crate::Reporter;

/// Everything that a build wants to find again.
#[derive(Debug, Default)]
pub(crate) struct CacheContents {
    /// Cached layers by buildpack, in group order.
    pub(crate) buildpacks: Vec<CachedBuildpack>,
    /// The SBOM files of cached layers.
    pub(crate) sbom: Option<CachedContents>,
}

/// The cached layers of one buildpack.
#[derive(Debug)]
pub(crate) struct CachedBuildpack {
    pub(crate) id: BuildpackId,
    pub(crate) version: String,
    pub(crate) layers: Vec<(LayerName, CachedContents, LayerMetadata)>,
}

/// A layer for the cache.
#[derive(Debug)]
pub(crate) struct CachedContents {
    /// What it is called: `buildpack:layer`.
    pub(crate) label: String,
    pub(crate) contents: Arc<dyn Contents>,
    /// The same layer in the app image, which knows its diff ID sooner or later.
    pub(crate) exported: Option<Arc<dyn Layer>>,
    /// The diff ID that the layer had in the cache before.
    pub(crate) before: Option<DiffId>,
    /// Whether it is known to have that one still.
    pub(crate) is_intact: bool,
}

impl CachedContents {
    /// The diff ID, where knowing it may save writing the layer: when it is in the app image, or was in the cache.
    pub(crate) fn known_diff_id(&self, reporter: &dyn Reporter) -> Result<Option<DiffId>, CacheError> {
        if self.is_intact {
            return Ok(self.before.clone());
        }
        if let Some(exported) = &self.exported {
            return Ok(Some(exported.diff_id()?));
        }
        if self.before.is_none() {
            return Ok(None);
        }
        let meter = reporter.begin(Step::Hash, &self.contents.name(), None);
        let (diff_id, _) = lifecycle_layers::hash(&*self.contents, &*meter)?;
        meter.finish(Outcome::Done);
        Ok(Some(diff_id))
    }
}

impl CacheContents {
    /// Writes every layer by `add`, and says what the cache holds then.
    pub(crate) fn write_each(
        &self,
        mut add: impl FnMut(&CachedContents) -> Result<DiffId, CacheError>,
    ) -> Result<CacheLabel, CacheError> {
        let mut label = CacheLabel::default();
        for buildpack in &self.buildpacks {
            let mut layers = BTreeMap::new();
            for (name, cached, metadata) in &buildpack.layers {
                let sha = add(cached)?.to_string();
                layers.insert(
                    name.to_string(),
                    LayerMetadata {
                        sha,
                        ..metadata.clone()
                    },
                );
            }
            label.buildpacks.push(BuildpackLayers {
                key: buildpack.id.clone(),
                version: buildpack.version.clone(),
                layers,
                store: None,
            });
        }
        if let Some(sbom) = &self.sbom {
            label.sbom = LayerSha::new(add(sbom)?.to_string());
        }
        Ok(label)
    }
}
