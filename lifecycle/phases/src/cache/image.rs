//! A cache image: the cached layers as an ordinary image (lifecycle.md 1.9).

use std::sync::Arc;

use lifecycle_image::{History, Image, Layer, Progress, mutate};
use lifecycle_layers::{FilesLayer, Packing, Style};
use lifecycle_spec::label::{self, CacheLabel};
use lifecycle_store::{Expected, Store};

use super::directory::CacheError;
use super::{CacheContents, CacheImage};
use crate::export::CREATED;

/// Writes a cache image. A layer that the previous cache image or the app image has is not packed again, and none is
/// in it twice.
pub(crate) fn write_image(
    cache: &CacheImage<'_>,
    contents: &CacheContents,
    store: &Store,
    packing: Packing,
    progress: &Arc<dyn Progress>,
) -> Result<CacheLabel, CacheError> {
    let before = cache.source.image(&cache.reference, cache.platform).ok();
    let before: &[Arc<dyn Layer>] = before.as_ref().map_or(&[], |image| image.layers());
    let mut upload = cache.sink.begin(std::slice::from_ref(&cache.reference))?;
    let mut layers: Vec<Arc<dyn Layer>> = Vec::new();
    // Packing goes on in the background: all layers are handed in before the first is waited for.
    let mut hand_in = |cached: &super::CachedContents| {
        let layer = cached.exported.clone().unwrap_or_else(|| {
            let expected = if cached.before.is_some() {
                Expected::among(before)
            } else {
                Expected::New
            };
            store.pack(
                Arc::clone(&cached.contents),
                packing,
                expected,
                Arc::clone(progress),
            )
        });
        upload.layer(Arc::clone(&layer));
        layers.push(layer);
    };
    for buildpack in &contents.buildpacks {
        buildpack.layers.iter().for_each(|(_, cached, _)| hand_in(cached));
    }
    contents.sbom.iter().for_each(&mut hand_in);
    if layers.is_empty() {
        // An image must have a layer.
        let empty = FilesLayer::new("empty cache", Style::Reference);
        let layer = store.pack(Arc::new(empty), packing, Expected::New, Arc::clone(progress));
        upload.layer(Arc::clone(&layer));
        layers.push(layer);
    }
    let mut handed_in = layers.iter();
    let label = contents.write_each(|_| match handed_in.next() {
        Some(layer) => Ok(layer.diff_id()?),
        None => Ok(lifecycle_image::DiffId(lifecycle_image::Digest::of(b""))),
    })?;

    let mut image = Image::empty(cache.platform);
    let mut seen = Vec::new();
    for layer in layers {
        let diff_id = layer.diff_id()?;
        if !seen.contains(&diff_id) {
            let history = History {
                created: Some(CREATED.to_owned()),
                ..History::default()
            };
            image = mutate::append(image, layer, history);
            seen.push(diff_id);
        }
    }
    image = mutate::configure(image, |config| {
        config.created = Some(CREATED.to_owned());
        config.set_label(label::CACHE, label.to_json());
    });
    upload.finish(&image)?;
    Ok(label)
}
