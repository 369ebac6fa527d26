//! Analysis: what the previous image was, and which run image the next one gets (cnb.md 1.4, 1.13).

mod error;
mod options;
mod report;

#[cfg(test)]
mod tests;

use std::thread;

use lifecycle_image::{Image, Reference, TransferErrorKind};
use lifecycle_spec::label::{self, LifecycleLabel};
use lifecycle_spec::{AnalyzedToml, RunImage};

pub use error::AnalyzeError;
pub use options::AnalyzeOptions;
pub use report::AnalyzeReport;

use crate::reporter::explain;
use crate::{CacheImage, FileError, Images, Phase, Reporter, files, images, launch_cache, layer, targets};

/// Looks at the previous image, chooses the run image, checks that the result can be written, and writes
/// `analyzed.toml`.
pub fn analyze(
    options: &AnalyzeOptions,
    images: &Images<'_>,
    cache: Option<&CacheImage<'_>>,
    reporter: &dyn Reporter,
) -> Result<AnalyzeReport, AnalyzeError> {
    reporter.phase(Phase::Analyze);
    let outputs: Vec<&Reference> = [&options.image].into_iter().chain(&options.tags).collect();
    images.check_one_registry(&outputs)?;
    // Each of these waits for answers of a registry.
    let (writable, previous, run_image) = thread::scope(|scope| {
        let writable = scope.spawn(|| check_access(&outputs, images, cache));
        let previous = scope.spawn(|| previous_image(options, images, reporter));
        let run_image = run_image(options, images);
        (join(writable), join(previous), run_image)
    });
    writable?;
    let previous = previous?;
    let run_image = run_image?;
    let mut analyzed = AnalyzedToml {
        run_image: Some(run_image),
        ..AnalyzedToml::default()
    };
    if let Some(previous) = previous {
        if options.api.has_sbom_layers() && !options.skip_layers {
            restore_sbom(options, &previous, reporter);
        }
        analyzed.previous_image = Some(previous.identifier);
        analyzed.metadata = previous.label;
    }
    let mut text = analyzed.to_toml();
    // A label may nest tables deeper than any phase reads them.
    if let Err(flaw) = AnalyzedToml::parse(&options.analyzed, text.as_bytes()) {
        reporter.warning(&format!("nothing of the previous image is reused: {flaw}"));
        analyzed.metadata = LifecycleLabel::default();
        text = analyzed.to_toml();
    }
    files::write(&options.analyzed, &text).map_err(FileError::from)?;
    Ok(AnalyzeReport { analyzed })
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|cause| std::panic::resume_unwind(cause))
}

/// Fails now rather than after the build if its result cannot be written (AN-07).
fn check_access(
    outputs: &[&Reference],
    images: &Images<'_>,
    cache: Option<&CacheImage<'_>>,
) -> Result<(), AnalyzeError> {
    let app = images
        .access
        .map(|access| outputs.iter().map(move |reference| (access, *reference)));
    let cache = cache.and_then(|cache| Some((cache.access?, &cache.reference)));
    let checks: Vec<_> = app.into_iter().flatten().chain(cache).collect();
    let check = |(access, reference): &(&dyn crate::Access, &Reference)| {
        access
            .check_write(reference)
            .map_err(|cause| AnalyzeError::Write {
                image: reference.to_string(),
                cause,
            })
    };
    crate::parallel::for_each(&checks, check).into_iter().collect()
}

/// The previous image, as far as it is of use.
struct Previous {
    identifier: String,
    image: Image,
    label: LifecycleLabel,
}

/// Reads the previous image. That there is none, or that it is damaged, only means that nothing is reused (AN-06,
/// AN-11).
fn previous_image(
    options: &AnalyzeOptions,
    images: &Images<'_>,
    reporter: &dyn Reporter,
) -> Result<Option<Previous>, AnalyzeError> {
    let name = options
        .previous_image
        .clone()
        .unwrap_or_else(|| options.image.to_string());
    let found = images.find(&name, &options.image).and_then(|(reference, image)| {
        let identifier = images.identifiers.of(&reference, &image)?;
        let image = launch_cache::serve(image, options.launch_cache.as_deref())?;
        Ok((identifier, image))
    });
    let (identifier, image) = match found {
        Ok(found) => found,
        Err(error) => {
            let text = format!("Previous image with name {name:?} not found");
            match error.kind {
                TransferErrorKind::NotFound | TransferErrorKind::NoPlatform => reporter.info(&text),
                // Registries hide repositories that do not exist; whoever may write there will find out.
                TransferErrorKind::Unauthorized => reporter.info(&format!("{text}: {}", explain(&error))),
                TransferErrorKind::Corrupt | TransferErrorKind::Unsupported => {
                    reporter.warning(&format!(
                        "ignoring the previous image {name:?}: {}",
                        explain(&error)
                    ));
                }
                TransferErrorKind::Unavailable | TransferErrorKind::Local => {
                    return Err(AnalyzeError::PreviousImage {
                        image: name,
                        cause: error,
                    });
                }
            }
            return Ok(None);
        }
    };
    let label = match image.config().label(label::LIFECYCLE).map(LifecycleLabel::parse) {
        None => LifecycleLabel::default(),
        Some(Ok(label)) => label,
        Some(Err(flaw)) => {
            reporter.warning(&format!(
                "nothing of the previous image {name:?} is reused: {flaw}"
            ));
            LifecycleLabel::default()
        }
    };
    Ok(Some(Previous {
        identifier,
        image,
        label,
    }))
}

/// Chooses the run image and looks at it (AN-05, AN-09).
fn run_image(options: &AnalyzeOptions, images: &Images<'_>) -> Result<RunImage, AnalyzeError> {
    let name = if let Some(name) = &options.run_image {
        name.clone()
    } else {
        let candidates = images::run_image_candidates(options.api, &options.run, &options.stack)?;
        images.choose_run_image(&candidates, &options.image)?
    };
    let failed = |cause| AnalyzeError::RunImage {
        image: name.clone(),
        cause,
    };
    let (reference, image) = images.find(&name, &options.image).map_err(failed)?;
    let identifier = images.identifiers.of(&reference, &image).map_err(failed)?;
    let mut run_image = RunImage {
        reference: identifier,
        ..RunImage::default()
    };
    if options.api.has_targets() {
        let target = targets::of_image(image.config());
        if target.os.is_empty() {
            return Err(AnalyzeError::NoOperatingSystem { image: name });
        }
        run_image.image = Some(name);
        run_image.target = Some(target);
    }
    Ok(run_image)
}

/// Unpacks the previous image's SBOM layer, for the restorer (AN-10). It is worth no failed build.
fn restore_sbom(options: &AnalyzeOptions, previous: &Previous, reporter: &dyn Reporter) {
    let Some(sbom) = previous.label.sbom.as_ref().filter(|sbom| !sbom.sha.is_empty()) else {
        return;
    };
    let restored = layer::find(&previous.image, &sbom.sha)
        .and_then(|layer| layer::unpack_tree(&*layer, &options.layers, "launch", reporter));
    if let Err(reason) = restored {
        reporter.warning(&format!(
            "the SBOM of the previous image is not restored: {}",
            explain(&reason)
        ));
    }
}
