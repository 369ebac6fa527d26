//! Where blobs came from, so that they can be mounted from there instead of being sent.

use lifecycle_image::{Digest, Reference, Repository};

use crate::directory::{Directory, entries, file_name, read_json, remove_file};
use crate::prune::digest_named;
use crate::{Store, StoreError};

/// How many repositories are remembered of a blob.
const MOST: usize = 8;

impl Store {
    /// Remembers that a registry's repository holds a blob of this store: it came from there, or was sent there.
    pub fn remember_origin(&self, digest: &Digest, repository: &Repository) -> Result<(), StoreError> {
        self.directory()
            .remember_origins(digest, vec![repository.clone()])
    }
}

impl Directory {
    /// The repositories that a blob was in, the latest first. That they are not known costs an upload, no more.
    pub(crate) fn known_origins(&self, digest: &Digest) -> Vec<Repository> {
        let names: Option<Vec<String>> = read_json(&self.origins_path(digest)).unwrap_or_else(|error| {
            tracing::warn!("{error}");
            None
        });
        let names = names.unwrap_or_default();
        let references = names.iter().filter_map(|name| name.parse::<Reference>().ok());
        references
            .map(|reference| reference.repository().clone())
            .collect()
    }

    /// Remembers repositories that a blob is in.
    pub(crate) fn remember_origins(
        &self,
        digest: &Digest,
        mut latest: Vec<Repository>,
    ) -> Result<(), StoreError> {
        let known = self.known_origins(digest);
        if latest.is_empty() || known.starts_with(&latest) {
            return Ok(());
        }
        for repository in known {
            if !latest.contains(&repository) {
                latest.push(repository);
            }
        }
        let names: Vec<String> = latest.iter().take(MOST).map(ToString::to_string).collect();
        self.note_json(&self.origins_path(digest), &names)
    }

    /// Forgets where blobs came from that are gone.
    pub(crate) fn remove_orphaned_origins(&self) -> Result<(), StoreError> {
        for path in entries(&self.path("origins"))? {
            if digest_named(&path).is_none_or(|digest| !self.blob_path(&digest).exists()) {
                remove_file(&path)?;
            }
        }
        Ok(())
    }

    fn origins_path(&self, digest: &Digest) -> std::path::PathBuf {
        self.path("origins").join(file_name(digest))
    }
}
