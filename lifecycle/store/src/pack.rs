//! Making layers from files, on a thread of its own.

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use lifecycle_image::{
    Blobs, Descriptor, DiffId, Family, Layer, MediaType, Outcome, Progress, Step, StoredLayer,
};
use lifecycle_layers::{Contents, PackError, Packing};

use crate::directory::Directory;
use crate::making::{LayerInTheMaking, Making};
use crate::{Store, StoreError};

/// The bytes after which a growing layer is flushed to the disk.
const FLUSH: u64 = 16 << 20;

/// Finds a layer by diff ID in some other place, as in the previous image in a registry.
type Find = Arc<dyn Fn(&DiffId) -> Option<Arc<dyn Layer>> + Send + Sync>;

/// Whether the contents may have been packed before.
#[derive(Clone)]
pub enum Expected {
    /// They are new: they are read once, and packed right away.
    New,
    /// They were probably packed before, here or for an image elsewhere: they are hashed first. If this store
    /// has packed them in the same way, or the function finds a layer of the same compression, nothing is
    /// compressed. If not, they are read a second time.
    Seen(Find),
    /// They are known to be this layer, so that they are not even hashed. If neither this store nor the function has it,
    /// they are packed.
    Known(DiffId, Find),
}

impl Expected {
    /// Expects contents that this store has packed before.
    pub fn here() -> Self {
        Self::Seen(Arc::new(|_| None))
    }

    /// Expects contents that this store has packed before, or that are one of `layers`.
    pub fn among(layers: &[Arc<dyn Layer>]) -> Self {
        Self::Seen(find_among(layers))
    }

    /// Contents that are known to be the layer `diff_id`, which this store has packed before, or which is one of `layers`.
    pub fn known(diff_id: DiffId, layers: &[Arc<dyn Layer>]) -> Self {
        Self::Known(diff_id, find_among(layers))
    }
}

fn find_among(layers: &[Arc<dyn Layer>]) -> Find {
    let layers = layers.to_vec();
    Arc::new(move |wanted| {
        let mut layers = layers.iter();
        layers
            .find(|layer| layer.diff_id().is_ok_and(|own| own == *wanted))
            .cloned()
    })
}

impl fmt::Debug for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::New => "New",
            Self::Seen(_) => "Seen",
            Self::Known(..) => "Known",
        })
    }
}

impl Store {
    /// Begins to make the layer of `contents` and returns it at once, in the making: it can be opened and
    /// followed while it is packed, and handed to a [`lifecycle_image::Sink`].
    ///
    /// Layers are packed one after the other in the order given, each on all cores. The bytes depend on
    /// contents and packing alone. The store must stay open until the layer is finished; layers that are not
    /// finished when the last clone is dropped fail for whoever waits for them.
    pub fn pack(
        &self,
        contents: Arc<dyn Contents>,
        packing: Packing,
        expected: Expected,
        progress: Arc<dyn Progress>,
    ) -> Arc<dyn Layer> {
        let media_type = MediaType::layer(Family::Oci, packing.compression);
        let making = Making::new(contents.name(), media_type);
        self.packer().submit(Job {
            making: Unfinished(Arc::clone(&making)),
            contents,
            packing,
            expected,
            progress,
        });
        Arc::new(LayerInTheMaking(making))
    }
}

struct Job {
    making: Unfinished,
    contents: Arc<dyn Contents>,
    packing: Packing,
    expected: Expected,
    progress: Arc<dyn Progress>,
}

/// The thread that packs. It starts with the first job.
pub(crate) struct Packer {
    directory: Arc<Directory>,
    closing: Arc<AtomicBool>,
    thread: Mutex<Option<(Sender<Job>, JoinHandle<()>)>>,
}

impl Packer {
    pub(crate) fn new(directory: Arc<Directory>) -> Self {
        Self {
            directory,
            closing: Arc::default(),
            thread: Mutex::default(),
        }
    }

    fn submit(&self, job: Job) {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let (jobs, _) = thread.get_or_insert_with(|| {
            let (jobs, queue) = mpsc::channel::<Job>();
            let directory = Arc::clone(&self.directory);
            let closing = Arc::clone(&self.closing);
            let thread = thread::spawn(move || {
                for job in queue {
                    job.making.0.finish(job.work(&directory, &closing));
                }
            });
            (jobs, thread)
        });
        // Should the thread have fallen in an earlier job, this one is dropped, and its waiters know.
        drop(jobs.send(job));
    }
}

impl Drop for Packer {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Relaxed);
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some((jobs, thread)) = thread.take() {
            drop(jobs);
            // Whatever it fell over, its waiters know.
            drop(thread.join());
        }
    }
}

impl fmt::Debug for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Packer")
    }
}

/// Sees to it that nobody waits for ever: however a job ends, its layer is finished.
struct Unfinished(Arc<Making>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.0
            .finish(Err(io::Error::other("packing stopped unexpectedly")));
    }
}

impl Job {
    fn work(&self, directory: &Arc<Directory>, closing: &AtomicBool) -> io::Result<Arc<dyn Layer>> {
        check_open(closing)?;
        let reused = match &self.expected {
            Expected::New => None,
            Expected::Seen(find) => self.reuse(directory, None, find)?,
            Expected::Known(diff_id, find) => self.reuse(directory, Some(diff_id), find)?,
        };
        if let Some(layer) = reused {
            return Ok(layer);
        }
        self.pack(directory, closing).map(|layer| Arc::new(layer) as _)
    }

    /// Hashes the contents, unless it is known what they are, and looks for a layer that they made before.
    fn reuse(
        &self,
        directory: &Arc<Directory>,
        known: Option<&DiffId>,
        find: &Find,
    ) -> io::Result<Option<Arc<dyn Layer>>> {
        let meter = self.progress.begin(Step::Hash, self.making.0.name(), None);
        let diff_id = if let Some(diff_id) = known {
            diff_id.clone()
        } else {
            let hashed = lifecycle_layers::hash(&*self.contents, &*meter);
            hashed.map_err(|error| pack_failed(error, directory))?.0
        };
        if let Some(stored) = directory
            .packed(&diff_id, &self.packing)
            .map_err(StoreError::into_io)?
        {
            meter.finish(Outcome::Reused);
            return Ok(Some(Arc::new(stored)));
        }
        // Of another compression it would not be the layer that was asked for.
        let fits =
            |layer: &Arc<dyn Layer>| layer.media_type().compression() == Some(self.packing.compression);
        let found = find(&diff_id).filter(fits);
        meter.finish(match found {
            Some(_) => Outcome::Reused,
            None => Outcome::Done,
        });
        Ok(found)
    }

    fn pack(&self, directory: &Arc<Directory>, closing: &AtomicBool) -> io::Result<StoredLayer> {
        let temporary = directory.temporary().map_err(StoreError::into_io)?;
        self.making.0.begin(temporary.as_file().try_clone()?);
        let meter = self.progress.begin(Step::Pack, self.making.0.name(), None);
        let packed = thread::scope(|scope| {
            let (flush, wanted) = mpsc::sync_channel(1);
            let file = temporary.as_file();
            // While the next bytes are made, so that the last flush has little left to wait for.
            let flusher = scope.spawn(move || wanted.iter().try_for_each(|()| directory.flush(file)));
            let mut out = Growing {
                file,
                making: &self.making.0,
                closing,
                flush,
                unflushed: 0,
            };
            let packed = lifecycle_layers::pack(&*self.contents, &self.packing, &mut out, &*meter);
            drop(out);
            let flushed = flusher
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("flushing stopped unexpectedly")));
            packed.and_then(|packed| flushed.map_err(PackError::Output).map(|()| packed))
        })
        .map_err(|error| pack_failed(error, directory))?;
        let media_type = MediaType::layer(Family::Oci, self.packing.compression);
        let descriptor = Descriptor {
            annotations: packed.annotations,
            ..Descriptor::new(media_type, packed.digest, packed.size)
        };
        directory
            .keep(temporary, &directory.blob_path(&descriptor.digest))
            .and_then(|()| directory.remember(&packed.diff_id, &descriptor, Some(&self.packing)))
            .map_err(StoreError::into_io)?;
        meter.finish(Outcome::Done);
        let blobs = Arc::clone(directory) as Arc<dyn Blobs>;
        Ok(StoredLayer::new(blobs, descriptor, packed.diff_id))
    }
}

/// The file of a layer in the making, as its maker sees it.
struct Growing<'a> {
    file: &'a std::fs::File,
    making: &'a Making,
    closing: &'a AtomicBool,
    flush: SyncSender<()>,
    unflushed: u64,
}

impl Write for Growing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        check_open(self.closing)?;
        let written = self.file.write(bytes)?;
        self.making.grow(written as u64);
        self.unflushed += written as u64;
        // While the last flush is still busy, the bytes wait for the next one.
        if self.unflushed >= FLUSH && self.flush.try_send(()).is_ok() {
            self.unflushed = 0;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn check_open(closing: &AtomicBool) -> io::Result<()> {
    if closing.load(Ordering::Relaxed) {
        return Err(io::Error::other(
            "the store was closed before the layer was finished",
        ));
    }
    Ok(())
}

/// A packer's error with its kind, and a full disk under the name of the store.
fn pack_failed(error: PackError, directory: &Directory) -> io::Error {
    match error {
        PackError::Output(cause) => {
            StoreError::io("write a layer to", &directory.path("tmp"), cause).into_io()
        }
        PackError::Io { cause, path } => {
            let kind = cause.kind();
            io::Error::new(kind, PackError::Io { path, cause })
        }
        other => io::Error::other(other),
    }
}
