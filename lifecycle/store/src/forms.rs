//! What is known about the stored forms of a layer.
//!
//! One layer, one diff ID, can be stored in several forms: as compressed by us at some level, or as somebody
//! else compressed it. Each form is a small file of its own, so that two writers never lose each other's.

use std::sync::Arc;

use lifecycle_image::{Blobs, Compression, Descriptor, DiffId, StoredLayer};
use lifecycle_layers::Packing;
use serde::{Deserialize, Serialize};

use crate::directory::{Directory, entries, file_name, read_note};
use crate::{Store, StoreError};

/// A stored form of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Form {
    pub(crate) diff_id: DiffId,
    pub(crate) descriptor: Descriptor,
    /// How we packed it; nothing for forms that others made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) packing: Option<String>,
}

impl Store {
    /// A layer that is stored here in any form. Its diff ID was computed from its bytes, not just claimed.
    pub fn layer(&self, diff_id: &DiffId) -> Result<Option<StoredLayer>, StoreError> {
        self.directory().stored(diff_id, |_| true)
    }

    /// A layer as packing it in this way would give it: that form, or one that others have made with this compression.
    pub fn formed(&self, diff_id: &DiffId, packing: &Packing) -> Result<Option<StoredLayer>, StoreError> {
        if let Some(packed) = self.packed(diff_id, packing)? {
            return Ok(Some(packed));
        }
        self.directory().stored(diff_id, |form| {
            let compression = form.descriptor.media_type.compression();
            form.packing.is_none() && compression == Some(packing.compression)
        })
    }

    /// A layer that was packed here in this way.
    pub fn packed(&self, diff_id: &DiffId, packing: &Packing) -> Result<Option<StoredLayer>, StoreError> {
        self.directory().packed(diff_id, packing)
    }
}

impl Directory {
    /// The layer in the form that `packing` gives, if we made it before and its blob is here.
    pub(crate) fn packed(
        self: &Arc<Self>,
        diff_id: &DiffId,
        packing: &Packing,
    ) -> Result<Option<StoredLayer>, StoreError> {
        let wanted = packing_key(packing);
        self.stored(diff_id, |form| form.packing.as_ref() == Some(&wanted))
    }

    fn stored(
        self: &Arc<Self>,
        diff_id: &DiffId,
        fits: impl Fn(&Form) -> bool,
    ) -> Result<Option<StoredLayer>, StoreError> {
        for form in self.forms(diff_id)? {
            if form.diff_id == *diff_id && fits(&form) && self.adopt(&form.descriptor)? {
                let blobs = Arc::clone(self) as Arc<dyn Blobs>;
                return Ok(Some(StoredLayer::new(blobs, form.descriptor, form.diff_id)));
            }
        }
        Ok(None)
    }

    fn forms(&self, diff_id: &DiffId) -> Result<Vec<Form>, StoreError> {
        let mut forms = Vec::new();
        for path in entries(&self.forms_path(diff_id))? {
            forms.extend(read_note::<Form>(&path)?);
        }
        Ok(forms)
    }

    /// Remembers a form. The diff ID must have been computed, or a wrong one could be planted here.
    pub(crate) fn remember(
        &self,
        diff_id: &DiffId,
        descriptor: &Descriptor,
        packing: Option<&Packing>,
    ) -> Result<(), StoreError> {
        let path = self.forms_path(diff_id).join(file_name(&descriptor.digest));
        // What we packed ourselves stays known as such when it comes back from elsewhere.
        if packing.is_none() && read_note::<Form>(&path)?.is_some() {
            return Ok(());
        }
        self.note_json(
            &path,
            &Form {
                diff_id: diff_id.clone(),
                descriptor: descriptor.clone(),
                packing: packing.map(packing_key),
            },
        )
    }
}

/// What decides about the bytes that packing gives; the number of threads does not.
fn packing_key(packing: &Packing) -> String {
    let compression = match packing.compression {
        Compression::None => return "none".to_owned(),
        Compression::Gzip if packing.stargz => "stargz",
        Compression::Gzip => "gzip",
        Compression::Zstd => "zstd",
    };
    match packing.level {
        Some(level) => format!("{compression} {level}"),
        None => compression.to_owned(),
    }
}
