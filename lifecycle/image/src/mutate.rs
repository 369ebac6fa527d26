//! New images from old ones. Pure: nothing is read or written.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{Descriptor, Family, History, Image, ImageConfig, Layer};

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

/// `image` with the same files in other forms: as many layers as before, and the history as it is.
#[must_use]
pub fn exchange_layers(image: Image, exchanged: Vec<Arc<dyn Layer>>) -> Image {
    image.change_layers(|layers, _| *layers = exchanged)
}

/// `image` with `layer` in place of all but the lowest `kept` layers. Its line is that of the last of them; the others stand
/// for no layer any more.
#[must_use]
pub fn merge_layers(image: Image, kept: usize, layer: Arc<dyn Layer>) -> Image {
    image.change_layers(|layers, lines| {
        layers.truncate(kept);
        layers.push(layer);
        let with_layers = lines.iter_mut().filter(|line| !line.empty_layer);
        let mut own: Vec<&mut History> = with_layers.skip(kept).collect();
        own.pop();
        for line in own {
            line.empty_layer = true;
        }
    })
}

/// `image` with changed annotations on its manifest.
#[must_use]
pub fn annotate(image: Image, change: impl FnOnce(&mut BTreeMap<String, String>)) -> Image {
    image.change_annotations(change)
}

/// `image` as something that is said about `subject`, another manifest: a referrer.
#[must_use]
pub fn refer(image: Image, subject: Descriptor) -> Image {
    image.change_subject(subject)
}

/// `image` with the media types of `family`: manifest, configuration and layers, never mixed.
#[must_use]
pub fn convert(image: Image, family: Family) -> Image {
    image.change_family(family)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Compression;
    use crate::tests::samples::{diff_ids, image, layer};

    fn line(text: &str, empty_layer: bool) -> History {
        History {
            created_by: Some(text.to_owned()),
            empty_layer,
            ..History::default()
        }
    }

    fn lines(image: &Image) -> Vec<Option<&str>> {
        let history = &image.config().history;
        history.iter().map(|line| line.created_by.as_deref()).collect()
    }

    #[test]
    fn append_puts_layer_and_line_on_top() {
        let base = image(&["a"]);
        let upper = layer("x", "y", Family::Oci, Compression::Gzip);
        // A layer is a layer, whatever its line says.
        let appended = append(base.clone(), Arc::clone(&upper), line("top", true));
        assert_eq!(appended.layers().len(), 2);
        assert_eq!(appended.config().history.last(), Some(&line("top", false)));
        let config = appended.encode_config().unwrap();
        let config: ImageConfig = serde_json::from_slice(&config.bytes).unwrap();
        assert_eq!(config.rootfs.diff_ids, diff_ids(&appended));
        assert_ne!(appended.digest().unwrap(), base.digest().unwrap());
        let remarked = remark(appended, line("note", false));
        assert_eq!(remarked.layers().len(), 2);
        assert_eq!(remarked.config().history.last(), Some(&line("note", true)));
    }

    #[test]
    fn align_history_keeps_lines_that_match_and_blanks_the_rest() {
        let matching = remark(image(&["a", "b"]), line("note", true));
        assert_eq!(
            lines(&align_history(matching)),
            [Some("layer 0"), Some("layer 1")]
        );
        let missing = configure(image(&["a", "b"]), |config| drop(config.history.pop()));
        assert_eq!(lines(&align_history(missing)), [None, None]);
        let none = configure(image(&["a"]), |config| config.history.clear());
        assert_eq!(lines(&align_history(none)), [None]);
    }

    #[test]
    fn replace_base_exchanges_layers_and_lines_below() {
        let base = configure(image(&["new 0", "new 1", "new 2"]), |config| {
            for line in &mut config.history {
                line.created_by = Some("new base".into());
            }
        });
        let app = remark(image(&["old", "app"]), line("note", true));
        let rebased = replace_base(app.clone(), 1, &base);
        let expected = [&diff_ids(&base)[..], &diff_ids(&app)[1..]].concat();
        assert_eq!(diff_ids(&rebased), expected);
        let new = Some("new base");
        assert_eq!(lines(&rebased), [new, new, new, Some("layer 1")]);
        assert_eq!(rebased.config().config, app.config().config);
        // More than there is means all.
        assert_eq!(replace_base(app, 9, &base).layers().len(), 3);
    }

    #[test]
    fn annotations_change_the_manifest_and_not_the_configuration() {
        let plain = image(&["a"]);
        let annotated = annotate(plain.clone(), |all| {
            all.insert("k".into(), "v".into());
        });
        assert_eq!(plain.encode_config().unwrap(), annotated.encode_config().unwrap());
        assert_ne!(plain.digest().unwrap(), annotated.digest().unwrap());
    }
}
