//! What is kept from one build to the next: layers by diff ID and what they are (cnb.md 1.16, lifecycle.md 1.9).
//!
//! A cache is a directory or an image in a registry, in the reference's formats, so that either implementation goes on
//! where the other stopped. To whoever restores, both are the same: a [`CacheLabel`] and layers. When both are given,
//! the image is read and both are written. A cache is never worth a failed build.

mod directory;
mod image;
mod unpacked;
mod write;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use lifecycle_image::{DiffId, Image, Layer, Platform, Reference, Sink, Source, TransferErrorKind};
use lifecycle_spec::label::{self, CacheLabel};

pub(crate) use directory::{CacheDirectory, CacheError};
pub(crate) use image::write_image;
pub use unpacked::UnpackedLayers;
pub(crate) use write::{CacheContents, CachedBuildpack, CachedContents};

use crate::layer::{self, UnpackError};
use crate::reporter::explain;
use crate::{Access, Place, Reporter};

/// Where builds keep what they want to find again.
#[derive(Debug, Clone, Default)]
pub struct CacheOptions<'a> {
    /// A directory.
    pub directory: Option<PathBuf>,
    /// An image, which is read in preference to the directory.
    pub image: Option<CacheImage<'a>>,
    /// Where the layers of the directory stay unpacked.
    pub unpacked: Option<UnpackedLayers>,
}

/// An image that serves as a cache. It is always in a registry, even if the app image is not (CACHE-02).
#[derive(Debug, Clone)]
pub struct CacheImage<'a> {
    /// Its name.
    pub reference: Reference,
    /// Where it is read from.
    pub source: &'a dyn Source,
    /// Where it is written to.
    pub sink: &'a dyn Sink,
    /// What is asked whether it can be written.
    pub access: Option<&'a dyn Access>,
    /// What it claims to run on.
    pub platform: &'a Platform,
}

impl CacheOptions<'_> {
    /// Whether there is none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.directory.is_none() && self.image.is_none()
    }
}

/// A cache, as an earlier build left it.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    pub(crate) label: CacheLabel,
    contents: Contents,
    unpacked: Option<UnpackedLayers>,
}

#[derive(Debug, Default)]
enum Contents {
    #[default]
    Nothing,
    Directory(CacheDirectory),
    Image(Box<Image>),
}

impl Cache {
    /// Reads a cache's metadata. Whatever is wrong with it, nothing is restored then, and the build goes on (RES-09).
    pub(crate) fn read(options: &CacheOptions<'_>, reporter: &dyn Reporter) -> Self {
        if let Some(image) = &options.image {
            return Self::read_image(image, reporter);
        }
        let Some(path) = &options.directory else {
            reporter.warning("No cached data will be used, no cache specified.");
            return Self::default();
        };
        let directory = CacheDirectory::new(path);
        match directory.label() {
            Ok(label) => Self {
                label,
                contents: Contents::Directory(directory),
                unpacked: options.unpacked.clone(),
            },
            Err(error) => {
                reporter.warning(&format!(
                    "the cache in {} is not used: {}",
                    path.display(),
                    explain(&error)
                ));
                Self::default()
            }
        }
    }

    fn read_image(cache: &CacheImage<'_>, reporter: &dyn Reporter) -> Self {
        let image = match cache.source.image(&cache.reference, cache.platform) {
            Ok(image) => image,
            Err(error) => {
                match error.kind {
                    TransferErrorKind::NotFound | TransferErrorKind::NoPlatform => {
                        reporter.info(&format!("Cache image {} not found", cache.reference));
                    }
                    _ => reporter.warning(&format!(
                        "the cache image {} is not used: {}",
                        cache.reference,
                        explain(&error)
                    )),
                }
                return Self::default();
            }
        };
        match image.config().label(label::CACHE).map(CacheLabel::parse) {
            Some(Ok(label)) => Self {
                label,
                contents: Contents::Image(Box::new(image)),
                unpacked: None,
            },
            Some(Err(flaw)) => {
                reporter.warning(&format!(
                    "the cache image {} is not used: {flaw}",
                    cache.reference
                ));
                Self::default()
            }
            None => Self::default(),
        }
    }

    /// Moves an unpacked layer to `place`. Says whether there was one.
    pub(crate) fn take_unpacked(&self, diff_id: &DiffId, place: &Place) -> bool {
        let Some(unpacked) = &self.unpacked else {
            return false;
        };
        unpacked.take(diff_id, place).unwrap_or_else(|error| {
            tracing::debug!(%error, "{diff_id} comes from its tar");
            false
        })
    }

    /// Whether the directory at `place` is a layer that was taken from here, unchanged.
    pub(crate) fn is_intact(&self, diff_id: &DiffId, place: &Place) -> bool {
        let unpacked = self.unpacked.as_ref();
        unpacked.is_some_and(|unpacked| unpacked.is_intact(diff_id, place))
    }

    /// A layer of the cache.
    pub(crate) fn layer(&self, sha: &str) -> Result<Arc<dyn Layer>, UnpackError> {
        match &self.contents {
            Contents::Nothing => Err(UnpackError::Missing(sha.to_owned())),
            Contents::Directory(directory) => directory.layer(&sha.parse()?),
            Contents::Image(image) => layer::find(image, sha),
        }
    }

    /// How many bytes a layer takes in the cache, as far as that is known.
    pub(crate) fn size(&self, sha: &str) -> u64 {
        let known = self.layer(sha).ok().and_then(|layer| layer.known());
        known.map_or(0, |known| known.size)
    }

    /// Looks at a layer that could not be unpacked. If it is damaged, it goes, so that the next export writes it anew
    /// instead of keeping it; if there was only no room for it, say, it stays.
    pub(crate) fn discard_damaged(&self, sha: &str) {
        if let (Contents::Directory(directory), Ok(diff_id)) = (&self.contents, sha.parse()) {
            directory.discard_damaged(&diff_id);
        }
    }
}
