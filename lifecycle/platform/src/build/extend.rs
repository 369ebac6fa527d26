//! Image extensions: before the buildpacks build, the Dockerfiles that detection generated are carried out on the two
//! images (cnb.md 3).
//!
//! The extender does that within the root file system of each image, as root of it, with the network and without
//! credentials, like any other step. Of the images it needs manifest and configuration only, which restoring puts into
//! a directory that no buildpack sees.

use std::path::PathBuf;

use lifecycle_image::{Artifact, Digest, Image, Platform, Reference, Source, TransferError};
use lifecycle_phases::{BaseImages, read_document};
use lifecycle_spec::{AnalyzedToml, GroupToml, label};

use super::BuildOptions;
use super::workspace::{ANALYZED, GROUP, Workspace};
use crate::PlatformError;

/// What the builder is called where images have names. It is nowhere, and nothing is asked for by this name.
const BUILDER: &str = "builder.invalid/builder";

/// What detection left for the extender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extensions {
    /// Whether extensions take part at all. Then the extender carries out what there is for the builder, and builds.
    pub(super) build: bool,
    /// Whether the run image is extended.
    pub(super) run: bool,
}

impl Extensions {
    /// Takes over what detection decided: the group and, where extensions take part, which images they want. All else that
    /// a step wrote to these files means nothing: buildpacks share the layers directory with the detector.
    pub(super) fn take_over(
        workspace: &Workspace,
        options: &BuildOptions<'_>,
    ) -> Result<Self, PlatformError> {
        let layers = workspace.layers().here;
        let group = read_document(&layers.join(GROUP), GroupToml::parse)?;
        workspace.write_document(GROUP, &group.to_toml())?;
        if group.extensions.is_empty() {
            return Ok(Self {
                build: false,
                run: false,
            });
        }
        if !may_extend(options) {
            let text =
                "a buildpack changed what detection decided: it names extensions, but none can take part";
            return Err(PlatformError::Image(text.to_owned()));
        }
        let decided = read_document(&layers.join(ANALYZED), AnalyzedToml::parse)?;
        let analyzed = AnalyzedToml {
            build_image: decided.build_image,
            run_image: decided.run_image,
            ..read_document(&workspace.document(ANALYZED), AnalyzedToml::parse)?
        };
        workspace.write_document(ANALYZED, &analyzed.to_toml())?;
        Ok(Self {
            build: true,
            run: analyzed.run_image.is_some_and(|image| image.extend),
        })
    }

    /// The builder's name for the restorer, which puts it where the extender looks.
    pub(super) fn build_image(self) -> Option<String> {
        self.build.then(|| BUILDER.to_owned())
    }
}

/// Whether the order that detection tries may have extensions: the one that was asked for, else the builder's, as far as its
/// labels tell. A builder that was made by hand may say nothing of its modules.
fn may_extend(options: &BuildOptions<'_>) -> bool {
    if let Some(order) = &options.order {
        return !order.order_extensions.is_empty();
    }
    let label = |name| options.builder.config().label(name);
    let has = |name| label(name).is_some_and(|text| !matches!(text.trim(), "" | "null" | "[]" | "{}"));
    label(label::BUILDPACK_LAYERS).is_none() || has(label::EXTENSION_ORDER) || has(label::EXTENSION_LAYERS)
}

/// The run image that restoring settled on.
pub(super) fn run_image(
    workspace: &Workspace,
    source: &dyn Source,
    platform: &Platform,
) -> Result<Image, PlatformError> {
    let reference = read_document(&workspace.document(ANALYZED), AnalyzedToml::parse)?
        .run_image
        .map(|image| image.reference)
        .unwrap_or_default();
    let reference: Reference = reference
        .parse()
        .map_err(|error: lifecycle_image::InvalidReference| PlatformError::Image(error.to_string()))?;
    Ok(source.image(&reference, platform)?)
}

/// Where images that are extended come from: the builder from here, the run image from where it was found.
#[derive(Debug)]
pub(super) struct WithBuilder<'a> {
    pub(super) builder: &'a Image,
    pub(super) others: &'a dyn Source,
}

impl WithBuilder<'_> {
    /// Where the restorer puts them.
    pub(super) fn bases<'b>(&'b self, directory: PathBuf, platform: &'b Platform) -> BaseImages<'b> {
        BaseImages {
            directory,
            source: self,
            platform,
        }
    }
}

impl Source for WithBuilder<'_> {
    fn artifact(&self, reference: &Reference) -> Result<Artifact, TransferError> {
        if reference.repository().to_string() == BUILDER {
            return Ok(Artifact::Image(Box::new(self.builder.clone())));
        }
        self.others.artifact(reference)
    }

    fn member(&self, reference: &Reference, digest: &Digest) -> Result<Image, TransferError> {
        self.others.member(reference, digest)
    }
}
