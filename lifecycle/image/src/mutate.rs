//! New images from old ones. Pure: nothing is read or written.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{Family, History, Image, ImageConfig, Layer};

/// `image` with a changed configuration. Layers and history are changed by [`append`] and [`replace_base`].
#[must_use]
pub fn configure(image: Image, change: impl FnOnce(&mut ImageConfig)) -> Image {
    image.change_config(change)
}

/// `image` with one more layer on top, and its line of history.
#[must_use]
pub fn append(image: Image, layer: Arc<dyn Layer>, history: History) -> Image {
    image.change_layers(|layers, lines| {
        layers.push(layer);
        lines.push(History {
            empty_layer: false,
            ..history
        });
    })
}

/// `image` with a line of history that stands for no layer.
#[must_use]
pub fn remark(image: Image, history: History) -> Image {
    image.change_layers(|_, lines| {
        lines.push(History {
            empty_layer: true,
            ..history
        });
    })
}

/// `image` with exactly one line of history for each layer, so that further lines stay with their layers.
///
/// Lines of steps without a layer are dropped; if the rest still does not match the layers, as in images whose
/// history is wrong or missing, every layer gets a blank line (reference lifecycle, `lifecycle.md` 3.4).
#[must_use]
pub fn align_history(image: Image) -> Image {
    image.change_layers(|layers, lines| {
        lines.retain(|line| !line.empty_layer);
        if lines.len() != layers.len() {
            *lines = vec![History::default(); layers.len()];
        }
    })
}

/// `image` with its lowest `replaced` layers exchanged for those of `base`; the upper layers and everything in
/// the configuration but the history of the exchanged layers stay.
#[must_use]
pub fn replace_base(image: Image, replaced: usize, base: &Image) -> Image {
    let base = align_history(base.clone());
    align_history(image).change_layers(|layers, lines| {
        layers.splice(..replaced.min(layers.len()), base.layers().iter().cloned());
        lines.splice(..replaced.min(lines.len()), base.config().history.iter().cloned());
    })
}

/// `image` with changed annotations on its manifest.
#[must_use]
pub fn annotate(image: Image, change: impl FnOnce(&mut BTreeMap<String, String>)) -> Image {
    image.change_annotations(change)
}

/// `image` with the media types of `family`: manifest, configuration and layers, never mixed.
#[must_use]
pub fn convert(image: Image, family: Family) -> Image {
    image.change_family(family)
}
