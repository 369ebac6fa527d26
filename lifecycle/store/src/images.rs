//! Images by name.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use lifecycle_image::{
    Artifact, Blobs, Descriptor, Digest, Image, Index, Reference, Sink, Source, TransferError,
    TransferErrorKind, Upload, blobs,
};
use serde::{Deserialize, Serialize};

use crate::directory::{Directory, entries, hashed_name, read_json, remove_file, touch, used};
use crate::upload::StoreUpload;
use crate::{Store, StoreError};

/// The document behind a name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) descriptor: Descriptor,
}

/// An image, or index, in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredImage {
    /// Its name.
    pub name: Reference,
    /// Its manifest or index.
    pub descriptor: Descriptor,
    /// When it was written or read last.
    pub used: SystemTime,
}

impl Store {
    /// The named images, sorted by name.
    pub fn images(&self) -> Result<Vec<StoredImage>, StoreError> {
        let mut images = Vec::new();
        for (path, named) in self.directory().named_images()? {
            if let (Ok(name), Some(used)) = (named.name.parse(), used(&path)) {
                images.push(StoredImage {
                    name,
                    descriptor: named.descriptor,
                    used,
                });
            }
        }
        images.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(images)
    }

    /// Gives the image that `existing` names, by name or digest, another name.
    ///
    /// # Errors
    /// [`StoreError::NoImage`] when there is none.
    pub fn tag(&self, existing: &Reference, name: &Reference) -> Result<(), StoreError> {
        let descriptor = self.find(existing)?;
        self.directory().name_image(name, &descriptor)
    }

    /// Takes a name away. The image's blobs stay until a prune finds that nothing needs them. Says whether
    /// there was such a name.
    pub fn remove(&self, name: &Reference) -> Result<bool, StoreError> {
        remove_file(&self.directory().image_path(&name.to_string()))
    }

    fn find(&self, reference: &Reference) -> Result<Descriptor, StoreError> {
        let directory = self.directory();
        let path = directory.image_path(&reference.to_string());
        if let Some(named) = read_json::<Named>(&path)? {
            directory.pin(&path)?;
            return Ok(named.descriptor);
        }
        let found = match reference.digest() {
            Some(digest) => self.find_digest(digest)?,
            None => None,
        };
        found.ok_or_else(|| StoreError::NoImage {
            name: reference.to_string(),
        })
    }

    fn find_digest(&self, digest: &Digest) -> Result<Option<Descriptor>, StoreError> {
        let named = self.directory().named_images()?;
        let roots: Vec<_> = named.into_iter().map(|(_, named)| named.descriptor).collect();
        Ok(blobs::find(&**self.directory(), &roots, digest)?)
    }
}

impl Source for Store {
    fn artifact(&self, reference: &Reference) -> Result<Artifact, TransferError> {
        let descriptor = self.find(reference)?;
        self.directory().pin_artifact(&descriptor)?;
        let all = Arc::clone(self.directory()) as Arc<dyn Blobs>;
        blobs::artifact(&all, &descriptor)
    }

    fn member(&self, reference: &Reference, digest: &Digest) -> Result<Image, TransferError> {
        let found = self.find_digest(digest)?.ok_or_else(|| StoreError::NoImage {
            name: reference.repository().at(digest).to_string(),
        })?;
        self.directory().pin_artifact(&found)?;
        let all = Arc::clone(self.directory()) as Arc<dyn Blobs>;
        blobs::image(&all, &found)
    }
}

impl Sink for Store {
    fn begin(&self, names: &[Reference]) -> Result<Box<dyn Upload>, TransferError> {
        Ok(Box::new(StoreUpload::new(self.clone(), names)))
    }
}

impl Directory {
    pub(crate) fn image_path(&self, name: &str) -> PathBuf {
        self.path("images").join(hashed_name(name))
    }

    /// The names with their files. Damaged ones are left out; `verify` names them.
    pub(crate) fn named_images(&self) -> Result<Vec<(PathBuf, Named)>, StoreError> {
        let mut all = Vec::new();
        for path in entries(&self.path("images"))? {
            match read_json::<Named>(&path) {
                Ok(Some(named)) => all.push((path, named)),
                Ok(None) => {}
                Err(StoreError::Damaged { path, reason }) => {
                    tracing::warn!("ignoring {}: {reason}", path.display());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    /// Makes `name` stand for an image whose blobs are all here.
    pub(crate) fn name_image(&self, name: &Reference, descriptor: &Descriptor) -> Result<(), StoreError> {
        let name = name.to_string();
        let named = Named {
            name: name.clone(),
            descriptor: descriptor.clone(),
        };
        self.put_json(&self.image_path(&name), &named)
    }

    /// Whether `name` stands for this already; if so, it counts as used now.
    pub(crate) fn is_named(&self, name: &Reference, descriptor: &Descriptor) -> Result<bool, StoreError> {
        let path = self.image_path(&name.to_string());
        let same = |named: Named| named.name == name.to_string() && named.descriptor == *descriptor;
        // A damaged one is written anew.
        let is_same = read_json::<Named>(&path).ok().flatten().is_some_and(same);
        Ok(is_same && self.pin(&path)?)
    }

    /// Keeps an image's blobs from being pruned while the store is open.
    fn pin_artifact(&self, descriptor: &Descriptor) -> Result<(), StoreError> {
        let _lock = self.hold_off_prune()?;
        for digest in self.reachable(descriptor)? {
            touch(&self.blob_path(&digest))?;
        }
        Ok(())
    }

    /// The digests that an image or index needs, itself first. Of an index, members that are not here are left
    /// out: a pull brings one platform.
    pub(crate) fn reachable(&self, descriptor: &Descriptor) -> Result<Vec<Digest>, StoreError> {
        let mut digests = vec![descriptor.digest.clone()];
        let mut open = vec![descriptor.clone()];
        while let Some(next) = open.pop() {
            if next.media_type.is_index() {
                let index: Index = blobs::index(self, &next)?;
                for member in index.manifests {
                    if self.blob_path(&member.digest).exists() && !digests.contains(&member.digest) {
                        digests.push(member.digest.clone());
                        open.push(member);
                    }
                }
            } else if next.media_type.is_manifest() {
                let manifest = blobs::manifest(self, &next)?;
                digests.push(manifest.config.digest);
                digests.extend(manifest.layers.into_iter().map(|layer| layer.digest));
            }
        }
        Ok(digests)
    }
}

/// Whether an error says that something is not here, or not whole.
pub(crate) fn is_missing_or_damaged(error: &StoreError) -> bool {
    match error {
        StoreError::Damaged { .. } | StoreError::Image(_) => true,
        StoreError::Transfer(error) => matches!(
            error.kind,
            TransferErrorKind::NotFound | TransferErrorKind::Corrupt | TransferErrorKind::Unsupported
        ),
        _ => false,
    }
}
