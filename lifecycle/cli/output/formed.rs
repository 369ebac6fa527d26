//! A sink that gives images their form before another takes them.

use std::sync::Arc;

use lifecycle_attestation::{Subject, attach, statement_member};
use lifecycle_image::{
    Descriptor, Family, Image, Index, Layer, MediaType, Progress, Receipt, Reference, Sink, StoredLayer,
    TransferError, TransferErrorKind, Upload, mutate,
};
use lifecycle_layers::{Packing, RepackedLayer};
use lifecycle_store::{Expected, Record, Store, StoreError};

use super::form::{Attach, Attest, Form};

/// The sink, and the form.
#[derive(Debug)]
pub(crate) struct FormedSink {
    pub(crate) sink: Box<dyn Sink>,
    pub(crate) form: Form,
    pub(crate) attest: Option<Arc<dyn Attest>>,
    /// Where layers are packed anew.
    pub(crate) store: Store,
    pub(crate) progress: Arc<dyn Progress>,
}

impl Sink for FormedSink {
    fn begin(&self, names: &[Reference]) -> Result<Box<dyn Upload>, TransferError> {
        Ok(Box::new(FormedUpload {
            upload: self.sink.begin(names)?,
            names: names.to_vec(),
            form: self.form.clone(),
            attest: self.attest.clone(),
            store: self.store.clone(),
            progress: Arc::clone(&self.progress),
            repacked: Vec::new(),
            converted: Vec::new(),
            members: Vec::new(),
            statements: Vec::new(),
        }))
    }
}

struct FormedUpload {
    upload: Box<dyn Upload>,
    names: Vec<Reference>,
    form: Form,
    attest: Option<Arc<dyn Attest>>,
    store: Store,
    progress: Arc<dyn Progress>,
    /// Layers that were given, and what became of them.
    repacked: Vec<(Arc<dyn Layer>, Arc<dyn Layer>)>,
    /// Layers that became others by a table of contents, under what they were.
    converted: Vec<(String, Arc<dyn Layer>)>,
    /// The images of the index.
    members: Vec<Descriptor>,
    /// What carries the statements about them.
    statements: Vec<Descriptor>,
}

impl FormedUpload {
    /// The layer in the form that is asked for. It may be packed anew while it is moved already.
    fn repack(&mut self, layer: &Arc<dyn Layer>) -> Result<Arc<dyn Layer>, TransferError> {
        if let Some((_, known)) = self.repacked.iter().find(|(given, _)| Arc::ptr_eq(given, layer)) {
            return Ok(Arc::clone(known));
        }
        let formed = self.form_of(layer)?;
        self.repacked.push((Arc::clone(layer), Arc::clone(&formed)));
        Ok(formed)
    }

    fn form_of(&mut self, layer: &Arc<dyn Layer>) -> Result<Arc<dyn Layer>, TransferError> {
        let Some(packing) = self.form.packing else {
            return Ok(Arc::clone(layer));
        };
        // An index's other members, and whatever else is no layer of files.
        let Some(compression) = layer.media_type().compression() else {
            return Ok(Arc::clone(layer));
        };
        let is_formed = compression == packing.compression && packing.level.is_none() && !packing.stargz;
        if is_formed || layer.media_type().is_foreign() {
            return Ok(Arc::clone(layer));
        }
        let diff_id = layer.diff_id()?;
        if !self.form.force && self.form.base.contains(&diff_id) {
            return Ok(Arc::clone(layer));
        }
        let conversion = packing
            .stargz
            .then(|| format!("estargz of {diff_id}, level {:?}", packing.level));
        let known = match &conversion {
            None => self.store.packed(&diff_id, &packing),
            Some(conversion) => self.converted(conversion, &packing),
        };
        let known = known.map_err(|error| local("cannot look for a layer", error))?;
        if let Some(known) = known {
            let is_same = layer
                .known()
                .is_some_and(|own| known.known().is_some_and(|known| own.digest == known.digest));
            return Ok(if is_same {
                Arc::clone(layer)
            } else {
                Arc::new(known)
            });
        }
        let packed = self.store.pack(
            Arc::new(RepackedLayer::new(Arc::clone(layer))),
            packing,
            Expected::New,
            Arc::clone(&self.progress),
        );
        self.converted
            .extend(conversion.map(|conversion| (conversion, Arc::clone(&packed))));
        Ok(packed)
    }

    /// What a layer became the last time.
    fn converted(&self, conversion: &str, packing: &Packing) -> Result<Option<StoredLayer>, StoreError> {
        let record = self.store.record(conversion)?;
        let diff_id = record.and_then(|record| serde_json::from_value(record.value).ok());
        match diff_id {
            Some(diff_id) => self.store.packed(&diff_id, packing),
            None => Ok(None),
        }
    }

    /// The image in its form.
    fn form(&mut self, image: &Image) -> Result<Image, TransferError> {
        if image.artifact_type().is_some() {
            return Ok(image.clone());
        }
        let layers: Vec<Arc<dyn Layer>> = image
            .layers()
            .iter()
            .map(|layer| self.repack(layer))
            .collect::<Result<_, _>>()?;
        let mut formed = image.clone();
        let is_same = layers
            .iter()
            .zip(image.layers())
            .all(|(new, old)| Arc::ptr_eq(new, old));
        if !is_same {
            formed = mutate::exchange_layers(formed, layers);
        }
        if let Some(family) = self.form.family {
            formed = mutate::convert(formed, family);
        }
        let annotations = self.form.annotations.manifest.clone();
        if !annotations.is_empty() {
            formed = mutate::annotate(formed, |own| own.extend(annotations));
        }
        Ok(formed)
    }

    /// Writes an image as a member of the index that is to come, and what is said about it.
    fn add_member(&mut self, image: &Image) -> Result<Receipt, TransferError> {
        let formed = self.form(image)?;
        let mut receipt = self.upload.member(&formed)?;
        remember(&self.store, self.converted.drain(..))?;
        let descriptor = formed.encode_manifest()?.descriptor;
        if image.artifact_type().is_some() {
            return Ok(receipt);
        }
        if let Some(carrier) = self.carrier(image, &descriptor)? {
            let written = self.upload.member(&carrier)?;
            receipt.sent += written.sent;
            let document = Descriptor {
                artifact_type: carrier.artifact_type().map(str::to_owned),
                ..carrier.encode_manifest()?.descriptor
            };
            self.statements
                .push(statement_member(&document, &descriptor.digest));
        }
        self.members.push(Descriptor {
            platform: Some(image.platform()),
            annotations: self.form.annotations.descriptor.clone(),
            ..descriptor
        });
        Ok(receipt)
    }

    /// The manifest that carries what is said about an image.
    fn carrier(&self, image: &Image, about: &Descriptor) -> Result<Option<Image>, TransferError> {
        let Some(attest) = &self.attest else {
            return Ok(None);
        };
        let statements = attest.statements(image)?;
        if statements.is_empty() {
            return Ok(None);
        }
        let subjects: Vec<Subject> = self
            .names
            .iter()
            .map(|name| Subject {
                name: format!("pkg:docker/{}@{}", name.repository(), name.identifier()),
                digest: about.digest.clone(),
            })
            .collect();
        attach(about, &subjects, &statements)
            .map(Some)
            .map_err(|error| local("cannot write down what is said about the image", error))
    }

    fn index(&mut self) -> Index {
        let family = self.form.family.unwrap_or(Family::Oci);
        let members = std::mem::take(&mut self.members);
        let statements = std::mem::take(&mut self.statements);
        let mut index = Index::new(family, members.into_iter().chain(statements).collect());
        index.media_type = Some(MediaType::index(family));
        index.annotations.clone_from(&self.form.annotations.index);
        index
    }
}

impl Upload for FormedUpload {
    fn layer(&mut self, layer: Arc<dyn Layer>) {
        if layer.known().is_some() {
            // What goes wrong here is said when the image is finished.
            if let Ok(formed) = self.repack(&layer) {
                self.upload.layer(formed);
            }
            return;
        }
        // One in the making must not be waited for. The build packs it as it is wanted, but for a table of contents.
        let is_wanted = self.form.packing.is_none_or(|packing| {
            !packing.stargz && layer.media_type().compression() == Some(packing.compression)
        });
        if is_wanted {
            self.upload.layer(layer);
        }
    }

    fn member(&mut self, image: &Image) -> Result<Receipt, TransferError> {
        self.add_member(image)
    }

    fn finish(mut self: Box<Self>, image: &Image) -> Result<Receipt, TransferError> {
        let makes_index = self.attest.is_some() && self.form.attach == Attach::Index;
        if makes_index {
            let member = self.add_member(image)?;
            let index = self.index();
            let receipt = self.upload.finish_index(&index)?;
            return Ok(Receipt {
                sent: receipt.sent + member.sent,
                existed: receipt.existed + member.existed,
                mounted: receipt.mounted + member.mounted,
                ..receipt
            });
        }
        if !self.form.annotations.index.is_empty() || !self.form.annotations.descriptor.is_empty() {
            return Err(TransferError::new(
                TransferErrorKind::Unsupported,
                "there is no index to annotate: the result is one image without attestations",
            ));
        }
        let formed = self.form(image)?;
        if let Some(carrier) = self.carrier(image, &formed.encode_manifest()?.descriptor)? {
            self.upload.member(&carrier)?;
        }
        let Self {
            upload,
            store,
            converted,
            ..
        } = *self;
        let receipt = upload.finish(&formed)?;
        remember(&store, converted)?;
        Ok(receipt)
    }

    fn finish_index(mut self: Box<Self>, index: &Index) -> Result<Receipt, TransferError> {
        if self.members.is_empty() {
            return self.upload.finish_index(index);
        }
        let index = self.index();
        self.upload.finish_index(&index)
    }
}

/// Remembers what layers became: nothing in them tells what they come from.
fn remember(
    store: &Store,
    converted: impl IntoIterator<Item = (String, Arc<dyn Layer>)>,
) -> Result<(), TransferError> {
    for (key, layer) in converted {
        let record = Record {
            key,
            value: serde_json::to_value(layer.diff_id()?).unwrap_or_default(),
            blobs: vec![layer.descriptor()?],
        };
        store
            .remember(&record)
            .map_err(|error| local("cannot remember a layer", error))?;
    }
    Ok(())
}

fn local(message: &str, error: impl std::error::Error + Send + Sync + 'static) -> TransferError {
    TransferError::caused(TransferErrorKind::Local, message, error)
}
