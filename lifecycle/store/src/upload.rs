//! Writing images into the store.

use std::sync::Arc;

use lifecycle_image::{
    Crew, Descriptor, GivenLayers, Image, ImageError, Index, Layer, RawDocument, Receipt, Reference,
    TransferError, Upload,
};

use crate::{Store, StoreError};

/// Layers that are written at the same time.
const THREADS: usize = 4;

/// An image on its way into the store.
pub(crate) struct StoreUpload {
    store: Store,
    names: Vec<Reference>,
    crew: Crew<Result<Option<u64>, StoreError>>,
    given: GivenLayers,
}

impl StoreUpload {
    pub(crate) fn new(store: Store, names: &[Reference]) -> Self {
        Self {
            store,
            names: names.to_vec(),
            crew: Crew::new(THREADS),
            given: GivenLayers::default(),
        }
    }

    /// Waits for the layers, writes the documents, and last the names.
    fn conclude(self, config: Option<&RawDocument>, top: &RawDocument) -> Result<Receipt, TransferError> {
        let directory = self.store.directory();
        let mut written = self.crew.finish().into_iter().collect::<Result<Vec<_>, _>>()?;
        for document in config.into_iter().chain([top]) {
            let is_new = directory.keep_document(document)?;
            written.push(is_new.then_some(document.descriptor.size));
        }
        let mut changed = Vec::new();
        for name in &self.names {
            if !directory.is_named(name, &top.descriptor)? {
                changed.push(name);
            }
        }
        // The image of the last build again is on the disk since then.
        if !changed.is_empty() || written.iter().any(Option::is_some) {
            directory.sync_names(&directory.path("blobs/sha256"))?;
        }
        if !changed.is_empty() {
            for name in changed {
                directory.name_image(name, &top.descriptor)?;
            }
            directory.sync_names(&directory.path("images"))?;
        }
        Ok(receipt(self.names, &top.descriptor, &written))
    }
}

impl Upload for StoreUpload {
    fn layer(&mut self, layer: Arc<dyn Layer>) {
        if !self.given.is_new(&layer) {
            return;
        }
        let directory = Arc::clone(self.store.directory());
        let progress = Arc::clone(self.store.progress());
        self.crew
            .submit(move || directory.fetch(&*layer, &*progress).map(|(_, fetched)| fetched));
    }

    fn member(&mut self, image: &Image) -> Result<Receipt, TransferError> {
        for layer in image.layers() {
            self.layer(Arc::clone(layer));
        }
        let (config, manifest) = (image.encode_config()?, image.encode_manifest()?);
        let directory = self.store.directory();
        let mut written = Vec::new();
        for document in [&config, &manifest] {
            let is_new = directory.keep_document(document)?;
            written.push(is_new.then_some(document.descriptor.size));
        }
        Ok(receipt(Vec::new(), &manifest.descriptor, &written))
    }

    fn finish(mut self: Box<Self>, image: &Image) -> Result<Receipt, TransferError> {
        for layer in image.layers() {
            self.layer(Arc::clone(layer));
        }
        let (config, manifest) = (image.encode_config()?, image.encode_manifest()?);
        self.conclude(Some(&config), &manifest)
    }

    fn finish_index(self: Box<Self>, index: &Index) -> Result<Receipt, TransferError> {
        let index = index.encode().map_err(ImageError::from)?;
        self.conclude(None, &index)
    }
}

fn receipt(names: Vec<Reference>, top: &Descriptor, written: &[Option<u64>]) -> Receipt {
    Receipt {
        names,
        digest: top.digest.clone(),
        manifest_size: top.size,
        sent: written.iter().flatten().sum(),
        existed: written.iter().filter(|written| written.is_none()).count(),
        mounted: 0,
    }
}
