//! Small records by key: what an executor knows about its cache, and whatever else wants to be remembered.

use lifecycle_image::Descriptor;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::directory::{hashed_name, read_note, remove_file};
use crate::{Store, StoreError};

/// What is remembered under a key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The key.
    pub key: String,
    /// Anything.
    pub value: Value,
    /// Blobs that must stay as long as the record does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blobs: Vec<Descriptor>,
}

impl Store {
    /// What is remembered under `key`; nothing also when one of its blobs is gone, so that a record that is
    /// found can be relied on while this store is open.
    pub fn record(&self, key: &str) -> Result<Option<Record>, StoreError> {
        let path = self.directory().path("records").join(hashed_name(key));
        let Some(record) = read_note::<Record>(&path)? else {
            return Ok(None);
        };
        self.directory().pin(&path)?;
        for blob in &record.blobs {
            if !self.directory().adopt(blob)? {
                return Ok(None);
            }
        }
        // Another key's record can only be here by an accident.
        Ok((record.key == key).then_some(record))
    }

    /// Remembers something. The blobs must be in the store already. Of a power cut it may not survive: a record that is
    /// damaged, or whose blobs are gone, is none.
    pub fn remember(&self, record: &Record) -> Result<(), StoreError> {
        let directory = self.directory();
        directory.note_json(&directory.path("records").join(hashed_name(&record.key)), record)
    }

    /// Forgets what is remembered under `key`. Says whether there was something.
    pub fn forget(&self, key: &str) -> Result<bool, StoreError> {
        remove_file(&self.directory().path("records").join(hashed_name(key)))
    }
}
