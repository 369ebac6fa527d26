//! Bringing layers into the store from anywhere.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use fs_err::os::unix::fs::OpenOptionsExt;
use fs_err::{self as fs, File};
use lifecycle_image::{
    Blobs, Crew, Descriptor, Hasher, Layer, LayerError, Meter, Outcome, Progress, Step, StoredLayer,
};

use crate::directory::{Directory, file_name, remove_file, touch};
use crate::{Store, StoreError};

/// Layers that are fetched at the same time.
const THREADS: usize = 4;
/// Times in a row that a source may fail without having delivered a single byte.
const ATTEMPTS: usize = 3;

impl Store {
    /// Brings a layer's blob here, verified, and gives the stored layer. What is here already is not fetched;
    /// a layer in the making is waited for. Two that fetch the same blob at the same time, in any process,
    /// fetch it once, and what a cut connection or a killed process left is continued.
    pub fn fetch(&self, layer: &dyn Layer, progress: &dyn Progress) -> Result<StoredLayer, StoreError> {
        self.directory().fetch(layer, progress).map(|(layer, _)| layer)
    }

    /// Fetches many layers, several at a time; the result is in the order of `layers`.
    pub fn fetch_all(
        &self,
        layers: &[Arc<dyn Layer>],
        progress: &Arc<dyn Progress>,
    ) -> Result<Vec<StoredLayer>, StoreError> {
        let mut crew = Crew::new(THREADS);
        for layer in layers {
            let (directory, layer) = (Arc::clone(self.directory()), Arc::clone(layer));
            let progress = Arc::clone(progress);
            crew.submit(move || directory.fetch(&*layer, &*progress).map(|(layer, _)| layer));
        }
        crew.finish().into_iter().collect()
    }
}

impl Directory {
    /// The stored layer, and the number of bytes that had to be fetched for it.
    pub(crate) fn fetch(
        self: &Arc<Self>,
        layer: &dyn Layer,
        progress: &dyn Progress,
    ) -> Result<(StoredLayer, Option<u64>), StoreError> {
        let descriptor = layer.descriptor()?;
        let stored = StoredLayer::new(
            Arc::clone(self) as Arc<dyn Blobs>,
            descriptor.clone(),
            layer.diff_id()?,
        );
        let meter = progress.begin(Step::Copy, descriptor.digest.as_str(), Some(descriptor.size));
        if self.adopt(&descriptor)? {
            self.remember_origins(&descriptor.digest, layer.origins())?;
            meter.finish(Outcome::Existed);
            return Ok((stored, None));
        }
        let name = file_name(&descriptor.digest);
        let _alone = self.lock(&format!("fetch-{name}"))?;
        if self.adopt(&descriptor)? {
            meter.finish(Outcome::Existed);
            return Ok((stored, None));
        }
        let partial = self.path("tmp").join(format!("{name}.partial"));
        let fetched = self.fetch_into(&partial, layer, &descriptor, &*meter)?;
        self.remember_origins(&descriptor.digest, layer.origins())?;
        meter.finish(Outcome::Done);
        Ok((stored, Some(fetched)))
    }

    /// Completes the file `partial`, verifies it and makes it the blob. Gives the number of bytes that came.
    fn fetch_into(
        &self,
        partial: &Path,
        layer: &dyn Layer,
        descriptor: &Descriptor,
        meter: &dyn Meter,
    ) -> Result<u64, StoreError> {
        let failed = |cause| StoreError::io("write", partial, cause);
        let mut file = open_private(partial).map_err(failed)?;
        let (mut hasher, begun_with) = hash_rest(&mut file, descriptor).map_err(failed)?;
        meter.advance(begun_with);
        let mut have = begun_with;
        let mut idle = 0;
        while have < descriptor.size {
            let before = have;
            let stopped = continue_from(layer, &mut file, &mut hasher, &mut have, descriptor, meter);
            if have > before {
                idle = 0;
            }
            match stopped {
                Ok(()) => {}
                Err(Stopped::Here(cause)) => {
                    // On a full disk the rest would be in the way of everybody.
                    remove_file(partial)?;
                    return Err(failed(cause));
                }
                // What the source's own retries did not mend gets another chance while it goes on at all.
                Err(Stopped::There(error)) => {
                    idle += 1;
                    if idle == ATTEMPTS || !may_pass(&error) {
                        return Err(error.into());
                    }
                }
            }
        }
        let actual = hasher.finish();
        if actual == descriptor.digest {
            // All of it may have come long ago, but it is used now.
            touch(partial)?;
            self.settle(file.file(), partial, &self.blob_path(&descriptor.digest))?;
            return Ok(have - begun_with);
        }
        remove_file(partial)?;
        if begun_with > 0 {
            // The rest of an earlier attempt may be what is wrong: a power cut spoils files that were not flushed.
            return self.fetch_into(partial, layer, descriptor, meter);
        }
        let text = format!("the bytes hash to {actual}");
        let cause = io::Error::new(io::ErrorKind::InvalidData, text);
        Err(LayerError::new(descriptor.digest.as_str(), cause).into())
    }
}

fn open_private(path: &Path) -> io::Result<File> {
    fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

/// Hashes what an earlier attempt left.
fn hash_rest(file: &mut File, descriptor: &Descriptor) -> io::Result<(Hasher, u64)> {
    let mut hasher = descriptor.digest.hasher();
    let mut have = 0;
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 && have <= descriptor.size {
            return Ok((hasher, have));
        }
        if read == 0 {
            // More than the whole: nothing that could be continued.
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            return Ok((descriptor.digest.hasher(), 0));
        }
        hasher.update(&buffer[..read]);
        have += read as u64;
    }
}

/// Where it stopped.
enum Stopped {
    Here(io::Error),
    There(LayerError),
}

fn continue_from(
    layer: &dyn Layer,
    file: &mut File,
    hasher: &mut Hasher,
    have: &mut u64,
    descriptor: &Descriptor,
    meter: &dyn Meter,
) -> Result<(), Stopped> {
    let Descriptor { digest, size, .. } = descriptor;
    let there = |cause| Stopped::There(LayerError::new(digest.as_str(), cause));
    let mut reader = layer.open(*have).map_err(Stopped::There)?;
    let mut buffer = vec![0; 128 * 1024];
    while *have < *size {
        let limit = buffer
            .len()
            .min(usize::try_from(*size - *have).unwrap_or(usize::MAX));
        let read = match reader.read(&mut buffer[..limit]) {
            Ok(0) => return Err(there(io::ErrorKind::UnexpectedEof.into())),
            Ok(read) => read,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
            Err(cause) => return Err(there(cause)),
        };
        file.write_all(&buffer[..read]).map_err(Stopped::Here)?;
        hasher.update(&buffer[..read]);
        *have += read as u64;
        meter.advance(read as u64);
    }
    Ok(())
}

/// Whether another attempt can end better: bytes that are wrong or missing at their source stay so.
fn may_pass(error: &LayerError) -> bool {
    !matches!(
        error.cause.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::InvalidData
            | io::ErrorKind::Unsupported
    )
}
