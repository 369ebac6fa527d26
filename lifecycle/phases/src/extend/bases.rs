//! Images that are extended: manifest and configuration, without layers.

use std::path::{Path, PathBuf};

use lifecycle_dockerfile::Dockerfile;
use lifecycle_image::layout::Layout;
use lifecycle_image::{
    Artifact, Digest, Image, Platform, Reference, Sink as _, Source, TransferError, TransferErrorKind,
};

use super::ExtendError;

/// Where the restorer puts the images that the extender extends: one layout for each, `<directory>/<digest>` (RES-05,
/// RES-07).
#[derive(Debug)]
pub struct BaseImages<'a> {
    /// The directory, on a volume that restorer and extender share.
    pub directory: PathBuf,
    /// Where they come from: a registry, even if app images go to a daemon.
    pub source: &'a dyn Source,
    /// Which image is taken where a name stands for several.
    pub platform: &'a Platform,
}

impl BaseImages<'_> {
    /// Puts an image there, and says what names exactly this one.
    pub(crate) fn keep(&self, reference: &Reference) -> Result<(Image, String), TransferError> {
        let image = self.source.image(reference, self.platform)?;
        let digest = image.digest()?;
        let exact = reference.repository().at(&digest);
        let layout = Layout::create(self.directory.join(digest.to_string()))?.sparse();
        layout.begin(std::slice::from_ref(&exact))?.finish(&image)?;
        Ok((image, exact.to_string()))
    }

    /// The image that lies there under the digest of a reference, and what Dockerfiles call it: the reference, or another
    /// name if that is the path of a layout.
    pub(super) fn read(directory: &Path, reference: &str) -> Result<(Image, String), ExtendError> {
        let failed = |cause| ExtendError::Base {
            reference: reference.to_owned(),
            cause,
        };
        let digest = reference
            .rsplit_once('@')
            .and_then(|(_, digest)| digest.parse::<Digest>().ok())
            .ok_or_else(|| {
                let text = "it is not named by its digest; the restorer has to run before";
                failed(TransferError::new(TransferErrorKind::Unsupported, text))
            })?;
        let named = || -> Result<(Image, String), TransferError> {
            let name: Reference = reference
                .parse()
                .or_else(|_| format!("base@{digest}").parse())
                .map_err(|error: lifecycle_image::InvalidReference| {
                    TransferError::new(TransferErrorKind::Unsupported, error.to_string())
                })?;
            let image = Layout::open(directory.join(digest.to_string()))?.member(&name, &digest)?;
            Ok((image, name.to_string()))
        };
        named().map_err(failed)
    }
}

/// The only image that a Dockerfile of an extension can name: the one that is extended. Nothing else can be had,
/// because the extender has no credentials.
#[derive(Debug)]
pub(super) struct BaseImage {
    image: Image,
    names: Vec<Reference>,
}

impl BaseImage {
    /// The image under `reference`, and under the name that the FROM of `dockerfile` gives it: a Dockerfile that
    /// switches the run image names what analyzed.toml names by digest.
    pub(super) fn new(image: Image, reference: &str, dockerfile: &[u8]) -> Self {
        let parsed = Dockerfile::parse("Dockerfile", dockerfile).ok();
        let written = parsed.and_then(|file| Some(file.stages().first()?.base().image.text.clone()));
        let names = [Some(reference.to_owned()), written];
        Self {
            image,
            names: names
                .into_iter()
                .flatten()
                .filter_map(|name| name.parse().ok())
                .collect(),
        }
    }
}

impl Source for BaseImage {
    fn artifact(&self, reference: &Reference) -> Result<Artifact, TransferError> {
        if self.names.contains(reference) {
            return Ok(Artifact::Image(Box::new(self.image.clone())));
        }
        Err(TransferError::new(
            TransferErrorKind::Unsupported,
            format!("{reference} cannot be had: images are extended without access to registries"),
        ))
    }

    fn member(&self, reference: &Reference, _: &Digest) -> Result<Image, TransferError> {
        let text = format!("{reference} is no index");
        Err(TransferError::new(TransferErrorKind::NotFound, text))
    }
}
