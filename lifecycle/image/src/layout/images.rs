//! Images of a layout by name, wherever its files lie.

use std::sync::Arc;

use super::index::Entries;
use crate::{Artifact, Blobs, Descriptor, Digest, Image, Reference, TransferError, TransferErrorKind, blobs};

/// An `index.json` and the blobs that it names.
#[derive(Debug, Clone)]
pub(crate) struct Images {
    pub(crate) blobs: Arc<dyn Blobs>,
    pub(crate) entries: Entries,
}

impl Images {
    pub(crate) fn artifact(&self, reference: &Reference) -> Result<Artifact, TransferError> {
        let descriptor = match reference.digest() {
            Some(digest) => self.by_digest(digest)?,
            None => self.single(&self.entries.matching(reference), &format!("called {reference}"))?,
        };
        blobs::artifact(&self.blobs, &descriptor)
    }

    pub(crate) fn member(&self, digest: &Digest) -> Result<Image, TransferError> {
        blobs::image(&self.blobs, &self.by_digest(digest)?)
    }

    /// What `name` (inside the layout, or in full) stands for; without a name, the only image.
    pub(crate) fn named(&self, name: Option<&str>) -> Result<Artifact, TransferError> {
        let descriptor = match name {
            None => self.single(&self.entries.all().iter().collect::<Vec<_>>(), "at all")?,
            Some(name) => match (&self.entries.called(name)[..], name.parse::<Reference>()) {
                ([], Ok(reference)) => return self.artifact(&reference),
                (found, _) => self.single(found, &format!("called {name:?}"))?,
            },
        };
        blobs::artifact(&self.blobs, &descriptor)
    }

    fn by_digest(&self, digest: &Digest) -> Result<Descriptor, TransferError> {
        let found = blobs::find(&*self.blobs, self.entries.all(), digest)?;
        found.ok_or_else(|| self.missing(&format!("with the digest {digest}")))
    }

    fn single(&self, found: &[&Descriptor], which: &str) -> Result<Descriptor, TransferError> {
        match found {
            [] => Err(self.missing(which)),
            [first, rest @ ..] if rest.iter().all(|other| other.digest == first.digest) => {
                Ok((*first).clone())
            }
            _ => Err(TransferError::new(
                TransferErrorKind::Unsupported,
                format!(
                    "{} holds {} images {which}; name one of {}",
                    self.blobs.place(),
                    found.len(),
                    self.entries.names().join(", ")
                ),
            )),
        }
    }

    fn missing(&self, which: &str) -> TransferError {
        TransferError::new(
            TransferErrorKind::NotFound,
            format!(
                "{} holds no image {which}, only {}",
                self.blobs.place(),
                self.entries.names().join(", ")
            ),
        )
    }
}
