//! `warmer`: base images in a directory, and builds that take them from there.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, SystemTime};

use lifecycle_dockerfile::{BuildArgs, Dockerfile, PlanOptions, Platforms, StageBase};
use lifecycle_executor::ExecutorError;
use lifecycle_image::layout::Layout;
use lifecycle_image::{
    Artifact, Digest, Image, Platform, Reference, Sink, Source, TransferError, TransferErrorKind,
};
use lifecycle_registry::Registry;

use super::registries;
use super::settings::Settings;
use crate::commands::build::{build_args, dockerfile_platform, failure_of};
use crate::console::Console;
use crate::context::FoundDockerfile;
use crate::environment::Environment;
use crate::failure::Failure;
use crate::session::{Destination, Session};
use crate::signals::Interruption;
use crate::transfer;

/// Brings the images that are asked for into the directory.
pub(super) fn run(
    settings: &Settings,
    environment: Environment,
    console: &Console,
    interruption: &Interruption,
) -> Result<(), Failure> {
    let speaking = registries::settings(&settings.registry, &[], &environment)?;
    let session = Session::with_registry(
        settings.store.clone(),
        speaking,
        environment,
        console.clone(),
        interruption.clone(),
    )?;
    interruption.listen(console)?;
    let platform = settings.platform.clone().unwrap_or_else(Platform::host);
    let mut names: BTreeSet<String> = settings.images.iter().cloned().collect();
    names.extend(named_in_dockerfile(settings, &platform, &session)?);
    if names.is_empty() {
        return Err(Failure::new("argument", "there is no image to bring")
            .help("name images with --image, or a Dockerfile with --dockerfile"));
    }
    let registry = session.registry()?;
    let layout = Layout::create(&settings.cache_dir)?.watched(session.progress());
    for name in names {
        let reference: Reference = name.parse()?;
        let image = registry.image(&reference, &platform)?;
        if !settings.overwrite && is_here(&layout, &image, settings.cache_ttl)? {
            console.info(format!("{name} is there already"));
            continue;
        }
        let to = Destination {
            // Several images may have the same tag; only the whole name tells them apart.
            sink: Box::new(layout.clone().under(reference.to_string())) as Box<dyn Sink>,
            names: vec![reference],
        };
        transfer::write(&image, &to)?;
        console.info(format!("brought {name}"));
    }
    Ok(())
}

/// The images that the stages of a Dockerfile start from and copy from.
fn named_in_dockerfile(
    settings: &Settings,
    platform: &Platform,
    session: &Session,
) -> Result<BTreeSet<String>, Failure> {
    if settings.dockerfile == Settings::default().dockerfile && !settings.images.is_empty() {
        return Ok(BTreeSet::new());
    }
    let path = Path::new(&settings.dockerfile);
    let found = FoundDockerfile::at(path)?
        .ok_or_else(|| Failure::new("dockerfile", format!("there is no Dockerfile {}", path.display())))?;
    let wrong = |diagnostics| failure_of(&ExecutorError::Invalid(diagnostics), &session.console);
    let dockerfile = Dockerfile::parse(found.name, found.bytes).map_err(wrong)?;
    let build_args: BuildArgs = build_args(&settings.build_args, session)?;
    let plan = dockerfile
        .plan(&PlanOptions {
            target: None,
            build_args: &build_args,
            platforms: Platforms {
                build: dockerfile_platform(&Platform::host()),
                target: dockerfile_platform(platform),
            },
            contexts: &BTreeSet::new(),
            ignore: None,
        })
        .map_err(|diagnostic| wrong(vec![diagnostic]))?;
    let mut names = BTreeSet::new();
    for stage in plan.all_stages() {
        if let StageBase::Image(name) = &stage.base {
            names.insert(name.clone());
        }
        names.extend(stage.images().into_iter().map(str::to_owned));
    }
    Ok(names)
}

/// Whether all of an image is in the layout, and young enough.
fn is_here(layout: &Layout, image: &Image, ttl: Duration) -> Result<bool, Failure> {
    let digest = image.digest()?;
    if !layout.has(&digest) || !is_young(layout, &digest, ttl) {
        return Ok(false);
    }
    for layer in image.layers() {
        if !layout.has(&layer.descriptor()?.digest) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_young(layout: &Layout, digest: &Digest, ttl: Duration) -> bool {
    let path = layout
        .directory()
        .join("blobs")
        .join(digest.algorithm())
        .join(digest.hex());
    let changed = path.metadata().and_then(|metadata| metadata.modified());
    changed.is_ok_and(|changed| {
        SystemTime::now()
            .duration_since(changed)
            .is_ok_and(|age| age <= ttl)
    })
}

/// Base images of registries, whose layers are read from the warmer's directory where it has them. When a registry cannot
/// be reached, the image that the warmer brought under the name is taken.
#[derive(Debug)]
pub(super) struct Warmed {
    registry: Registry,
    layout: Option<Layout>,
    ttl: Duration,
    console: Console,
}

impl Warmed {
    pub(super) fn new(settings: &Settings, session: &Session) -> Result<Self, Failure> {
        Ok(Self {
            registry: session.registry()?.clone(),
            layout: Layout::open(&settings.cache_dir).ok(),
            ttl: settings.cache_ttl,
            console: session.console.clone(),
        })
    }

    /// What the warmer brought under this name, unless it is too old; why it is asked is said.
    fn brought(&self, reference: &Reference, why: &TransferError) -> Option<Artifact> {
        let layout = self.layout.as_ref()?;
        let artifact = layout.artifact(reference).ok()?;
        let Artifact::Image(image) = &artifact else {
            return None;
        };
        if !is_young(layout, &image.digest().ok()?, self.ttl) {
            return None;
        }
        self.console.warning(format!(
            "{reference} is taken from {}, because its registry cannot be reached: {why}",
            layout.directory().display()
        ));
        Some(artifact)
    }

    /// The image with this digest, if the warmer brought it and it is young enough.
    fn warm(&self, digest: &Digest) -> Option<Image> {
        let layout = self.layout.as_ref()?;
        if !layout.has(digest) || !is_young(layout, digest, self.ttl) {
            return None;
        }
        layout
            .member(&format!("image@{digest}").parse().ok()?, digest)
            .ok()
    }
}

impl Source for Warmed {
    fn artifact(&self, reference: &Reference) -> Result<Artifact, TransferError> {
        let found = match self.registry.artifact(reference) {
            Err(error) if error.kind == TransferErrorKind::Unavailable => {
                return self.brought(reference, &error).ok_or(error);
            }
            answer => answer?,
        };
        Ok(match found {
            Artifact::Image(image) => {
                let digest = image.digest().map_err(|cause| {
                    TransferError::caused(
                        TransferErrorKind::Corrupt,
                        format!("cannot use {reference}"),
                        cause,
                    )
                })?;
                Artifact::Image(self.warm(&digest).map_or(image, Box::new))
            }
            index @ Artifact::Index(_) => index,
        })
    }

    fn member(&self, reference: &Reference, digest: &Digest) -> Result<Image, TransferError> {
        match self.warm(digest) {
            Some(image) => Ok(image),
            None => self.registry.member(reference, digest),
        }
    }
}
