//! What the caches get: every layer that is for them, with what is said about it, and the SBOM files (LYR-08).

use std::sync::Arc;

use lifecycle_layers::RepackedLayer;
use lifecycle_spec::label::CacheLabel;

use super::ExportOptions;
use super::intact::IntactLayers;
use super::parts::{Buildpack, Made, Role, Source, directory, metadata, place_of};
use crate::cache::{CacheContents, CachedBuildpack, CachedContents};
use crate::{Reporter, sboms};

/// What the launch cache gets: every layer of the image that was made now, or is there since an earlier build.
pub(super) fn of_image(made: &[Made<'_>]) -> Vec<CachedContents> {
    let cached = |made: &Made<'_>| CachedContents {
        label: made.part.name.clone(),
        contents: match &made.part.source {
            Source::Contents(contents) => Arc::clone(contents),
            // The next build may want it from the previous image again.
            Source::Previous(layer) => Arc::new(RepackedLayer::new(Arc::clone(layer))),
        },
        exported: Some(Arc::clone(&made.layer)),
        before: None,
        is_intact: false,
    };
    made.iter().map(cached).collect()
}

/// The contents of the caches, of which the one that was read held `before`.
pub(super) fn contents(
    options: &ExportOptions,
    buildpacks: &[Buildpack],
    made: &[Made<'_>],
    before: &CacheLabel,
    intact: &IntactLayers,
    reporter: &dyn Reporter,
) -> CacheContents {
    let mut contents = CacheContents::default();
    for (at, buildpack) in buildpacks.iter().enumerate() {
        let module = &buildpack.module;
        let before = before.buildpacks.iter().find(|layers| layers.key == module.id);
        let mut layers = Vec::new();
        for layer in buildpack.layers.iter().filter(|layer| layer.toml.types.cache) {
            let label = format!("{}:{}", module.id, layer.name);
            if !layer.has_contents() {
                reporter.warning(&format!("layer '{label}' is not cached: it has no contents"));
                continue;
            }
            let is_it = |made: &&Made<'_>| match &made.part.role {
                Role::Launch { buildpack, name, .. } => *buildpack == at && *name == layer.name,
                _ => false,
            };
            let before = before.and_then(|layers| layers.layers.get(layer.name.as_str()));
            let cached = CachedContents {
                contents: directory(options, &place_of(options, module, &layer.name)),
                exported: made.iter().find(is_it).map(|made| Arc::clone(&made.layer)),
                before: before.and_then(|layer| layer.sha.parse().ok()),
                is_intact: intact.diff_id(&module.id, layer.name.as_str()).is_some(),
                label,
            };
            layers.push((layer.name.clone(), cached, metadata(layer)));
        }
        contents.buildpacks.push(CachedBuildpack {
            id: module.id.clone(),
            version: module.version.to_string(),
            layers,
        });
    }
    if options.api.has_sbom_layers() && sboms::has(&options.layers.here, "cache") {
        contents.sbom = Some(CachedContents {
            label: "cache.sbom".to_owned(),
            contents: directory(options, &options.layers.join("sbom").join("cache")),
            exported: None,
            before: before.sbom.sha.parse().ok(),
            is_intact: false,
        });
    }
    contents
}
