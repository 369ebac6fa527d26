//! Layers in the making: read while they are still being written.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use lifecycle_image::{BlobReader, Descriptor, DiffId, Layer, LayerError, MediaType, Repository};

/// What a layer in the making and its maker share.
#[derive(Debug)]
pub(crate) struct Making {
    name: String,
    media_type: MediaType,
    growth: Mutex<Growth>,
    changed: Condvar,
    outcome: OnceLock<Result<Arc<dyn Layer>, LayerError>>,
}

/// How far the bytes are.
#[derive(Debug, Default)]
struct Growth {
    /// The file that they go to, once there is one.
    file: Option<Arc<File>>,
    written: u64,
}

impl Making {
    pub(crate) fn new(name: String, media_type: MediaType) -> Arc<Self> {
        Arc::new(Self {
            name,
            media_type,
            growth: Mutex::default(),
            changed: Condvar::new(),
            outcome: OnceLock::new(),
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The bytes come into `file`; readers may begin.
    pub(crate) fn begin(&self, file: File) {
        self.growth().file = Some(Arc::new(file));
        self.changed.notify_all();
    }

    /// That many bytes more can be read.
    pub(crate) fn grow(&self, bytes: u64) {
        self.growth().written += bytes;
        self.changed.notify_all();
    }

    /// The layer is there, or never will be. The first outcome counts.
    pub(crate) fn finish(&self, outcome: Result<Arc<dyn Layer>, io::Error>) {
        let outcome = outcome.map_err(|cause| LayerError::new(&self.name, cause));
        {
            // Under the lock, so that no waiter looks before and sleeps after. Held open, the file of a layer
            // that failed would go on filling the disk.
            let mut growth = self.growth();
            growth.file = None;
            drop(self.outcome.set(outcome));
        }
        self.changed.notify_all();
    }

    fn growth(&self) -> MutexGuard<'_, Growth> {
        self.growth.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, growth: MutexGuard<'a, Growth>) -> MutexGuard<'a, Growth> {
        self.changed.wait(growth).unwrap_or_else(PoisonError::into_inner)
    }

    fn result(&self) -> Result<&Arc<dyn Layer>, LayerError> {
        let mut growth = self.growth();
        loop {
            if let Some(outcome) = self.outcome.get() {
                return outcome.as_ref().map_err(Clone::clone);
            }
            growth = self.wait(growth);
        }
    }
}

/// A layer that is being made, or was.
#[derive(Debug, Clone)]
pub(crate) struct LayerInTheMaking(pub(crate) Arc<Making>);

impl Layer for LayerInTheMaking {
    fn known(&self) -> Option<Descriptor> {
        self.0.outcome.get()?.as_ref().ok()?.known()
    }

    fn decided(&self) -> Option<Descriptor> {
        let mut growth = self.0.growth();
        while self.0.outcome.get().is_none() && growth.file.is_none() {
            growth = self.0.wait(growth);
        }
        drop(growth);
        self.known()
    }

    fn descriptor(&self) -> Result<Descriptor, LayerError> {
        self.0.result()?.descriptor()
    }

    fn diff_id(&self) -> Result<DiffId, LayerError> {
        self.0.result()?.diff_id()
    }

    fn open(&self, offset: u64) -> Result<BlobReader, LayerError> {
        let mut growth = self.0.growth();
        loop {
            match (self.0.outcome.get(), &growth.file) {
                (Some(Ok(layer)), _) => return layer.open(offset),
                (Some(Err(error)), _) => return Err(error.clone()),
                (None, Some(file)) => {
                    return Ok(Box::new(Follower {
                        making: Arc::clone(&self.0),
                        file: Arc::clone(file),
                        position: offset,
                    }));
                }
                (None, None) => growth = self.0.wait(growth),
            }
        }
    }

    fn media_type(&self) -> MediaType {
        self.0.media_type.clone()
    }

    fn origins(&self) -> Vec<Repository> {
        match self.0.outcome.get() {
            Some(Ok(layer)) => layer.origins(),
            _ => Vec::new(),
        }
    }
}

/// Reads a file behind its writer, and ends when the layer is finished.
struct Follower {
    making: Arc<Making>,
    file: Arc<File>,
    position: u64,
}

impl Follower {
    /// Waits until there is something to read; the number of bytes, 0 at the end.
    fn available(&self) -> io::Result<u64> {
        let mut growth = self.making.growth();
        loop {
            if growth.written > self.position {
                return Ok(growth.written - self.position);
            }
            match self.making.outcome.get() {
                Some(Ok(_)) => return Ok(0),
                Some(Err(error)) => return Err(error.clone().into()),
                None => growth = self.making.wait(growth),
            }
        }
    }
}

impl Read for Follower {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = usize::try_from(self.available()?).unwrap_or(usize::MAX);
        let limit = buffer.len().min(available);
        let read = self.file.read_at(&mut buffer[..limit], self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}
