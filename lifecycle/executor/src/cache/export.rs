//! Writing caches.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lifecycle_image::{
    DescribedLayer, DiffId, Digest, Image, ImageError, Layer, LayerError, MediaType, NoProgress, RawDocument,
    Reference, Repository, Sink, Source, TransferError, canonical_json, mutate,
};
use lifecycle_layers::{DirectoryLayer, Packing};
use lifecycle_store::{Expected, Sharing, Store, StoreError};

use super::document::{ARTIFACT_TYPE, CONFIG_TYPE, CacheDocument, CacheRecord, CachedMount, INLINE_FIELD};
use super::import::{CacheSource, Found};
use crate::instruction::FILES;
use crate::key::Key;
use crate::recorder::{StepResult, Used};
use crate::report::BuildReport;

/// Results that a cache holds at most; those that were not used for the longest time go first.
const MOST_RECORDS: usize = 4096;
const DAY: i64 = 24 * 60 * 60;

/// Which results a cache gets (Q2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheMode {
    /// Those whose layers are in the image.
    #[default]
    Min,
    /// All, those of other stages too.
    Max,
}

/// Where a cache goes.
#[derive(Debug, Clone)]
pub struct CacheTarget {
    /// The registry or layout.
    pub sink: Arc<dyn Sink>,
    /// The same place for reading: what the cache holds already is kept as long as it is used.
    pub source: Arc<dyn Source>,
    /// The cache's name there.
    pub reference: Reference,
    /// Which results it gets.
    pub mode: CacheMode,
    /// Whether it gets the cache mounts that commands were given.
    pub mounts: bool,
    /// What no build has used for this long goes.
    pub keep: Duration,
    /// The present time in seconds since 1970.
    pub now: i64,
    /// A repository that has the image's layers by now: they can be mounted from there.
    pub image: Option<Repository>,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheReceipt {
    /// Results in the cache.
    pub records: usize,
    /// Bytes that were sent.
    pub sent: u64,
    /// Nothing had to be written: the cache says all this already.
    pub unchanged: bool,
    /// Why the old content of the cache could not be read and was replaced.
    pub replaced: Option<String>,
}

/// A cache could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The local store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A layer could not be made.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The image could not be put together.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The cache could not be moved.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// The cache could not be told in JSON.
    #[error("the cache cannot be described: {0}")]
    Json(#[from] serde_json::Error),
}

/// Writes the results that builds made or used to a cache, besides what it holds already.
///
/// Two who write at the same time may lose one's results; the next build has them again.
///
/// # Errors
/// When a layer cannot be read or the cache cannot be written. What an old cache says is no reason to fail.
pub fn export(
    reports: &[&BuildReport],
    store: &Store,
    target: &CacheTarget,
) -> Result<CacheReceipt, CacheError> {
    let previous = CacheSource {
        source: Arc::clone(&target.source),
        reference: target.reference.clone(),
        max_age: None,
        mounts: true,
    };
    let (found, replaced) = match previous.read() {
        Ok(found) => (found, None),
        Err(error) if error.kind == lifecycle_image::TransferErrorKind::NotFound => (Found::default(), None),
        Err(error) => (Found::default(), Some(error.to_string())),
    };
    let was_there = !found.records.is_empty();
    let mut content = Content::kept(found, target);
    let before = content.clone_document();
    for report in reports {
        content.add_results(report, target)?;
        if target.mounts {
            content.add_mounts(&report.mounts, store, target)?;
        }
    }
    content.shrink();
    let records = content.records.len();
    if was_there && content.clone_document() == before {
        return Ok(CacheReceipt {
            records,
            sent: 0,
            unchanged: true,
            replaced,
        });
    }
    let image = content.into_image()?;
    let mut upload = target.sink.begin(std::slice::from_ref(&target.reference))?;
    for layer in image.layers() {
        upload.layer(Arc::clone(layer));
    }
    let receipt = upload.finish(&image)?;
    Ok(CacheReceipt {
        records,
        sent: receipt.sent,
        unchanged: false,
        replaced,
    })
}

/// What a cache will hold.
struct Content {
    records: BTreeMap<String, CacheRecord>,
    mounts: BTreeMap<String, CachedMount>,
    layers: BTreeMap<DiffId, Arc<dyn Layer>>,
}

impl Content {
    /// What stays of what was there.
    fn kept(found: Found, target: &CacheTarget) -> Self {
        let keep = i64::try_from(target.keep.as_secs()).unwrap_or(i64::MAX);
        let oldest = target.now.saturating_sub(keep);
        let is_used = |used: Option<i64>| used.is_some_and(|used| used >= oldest);
        let records = found.records.into_iter().filter(|record| is_used(record.used));
        let mounts = found.mounts.into_iter().filter(|mount| is_used(Some(mount.used)));
        Self {
            records: records.map(|record| (record.key.clone(), record)).collect(),
            mounts: mounts.map(|mount| (mount.key.clone(), mount)).collect(),
            layers: found.layers.into_iter().collect(),
        }
    }

    fn add_results(&mut self, report: &BuildReport, target: &CacheTarget) -> Result<(), CacheError> {
        let used = report.recorder.used()?;
        let own = layers_of(&report.image)?;
        for Used {
            key,
            step,
            result,
            layer,
        } in used
        {
            let is_in_image = own.contains(&result.diff_id);
            if target.mode == CacheMode::Min && !is_in_image {
                continue;
            }
            if !self.layers.contains_key(&result.diff_id) {
                let layer = match &target.image {
                    Some(image) if is_in_image => {
                        Arc::new(DescribedLayer::new(layer).in_repository(image.clone()))
                    }
                    _ => layer,
                };
                self.layers.insert(result.diff_id.clone(), layer);
            }
            let record = describe(&key, &step, result, Some(day(target.now)));
            self.records.insert(record.key.clone(), record);
        }
        Ok(())
    }

    /// Saves the cache mounts as they are now.
    fn add_mounts(
        &mut self,
        mounts: &BTreeMap<String, Key>,
        store: &Store,
        target: &CacheTarget,
    ) -> Result<(), CacheError> {
        for (name, key) in mounts {
            // Held while it is packed, so that nobody changes it meanwhile.
            let cache = store.cache(name, Sharing::Locked)?;
            let files = cache.path().join(FILES);
            if !files.is_dir() {
                continue;
            }
            let layer = pack(&files, store);
            let diff_id = layer.diff_id()?;
            drop(cache);
            self.layers.insert(diff_id.clone(), layer);
            let mount = CachedMount {
                key: key.hex().to_owned(),
                diff_id,
                used: day(target.now),
            };
            self.mounts.insert(mount.key.clone(), mount);
        }
        Ok(())
    }

    /// Lets go of what is too much, and of layers that nothing needs.
    fn shrink(&mut self) {
        if self.records.len() > MOST_RECORDS {
            let mut records: Vec<CacheRecord> = std::mem::take(&mut self.records).into_values().collect();
            records.sort_by_key(|record| std::cmp::Reverse((record.used, record.created)));
            records.truncate(MOST_RECORDS);
            self.records = records
                .into_iter()
                .map(|record| (record.key.clone(), record))
                .collect();
        }
        let records = self.records.values().map(|record| &record.diff_id);
        let needed: BTreeSet<DiffId> = records
            .chain(self.mounts.values().map(|mount| &mount.diff_id))
            .cloned()
            .collect();
        self.layers.retain(|diff_id, _| needed.contains(diff_id));
    }

    /// The document without the places of layers.
    fn clone_document(&self) -> CacheDocument {
        let mut document = CacheDocument::new(self.records.values().cloned().collect());
        document.mounts = self.mounts.values().cloned().collect();
        document
    }

    fn into_image(self) -> Result<Image, CacheError> {
        let mut document = self.clone_document();
        let mut blobs: BTreeMap<Digest, Arc<dyn Layer>> = BTreeMap::new();
        for (diff_id, layer) in self.layers {
            let digest = layer.descriptor()?.digest;
            document.layers.insert(diff_id, digest.clone());
            blobs.insert(digest, layer);
        }
        let config = RawDocument::new(MediaType::new(CONFIG_TYPE), canonical_json(&document)?);
        Ok(Image::artifact(
            ARTIFACT_TYPE,
            config,
            blobs.into_values().collect(),
        ))
    }
}

fn pack(files: &Path, store: &Store) -> Arc<dyn Layer> {
    let contents = Arc::new(DirectoryLayer::archive(files));
    store.pack(
        contents,
        Packing::default(),
        Expected::here(),
        Arc::new(NoProgress),
    )
}

fn describe(key: &Key, step: &Key, result: StepResult, used: Option<i64>) -> CacheRecord {
    CacheRecord {
        key: key.hex().to_owned(),
        step: step.hex().to_owned(),
        diff_id: result.diff_id,
        created: result.created,
        by_content: result.by_content.map(|key| key.hex().to_owned()),
        used,
    }
}

/// A day is exact enough for what is kept for weeks, and a cache that says nothing new is not written again.
fn day(seconds: i64) -> i64 {
    seconds - seconds.rem_euclid(DAY)
}

fn layers_of(image: &Image) -> Result<BTreeSet<DiffId>, LayerError> {
    image.layers().iter().map(|layer| layer.diff_id()).collect()
}

/// The image with the cache of its own layers in its configuration. No time of use is in it: the same build gives the
/// same image.
pub(crate) fn inline(report: &BuildReport) -> Result<Image, CacheError> {
    let own = layers_of(&report.image)?;
    let records: BTreeMap<String, CacheRecord> = report
        .recorder
        .used()?
        .into_iter()
        // Which layers of another stage a copy came from may differ from build to build, and they are not in the image.
        .filter(|used| used.result.by_content.is_none() && own.contains(&used.result.diff_id))
        .map(|used| {
            let record = describe(&used.key, &used.step, used.result, None);
            (record.key.clone(), record)
        })
        .collect();
    let document = serde_json::to_value(CacheDocument::new(records.into_values().collect()))?;
    Ok(mutate::configure(report.image.clone(), |config| {
        config.other.insert(INLINE_FIELD.to_owned(), document);
    }))
}
