//! Remembers results while the build goes on, so that a build that fails or is killed loses none.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use lifecycle_image::{DiffId, Layer};
use lifecycle_store::{Record, Store, StoreError};
use serde::{Deserialize, Serialize};

use crate::key::{Key, KeyMaker};

/// What is known about a step's result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StepResult {
    pub(crate) diff_id: DiffId,
    /// When it was made, in seconds since the epoch: an image from the cache is the image of the first build.
    pub(crate) created: i64,
}

/// A result to remember as soon as its layer is packed.
#[derive(Debug)]
pub(crate) struct Made {
    /// What the step does, without what it is done on.
    pub(crate) definitions: Vec<Key>,
    /// The layers below; nothing for a step that does not depend on them (K7).
    pub(crate) below: Option<Vec<Arc<dyn Layer>>>,
    pub(crate) layer: Arc<dyn Layer>,
    pub(crate) created: i64,
}

/// The key of a step done on these layers. Their diff IDs stand for everything that led to them (K5).
pub(crate) fn key_on(definition: &Key, below: Option<&[DiffId]>) -> Key {
    let mut key = KeyMaker::new("step");
    key.add(definition.as_str());
    match below {
        None => key.number(0),
        Some(below) => key.number(1).list(below.iter().map(DiffId::as_str)),
    };
    key.finish()
}

/// A result with its layer.
pub(crate) type Earlier = (StepResult, Arc<dyn Layer>);

/// The result that an earlier build remembered, if its layer is still here.
pub(crate) fn look_up(store: &Store, key: &Key) -> Result<Option<Earlier>, StoreError> {
    let Some(record) = store.record(key.as_str())? else {
        return Ok(None);
    };
    let Ok(result) = serde_json::from_value::<StepResult>(record.value) else {
        return Ok(None);
    };
    let layer = store.layer(&result.diff_id)?;
    Ok(layer.map(|layer| (result, Arc::new(layer) as Arc<dyn Layer>)))
}

/// Takes results and remembers them in order, on a thread of its own.
#[derive(Debug)]
pub(crate) struct Recorder {
    sender: Option<Sender<Made>>,
    thread: Option<JoinHandle<Result<(), StoreError>>>,
}

impl Recorder {
    pub(crate) fn new(store: &Store) -> Self {
        let (sender, receiver) = channel::<Made>();
        let store = store.clone();
        let work = move || receiver.iter().try_for_each(|made| remember(&store, &made));
        Self {
            sender: Some(sender),
            thread: Some(std::thread::spawn(work)),
        }
    }

    /// Hands in a result and returns at once.
    pub(crate) fn submit(&self, made: Made) {
        if let Some(sender) = &self.sender {
            // A recorder that failed says so at the end.
            drop(sender.send(made));
        }
    }

    /// Waits until everything is remembered.
    pub(crate) fn finish(mut self) -> Result<(), StoreError> {
        self.join()
    }

    fn join(&mut self) -> Result<(), StoreError> {
        self.sender = None;
        match self.thread.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(result)) => result,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
        }
    }
}

impl Drop for Recorder {
    /// What was made before a failure is remembered all the same.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // The failure that led here is the one to show.
            drop(self.join());
        }
    }
}

fn remember(store: &Store, made: &Made) -> Result<(), StoreError> {
    // A layer that could not be made is the error of whoever reads it.
    let Ok(descriptor) = made.layer.descriptor() else {
        return Ok(());
    };
    let result = StepResult {
        diff_id: made.layer.diff_id()?,
        created: made.created,
    };
    let below: Option<Vec<DiffId>> = match &made.below {
        None => None,
        Some(layers) => Some(
            layers
                .iter()
                .map(|layer| layer.diff_id())
                .collect::<Result<_, _>>()?,
        ),
    };
    for definition in &made.definitions {
        store.remember(&Record {
            key: key_on(definition, below.as_deref()).as_str().to_owned(),
            value: serde_json::to_value(&result).unwrap_or_default(),
            blobs: vec![descriptor.clone()],
        })?;
    }
    Ok(())
}
