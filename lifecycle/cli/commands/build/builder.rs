//! Which builder builds, and in which order its buildpacks are tried.

use std::path::Path;

use lifecycle_builder::stack;
use lifecycle_builder::{BuilderError, Folder, Workbench, read_file};
use lifecycle_image::{Image, Platform};
use lifecycle_spec::label::{self, BuilderLabel};
use lifecycle_spec::{OrderToml, RunImageEntry, RunToml, StackToml};

use super::modules::{Asked, Chosen};
use crate::commands::builder as builders;
use crate::commands::stack as stacks;
use crate::failure::Failure;
use crate::session::Session;

/// The builder when none is named.
const DEFAULT: &str = "debian-12";

/// A builder that is to be used: a definition to make one from, or an image.
pub(super) enum Builder {
    Definition(builders::BuilderFile),
    Image(String),
}

/// A builder that is there.
pub(super) struct Made {
    pub(super) name: String,
    pub(super) image: Image,
    /// In place of the builder's own, when buildpacks were asked for.
    pub(super) order: Option<OrderToml>,
    pub(super) run_images: RunToml,
}

impl Builder {
    /// The builder that a user names: a document or its folder, an embedded one, or an image.
    pub(super) fn choose(name: Option<&str>) -> Result<Self, Failure> {
        let name = name.unwrap_or(DEFAULT);
        // Any other file may be called like an image.
        let path = Path::new(name);
        if path.is_file() && path.extension().is_none_or(|extension| extension != "toml") {
            return Ok(Self::Image(name.to_owned()));
        }
        match builders::BuilderFile::find(name) {
            Ok(file) => Ok(Self::Definition(file)),
            Err(BuilderError::Unknown { .. }) => Ok(Self::Image(name.to_owned())),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the embedded stack that a definition builds on, unless it is there.
    pub(super) fn make_stack(&self, session: &Session) -> Result<(), Failure> {
        let Self::Definition(file) = self else {
            return Ok(());
        };
        let (toml, _) = file.parse()?;
        for folder in Folder::embedded("stack") {
            let definition = stack::Definition::read(&folder)?;
            let name = definition.reference(stack::Part::Build)?;
            if toml.build_image.parse::<lifecycle_image::Reference>()? == name {
                stacks::make_apart(&definition, session)?;
            }
        }
        Ok(())
    }

    /// The builder as an image, with the modules that were asked for.
    pub(super) fn open(&self, asked: &Asked, session: &Session) -> Result<Made, Failure> {
        let (name, image) = match self {
            Self::Definition(file) => (file.shown(), builders::create(file, session)?),
            Self::Image(name) => (name.clone(), session.find(name)?.image(&Platform::host())?),
        };
        let text = image.config().label(label::BUILDER).ok_or_else(|| {
            Failure::new("no-builder", format!("{name} is not a builder: it has no label {}", label::BUILDER))
                .help("--builder takes a builder image, a builder.toml or a directory with one, or the name of an embedded one")
        })?;
        let builder = BuilderLabel::parse(text)?;
        let run_images = run_images(&image, builder, session)?;
        let (image, order) = Chosen::new(image, session)?.add(asked)?;
        Ok(Made {
            name,
            image,
            order,
            run_images,
        })
    }
}

/// The run images that a builder names: in its label, in the older part of that label, else in its files. Builders differ
/// in which of these they have.
fn run_images(image: &Image, label: BuilderLabel, session: &Session) -> Result<RunToml, Failure> {
    let named = |images: Vec<RunImageEntry>| -> Option<RunToml> {
        let images: Vec<_> = images
            .into_iter()
            .filter(|entry| !entry.image.is_empty())
            .collect();
        (!images.is_empty()).then_some(RunToml { images })
    };
    if let Some(run) = named(label.images).or_else(|| named(vec![label.stack.run_image])) {
        return Ok(run);
    }
    let progress = session.progress();
    let bench = Workbench {
        store: session.store()?,
        progress: &progress,
    };
    let found = match read_file(image, &["/cnb/run.toml", "/cnb/stack.toml"], &bench)? {
        Some((file @ "/cnb/run.toml", bytes)) => named(RunToml::parse(Path::new(file), &bytes)?.images),
        Some((file, bytes)) => named(vec![StackToml::parse(Path::new(file), &bytes)?.run_image]),
        None => None,
    };
    Ok(found.unwrap_or_default())
}
