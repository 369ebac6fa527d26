//! Exporting: directories become layers, layers an image (cnb.md 1.8, EXP-*; lifecycle.md 3).
//!
//! [`parts`] says which layers the image has, in order, and from what each is made. All of them are handed to the store
//! at once, which makes one after the other, and to the upload, which follows: reading, hashing, compressing and
//! sending overlap. What the previous image has already is hashed only. When the last diff ID is known, [`labels`] and
//! [`config`] complete the image, and its manifest makes it visible.

mod cached;
mod config;
mod error;
mod extension;
mod intact;
mod labels;
mod options;
mod parts;
mod report;

use std::sync::Arc;
use std::thread;

use lifecycle_image::{Image, Layer, Progress, Upload, mutate};
use lifecycle_spec::label::CacheLabel;
use lifecycle_spec::{AnalyzedToml, GroupToml, MetadataToml, ProjectMetadataToml, RunImage};
use lifecycle_store::{Expected, Store};

pub use error::ExportError;
pub use options::ExportOptions;
pub use report::{ExportReport, ExportedLayer, LayerOrigin};

use self::intact::IntactLayers;
use self::parts::{Made, Part, Parts, Source};
use crate::cache::{Cache, CacheContents, CacheDirectory, CacheError, write_image};
use crate::reporter::explain;
use crate::{
    CacheOptions, FileError, Identifiers, Images, Phase, Quiet, Reporter, files, launch_cache, layer, sboms,
};

/// When everything was made, unless `SOURCE_DATE_EPOCH` says otherwise (OWN-02).
pub(crate) const CREATED: &str = "1980-01-01T00:00:01Z";
/// The same in seconds since the epoch.
pub(crate) const CREATED_SECONDS: i64 = 315_532_801;

/// Writes the app image under all its names, then `report.toml`, then the caches.
pub fn export(
    options: &ExportOptions,
    images: &Images<'_>,
    cache: &CacheOptions<'_>,
    store: &Store,
    reporter: &Arc<dyn Reporter>,
) -> Result<ExportReport, ExportError> {
    reporter.phase(Phase::Export);
    let inputs = Inputs::read(options, images, &**reporter)?;
    if options.parallel && cache.is_none() {
        reporter.warning(
            "Parallel export has been enabled, but it has not taken effect because no cache has been specified.",
        );
    }
    // What cannot work is known before the first byte is read.
    let entrypoint = config::entrypoint(options, &inputs.metadata)?;
    add_lifecycle_sboms(options, &**reporter)?;
    // What is wrong with the old cache was told when it was restored from.
    let before = Cache::read(cache, &Quiet);
    let parts = Parts::find(options, &inputs, &before)?;

    let mut upload = images
        .sink
        .begin(&options.images)
        .map_err(|cause| ExportError::write(options, cause))?;
    let progress: Arc<dyn Progress> = Arc::clone(reporter) as Arc<dyn Progress>;
    // A registry finds or mounts them meanwhile. Layouts do without those that are not there (LAY-03).
    for layer in inputs.base.layers() {
        upload.layer(Arc::clone(layer));
    }
    let make = |part| Made {
        part,
        layer: make(part, &inputs, store, options, &progress),
    };
    let making = Making {
        options,
        inputs: &inputs,
        parts: &parts,
        made: parts.all.iter().map(make).collect(),
        reporter,
    };
    for made in &making.made {
        upload.layer(Arc::clone(&made.layer));
    }
    let finish = || making.finish(upload, images, &entrypoint);
    let fill_caches = || making.fill_caches(cache, &before.label, store);
    if cache.is_none() {
        return finish();
    }
    let (finished, label) = if options.parallel {
        thread::scope(|scope| {
            let filling = scope.spawn(fill_caches);
            let finished = finish()?;
            let label = filling.join();
            Ok::<_, ExportError>((
                finished,
                label.unwrap_or_else(|cause| std::panic::resume_unwind(cause)),
            ))
        })?
    } else {
        (finish()?, fill_caches())
    };
    keep_unpacked(cache, label.as_ref(), &parts.intact, options);
    Ok(finished)
}

/// An image whose layers are being made.
struct Making<'a> {
    options: &'a ExportOptions,
    inputs: &'a Inputs,
    parts: &'a Parts,
    made: Vec<Made<'a>>,
    reporter: &'a Arc<dyn Reporter>,
}

impl Making<'_> {
    /// Completes the image as soon as all layers are known, and writes its manifest, then `report.toml`.
    fn finish(
        &self,
        upload: Box<dyn Upload>,
        images: &Images<'_>,
        entrypoint: &str,
    ) -> Result<ExportReport, ExportError> {
        let Self { options, inputs, .. } = *self;
        let failed = |cause| ExportError::write(options, cause);
        let labels = labels::of(options, inputs, &self.parts.buildpacks, &self.made)?;
        let image = assemble(options, inputs, &self.made);
        let created = config::created(options, &**self.reporter);
        let image = config::configure(image, options, &labels, entrypoint, &created);
        let layers = report::layers(inputs, &self.made)?;
        tell(&layers, &**self.reporter);
        let receipt = upload.finish(&image).map_err(failed)?;
        let encoded = image.encode_config().map_err(|error| failed(error.into()))?;
        let mut report = images.report(&image, &receipt).map_err(failed)?;
        report.bom = report::legacy_bom(options, inputs)?;
        files::write(&options.report, &report.to_toml(options.api)).map_err(FileError::from)?;
        if let Some(cache) = &options.launch_cache {
            launch_cache::keep(&cached::of_image(&self.made), cache, &**self.reporter);
        }
        let processes = inputs.metadata.processes.iter();
        Ok(ExportReport {
            receipt,
            image_id: encoded.descriptor.digest,
            report,
            layers,
            processes: processes.map(|process| process.process_type.clone()).collect(),
            entrypoint: entrypoint.to_owned(),
        })
    }

    /// Writes the caches, and says what the cache directory holds now.
    fn fill_caches(
        &self,
        cache: &CacheOptions<'_>,
        before: &CacheLabel,
        store: &Store,
    ) -> Option<CacheLabel> {
        let Self { options, parts, .. } = *self;
        let contents = cached::contents(
            options,
            &parts.buildpacks,
            &self.made,
            before,
            &parts.intact,
            &**self.reporter,
        );
        write_caches(&contents, cache, store, options, self.reporter)
    }
}

/// Keeps unpacked what the cache directory holds, now that nobody reads the layers directory any more.
fn keep_unpacked(
    cache: &CacheOptions<'_>,
    label: Option<&CacheLabel>,
    intact: &IntactLayers,
    options: &ExportOptions,
) {
    let is_intact = |buildpack: &_, layer: &_| intact.diff_id(buildpack, layer).is_some();
    if let (Some(unpacked), Some(label)) = (&cache.unpacked, label)
        && let Err(error) = unpacked.keep(label, &options.layers, &is_intact)
    {
        // The next build unpacks tars.
        tracing::debug!(%error, "layers do not stay unpacked");
    }
}

/// What the image is made from, apart from directories.
pub(crate) struct Inputs {
    run_image: RunImage,
    analyzed: AnalyzedToml,
    group: GroupToml,
    metadata: MetadataToml,
    project: ProjectMetadataToml,
    /// The run image as it was before extensions changed it.
    base: Image,
    /// The run image as extensions left it, if they did.
    extended: Option<Image>,
    /// The image that is replaced, if it is still there.
    previous: Option<Image>,
    /// Whether all of these are in a daemon.
    in_daemon: bool,
}

impl Inputs {
    fn read(
        options: &ExportOptions,
        images: &Images<'_>,
        reporter: &dyn Reporter,
    ) -> Result<Self, ExportError> {
        let context = options.images.first().ok_or(ExportError::NoImage)?;
        let names: Vec<_> = options.images.iter().collect();
        images.check_one_registry(&names)?;
        let analyzed = files::read(&options.analyzed, AnalyzedToml::parse)?;
        let run_image = analyzed
            .run_image
            .clone()
            .filter(|image| !image.reference.is_empty());
        let run_image = run_image.ok_or(ExportError::NoRunImage)?;
        let base = images
            .identified(&run_image.reference, context)
            .map_err(|cause| ExportError::RunImage {
                image: run_image.reference.clone(),
                cause,
            })?;
        let extended = (options.api.extends_run_image() && run_image.extend)
            .then(|| extension::read(options, &base))
            .transpose()?;
        // A part of the previous image is worth having, but not worth failing for.
        let previous = match analyzed
            .previous_image
            .as_deref()
            .filter(|previous| !previous.is_empty())
        {
            None => None,
            Some(previous) => match images.identified(previous, context) {
                Ok(image) => {
                    let served = launch_cache::serve(image, options.launch_cache.as_deref());
                    Some(served.map_err(|cause| ExportError::RunImage {
                        image: previous.to_owned(),
                        cause,
                    })?)
                }
                Err(error) => {
                    reporter.warning(&format!(
                        "nothing of the previous image {previous} is reused: {}",
                        explain(&error)
                    ));
                    None
                }
            },
        };
        let path = options.layers.here.join("config").join("metadata.toml");
        let metadata = files::read(&path, MetadataToml::parse)?;
        let project = files::read_if_there(&options.project_metadata, ProjectMetadataToml::parse)?;
        Ok(Self {
            run_image,
            group: files::read(&options.group, GroupToml::parse)?,
            metadata,
            project: project.unwrap_or_default(),
            base,
            extended,
            previous,
            in_daemon: matches!(images.identifiers, Identifiers::Daemon(_)),
            analyzed,
        })
    }
}

/// Begins to make a layer. What the previous image had under the same name is expected to be the same.
fn make(
    part: &Part,
    inputs: &Inputs,
    store: &Store,
    options: &ExportOptions,
    progress: &Arc<dyn Progress>,
) -> Arc<dyn Layer> {
    match &part.source {
        Source::Previous(layer) => Arc::clone(layer),
        Source::Contents(contents) => {
            // A daemon gives layers back only with all of their image, and does without what it has in any case.
            let previous = inputs
                .previous
                .as_ref()
                .filter(|_| part.was_there && !inputs.in_daemon);
            let layers = previous.map(Image::layers);
            let expected = match (&part.diff_id, layers) {
                (Some(diff_id), layers) => Expected::known(diff_id.clone(), layers.unwrap_or_default()),
                (None, Some(layers)) => Expected::among(layers),
                (None, None) => Expected::New,
            };
            store.pack(
                Arc::clone(contents),
                options.packing,
                expected,
                Arc::clone(progress),
            )
        }
    }
}

/// The base with the layers on top, each with its line of history.
fn assemble(options: &ExportOptions, inputs: &Inputs, made: &[Made<'_>]) -> Image {
    let base = mutate::align_history(inputs.base.clone());
    let base = match &inputs.extended {
        None => base,
        Some(extended) => extension::configure(base, extended),
    };
    made.iter().fold(base, |image, made| {
        mutate::append(image, Arc::clone(&made.layer), made.part.history(options.api))
    })
}

/// The SBOMs of launcher and lifecycle join those of the buildpacks (SBOM-03).
fn add_lifecycle_sboms(options: &ExportOptions, reporter: &dyn Reporter) -> Result<(), ExportError> {
    let Some(directory) = options
        .launcher_sbom
        .as_ref()
        .filter(|_| options.api.has_lifecycle_sboms())
    else {
        return Ok(());
    };
    let missing = sboms::add_lifecycle(&options.layers.here, directory, options.launcher_sbom_is_default)?;
    if !missing.is_empty() {
        reporter.warning(&format!(
            "there is no SBOM of the lifecycle: {} not found",
            missing.join(", ")
        ));
    }
    Ok(())
}

/// One line for each layer, as they have always been told.
fn tell(layers: &[ExportedLayer], reporter: &dyn Reporter) {
    for layer in layers {
        match layer.origin {
            LayerOrigin::Base => {}
            LayerOrigin::Built => reporter.info(&format!("Adding layer '{}'", layer.name)),
            LayerOrigin::Reused => reporter.info(&format!("Reusing layer '{}'", layer.name)),
        }
    }
}

/// Writes the caches, and says what the cache directory holds now. Failing here costs the next build time and this one a
/// warning.
fn write_caches(
    contents: &CacheContents,
    cache: &CacheOptions<'_>,
    store: &Store,
    options: &ExportOptions,
    reporter: &Arc<dyn Reporter>,
) -> Option<CacheLabel> {
    let progress: Arc<dyn Progress> = Arc::clone(reporter) as Arc<dyn Progress>;
    let image = cache
        .image
        .as_ref()
        .map(|image| write_image(image, contents, store, options.packing, &progress));
    let directory = cache
        .directory
        .as_ref()
        .map(|path| CacheDirectory::new(path).write(contents, &**reporter));
    let tell = |error: &CacheError| {
        reporter.warning(&format!("Failed to export cache: {}", explain(error)));
    };
    if let Some(Err(error)) = &image {
        tell(error);
    }
    directory.and_then(|written| written.inspect_err(tell).ok())
}

/// The diff ID of a layer, when it is made.
fn diff_id(layer: &dyn Layer) -> Result<String, ExportError> {
    Ok(layer.diff_id()?.to_string())
}

/// The previous image's layer with a diff ID.
fn previous_layer(inputs: &Inputs, sha: &str) -> Option<Arc<dyn Layer>> {
    inputs
        .previous
        .as_ref()
        .and_then(|image| layer::find(image, sha).ok())
}
