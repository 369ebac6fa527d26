//! The launch cache: layers of app images in a daemon, which would have to save a whole image to give one of them back
//! (CACHE-06). It is a cache directory without metadata, in the reference's format.

use std::path::Path;
use std::sync::Arc;

use lifecycle_image::{Image, Layer, TransferError};

use crate::Reporter;
use crate::cache::{CacheDirectory, CachedContents};
use crate::reporter::explain;

/// The image, with the layers that the cache has read from there.
pub(crate) fn serve(image: Image, cache: Option<&Path>) -> Result<Image, TransferError> {
    let Some(cache) = cache.map(CacheDirectory::new) else {
        return Ok(image);
    };
    let cached = |layer: &Arc<dyn Layer>| {
        let found = layer
            .diff_id()
            .ok()
            .and_then(|diff_id| cache.layer(&diff_id).ok());
        found.unwrap_or_else(|| Arc::clone(layer))
    };
    let layers = image.layers().iter().map(cached).collect();
    Ok(Image::assemble(image.encode_config()?, layers)?)
}

/// Replaces what the cache has by the layers of the image that was just written. It is not worth a failed build.
pub(crate) fn keep(layers: &[CachedContents], cache: &Path, reporter: &dyn Reporter) {
    if let Err(error) = CacheDirectory::new(cache).write_layers(layers, reporter) {
        reporter.warning(&format!("Failed to write the launch cache: {}", explain(&error)));
    }
}
