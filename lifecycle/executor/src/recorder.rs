//! Remembers results while the build goes on, so that a build that fails or is killed loses none.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use lifecycle_image::{DiffId, Layer, LayerError};
use lifecycle_store::{Record, Store, StoreError};
use serde::{Deserialize, Serialize};

use crate::build::lock;
use crate::key::{Key, KeyMaker};

/// What is known about a step's result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StepResult {
    pub(crate) diff_id: DiffId,
    /// When it was made, in seconds since the epoch: an image from the cache is the image of the first build.
    pub(crate) created: i64,
    /// The same step, defined by the contents that it copies: whoever finds one finds the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) by_content: Option<Key>,
}

/// What a step does, without what it is done on.
#[derive(Debug, Clone)]
pub(crate) struct Definition {
    key: KeyMaker,
    /// Layers that stand for files it reads: their diff IDs complete the key.
    reads: Option<Vec<Arc<dyn Layer>>>,
    by_content: Option<Key>,
}

impl Definition {
    pub(crate) fn new(key: KeyMaker) -> Self {
        Self {
            key,
            reads: None,
            by_content: None,
        }
    }

    /// With layers to read from.
    pub(crate) fn reading(self, layers: Vec<Arc<dyn Layer>>) -> Self {
        Self {
            reads: Some(layers),
            ..self
        }
    }

    /// With the definition by contents.
    pub(crate) fn or_by_content(self, key: Key) -> Self {
        Self {
            by_content: Some(key),
            ..self
        }
    }

    /// The key. Waits for layers in the making.
    pub(crate) fn key(&self) -> Result<Key, LayerError> {
        let mut key = self.key.clone();
        if let Some(layers) = &self.reads {
            let diff_ids: Vec<DiffId> = layers
                .iter()
                .map(|layer| layer.diff_id())
                .collect::<Result<_, _>>()?;
            key.list(diff_ids.iter().map(DiffId::as_str));
        }
        Ok(key.finish())
    }
}

/// A result to remember as soon as its layer is packed.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) definitions: Vec<Definition>,
    /// The layers below; nothing for a step that does not depend on them (K7).
    pub(crate) below: Option<Vec<Arc<dyn Layer>>>,
    pub(crate) layer: Arc<dyn Layer>,
    pub(crate) created: i64,
}

/// A result that this build made or used.
#[derive(Debug, Clone)]
pub(crate) struct Used {
    pub(crate) key: Key,
    /// The step alone, whatever it was done on.
    pub(crate) step: Key,
    pub(crate) result: StepResult,
    pub(crate) layer: Arc<dyn Layer>,
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

/// Whether this step was ever done here, on whatever layers. Only then is it worth to wait for the layers below and to
/// look for a result on them.
pub(crate) fn knows_step(store: &Store, step: &Key) -> Result<bool, StoreError> {
    Ok(store.record(marker(step).as_str())?.is_some())
}

fn marker(step: &Key) -> Key {
    let mut key = KeyMaker::new("done before");
    key.add(step.as_str());
    key.finish()
}

/// Takes results and remembers them in order, on a thread of its own.
#[derive(Debug)]
pub(crate) struct Recorder {
    at_work: Mutex<Option<AtWork>>,
    used: Arc<Mutex<Vec<Used>>>,
}

#[derive(Debug)]
struct AtWork {
    sender: Sender<Made>,
    thread: JoinHandle<Result<(), StoreError>>,
}

impl Recorder {
    pub(crate) fn new(store: &Store) -> Self {
        let (sender, receiver) = channel::<Made>();
        let used = Arc::<Mutex<Vec<Used>>>::default();
        let work = {
            let (store, used) = (store.clone(), Arc::clone(&used));
            move || {
                receiver
                    .iter()
                    .try_for_each(|made| remember(&store, &made, &used))
            }
        };
        Self {
            at_work: Mutex::new(Some(AtWork {
                sender,
                thread: std::thread::spawn(work),
            })),
            used,
        }
    }

    /// Hands in a result and returns at once.
    pub(crate) fn submit(&self, made: Made) {
        if let Some(at_work) = &*lock(&self.at_work) {
            // A recorder that failed says so at the end.
            drop(at_work.sender.send(made));
        }
    }

    /// Notes that an earlier result was used.
    pub(crate) fn note(&self, used: Used) {
        lock(&self.used).push(used);
    }

    /// Waits until everything is remembered. Nothing can be handed in afterwards.
    pub(crate) fn finish(&self) -> Result<(), StoreError> {
        let Some(AtWork { sender, thread }) = lock(&self.at_work).take() else {
            return Ok(());
        };
        drop(sender);
        match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// All results that the build made or used. Waits for those that are still being made.
    pub(crate) fn used(&self) -> Result<Vec<Used>, StoreError> {
        self.finish()?;
        Ok(lock(&self.used).clone())
    }
}

impl Drop for Recorder {
    /// What was made before a failure is remembered all the same.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // The failure that led here is the one to show.
            drop(self.finish());
        }
    }
}

fn remember(store: &Store, made: &Made, used: &Mutex<Vec<Used>>) -> Result<(), StoreError> {
    // A layer that could not be made is the error of whoever reads it.
    let Ok(descriptor) = made.layer.descriptor() else {
        return Ok(());
    };
    let diff_id = made.layer.diff_id()?;
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
        let step = definition.key()?;
        let key = key_on(&step, below.as_deref());
        let result = StepResult {
            diff_id: diff_id.clone(),
            created: made.created,
            by_content: definition.by_content.clone(),
        };
        store.remember(&Record {
            key: key.as_str().to_owned(),
            value: serde_json::to_value(&result).unwrap_or_default(),
            blobs: vec![descriptor.clone()],
        })?;
        if below.is_some() && !knows_step(store, &step)? {
            store.remember(&Record {
                key: marker(&step).as_str().to_owned(),
                value: serde_json::Value::Null,
                blobs: Vec::new(),
            })?;
        }
        lock(used).push(Used {
            key,
            step,
            result,
            layer: Arc::clone(&made.layer),
        });
    }
    Ok(())
}
