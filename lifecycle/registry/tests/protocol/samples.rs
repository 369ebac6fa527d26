//! Images, layers and settings to test with.

use std::io::{self, Read};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, SystemTime};

use lifecycle_image::{
    Artifact, BlobReader, BytesLayer, Compression, Descriptor, DiffId, Digest, Family, History, Image, Layer,
    LayerError, MediaType, Meter, Outcome, Platform, Progress, Receipt, Reference, Sink, Source, Step,
    TransferError, TransferErrorKind, mutate,
};
use lifecycle_registry::{Clock, Registry, Settings};

use crate::fake_registry::FakeRegistry;

pub(crate) fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

/// Bytes that differ from one another and from those of other seeds.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

pub(crate) fn layer_type() -> MediaType {
    MediaType::layer(Family::Oci, Compression::None)
}

pub(crate) fn layer(bytes: &[u8]) -> Arc<dyn Layer> {
    Arc::new(BytesLayer::new(layer_type(), bytes, DiffId(Digest::of(bytes))))
}

pub(crate) fn image_of(layers: &[Arc<dyn Layer>]) -> Image {
    let empty = Image::empty(&Platform::linux("amd64"));
    layers.iter().fold(empty, |image, layer| {
        mutate::append(image, Arc::clone(layer), History::default())
    })
}

pub(crate) fn image(contents: &[&[u8]]) -> Image {
    let layers: Vec<_> = contents.iter().map(|bytes| layer(bytes)).collect();
    image_of(&layers)
}

/// Time that passes only when somebody sleeps, and says how long they slept.
#[derive(Debug, Default)]
pub(crate) struct QuickClock {
    passed: Mutex<Duration>,
    slept: Mutex<Vec<Duration>>,
}

impl QuickClock {
    pub(crate) fn slept(&self) -> Vec<Duration> {
        self.slept.lock().unwrap().clone()
    }

    pub(crate) fn pass(&self, duration: Duration) {
        *self.passed.lock().unwrap() += duration;
    }
}

impl Clock for QuickClock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000) + *self.passed.lock().unwrap()
    }

    fn jitter(&self) -> f64 {
        0.0
    }

    fn sleep(&self, duration: Duration) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        self.pass(duration);
        self.slept.lock().unwrap().push(duration);
        Box::pin(std::future::ready(()))
    }
}

/// Settings that do not wait.
pub(crate) fn settings() -> (Settings, Arc<QuickClock>) {
    let clock = Arc::new(QuickClock::default());
    let settings = Settings {
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        ..Settings::default()
    };
    (settings, clock)
}

pub(crate) fn registry() -> Registry {
    Registry::new(settings().0).unwrap()
}

/// Pushes as a program would: layers first.
pub(crate) fn push(registry: &Registry, image: &Image, names: &[&str]) -> Result<Receipt, TransferError> {
    let names: Vec<_> = names.iter().map(|name| reference(name)).collect();
    let mut upload = registry.begin(&names)?;
    for layer in image.layers() {
        upload.layer(Arc::clone(layer));
    }
    upload.finish(image)
}

pub(crate) fn pull(registry: &Registry, name: &str) -> Result<Image, TransferError> {
    match registry.artifact(&reference(name))? {
        Artifact::Image(image) => Ok(*image),
        Artifact::Index(_) => Err(TransferError::new(TransferErrorKind::Unsupported, "an index")),
    }
}

pub(crate) fn read_layer(image: &Image, number: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    image.layers()[number].open(0)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The whole text of an error, with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// An image in a fake registry, put there without pushing.
pub(crate) fn stock(fake: &FakeRegistry, repository: &str, tag: &str, contents: &[&[u8]]) -> Image {
    let image = image(contents);
    for content in contents {
        fake.put_blob(repository, content);
    }
    fake.put_blob(repository, &image.encode_config().unwrap().bytes);
    let manifest = image.encode_manifest().unwrap();
    fake.put_manifest(
        repository,
        tag,
        manifest.descriptor.media_type.as_str(),
        &manifest.bytes,
    );
    image
}

/// A layer in the making: what is written to it becomes its bytes.
#[derive(Debug, Default)]
pub(crate) struct Making {
    state: Mutex<MakingState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct MakingState {
    bytes: Vec<u8>,
    finished: bool,
    failed: bool,
}

impl Making {
    pub(crate) fn write(&self, bytes: &[u8]) {
        self.state.lock().unwrap().bytes.extend_from_slice(bytes);
        self.changed.notify_all();
    }

    pub(crate) fn finish(&self) {
        self.state.lock().unwrap().finished = true;
        self.changed.notify_all();
    }

    pub(crate) fn fail(&self) {
        self.state.lock().unwrap().failed = true;
        self.changed.notify_all();
    }

    fn wait(&self) -> Result<Vec<u8>, LayerError> {
        let waiting = |state: &mut MakingState| !state.finished && !state.failed;
        let state = self
            .changed
            .wait_while(self.state.lock().unwrap(), waiting)
            .unwrap();
        if state.failed {
            return Err(LayerError::new("made", io::Error::other("the maker gave up")));
        }
        Ok(state.bytes.clone())
    }
}

/// The same layer, as the trait wants it: readers have to be able to hold it.
#[derive(Debug, Clone)]
pub(crate) struct MakingLayer(pub(crate) Arc<Making>);

impl Layer for MakingLayer {
    fn known(&self) -> Option<Descriptor> {
        let state = self.0.state.lock().unwrap();
        state.finished.then(|| Descriptor::of(layer_type(), &state.bytes))
    }

    fn descriptor(&self) -> Result<Descriptor, LayerError> {
        Ok(Descriptor::of(layer_type(), &self.0.wait()?))
    }

    fn diff_id(&self) -> Result<DiffId, LayerError> {
        Ok(DiffId(Digest::of(&self.0.wait()?)))
    }

    fn open(&self, offset: u64) -> Result<BlobReader, LayerError> {
        Ok(Box::new(MakingReader {
            making: Arc::clone(&self.0),
            place: usize::try_from(offset).unwrap(),
        }))
    }

    fn media_type(&self) -> MediaType {
        layer_type()
    }
}

struct MakingReader {
    making: Arc<Making>,
    place: usize,
}

impl Read for MakingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let place = self.place;
        let waiting =
            |state: &mut MakingState| state.bytes.len() <= place && !state.finished && !state.failed;
        let making = &self.making;
        let state = making
            .changed
            .wait_while(making.state.lock().unwrap(), waiting)
            .unwrap();
        if state.failed {
            return Err(io::Error::other("the maker gave up"));
        }
        let rest = &state.bytes[place.min(state.bytes.len())..];
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.place += length;
        Ok(length)
    }
}

/// A layer that knows where it came from.
#[derive(Debug)]
pub(crate) struct FromElsewhere {
    pub(crate) layer: Arc<dyn Layer>,
    pub(crate) origin: Reference,
}

impl Layer for FromElsewhere {
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
        self.layer.open(offset)
    }

    fn media_type(&self) -> MediaType {
        self.layer.media_type()
    }

    fn origins(&self) -> Vec<lifecycle_image::Repository> {
        vec![self.origin.repository().clone()]
    }
}

/// Somebody who remembers what was told.
#[derive(Debug, Default)]
pub(crate) struct Witness(Arc<Mutex<Vec<Told>>>);

/// What was done, how many bytes were counted, and how it ended.
type Told = (Step, u64, Option<Outcome>);

impl Witness {
    pub(crate) fn told(&self) -> Vec<Told> {
        self.0.lock().unwrap().clone()
    }
}

struct WitnessMeter(Arc<Mutex<Vec<Told>>>, usize);

impl Progress for Witness {
    fn begin(&self, step: Step, _: &str, _: Option<u64>) -> Box<dyn Meter> {
        let mut told = self.0.lock().unwrap();
        told.push((step, 0, None));
        Box::new(WitnessMeter(Arc::clone(&self.0), told.len() - 1))
    }
}

impl Meter for WitnessMeter {
    fn advance(&self, bytes: u64) {
        self.0.lock().unwrap()[self.1].1 += bytes;
    }

    fn finish(&self, outcome: Outcome) {
        self.0.lock().unwrap()[self.1].2 = Some(outcome);
    }
}
