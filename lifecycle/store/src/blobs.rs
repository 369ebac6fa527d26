//! Blobs by digest.

use std::io::{self, Read as _};

use lifecycle_image::{BlobReader, Blobs, Descriptor, Digest, Documents, RawDocument, Verifying};

use crate::directory::{Directory, touch};
use crate::{Store, StoreError};

impl Store {
    /// Opens a blob; nothing when it is not here. The reader ends in an error when the bytes are damaged.
    pub fn blob(&self, digest: &Digest) -> Result<Option<BlobReader>, StoreError> {
        match self.directory().open(digest, 0) {
            Ok(blob) => Ok(Some(Box::new(Verifying::new(
                blob.reader,
                digest.clone(),
                blob.size,
            )))),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(StoreError::io("read", &self.directory().blob_path(digest), cause)),
        }
    }

    /// Keeps `bytes` as a blob. Without a record or an image that names it, a prune takes it away later.
    pub fn keep(&self, document: &RawDocument) -> Result<(), StoreError> {
        self.directory().keep_document(document).map(|_| ())
    }
}

impl Documents for Store {
    fn find(&self, digest: &Digest, limit: u64) -> Option<Vec<u8>> {
        let found = self.directory().open(digest, 0).ok()?;
        if found.size > limit || !self.directory().pin(&self.directory().blob_path(digest)).ok()? {
            return None;
        }
        let mut bytes = Vec::new();
        let mut reader = Verifying::new(found.reader, digest.clone(), found.size);
        // A damaged one is none: whoever asks fetches it anew.
        reader.read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    fn keep(&self, document: &RawDocument) {
        if let Err(error) = self.directory().keep_document(document) {
            tracing::debug!(%error, "a document is not kept");
        }
    }
}

impl Directory {
    /// Whether a blob is here with the right size; if so, it stays as long as this store is open. A blob of
    /// another size is damage and counts as missing, so that it is written again.
    pub(crate) fn adopt(&self, descriptor: &Descriptor) -> Result<bool, StoreError> {
        let path = self.blob_path(&descriptor.digest);
        let _lock = self.hold_off_prune()?;
        let found = std::fs::metadata(&path).is_ok_and(|found| found.len() == descriptor.size);
        Ok(found && touch(&path)?)
    }

    /// Writes a document as a blob, unless it is here. Says whether it was written.
    pub(crate) fn keep_document(&self, document: &RawDocument) -> Result<bool, StoreError> {
        if self.adopt(&document.descriptor)? {
            return Ok(false);
        }
        self.put(&self.blob_path(&document.descriptor.digest), &document.bytes)?;
        Ok(true)
    }
}
