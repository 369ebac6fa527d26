//! Looking into caches.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use lifecycle_diagnostics::{Diagnostic, Severity};
use lifecycle_image::{
    Artifact, BlobReader, DescribedLayer, Descriptor, DiffId, Digest, Image, Layer, LayerError, MediaType,
    Reference, Repository, Source, TransferError, TransferErrorKind,
};

use super::document::{ARTIFACT_TYPE, CacheDocument, CacheRecord, CachedMount, INLINE_FIELD};
use crate::build::lock;
use crate::key::Key;
use crate::recorder::{Earlier, StepResult};
use crate::reporter::Reporter;

/// Where results of earlier builds can be had from: a cache, or an image that holds its own.
#[derive(Debug, Clone)]
pub struct CacheSource {
    /// The registry or layout.
    pub source: Arc<dyn Source>,
    /// The cache's name there.
    pub reference: Reference,
    /// Results that are as old do not count any more, in whole seconds: of an age of nothing, none does.
    pub max_age: Option<Duration>,
    /// Whether empty cache mounts are filled from it.
    pub mounts: bool,
}

/// What a cache holds.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) records: Vec<CacheRecord>,
    pub(super) mounts: Vec<CachedMount>,
    pub(super) layers: HashMap<DiffId, Arc<dyn Layer>>,
}

impl CacheSource {
    /// Reads what is there.
    ///
    /// # Errors
    /// When it cannot be read, or is no cache.
    pub(super) fn read(&self) -> Result<Found, TransferError> {
        let mut found = Found::default();
        match self.source.artifact(&self.reference)? {
            Artifact::Image(image) => self.add(&image, &mut found)?,
            Artifact::Index(index) => {
                for member in index.images() {
                    let image = self.source.member(&self.reference, &member.digest)?;
                    self.add(&image, &mut found)?;
                }
            }
        }
        Ok(found)
    }

    fn add(&self, image: &Image, found: &mut Found) -> Result<(), TransferError> {
        let unusable = |kind, reason: String| {
            TransferError::new(kind, format!("{} is no build cache: {reason}", self.reference))
        };
        let corrupt = |reason| unusable(TransferErrorKind::Corrupt, reason);
        let document = match image.artifact_type() {
            Some(ARTIFACT_TYPE) => CacheDocument::parse(&image.encode_config()?.bytes).map_err(corrupt)?,
            Some(kind) => {
                return Err(unusable(TransferErrorKind::Unsupported, format!("it is {kind}")));
            }
            None => {
                let Some(value) = image.config().other.get(INLINE_FIELD) else {
                    let reason = "it is an image that holds no cache".to_owned();
                    return Err(unusable(TransferErrorKind::NotFound, reason));
                };
                CacheDocument::of_value(value).map_err(corrupt)?
            }
        };
        let mut by_digest: HashMap<Digest, &Arc<dyn Layer>> = HashMap::new();
        for layer in image.layers() {
            by_digest.insert(layer.descriptor()?.digest, layer);
        }
        for (diff_id, digest) in &document.layers {
            // A digest that the manifest does not have has no size either: nobody may fetch it.
            let Some(layer) = by_digest.get(digest) else {
                return Err(corrupt(format!("its manifest lacks the blob {digest}")));
            };
            let layer = DescribedLayer::new(Arc::clone(layer)).promised(diff_id.clone());
            found.layers.insert(diff_id.clone(), Arc::new(layer));
        }
        if image.artifact_type().is_none() {
            for layer in image.layers() {
                found.layers.insert(layer.diff_id()?, Arc::clone(layer));
            }
        }
        found.records.extend(document.records);
        found.mounts.extend(document.mounts);
        Ok(())
    }
}

/// The caches of a build. They are read at the same time, while the build is planned.
pub(crate) struct Imports(Vec<Arc<Import>>);

/// One cache, and what became of it.
pub(crate) struct Import {
    name: String,
    has_mounts: bool,
    /// Until somebody asks.
    reading: Mutex<Option<JoinHandle<Known>>>,
    known: OnceLock<Known>,
    /// Blobs of hits that are being looked for.
    checks: Mutex<Vec<JoinHandle<()>>>,
    /// Why nothing of it may be used.
    spoiled: OnceLock<String>,
}

#[derive(Default)]
struct Known {
    results: HashMap<String, (StepResult, Arc<dyn Layer>)>,
    steps: HashSet<String>,
    mounts: HashMap<String, Arc<dyn Layer>>,
    /// Why it could not be read.
    failure: Option<TransferError>,
}

impl Imports {
    /// Begins to read. `now` is what ages are counted from.
    pub(crate) fn begin(sources: &[CacheSource], now: i64) -> Self {
        Self(
            sources
                .iter()
                .map(|source| {
                    let name = source.reference.to_string();
                    let has_mounts = source.mounts;
                    let source = source.clone();
                    Arc::new(Import {
                        name,
                        has_mounts,
                        reading: Mutex::new(Some(std::thread::spawn(move || Known::read(&source, now)))),
                        known: OnceLock::new(),
                        checks: Mutex::default(),
                        spoiled: OnceLock::new(),
                    })
                })
                .collect(),
        )
    }

    /// No caches.
    pub(crate) fn none() -> Self {
        Self(Vec::new())
    }

    /// Says which caches could not be read. Waits for all.
    pub(crate) fn report(&self, reporter: &dyn Reporter) {
        for import in &self.0 {
            let Some(failure) = &import.known().failure else {
                continue;
            };
            let message = format!("the cache {} is not used", import.name);
            reporter.warn(&Diagnostic::new(Severity::Warning, "cache", message).caused_by(failure));
        }
    }

    /// The result for a key. Its blob is looked for while the build goes on.
    pub(crate) fn find(&self, key: &Key) -> Option<(Earlier, Arc<Import>)> {
        self.0.iter().find_map(|import| {
            let (result, layer) = import.known().results.get(key.hex())?;
            let layer: Arc<dyn Layer> = Arc::new(ImportedLayer {
                layer: Arc::clone(layer),
                import: Arc::clone(import),
            });
            import.check(&layer);
            Some(((result.clone(), layer), Arc::clone(import)))
        })
    }

    /// Whether any result of this step is there, whatever it was done on.
    pub(crate) fn knows_step(&self, step: &Key) -> bool {
        self.0
            .iter()
            .any(|import| import.known().steps.contains(step.hex()))
    }

    /// The saved content of a cache mount.
    pub(crate) fn mount(&self, key: &Key) -> Option<(Arc<dyn Layer>, Arc<Import>)> {
        self.0
            .iter()
            .filter(|import| import.has_mounts)
            .find_map(|import| {
                let layer = import.known().mounts.get(key.hex())?;
                Some((Arc::clone(layer), Arc::clone(import)))
            })
    }

    /// A cache that is not what it says, and why. Waits until every hit has been looked for.
    pub(crate) fn spoiled(&self) -> Option<(&str, &str)> {
        self.0.iter().find_map(|import| {
            let checks = std::mem::take(&mut *lock(&import.checks));
            for check in checks {
                if let Err(panic) = check.join() {
                    std::panic::resume_unwind(panic);
                }
            }
            Some((import.name.as_str(), import.spoiled.get()?.as_str()))
        })
    }
}

impl Import {
    fn known(&self) -> &Known {
        self.known.get_or_init(|| {
            let reading = lock(&self.reading).take();
            match reading.map(JoinHandle::join) {
                Some(Ok(known)) => known,
                Some(Err(panic)) => std::panic::resume_unwind(panic),
                None => Known::default(),
            }
        })
    }

    /// Looks whether the blob of a layer is there and as long as it should be: its last byte is asked for.
    fn check(self: &Arc<Self>, layer: &Arc<dyn Layer>) {
        let layer = Arc::clone(layer);
        let check = std::thread::spawn(move || {
            // What fails says so to the cache.
            if let Some(last) = layer.known().and_then(|known| known.size.checked_sub(1)) {
                drop(layer.open(last));
            }
        });
        lock(&self.checks).push(check);
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Something of it is not what it should be.
    pub(crate) fn spoil(&self, reason: impl fmt::Display) {
        // The first reason is as good as any.
        drop(self.spoiled.set(reason.to_string()));
    }
}

impl Known {
    fn read(source: &CacheSource, now: i64) -> Self {
        let found = match source.read() {
            Ok(found) => found,
            // The first build of all finds none.
            Err(error) if error.kind == TransferErrorKind::NotFound => return Self::default(),
            Err(error) => {
                return Self {
                    failure: Some(error),
                    ..Self::default()
                };
            }
        };
        let expired = source.max_age.map(|age| {
            let age = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
            now.saturating_sub(age)
        });
        let mut known = Self::default();
        for record in found.records {
            let Some(layer) = found.layers.get(&record.diff_id) else {
                continue;
            };
            if expired.is_some_and(|expired| record.created <= expired) {
                continue;
            }
            let result = StepResult {
                diff_id: record.diff_id,
                created: record.created,
                by_content: record.by_content.as_deref().map(Key::of_hex),
            };
            known.steps.insert(record.step);
            known.results.insert(record.key, (result, Arc::clone(layer)));
        }
        for mount in found.mounts {
            if let Some(layer) = found.layers.get(&mount.diff_id) {
                known.mounts.insert(mount.key, Arc::clone(layer));
            }
        }
        known
    }
}

/// A layer of a cache. Whatever goes wrong with it is the cache's fault.
#[derive(Debug)]
struct ImportedLayer {
    layer: Arc<dyn Layer>,
    import: Arc<Import>,
}

impl Layer for ImportedLayer {
    fn known(&self) -> Option<Descriptor> {
        self.layer.known()
    }

    fn descriptor(&self) -> Result<Descriptor, LayerError> {
        self.layer.descriptor()
    }

    fn diff_id(&self) -> Result<DiffId, LayerError> {
        self.layer.diff_id()
    }

    fn open(&self, offset: u64) -> Result<BlobReader, LayerError> {
        match self.layer.open(offset) {
            Ok(reader) => Ok(Box::new(ImportedReader {
                reader,
                import: Arc::clone(&self.import),
            })),
            Err(error) => {
                self.import.spoil(&error);
                Err(error)
            }
        }
    }

    fn media_type(&self) -> MediaType {
        self.layer.media_type()
    }

    fn origins(&self) -> Vec<Repository> {
        self.layer.origins()
    }
}

struct ImportedReader {
    reader: BlobReader,
    import: Arc<Import>,
}

impl std::io::Read for ImportedReader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.reader.read(buffer);
        if let Err(error) = &read
            && error.kind() != std::io::ErrorKind::Interrupted
        {
            self.import.spoil(error);
        }
        read
    }
}

impl fmt::Debug for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Import").field(&self.name).finish()
    }
}

impl fmt::Debug for Imports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0).finish()
    }
}
