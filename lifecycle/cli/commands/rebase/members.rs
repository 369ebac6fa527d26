//! An index of images that are rebased: each is written by its digest, and the index at last.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lifecycle_image::{
    Descriptor, Family, Image, Index, Layer, Receipt, Reference, Sink, TransferError, TransferErrorKind,
    Upload,
};

/// Takes images one after the other, each as a member of the same index.
#[derive(Clone)]
pub(super) struct Members(Arc<Mutex<Shared>>);

struct Shared {
    upload: Option<Box<dyn Upload>>,
    written: Vec<Descriptor>,
}

impl Members {
    pub(super) fn begin(sink: &dyn Sink, names: &[Reference]) -> Result<Self, TransferError> {
        Ok(Self(Arc::new(Mutex::new(Shared {
            upload: Some(sink.begin(names)?),
            written: Vec::new(),
        }))))
    }

    /// Writes the index of all that came, with the form and the annotations of the one before.
    pub(super) fn finish(&self, before: &Index) -> Result<Receipt, TransferError> {
        let mut shared = self.lock();
        let manifests = std::mem::take(&mut shared.written);
        let family = before
            .media_type
            .as_ref()
            .and_then(lifecycle_image::MediaType::family)
            .unwrap_or(Family::Oci);
        let mut index = Index::new(family, manifests);
        index.annotations.clone_from(&before.annotations);
        match shared.upload.take() {
            Some(upload) => upload.finish_index(&index),
            None => Err(finished()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Members").field(&self.lock().written).finish()
    }
}

fn finished() -> TransferError {
    TransferError::new(TransferErrorKind::Local, "the index is written already")
}

impl Sink for Members {
    fn begin(&self, _: &[Reference]) -> Result<Box<dyn Upload>, TransferError> {
        Ok(Box::new(self.clone()))
    }
}

impl Upload for Members {
    fn layer(&mut self, layer: Arc<dyn Layer>) {
        if let Some(upload) = &mut self.lock().upload {
            upload.layer(layer);
        }
    }

    fn member(&mut self, image: &Image) -> Result<Receipt, TransferError> {
        let mut shared = self.lock();
        let receipt = shared.upload.as_mut().ok_or_else(finished)?.member(image)?;
        shared.written.push(Descriptor {
            platform: Some(image.platform()),
            ..image.encode_manifest()?.descriptor
        });
        Ok(receipt)
    }

    fn finish(mut self: Box<Self>, image: &Image) -> Result<Receipt, TransferError> {
        self.member(image)
    }

    fn finish_index(self: Box<Self>, _: &Index) -> Result<Receipt, TransferError> {
        let text = "an index is no member of an index";
        Err(TransferError::new(TransferErrorKind::Unsupported, text))
    }
}
