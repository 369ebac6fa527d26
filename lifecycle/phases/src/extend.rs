//! Extending: carries out the Dockerfiles that extensions generated, inside of the image that they extend (cnb.md 1.8
//! EXT-*, 3.3).
//!
//! The platform starts this phase in a container of the build image or of the run image. The layers of that image are
//! nowhere; its manifest and configuration lie where the restorer put them ([`BaseImages`]). So the executor works on
//! the root file system that is there. What it makes of a run image is written as an OCI layout that holds the new
//! layers only; a build image needs no writing, because the build goes on in the same container.

mod arguments;
mod bases;
mod dockerfiles;
mod error;
mod options;
mod report;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use lifecycle_dockerfile::Platforms;
use lifecycle_executor::{BuildContext, LiveRoot, Offline, Options as BuildOptions, Surroundings};
use lifecycle_image::layout::Layout;
use lifecycle_image::{History, Image, Reference, Sink, mutate};
use lifecycle_spec::label;
use lifecycle_spec::{AnalyzedToml, GroupToml};
use lifecycle_store::Store;

pub use bases::BaseImages;
pub use error::ExtendError;
pub use options::{ExtendKind, ExtendOptions};
pub use report::ExtendReport;

use self::bases::BaseImage;
use self::dockerfiles::ExtensionDockerfile;
use self::report::Watcher;
use crate::export::{CREATED, CREATED_SECONDS};
use crate::modules::Kind;
use crate::{Cancellation, FileError, ModuleError, Phase, Reporter, files};

/// Applies the Dockerfiles of the group's extensions, in their order.
///
/// # Errors
/// [`ExtendError::Dockerfile`] when one cannot be carried out; the root file system is then of no more use.
pub fn extend(
    options: &ExtendOptions,
    store: &Store,
    cancellation: &Cancellation,
    reporter: &Arc<dyn Reporter>,
) -> Result<ExtendReport, ExtendError> {
    reporter.phase(match options.kind {
        ExtendKind::Build => Phase::ExtendBuild,
        ExtendKind::Run => Phase::ExtendRun,
    });
    let analyzed = files::read(&options.analyzed, AnalyzedToml::parse)?;
    let group = files::read(&options.group, GroupToml::parse)?;
    let reference = match options.kind {
        ExtendKind::Build => analyzed.build_image.map(|image| image.reference),
        ExtendKind::Run => analyzed.run_image.map(|image| image.reference),
    };
    let reference = reference
        .filter(|reference| !reference.is_empty())
        .ok_or(ExtendError::NoBase { kind: options.kind })?;
    let (original, name) = BaseImages::read(&options.base_images, &reference)?;
    let mut found = Vec::new();
    for extension in &group.extensions {
        let api = extension
            .negotiate(Kind::Extension.word())
            .map_err(ModuleError::from)?;
        found.extend(ExtensionDockerfile::find(options, extension, api)?);
    }

    let mut extension = Extension::begin(original, name);
    for dockerfile in &found {
        reporter.debug(&format!(
            "Applying {} of extension {} to {}",
            dockerfile.path.display(),
            dockerfile.extension,
            extension.reference
        ));
        extension.apply(options, dockerfile, store, cancellation, reporter)?;
    }
    extension.check_user(options.kind, &**reporter)?;
    let Extension {
        original,
        image,
        executed,
        cached,
        ..
    } = extension;
    let image = match options.kind {
        ExtendKind::Build => image,
        ExtendKind::Run => write(options, &original, image)?,
    };
    Ok(ExtendReport {
        environment: environment(&image),
        dockerfiles: found.len(),
        executed,
        cached,
    })
}

/// An image on its way from Dockerfile to Dockerfile.
struct Extension {
    original: Image,
    /// What the original's configuration says about its user.
    user: String,
    image: Image,
    /// What the image is called in the next Dockerfile.
    reference: String,
    rebasable: bool,
    executed: usize,
    cached: usize,
}

impl Extension {
    fn begin(original: Image, reference: String) -> Self {
        let image = mutate::align_history(original.clone());
        Self {
            user: arguments::user(&original).0.to_owned(),
            original,
            image,
            reference,
            // The original need not say that it can be rebased (EXT-04).
            rebasable: true,
            executed: 0,
            cached: 0,
        }
    }

    fn apply(
        &mut self,
        options: &ExtendOptions,
        dockerfile: &ExtensionDockerfile,
        store: &Store,
        cancellation: &Cancellation,
        reporter: &Arc<dyn Reporter>,
    ) -> Result<(), ExtendError> {
        let failed = |cause| ExtendError::Dockerfile {
            path: dockerfile.path.clone(),
            cause,
        };
        let build = self.build_options(options, dockerfile, cancellation)?;
        // Each Dockerfile has to say it itself: what the image below it says does not count (EXT-04).
        let image = mutate::configure(self.image.clone(), |config| {
            config.set_label(label::REBASABLE, "false");
        });
        let base = BaseImage::new(image, &self.reference, &build.dockerfile);
        let watcher = Watcher(Arc::clone(reporter));
        let surroundings = Surroundings {
            images: &base,
            remote: &Offline,
            store,
            reporter: &watcher,
        };
        let report = lifecycle_executor::build(&build, surroundings).map_err(failed)?;
        self.executed += report.executed;
        self.cached += report.cached;
        let extended = report.finish().map_err(|cause| failed(cause.into()))?;
        let before = arguments::user(&self.image).0.to_owned();
        self.take_over(extended, dockerfile);
        let user = arguments::user(&self.image).0;
        if arguments::is_root(user) && user != before {
            reporter.warning(&format!(
                "{} of extension {} changed the user from {before:?} to {user:?}; an extension behind it must set another one",
                dockerfile.path.display(),
                dockerfile.extension
            ));
        }
        self.reference = format!(
            "intermediate@{}",
            self.image.digest().map_err(ExtendError::image)?
        );
        Ok(())
    }

    fn build_options(
        &self,
        options: &ExtendOptions,
        dockerfile: &ExtensionDockerfile,
        cancellation: &Cancellation,
    ) -> Result<BuildOptions, ExtendError> {
        let text = fs_err::read(&dockerfile.path).map_err(FileError::from)?;
        let platform = self.original.platform();
        let platforms = Platforms::native(lifecycle_dockerfile::Platform {
            os: platform.os,
            architecture: platform.architecture,
            variant: platform.variant.unwrap_or_default(),
            os_version: platform.os_version.unwrap_or_default(),
        });
        let context = BuildContext::Directory(dockerfile.context.clone());
        let mut build = BuildOptions::new(dockerfile.path.display().to_string(), text, context, platforms);
        build.build_args = arguments::of(options, dockerfile, &self.image, &self.reference)
            .into_iter()
            .collect();
        let root = LiveRoot::new(&options.root, options.not_of_the_image()).map_err(FileError::from)?;
        build.live_root = Some(root);
        build.cancellation = cancellation.clone();
        // Nothing in an extended image tells when it was extended (LBL-08).
        build.now = CREATED_SECONDS;
        build.epoch = Some(CREATED_SECONDS);
        build.packing = options.packing;
        Ok(build)
    }

    /// The extended image, with a line of history that names the extension for each of its layers (OWN-05).
    fn take_over(&mut self, extended: Image, dockerfile: &ExtensionDockerfile) {
        let is_rebasable = extended.config().label(label::REBASABLE).is_some_and(is_true);
        self.rebasable &= is_rebasable;
        let before = self.image.layers().len();
        let mut lines = self.image.config().history.clone();
        let extended = mutate::align_history(extended);
        let new = extended.config().history.iter().skip(before).map(|line| History {
            created: Some(CREATED.to_owned()),
            created_by: Some(format!(
                "Layer: '{}', Created by extension: {}",
                line.created_by.as_deref().unwrap_or_default(),
                dockerfile.extension
            )),
            ..History::default()
        });
        lines.extend(new);
        let rebasable = self.rebasable.to_string();
        self.image = mutate::configure(extended, |config| {
            config.history = lines;
            config.created = Some(CREATED.to_owned());
            config.set_label(label::REBASABLE, rebasable);
        });
    }

    /// Processes of an app do not run as root (EXT-05, DKF-05).
    fn check_user(&self, kind: ExtendKind, reporter: &dyn Reporter) -> Result<(), ExtendError> {
        let user = arguments::user(&self.image).0;
        if kind == ExtendKind::Run && arguments::is_root(user) {
            return Err(ExtendError::RootUser {
                user: user.to_owned(),
            });
        }
        if user != self.user {
            reporter.warning(&format!(
                "the user of the base image is {:?}, but the extensions left {user:?}",
                self.user
            ));
        }
        Ok(())
    }
}

/// As Go reads a boolean.
fn is_true(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "TRUE" | "true" | "True")
}

/// Writes a run image where the exporter looks for it: `<extended>/run/<digest>`, without the layers of its base
/// (EXT-06).
fn write(options: &ExtendOptions, original: &Image, image: Image) -> Result<Image, ExtendError> {
    let parent = options.extended.join("run");
    // The exporter takes the one image that is there.
    files::remove(&parent).map_err(FileError::from)?;
    let digest = image.digest().map_err(ExtendError::image)?;
    let name: Reference =
        format!("extended@{digest}")
            .parse()
            .map_err(|error: lifecycle_image::InvalidReference| {
                ExtendError::image(lifecycle_image::TransferError::new(
                    lifecycle_image::TransferErrorKind::Local,
                    error.to_string(),
                ))
            })?;
    let layout = Layout::create(parent.join(digest.to_string())).map_err(ExtendError::image)?;
    let mut upload = layout.sparse().begin(&[name]).map_err(ExtendError::image)?;
    for layer in image.layers().iter().skip(original.layers().len()) {
        upload.layer(Arc::clone(layer));
    }
    upload.finish(&image).map_err(ExtendError::image)?;
    Ok(image)
}

/// The image's variables; values may hold any number of `=` (DKF-07).
fn environment(image: &Image) -> Vec<(String, String)> {
    let lines = image.config().config.env.iter().flatten();
    let pair = |line: &String| {
        let (name, value) = line.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    };
    lines.filter_map(pair).collect()
}
