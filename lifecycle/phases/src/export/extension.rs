//! The layers that extensions added to the run image (EXP-04, EXT-06).

use std::path::PathBuf;
use std::sync::Arc;

use fs_err as fs;
use lifecycle_image::layout::Layout;
use lifecycle_image::{Artifact, Image, mutate};
use lifecycle_layers::RetimedLayer;

use super::parts::{Part, Role, Source};
use super::{CREATED_SECONDS, ExportError, ExportOptions};
use crate::FileError;

/// The run image that the extender left: the one layout in `<extended>/run`.
pub(super) fn read(options: &ExportOptions, base: &Image) -> Result<Image, ExportError> {
    let parent = options.extended.join("run");
    let failed = |reason: String| ExportError::Extended {
        directory: parent.clone(),
        reason,
    };
    let mut found = layouts(&parent)?;
    let path = match (found.pop(), found.pop()) {
        (Some(path), None) => path,
        (None, _) => {
            return Err(failed(
                "there is none; run the extender with -kind run before".to_owned(),
            ));
        }
        (Some(_), Some(_)) => return Err(failed("there are several".to_owned())),
    };
    let image = match Layout::open(path).and_then(|layout| layout.named(None)) {
        Ok(Artifact::Image(image)) => *image,
        Ok(Artifact::Index(_)) => return Err(failed("it is an index of several images".to_owned())),
        Err(error) => return Err(failed(crate::reporter::explain(&error))),
    };
    let (own, all) = (&base.config().rootfs.diff_ids, &image.config().rootfs.diff_ids);
    if all.starts_with(own) {
        Ok(image)
    } else {
        Err(failed(
            "it is not based on the run image of analyzed.toml".to_owned(),
        ))
    }
}

fn layouts(parent: &std::path::Path) -> Result<Vec<PathBuf>, FileError> {
    let entries = match fs::read_dir(parent) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("sha256:") {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// The layers on top of the run image's, each with its line of history. Times are taken out of them: an extension made
/// them at some hour.
pub(super) fn parts(base: &Image, extended: &Image) -> Vec<Part> {
    let count = base.layers().len();
    let extended = mutate::align_history(extended.clone());
    let layers = extended.layers().iter().zip(&extended.config().history);
    let part = |(at, (layer, line)): (
        usize,
        (&Arc<dyn lifecycle_image::Layer>, &lifecycle_image::History),
    )| {
        let name = format!("extension layer {at}");
        let contents = RetimedLayer::new(name.clone(), Arc::clone(layer), CREATED_SECONDS);
        Part {
            role: Role::Extension,
            name,
            buildpack: None,
            created_by: line.created_by.clone().unwrap_or_default(),
            source: Source::Contents(Arc::new(contents)),
            // What did not change since the last build is there.
            was_there: true,
            diff_id: None,
        }
    };
    layers.enumerate().skip(count).map(part).collect()
}

/// The run image with what extensions changed of its configuration.
pub(super) fn configure(base: Image, extended: &Image) -> Image {
    mutate::configure(base, |config| {
        let (rootfs, history) = (config.rootfs.clone(), config.history.clone());
        *config = extended.config().clone();
        config.rootfs = rootfs;
        config.history = history;
    })
}
