//! Layers of images, found by diff ID and unpacked.

use std::os::fd::AsFd as _;
use std::sync::Arc;

use fs_err as fs;
use lifecycle_image::{DiffId, Image, Layer, Outcome, Step};
use lifecycle_layers::{CachedLayer, ExtractError, Ownership, Threads};

use crate::{Place, Reporter};

/// A layer could not be brought back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnpackError {
    /// The metadata names what is no diff ID.
    #[error(transparent)]
    DiffId(#[from] lifecycle_image::InvalidDigest),
    /// The image or cache does not hold the layer.
    #[error("there is no layer {0}")]
    Missing(String),
    /// It could not be opened.
    #[error(transparent)]
    Layer(#[from] lifecycle_image::LayerError),
    /// It could not be read or its files not be made.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// It could not be unpacked.
    #[error(transparent)]
    Extract(#[from] ExtractError),
}

/// The layer of an image with a diff ID, as labels write it.
pub(crate) fn find(image: &Image, sha: &str) -> Result<Arc<dyn Layer>, UnpackError> {
    let wanted: DiffId = sha.parse()?;
    let found = image
        .layers()
        .iter()
        .find(|layer| layer.diff_id().is_ok_and(|own| own == wanted));
    found.cloned().ok_or_else(|| UnpackError::Missing(sha.to_owned()))
}

/// Unpacks a directory below the layers directory from a layer, verifying it on the way; it takes the place of what is
/// there when all of it is there.
///
/// Everything belongs to whom the phase runs as: buildpacks are to change it, and only root could give it away.
pub(crate) fn unpack(
    layer: &dyn Layer,
    place: &Place,
    diff_id: &DiffId,
    name: &str,
    threads: Threads,
    reporter: &dyn Reporter,
) -> Result<(), UnpackError> {
    let meter = reporter.begin(Step::Extract, name, layer.known().map(|known| known.size));
    let (Some(parent), Some(last)) = (place.here.parent(), place.here.file_name()) else {
        return Err(UnpackError::Missing(place.here.display().to_string()));
    };
    fs::create_dir_all(parent)?;
    let parent = fs::File::open(parent)?;
    let cached = CachedLayer {
        at: &place.shown,
        diff_id,
        compression: None,
        threads,
    };
    lifecycle_layers::restore(
        layer.open(0)?,
        cached,
        parent.as_fd(),
        last,
        Ownership::Squash,
        &*meter,
    )?;
    meter.finish(Outcome::Done);
    Ok(())
}

/// Unpacks an SBOM tree, `<layers>/sbom/<tree>`.
pub(crate) fn unpack_tree(
    layer: &dyn Layer,
    layers: &Place,
    tree: &str,
    reporter: &dyn Reporter,
) -> Result<(), UnpackError> {
    let diff_id = layer.diff_id()?;
    let place = layers.join("sbom").join(tree);
    unpack(layer, &place, &diff_id, "SBOM", Threads::One, reporter)
}
