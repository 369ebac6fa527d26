//! Contents, layers and images to test with.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, SystemTime};

use lifecycle_image::{
    BlobReader, BytesLayer, Compression, Descriptor, DiffId, Digest, Family, History, Image, Layer,
    LayerError, MediaType, Meter, NoProgress, Outcome, Platform, Progress, Receipt, Reference, Repository,
    Sink, Step, mutate,
};
use lifecycle_layers::{Contents, FilesLayer, PackError, Packing, Style};

use crate::{Expected, Prune, Pruned, Store};

pub(super) fn linux() -> Platform {
    Platform::linux("amd64")
}

pub(super) fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

pub(super) fn quiet() -> Arc<dyn Progress> {
    Arc::new(NoProgress)
}

/// A layer of one file.
pub(super) fn files(name: &str, content: &str) -> Arc<dyn Contents> {
    let text = content.as_bytes().to_vec();
    Arc::new(FilesLayer::new(name, Style::Reference).file(format!("/etc/{name}"), 0o644, text))
}

/// Bytes that do not compress, and are always the same.
pub(super) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(step).collect()
}

/// Contents of noise that wait for permission before each block, count how often they are read, and may fail
/// at the end.
#[derive(Debug)]
pub(super) struct Slow {
    pub(super) blocks: usize,
    pub(super) permits: Mutex<std::sync::mpsc::Receiver<()>>,
    pub(super) written: AtomicUsize,
    pub(super) fails: bool,
}

impl Slow {
    pub(super) fn new(blocks: usize, fails: bool) -> (Arc<Self>, std::sync::mpsc::Sender<()>) {
        let (sender, receiver) = std::sync::mpsc::channel();
        let slow = Self {
            blocks,
            permits: Mutex::new(receiver),
            written: AtomicUsize::new(0),
            fails,
        };
        (Arc::new(slow), sender)
    }
}

/// One block; the packer's own blocks are of this size.
pub(super) const BLOCK: usize = 1 << 20;

impl Contents for Slow {
    fn name(&self) -> String {
        "slow".into()
    }

    fn write(&self, tar: &mut dyn Write) -> Result<(), PackError> {
        let failed = |cause| PackError::Io {
            path: "slow".into(),
            cause,
        };
        self.written.fetch_add(1, Ordering::SeqCst);
        for block in 0..self.blocks {
            let permitted = self.permits.lock().unwrap().recv();
            permitted.map_err(|_| failed(io::Error::other("the test is over")))?;
            tar.write_all(&noise(block as u64, BLOCK)).map_err(failed)?;
        }
        if self.fails {
            return Err(failed(io::ErrorKind::PermissionDenied.into()));
        }
        Ok(())
    }
}

pub(super) fn pack(store: &Store, contents: Arc<dyn Contents>, expected: Expected) -> Arc<dyn Layer> {
    store.pack(contents, Packing::default(), expected, quiet())
}

pub(super) fn image_of(layers: &[Arc<dyn Layer>]) -> Image {
    let mut image = Image::empty(&linux());
    for layer in layers {
        image = mutate::append(image, Arc::clone(layer), History::default());
    }
    image
}

pub(super) fn write(sink: &dyn Sink, image: &Image, name: &str) -> Receipt {
    let mut upload = sink.begin(&[reference(name)]).unwrap();
    for layer in image.layers() {
        upload.layer(Arc::clone(layer));
    }
    upload.finish(image).unwrap()
}

pub(super) fn read(layer: &dyn Layer) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    layer.open(0)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

pub(super) fn blob_path(store: &Store, digest: &Digest) -> PathBuf {
    store
        .path()
        .join("blobs")
        .join(digest.algorithm())
        .join(digest.hex())
}

/// Makes everything in a store look as if it was last used a day ago.
pub(super) fn make_old(path: &Path) {
    let yesterday = SystemTime::now() - Duration::from_hours(24);
    for entry in std::fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            make_old(&path);
        }
        if !path.is_symlink() {
            let file = std::fs::File::open(&path).unwrap();
            file.set_modified(yesterday).unwrap();
        }
    }
}

/// A layer of noise elsewhere, which can be told to break off.
#[derive(Debug)]
pub(super) struct Remote {
    layer: BytesLayer,
    bytes: Vec<u8>,
    /// Bytes that each opening gives before it breaks off.
    pub(super) breaks_after: Option<usize>,
    pub(super) opened: Mutex<Vec<u64>>,
    pub(super) origins: Vec<Repository>,
}

impl Remote {
    pub(super) fn new(seed: u64, length: usize) -> Self {
        let bytes = noise(seed, length);
        let media_type = MediaType::layer(Family::Oci, Compression::None);
        Self {
            layer: BytesLayer::new(media_type, bytes.clone(), DiffId(Digest::of(&bytes))),
            bytes,
            breaks_after: None,
            opened: Mutex::default(),
            origins: Vec::new(),
        }
    }

    /// The same layer, of which other bytes come.
    pub(super) fn altered(mut self) -> Self {
        self.bytes[0] ^= 1;
        self
    }

    pub(super) fn digest(&self) -> Digest {
        self.layer.descriptor().unwrap().digest
    }
}

impl Layer for Remote {
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
        self.opened.lock().unwrap().push(offset);
        let rest = self.bytes[usize::try_from(offset).unwrap()..].to_vec();
        Ok(match self.breaks_after {
            Some(limit) if limit < rest.len() => {
                Box::new(io::Cursor::new(rest).take(limit as u64).chain(Broken))
            }
            _ => Box::new(io::Cursor::new(rest)),
        })
    }

    fn media_type(&self) -> MediaType {
        self.layer.media_type()
    }

    fn origins(&self) -> Vec<Repository> {
        self.origins.clone()
    }
}

struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::ConnectionReset.into())
    }
}

/// Counts the steps that are begun.
#[derive(Debug, Default, Clone)]
pub(super) struct Counter(Arc<Mutex<BTreeMap<String, usize>>>);

impl Counter {
    pub(super) fn count(&self, step: Step) -> usize {
        let counts = self.0.lock().unwrap();
        counts.get(&format!("{step:?}")).copied().unwrap_or_default()
    }
}

impl Progress for Counter {
    fn begin(&self, step: Step, _: &str, _: Option<u64>) -> Box<dyn Meter> {
        *self.0.lock().unwrap().entry(format!("{step:?}")).or_default() += 1;
        Box::new(NoProgress)
    }
}

impl Meter for Counter {
    fn advance(&self, _: u64) {}
    fn finish(&self, _: Outcome) {}
}

/// A child that another test starts has all files and locks of this process until it is another program. For this moment a
/// store seems to be in use that is not, and what was removed still takes room.
static SPAWNING: RwLock<()> = RwLock::new(());

/// For whoever starts a program, until it has started.
pub(super) fn spawning() -> RwLockWriteGuard<'static, ()> {
    SPAWNING.write().unwrap()
}

/// While this lives, nobody starts a program.
pub(super) fn alone() -> RwLockReadGuard<'static, ()> {
    SPAWNING.read().unwrap()
}

/// Prunes while nobody starts a program.
pub(super) fn prune(store: &Store, policy: &Prune) -> Pruned {
    let _alone = alone();
    store.prune(policy).unwrap()
}
