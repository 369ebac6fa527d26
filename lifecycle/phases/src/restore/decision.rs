//! Which layers come back (cnb.md 2.11, LYR-01 to LYR-03).

use lifecycle_spec::PlatformApi;
use lifecycle_spec::label::LayerMetadata;

/// What is done about a layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Decision<'a> {
    /// It does not come back, and why.
    Nothing(&'static str),
    /// Its metadata comes back, as the app image has it.
    Metadata(&'a LayerMetadata),
    /// Its metadata and its contents come back.
    Contents {
        /// Who knows its metadata: the app image, or the cache if that is all there is.
        layer: &'a LayerMetadata,
        /// The diff ID of its contents in the cache.
        sha: &'a str,
    },
}

/// Decides about a layer by what the app image and the cache say about it.
pub(super) fn decide<'a>(
    app: Option<&'a LayerMetadata>,
    cached: Option<&'a LayerMetadata>,
    api: PlatformApi,
) -> Decision<'a> {
    let cached = cached.filter(|layer| layer.cache);
    if let Some(layer) = cached {
        // A layer that is also for launch is one with the app image's, or it is stale. If the image has none, it may
        // come from the cache alone, by newer APIs.
        let alone = app.is_none() && api.restores_launch_layers_from_cache();
        if !layer.launch || alone {
            return Decision::Contents {
                layer,
                sha: &layer.sha,
            };
        }
    }
    let Some(app) = app else {
        return Decision::Nothing("it is for launch, but the app image does not have it");
    };
    if !app.launch {
        return Decision::Nothing("it is not for launch and not in the cache");
    }
    if app.build && !app.cache {
        // Its contents must be there for the build, so the buildpack makes it anew in any case.
        return Decision::Nothing("it is for the build, but was not kept in a cache");
    }
    if !app.cache {
        return Decision::Metadata(app);
    }
    match cached {
        None => Decision::Nothing("it is for the cache, but not in it"),
        Some(cached) if cached.sha != app.sha => Decision::Nothing("the cache holds another version of it"),
        Some(cached) => Decision::Contents {
            layer: app,
            sha: &cached.sha,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(types: &str, sha: &str) -> LayerMetadata {
        let has = |letter| types.contains(letter);
        LayerMetadata {
            sha: sha.into(),
            data: None,
            build: has('b'),
            launch: has('l'),
            cache: has('c'),
        }
    }

    /// What comes back: nothing, metadata, or contents with the metadata of image or cache.
    fn decided(app: &str, cached: &str, same: bool, api: PlatformApi) -> &'static str {
        let exists = |types: &str| types != "-";
        let app = layer(app, "sha256:1");
        let cached_layer = layer(cached, if same { "sha256:1" } else { "sha256:2" });
        let app_types = Some(&app).filter(|_| {
            exists(if app.build || app.launch || app.cache {
                "x"
            } else {
                "-"
            })
        });
        let cached = Some(&cached_layer).filter(|_| exists(cached));
        match decide(app_types, cached, api) {
            Decision::Nothing(_) => "nothing",
            Decision::Metadata(_) => "metadata",
            Decision::Contents { layer, .. } if std::ptr::eq(layer, &raw const app) => "contents by image",
            Decision::Contents { .. } => "contents by cache",
        }
    }

    #[test]
    fn matrix_of_types_2_11_lyr_01_lyr_02_lyr_03() {
        let (old, new) = (PlatformApi::V0_13, PlatformApi::V0_14);
        for (app, cached, same, api, expected) in [
            // build, cache, launch
            ("bcl", "bcl", true, old, "contents by image"),
            ("bcl", "bcl", false, old, "nothing"),
            ("bcl", "-", true, old, "nothing"),
            // build, cache: the app image does not know it
            ("-", "bc", true, old, "contents by cache"),
            // build, launch
            ("bl", "-", true, old, "nothing"),
            // cache, launch
            ("cl", "cl", true, old, "contents by image"),
            ("cl", "cl", false, new, "nothing"),
            // cache
            ("-", "c", true, old, "contents by cache"),
            // launch
            ("l", "-", true, old, "metadata"),
            // nothing
            ("-", "-", true, new, "nothing"),
            // launch and cache, but the image has lost it
            ("-", "cl", true, old, "nothing"),
            ("-", "cl", true, new, "contents by cache"),
            // a cache entry that says it is none
            ("-", "b", true, new, "nothing"),
        ] {
            assert_eq!(
                decided(app, cached, same, api),
                expected,
                "{app} {cached} {same} {api}"
            );
        }
    }
}
