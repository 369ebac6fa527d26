//! Restoring: what earlier builds left, for buildpacks to build upon (cnb.md 1.6, 2.11).

mod decision;
mod error;
mod options;
mod report;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::PathBuf;

use lifecycle_image::{Image, Outcome, Reference, Step};
use lifecycle_layers::Threads;
use lifecycle_spec::{
    AnalyzedToml, BuildImage, GroupModule, GroupToml, LayerName, LayerToml, RunToml, ValueTable,
};

pub use error::RestoreError;
pub use options::RestoreOptions;
pub use report::{RestoreReport, Restored, RestoredLayer};

use self::decision::Decision;
use crate::cache::Cache;
use crate::layer::UnpackError;
use crate::modules::Kind;
use crate::reporter::explain;
use crate::{
    BaseImages, CacheOptions, FileError, Images, Phase, Place, Reporter, files, layer, parallel, sboms,
    targets,
};

/// Brings back metadata, layers and SBOM files of the group's buildpacks, from the previous image's label and from the
/// cache. Whatever is missing or damaged is left out with a warning, metadata included.
///
/// `images` looks again at the run image (RES-06) and at the build image (RES-05); without it, `analyzed.toml` stays as
/// it is. What the extender will extend is put into `bases`, if there is such a place.
pub fn restore(
    options: &RestoreOptions,
    images: Option<&Images<'_>>,
    bases: Option<&BaseImages<'_>>,
    cache: &CacheOptions<'_>,
    reporter: &dyn Reporter,
) -> Result<RestoreReport, RestoreError> {
    reporter.phase(Phase::Restore);
    let group = files::read(&options.group, GroupToml::parse)?;
    for module in &group.buildpacks {
        module.negotiate(Kind::Buildpack.word())?;
    }
    let analyzed = files::read_if_there(&options.analyzed, AnalyzedToml::parse)?;
    if analyzed.is_none() {
        let path = options.analyzed.display();
        reporter.warning(&format!(
            "{path} is not there; nothing of a previous image is restored"
        ));
    }
    let mut analyzed = analyzed.unwrap_or_default();
    if let Some(images) = images
        && complete(options, images, bases, &mut analyzed)?
    {
        files::write(&options.analyzed, &analyzed.to_toml()).map_err(FileError::from)?;
    }
    restore_stores(options, &analyzed, &group)?;
    let mut report = RestoreReport::default();
    if options.skip_layers {
        reporter.info("Skipping buildpack layer analysis");
    } else {
        let cache = Cache::read(cache, reporter);
        let wanted = wanted(options, &analyzed, &cache, &group, reporter);
        report.layers = bring_back(options, &wanted, &cache, reporter)?;
    }
    sboms::clear(&options.layers.here).map_err(FileError::from)?;
    Ok(report)
}

/// Looks at the images again whose references or targets are not known yet, and at those that will be extended. Says
/// whether `analyzed` changed.
fn complete(
    options: &RestoreOptions,
    images: &Images<'_>,
    bases: Option<&BaseImages<'_>>,
    analyzed: &mut AnalyzedToml,
) -> Result<bool, RestoreError> {
    let api = options.api;
    let before = analyzed.clone();
    if let Some(name) = options.build_image.as_ref().filter(|_| api.has_extensions()) {
        let (_, reference) = keep_or_find(name, images, bases)?;
        let build_image = analyzed.build_image.get_or_insert_with(BuildImage::default);
        build_image.reference = reference;
    }
    if let Some(run_image) = analyzed.run_image.as_mut().filter(|_| api.has_targets()) {
        // Without a name there is nothing to look for.
        let name = run_image.image.clone().unwrap_or_default();
        let incomplete = run_image.reference.is_empty() || run_image.target.is_none();
        if !name.is_empty() && (run_image.extend || incomplete || rechecks(options, &name)?) {
            let bases = bases.filter(|_| run_image.extend);
            let (image, reference) = keep_or_find(&name, images, bases)?;
            run_image.reference = reference;
            run_image
                .target
                .get_or_insert_with(|| targets::of_image(image.config()));
        }
    }
    Ok(*analyzed != before)
}

/// The image of a name, and what names exactly this one: put where the extender looks for it, or only looked at.
fn keep_or_find(
    name: &str,
    images: &Images<'_>,
    bases: Option<&BaseImages<'_>>,
) -> Result<(Image, String), RestoreError> {
    let failed = |cause| RestoreError::Image {
        image: name.to_owned(),
        cause,
    };
    let context: Reference = name.parse().map_err(|error: lifecycle_image::InvalidReference| {
        let kind = lifecycle_image::TransferErrorKind::Unsupported;
        failed(lifecycle_image::TransferError::new(kind, error.to_string()))
    })?;
    let found = match bases {
        // The exporter looks where layouts are, the extender only at the digest.
        Some(bases) if images.identifiers.layout_path(&context).is_some() => {
            bases.keep(&context).and_then(|(image, _)| {
                let identifier = images.identifiers.of(&context, &image)?;
                Ok((image, identifier))
            })
        }
        Some(bases) => bases.keep(&context),
        None => images.find(name, &context).and_then(|(reference, image)| {
            let identifier = images.identifiers.of(&reference, &image)?;
            Ok((image, identifier))
        }),
    };
    found.map_err(failed)
}

/// Since Platform API 0.14 a run image that the builder names is made sure of again; it may be another machine that
/// restores (RES-06).
fn rechecks(options: &RestoreOptions, name: &str) -> Result<bool, RestoreError> {
    if !options.api.restorer_resolves_run_image() {
        return Ok(false);
    }
    let run = files::read_if_there(&options.run, RunToml::parse)?.unwrap_or_default();
    Ok(run
        .images
        .iter()
        .any(|entry| entry.image == name || entry.mirrors.iter().any(|mirror| mirror == name)))
}

/// `store.toml` comes back even when layers do not (RES-01).
fn restore_stores(
    options: &RestoreOptions,
    analyzed: &AnalyzedToml,
    group: &GroupToml,
) -> Result<(), RestoreError> {
    for module in &group.buildpacks {
        let store = analyzed
            .metadata
            .buildpack(&module.id)
            .and_then(|layers| layers.store.as_ref());
        if let Some(store) = store {
            let path = options.layers.here.join(module.id.directory()).join("store.toml");
            files::replace(&path, &store.to_toml()).map_err(FileError::from)?;
        }
    }
    Ok(())
}

/// A layer that can come back.
struct Wanted<'a> {
    module: &'a GroupModule,
    name: LayerName,
    metadata: Option<ValueTable>,
    /// The cache's layer that holds its contents, if those come back too.
    contents: Option<String>,
}

impl Wanted<'_> {
    fn label(&self) -> String {
        format!("{}:{}", self.module.id, self.name)
    }

    fn place(&self, layers: &Place) -> Place {
        layers.join(self.module.id.directory()).join(self.name.as_str())
    }

    fn toml(&self, layers: &Place) -> PathBuf {
        layers
            .here
            .join(self.module.id.directory())
            .join(format!("{}.toml", self.name))
    }
}

/// Decides about every layer that image or cache know.
fn wanted<'a>(
    options: &RestoreOptions,
    analyzed: &AnalyzedToml,
    cache: &Cache,
    group: &'a GroupToml,
    reporter: &dyn Reporter,
) -> Vec<Wanted<'a>> {
    let mut wanted = Vec::new();
    for module in &group.buildpacks {
        // Layers are known by the buildpack's id, whatever its version was (LYR-10).
        let app = analyzed
            .metadata
            .buildpack(&module.id)
            .map(|layers| &layers.layers);
        let cached = cache
            .label
            .buildpacks
            .iter()
            .find(|layers| layers.key == module.id)
            .map(|layers| &layers.layers);
        let names: BTreeSet<&String> = app
            .iter()
            .chain(&cached)
            .flat_map(|layers| layers.keys())
            .collect();
        for text in names {
            let label = format!("{}:{text}", module.id);
            // Labels come from images, and a name becomes a path.
            let Ok(name) = LayerName::new(text.as_str()) else {
                reporter.warning(&format!("not restoring {label:?}: that is no layer name"));
                continue;
            };
            let app = app.and_then(|layers| layers.get(text));
            let cached = cached.and_then(|layers| layers.get(text));
            match decision::decide(app, cached, options.api) {
                Decision::Nothing(reason) => reporter.info(&format!("Not restoring {label:?}: {reason}")),
                Decision::Metadata(layer) => {
                    reporter.info(&format!("Restoring metadata for {label:?} from app image"));
                    wanted.push(Wanted {
                        module,
                        name,
                        metadata: layer.data.clone(),
                        contents: None,
                    });
                }
                Decision::Contents { layer, sha } => {
                    reporter.info(&format!("Restoring data for {label:?} from cache"));
                    let contents = Some(sha.to_owned());
                    wanted.push(Wanted {
                        module,
                        name,
                        metadata: layer.data.clone(),
                        contents,
                    });
                }
            }
        }
    }
    wanted
}

/// Who works on which layer. One that is more than its share of all would be the last one and leave the other cores with
/// nothing to do.
fn shares<'a, 'b>(wanted: &'a [Wanted<'b>], cache: &Cache) -> Vec<(&'a Wanted<'b>, Threads)> {
    let size = |wanted: &Wanted<'_>| wanted.contents.as_ref().map_or(0, |sha| cache.size(sha));
    let share = wanted.iter().map(size).sum::<u64>() / parallel::cores() as u64;
    let threads = |wanted| match size(wanted) {
        size if size > share => Threads::Several,
        _ => Threads::One,
    };
    wanted.iter().map(|wanted| (wanted, threads(wanted))).collect()
}

/// Unpacks what has contents, a few at a time; metadata comes after, so that it is there only with its contents
/// (LYR-02).
fn bring_back(
    options: &RestoreOptions,
    wanted: &[Wanted<'_>],
    cache: &Cache,
    reporter: &dyn Reporter,
) -> Result<Vec<RestoredLayer>, RestoreError> {
    let unpack = |(wanted, threads): &(&Wanted<'_>, Threads)| -> Result<(), UnpackError> {
        let Some(sha) = &wanted.contents else {
            return Ok(());
        };
        let (place, diff_id, name) = (wanted.place(&options.layers), sha.parse()?, wanted.label());
        if cache.take_unpacked(&diff_id, &place) {
            reporter.begin(Step::Extract, &name, None).finish(Outcome::Reused);
            return Ok(());
        }
        layer::unpack(&*cache.layer(sha)?, &place, &diff_id, &name, *threads, reporter)
    };
    let has_sbom = options.api.has_sbom_layers() && !cache.label.sbom.sha.is_empty();
    if has_sbom {
        let restored = cache
            .layer(&cache.label.sbom.sha)
            .and_then(|layer| layer::unpack_tree(&*layer, &options.layers, "cache", reporter));
        if let Err(error) = restored {
            reporter.warning(&format!(
                "the SBOM of cached layers is not restored: {}",
                explain(&error)
            ));
        }
    }
    let results = parallel::for_each(&shares(wanted, cache), unpack);
    let mut layers = Vec::new();
    for (wanted, result) in wanted.iter().zip(results) {
        let toml = wanted.toml(&options.layers);
        let restored = match result {
            Ok(()) => {
                let text = LayerToml {
                    metadata: wanted.metadata.clone(),
                    ..LayerToml::default()
                };
                files::replace(&toml, &text.to_restored_toml()).map_err(FileError::from)?;
                sboms::restore(&options.layers.here, &wanted.module.id, &wanted.name)
                    .map_err(FileError::from)?;
                if wanted.contents.is_some() {
                    Restored::Contents
                } else {
                    Restored::Metadata
                }
            }
            Err(error) => {
                reporter.warning(&format!(
                    "not restoring {:?} from the cache: {}",
                    wanted.label(),
                    explain(&error)
                ));
                if let (Some(sha), UnpackError::Extract(_)) = (&wanted.contents, &error) {
                    cache.discard_damaged(sha);
                }
                // Metadata without contents would make the buildpack believe that it has them.
                files::remove(&toml).map_err(FileError::from)?;
                files::remove(&wanted.place(&options.layers).here).map_err(FileError::from)?;
                Restored::Damaged
            }
        };
        layers.push(RestoredLayer {
            buildpack: wanted.module.id.to_string(),
            name: wanted.name.to_string(),
            restored,
        });
    }
    Ok(layers)
}
