//! Rebasing: a new base below the same app, by labels alone (cnb.md 1.8, REB-*). No blob is read.

mod checks;
mod error;
mod options;
mod report;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use lifecycle_image::{Image, Reference, mutate};
use lifecycle_spec::label::{self, LifecycleLabel};
use lifecycle_spec::{PlatformApi, RunImageEntry};

pub use error::RebaseError;
pub use options::RebaseOptions;
pub use report::RebaseReport;

use crate::export::CREATED;
use crate::{FileError, Images, Phase, Reporter, files};

/// Exchanges the run image's layers at the bottom of an app image for those of a new run image, and writes the result
/// under all names.
pub fn rebase(
    options: &RebaseOptions,
    images: &Images<'_>,
    reporter: &dyn Reporter,
) -> Result<RebaseReport, RebaseError> {
    reporter.phase(Phase::Rebase);
    let names: Vec<&Reference> = options.images.iter().collect();
    let Some(first) = names.first().copied() else {
        return Err(RebaseError::NoImage);
    };
    images.check_one_registry(&names)?;
    let source = options
        .previous_image
        .clone()
        .unwrap_or_else(|| first.to_string());
    let read = |name: &str| {
        let failed = |cause| RebaseError::Read {
            image: name.to_owned(),
            cause,
        };
        images.find(name, first).map_err(failed)
    };
    let (_, app) = read(&source)?;
    let label = app
        .config()
        .label(label::LIFECYCLE)
        .ok_or_else(|| RebaseError::NoLabel {
            image: source.clone(),
        })?;
    let mut label = LifecycleLabel::parse(label)?;

    let run_image = if let Some(name) = &options.run_image {
        name.clone()
    } else {
        let recorded = recorded_run_image(options.api, &label);
        images
            .choose_run_image(&recorded, first)
            .map_err(RebaseError::from_choice)?
    };
    let (reference, base) = read(&run_image)?;
    checks::check(options, &app, &label, &run_image, &base, reporter)?;

    let replaced = run_image_layers(&app, &label.run_image.top_layer)?;
    let identifier = images
        .identifiers
        .of(&reference, &base)
        .map_err(|cause| RebaseError::Read {
            image: run_image.clone(),
            cause,
        })?;
    let top = base
        .config()
        .rootfs
        .diff_ids
        .last()
        .ok_or_else(|| RebaseError::EmptyBase {
            image: run_image.clone(),
        })?;
    label.run_image.reference = identifier;
    label.run_image.top_layer = top.to_string();
    if options.api.has_targets() && !records(&label, &run_image) {
        // Only force comes this far (REB-09). Platforms before 0.12 look into the stack.
        label.run_image.source = RunImageEntry {
            image: run_image.clone(),
            mirrors: Vec::new(),
        };
        label.stack.get_or_insert_default().run_image = label.run_image.source.clone();
    }
    let rebased = with_labels(
        mutate::replace_base(app, replaced, &base),
        &base,
        &label,
        options.api,
    );

    let written = || -> Result<_, lifecycle_image::TransferError> {
        let mut upload = images.sink.begin(&options.images)?;
        // A layout may do without the base, but not without these (LAY-03).
        for layer in rebased.layers().iter().skip(base.layers().len()) {
            upload.layer(Arc::clone(layer));
        }
        upload.finish(&rebased)
    };
    let failed = |cause| RebaseError::Write {
        image: first.to_string(),
        cause,
    };
    let receipt = written().map_err(failed)?;
    let report = images.report(&rebased, &receipt).map_err(failed)?;
    files::write(&options.report, &report.to_toml(options.api)).map_err(FileError::from)?;
    Ok(RebaseReport {
        run_image,
        replaced,
        receipt,
        report,
    })
}

/// The run image that the app image names, with mirrors (REB-04).
fn recorded_run_image(api: PlatformApi, label: &LifecycleLabel) -> RunImageEntry {
    let stack = || {
        label
            .stack
            .as_ref()
            .map(|stack| stack.run_image.clone())
            .unwrap_or_default()
    };
    if api.labels_run_image_name() && !label.run_image.source.image.is_empty() {
        label.run_image.source.clone()
    } else {
        stack()
    }
}

/// Whether an app image names a run image, under either key (REB-08).
fn records(label: &LifecycleLabel, run_image: &str) -> bool {
    let stack = label.stack.as_ref().map(|stack| &stack.run_image);
    [&label.run_image.source]
        .into_iter()
        .chain(stack)
        .any(|recorded| names_image(recorded, run_image))
}

/// Whether a run image is the named one or a mirror of it, whatever the digests (REB-08).
fn names_image(recorded: &RunImageEntry, name: &str) -> bool {
    let essence = |name: &str| {
        let reference: Reference = name.parse().ok()?;
        Some((
            reference.repository().clone(),
            reference.tag().unwrap_or("latest").to_owned(),
        ))
    };
    let wanted = essence(name);
    wanted.is_some()
        && [&recorded.image]
            .into_iter()
            .chain(&recorded.mirrors)
            .any(|other| essence(other) == wanted)
}

/// How many layers at the bottom are the run image's: up to the recorded top layer (REB-05).
fn run_image_layers(app: &Image, top_layer: &str) -> Result<usize, RebaseError> {
    let diff_ids = &app.config().rootfs.diff_ids;
    let top = diff_ids.iter().position(|diff_id| diff_id.as_str() == top_layer);
    top.map(|at| at + 1).ok_or_else(|| RebaseError::TopLayer {
        top_layer: top_layer.to_owned(),
    })
}

/// The rebased image says about its base what the new base says (REB-06, REB-07, REB-09).
fn with_labels(image: Image, base: &Image, label: &LifecycleLabel, api: PlatformApi) -> Image {
    mutate::configure(image, |config| {
        let base = base.config();
        let of_base = |key: &str| {
            key.starts_with(label::STACK_PREFIX) || (api.has_targets() && key.starts_with(label::BASE_PREFIX))
        };
        let labels = config.config.labels.get_or_insert_default();
        labels.retain(|key, _| !of_base(key));
        let new = base
            .config
            .labels
            .iter()
            .flatten()
            .filter(|(key, _)| of_base(key));
        labels.extend(new.map(|(key, value)| (key.clone(), value.clone())));
        labels.insert(label::LIFECYCLE.to_owned(), label.to_json());

        config.os.clone_from(&base.os);
        config.architecture.clone_from(&base.architecture);
        config.os_version.clone_from(&base.os_version);
        config.os_features.clone_from(&base.os_features);
        if base.variant.is_some() {
            config.variant.clone_from(&base.variant);
        }
        config.created = Some(CREATED.to_owned());
    })
}
