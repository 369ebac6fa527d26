//! Where a phase finds images, where it puts them, and what it calls them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lifecycle_image::{
    Digest, Image, Platform, Receipt, Reference, Sink, Source, TransferError, TransferErrorKind,
};
use lifecycle_spec::{ExitCode, PlatformApi, ReportToml, RunImageEntry, RunToml, StackToml};

use crate::reporter::explain;
use crate::{FileError, files};

/// The place of app images: a registry, a daemon, a layout directory, the store.
#[derive(Debug, Clone, Copy)]
pub struct Images<'a> {
    /// Where the previous image and the run image are read from.
    pub source: &'a dyn Source,
    /// Where the app image goes.
    pub sink: &'a dyn Sink,
    /// How files and labels name images of this place.
    pub identifiers: &'a Identifiers,
    /// What is asked whether an image can be written; without it every run image counts as readable, too (RUN-01:
    /// daemon and layout).
    pub access: Option<&'a dyn Access>,
    /// Which image is taken where a name stands for several.
    pub platform: &'a Platform,
}

/// Says before the build whether its result could be written after it (AN-07).
pub trait Access: Send + Sync + std::fmt::Debug {
    /// Fails if an image with this name could not be written.
    fn check_write(&self, reference: &Reference) -> Result<(), TransferError>;
}

/// How `analyzed.toml` and labels name one exact image (cnb.md 1.11, lifecycle.md 3.4).
#[derive(Debug, Clone)]
pub enum Identifiers {
    /// `repository@digest`
    Registry,
    /// The image id, as the daemon says it.
    Daemon(Arc<dyn ImageIds>),
    /// `path@digest`, where the path follows from the name (LAY-01).
    Layout {
        /// The directory of layouts, `-layout-dir`.
        directory: PathBuf,
    },
}

/// Knows what a daemon calls its images.
pub trait ImageIds: Send + Sync + std::fmt::Debug {
    /// The id of an image that came from the daemon or was written there: hex digits without an algorithm.
    fn id(&self, image: &Image) -> Result<String, TransferError>;
}

impl Identifiers {
    fn is_daemon(&self) -> bool {
        matches!(self, Self::Daemon(_))
    }

    /// What names exactly `image`, which was found or written as `reference`.
    pub fn of(&self, reference: &Reference, image: &Image) -> Result<String, TransferError> {
        Ok(match self {
            Self::Registry => reference.repository().at(&image.digest()?).to_string(),
            Self::Daemon(ids) => ids.id(image)?,
            Self::Layout { directory } => {
                format!(
                    "{}@{}",
                    layout_path(directory, reference).display(),
                    image.digest()?
                )
            }
        })
    }

    /// Where the layout of an image lies, if images are layouts (LAY-01).
    #[must_use]
    pub fn layout_path(&self, reference: &Reference) -> Option<PathBuf> {
        match self {
            Self::Layout { directory } => Some(layout_path(directory, reference)),
            Self::Registry | Self::Daemon(_) => None,
        }
    }

    fn parse(&self, identifier: &str) -> Result<Identified, TransferError> {
        let unsupported = |cause: &dyn std::fmt::Display| {
            let text = format!("{identifier:?} does not name an image here: {cause}");
            TransferError::new(TransferErrorKind::Unsupported, text)
        };
        match self {
            Self::Registry => identifier
                .parse()
                .map(Identified::Name)
                .map_err(|error| unsupported(&error)),
            Self::Daemon(_) => {
                let hex = identifier.strip_prefix("sha256:").unwrap_or(identifier);
                match format!("sha256:{hex}").parse() {
                    Ok(id) => Ok(Identified::Id(id)),
                    Err(_) => identifier
                        .parse()
                        .map(Identified::Name)
                        .map_err(|error| unsupported(&error)),
                }
            }
            Self::Layout { directory } => {
                let (path, _) = identifier.rsplit_once('@').unwrap_or((identifier, ""));
                let inside = Path::new(path)
                    .strip_prefix(directory)
                    .map_err(|error| unsupported(&error))?;
                name_of_path(inside)
                    .map(Identified::Name)
                    .ok_or_else(|| unsupported(&"it is not the path of a layout"))
            }
        }
    }
}

enum Identified {
    Name(Reference),
    Id(Digest),
}

/// The images that were asked for do not go together.
#[derive(Debug, thiserror::Error)]
pub enum ImagesError {
    /// Names on several registries (AN-02).
    #[error("writing to multiple registries is unsupported")]
    ManyRegistries,
    /// Neither `-run-image` nor a file names a run image (AN-05).
    #[error("-run-image is required when there is no run metadata available")]
    NoRunImage,
    /// None of the run images can be read (RUN-01).
    #[error("failed to find accessible run image{}", reasons(tried))]
    NoAccessibleRunImage {
        /// The run images that were tried, and why each could not be read.
        tried: Vec<(String, String)>,
    },
    /// A file of the platform is wrong.
    #[error(transparent)]
    File(#[from] FileError),
    /// An image could not be read.
    #[error(transparent)]
    Transfer(#[from] TransferError),
}

impl ImagesError {
    pub(crate) fn exit_code(&self, otherwise: ExitCode) -> ExitCode {
        match self {
            Self::ManyRegistries | Self::NoRunImage | Self::NoAccessibleRunImage { .. } => {
                ExitCode::InvalidArguments
            }
            Self::File(_) => ExitCode::Generic,
            Self::Transfer(_) => otherwise,
        }
    }
}

fn reasons(tried: &[(String, String)]) -> String {
    let line = |(image, reason): &(String, String)| format!("\n  {image}: {reason}");
    tried.iter().map(line).collect::<Vec<_>>().concat()
}

impl Images<'_> {
    /// The image that `reference` names.
    pub(crate) fn named(&self, reference: &Reference) -> Result<Image, TransferError> {
        self.source.image(reference, self.platform)
    }

    /// The image that a user names, with its name: a reference, or an image id of a daemon. Ids are looked for among
    /// the images of `context`'s repository.
    pub(crate) fn find(&self, name: &str, context: &Reference) -> Result<(Reference, Image), TransferError> {
        if self.identifiers.is_daemon()
            && let Ok(Identified::Id(id)) = self.identifiers.parse(name)
        {
            return Ok((context.clone(), self.source.member(context, &id)?));
        }
        let reference: Reference = name.parse().map_err(|error: lifecycle_image::InvalidReference| {
            TransferError::new(TransferErrorKind::Unsupported, error.to_string())
        })?;
        let image = self.named(&reference)?;
        Ok((reference, image))
    }

    /// The image that [`Identifiers::of`] named.
    pub(crate) fn identified(&self, identifier: &str, context: &Reference) -> Result<Image, TransferError> {
        match self.identifiers.parse(identifier)? {
            Identified::Name(reference) => self.named(&reference),
            Identified::Id(id) => self.source.member(context, &id),
        }
    }

    /// All names of one image lie on one registry (AN-02).
    pub(crate) fn check_one_registry(&self, references: &[&Reference]) -> Result<(), ImagesError> {
        let mut registries = references.iter().map(|reference| reference.registry());
        let first = registries.next();
        if matches!(self.identifiers, Identifiers::Registry) && registries.any(|other| Some(other) != first) {
            return Err(ImagesError::ManyRegistries);
        }
        Ok(())
    }

    /// The name of the run image, out of an image and its mirrors: one on the app image's registry if it can be read,
    /// else the first that can (RUN-01, RUN-05). Before Platform API 0.12 nobody had to try them (RUN-03), but the reference does.
    pub(crate) fn choose_run_image(
        &self,
        candidates: &RunImageEntry,
        app: &Reference,
    ) -> Result<String, ImagesError> {
        if candidates.image.is_empty() {
            return Err(ImagesError::NoRunImage);
        }
        let names = || [&candidates.image].into_iter().chain(&candidates.mirrors);
        let near = |name: &&String| {
            name.parse::<Reference>()
                .is_ok_and(|reference| reference.registry() == app.registry())
        };
        let (near, far): (Vec<_>, Vec<_>) = names().partition(near);
        let mut ordered = near.into_iter().chain(far);
        if self.access.is_none() {
            return Ok(ordered.next().cloned().unwrap_or_default());
        }
        let mut tried = Vec::new();
        for name in ordered {
            match self.find(name, app) {
                Ok(_) => return Ok(name.clone()),
                Err(error) => tried.push((name.clone(), explain(&error))),
            }
        }
        Err(ImagesError::NoAccessibleRunImage { tried })
    }
}

impl Images<'_> {
    /// What `report.toml` says about an image that was written here (EXP-13, REB-11).
    pub(crate) fn report(&self, image: &Image, receipt: &Receipt) -> Result<ReportToml, TransferError> {
        let tags = receipt.names.iter().map(ToString::to_string).collect();
        let mut report = ReportToml {
            tags,
            ..ReportToml::default()
        };
        if let Identifiers::Daemon(ids) = self.identifiers {
            report.image_id = Some(ids.id(image)?);
        } else {
            report.digest = Some(receipt.digest.to_string());
            report.manifest_size = Some(receipt.manifest_size);
        }
        Ok(report)
    }
}

/// The run image that the builder names, with its mirrors: the first of `run.toml`, or that of `stack.toml` (RUN-04).
/// A missing file names none.
pub(crate) fn run_image_candidates(
    api: PlatformApi,
    run: &Path,
    stack: &Path,
) -> Result<RunImageEntry, FileError> {
    if api.has_run_toml() {
        let run = files::read_if_there(run, RunToml::parse)?.unwrap_or_default();
        return Ok(run.images.into_iter().next().unwrap_or_default());
    }
    Ok(files::read_if_there(stack, StackToml::parse)?
        .unwrap_or_default()
        .run_image)
}

/// Where a layout of an image lies: `<dir>/<registry>/<repository>/<tag>` or `…/<algorithm>/<hex>` (LAY-01, LAY-02).
fn layout_path(directory: &Path, reference: &Reference) -> PathBuf {
    let repository = directory
        .join(reference.registry())
        .join(reference.repository().path());
    match reference.digest() {
        Some(digest) => repository.join(digest.algorithm()).join(digest.hex()),
        None => repository.join(reference.identifier()),
    }
}

/// The name whose layout lies at a path below the directory of layouts.
fn name_of_path(inside: &Path) -> Option<Reference> {
    let (above, last) = (inside.parent()?.to_str()?, inside.file_name()?.to_str()?);
    if let Some((repository, algorithm)) = above.rsplit_once('/')
        && let Ok(digest) = format!("{algorithm}:{last}").parse::<Digest>()
    {
        return format!("{repository}@{digest}").parse().ok();
    }
    format!("{above}:{last}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_paths_lay_01_lay_02() {
        let digest = Digest::of(b"x");
        for (name, path) in [
            (
                "busybox".to_owned(),
                "/l/index.docker.io/library/busybox/latest".to_owned(),
            ),
            ("r.io:5000/a/b:1".to_owned(), "/l/r.io:5000/a/b/1".to_owned()),
            (
                format!("r.io/a@{digest}"),
                format!("/l/r.io/a/sha256/{}", digest.hex()),
            ),
        ] {
            let reference: Reference = name.parse().unwrap();
            let found = layout_path(Path::new("/l"), &reference);
            assert_eq!(found, Path::new(&path));
            assert_eq!(name_of_path(found.strip_prefix("/l").unwrap()), Some(reference));
        }
        assert_eq!(name_of_path(Path::new("x")), None);
    }

    #[test]
    fn identifiers_of_each_place() {
        let image = Image::empty(&Platform::linux("amd64"));
        let reference: Reference = "r.io/a:1".parse().unwrap();
        let digest = image.digest().unwrap();
        assert_eq!(
            Identifiers::Registry.of(&reference, &image).unwrap(),
            format!("r.io/a@{digest}")
        );
        let layout = Identifiers::Layout {
            directory: "/l".into(),
        };
        assert_eq!(
            layout.of(&reference, &image).unwrap(),
            format!("/l/r.io/a/1@{digest}")
        );
        assert!(
            matches!(layout.parse("/l/r.io/a/1@sha256:00"), Ok(Identified::Name(name)) if name == reference)
        );
        assert!(layout.parse("/elsewhere/a").is_err());
        let daemon = Identifiers::Daemon(Arc::new(crate::testing::ConfigIds));
        let id = daemon.of(&reference, &image).unwrap();
        assert_eq!(id.len(), 64);
        assert!(matches!(daemon.parse(&id), Ok(Identified::Id(_))));
        assert!(Identifiers::Registry.parse("A B").is_err());
    }
}
