//! Layers that came back from the cache and that nobody has touched since: what they are is known without reading them.

use std::collections::BTreeMap;

use lifecycle_image::DiffId;
use lifecycle_spec::BuildpackId;

use super::ExportOptions;
use super::parts::{Buildpack, place_of};
use crate::cache::Cache;

/// The diff IDs of such layers.
#[derive(Debug, Default)]
pub(super) struct IntactLayers(BTreeMap<(String, String), DiffId>);

impl IntactLayers {
    pub(super) fn find(options: &ExportOptions, buildpacks: &[Buildpack], cache: &Cache) -> Self {
        let mut intact = BTreeMap::new();
        for cached in &cache.label.buildpacks {
            let Some(buildpack) = buildpacks.iter().find(|own| own.module.id == cached.key) else {
                continue;
            };
            for layer in buildpack.layers.iter().filter(|layer| layer.has_contents()) {
                let before = cached.layers.get(layer.name.as_str());
                let Some(diff_id) = before.and_then(|before| before.sha.parse().ok()) else {
                    continue;
                };
                let place = place_of(options, &buildpack.module, &layer.name);
                if cache.is_intact(&diff_id, &place) {
                    intact.insert(key(&buildpack.module.id, layer.name.as_str()), diff_id);
                }
            }
        }
        Self(intact)
    }

    pub(super) fn diff_id(&self, buildpack: &BuildpackId, layer: &str) -> Option<&DiffId> {
        self.0.get(&key(buildpack, layer))
    }
}

fn key(buildpack: &BuildpackId, layer: &str) -> (String, String) {
    (buildpack.to_string(), layer.to_owned())
}
