//! Writing images into a layout.

use std::io::{self, Read, Write};
use std::sync::Arc;

use fs_err as fs;
use tempfile::NamedTempFile;

use super::{Files, INDEX, Layout, lock};
use crate::{
    Blobs, Crew, Descriptor, GivenLayers, Image, ImageError, Index, Layer, Outcome, Progress, RawDocument,
    Receipt, Reference, Step, TransferError, Upload,
};

/// Layers written at the same time: one is read while the other is hashed.
const THREADS: usize = 2;

/// An image on its way into a layout.
pub(super) struct LayoutUpload {
    layout: Layout,
    names: Vec<Reference>,
    crew: Crew<Result<Written, TransferError>>,
    given: GivenLayers,
}

/// What became of a blob.
#[derive(Debug, Clone, Copy)]
enum Written {
    Sent(u64),
    Existed,
}

impl LayoutUpload {
    pub(super) fn new(layout: Layout, names: &[Reference]) -> Self {
        Self {
            layout,
            names: names.to_vec(),
            crew: Crew::new(THREADS),
            given: GivenLayers::default(),
        }
    }

    /// Hands in the layers of `image` that were not given one by one.
    fn complete(&mut self, image: &Image) {
        if !self.layout.sparse {
            for layer in image.layers() {
                self.layer(Arc::clone(layer));
            }
        }
    }

    /// Waits for the layers, writes the documents, and last makes the names stand for `top`.
    fn conclude(self, config: Option<&RawDocument>, top: &RawDocument) -> Result<Receipt, TransferError> {
        let files = &self.layout.files;
        let mut written = self.crew.finish().into_iter().collect::<Result<Vec<_>, _>>()?;
        for document in config.into_iter().chain([top]) {
            written.push(write_document(files, document)?);
        }
        let failed =
            |cause| TransferError::from_io(format!("cannot name an image in {}", files.place()), cause);
        let _lock = lock(&files.directory).map_err(failed)?;
        let mut entries = files.entries()?;
        entries.set(&self.names, self.layout.name.as_deref(), &top.descriptor);
        let index = entries.encode().map_err(ImageError::from)?;
        files.replace(INDEX, &index.bytes).map_err(failed)?;
        Ok(receipt(self.names, &top.descriptor, &written))
    }
}

impl Upload for LayoutUpload {
    fn layer(&mut self, layer: Arc<dyn Layer>) {
        if !self.given.is_new(&layer) {
            return;
        }
        let files = Arc::clone(&self.layout.files);
        let progress = Arc::clone(&self.layout.progress);
        self.crew.submit(move || write_layer(&files, &*layer, &*progress));
    }

    fn member(&mut self, image: &Image) -> Result<Receipt, TransferError> {
        self.complete(image);
        let (config, manifest) = (image.encode_config()?, image.encode_manifest()?);
        let files = &self.layout.files;
        let written = [write_document(files, &config)?, write_document(files, &manifest)?];
        Ok(receipt(Vec::new(), &manifest.descriptor, &written))
    }

    fn finish(mut self: Box<Self>, image: &Image) -> Result<Receipt, TransferError> {
        self.complete(image);
        let (config, mut manifest) = (image.encode_config()?, image.encode_manifest()?);
        manifest.descriptor.platform = Some(image.platform());
        self.conclude(Some(&config), &manifest)
    }

    fn finish_index(self: Box<Self>, index: &Index) -> Result<Receipt, TransferError> {
        let index = index.encode().map_err(ImageError::from)?;
        self.conclude(None, &index)
    }
}

fn receipt(names: Vec<Reference>, top: &Descriptor, written: &[Written]) -> Receipt {
    let sent = written.iter().map(|written| match written {
        Written::Sent(bytes) => *bytes,
        Written::Existed => 0,
    });
    Receipt {
        names,
        digest: top.digest.clone(),
        manifest_size: top.size,
        sent: sent.sum(),
        existed: written
            .iter()
            .filter(|written| matches!(written, Written::Existed))
            .count(),
        mounted: 0,
    }
}

fn write_document(files: &Files, document: &RawDocument) -> Result<Written, TransferError> {
    let descriptor = &document.descriptor;
    let write = || {
        if files.holds(descriptor) {
            return Ok(Written::Existed);
        }
        let mut file = files.temporary()?;
        file.write_all(&document.bytes)?;
        files.keep(file, descriptor)?;
        Ok(Written::Sent(descriptor.size))
    };
    write().map_err(|cause| {
        TransferError::from_io(
            format!("cannot write {} to {}", descriptor.digest, files.place()),
            cause,
        )
    })
}

fn write_layer(files: &Files, layer: &dyn Layer, progress: &dyn Progress) -> Result<Written, TransferError> {
    let known = layer.decided();
    let name = known
        .as_ref()
        .map_or_else(|| "layer".to_owned(), |known| known.digest.to_string());
    let meter = progress.begin(Step::Copy, &name, known.as_ref().map(|known| known.size));
    if known.is_some_and(|known| files.holds(&known)) {
        meter.finish(Outcome::Existed);
        return Ok(Written::Existed);
    }
    let failed = |cause| TransferError::from_io(format!("cannot write {name} to {}", files.place()), cause);
    let mut file = files.temporary().map_err(failed)?;
    // A known layer verifies itself while it is read, one in the making is hashed by its maker.
    let mut reader = layer.open(0)?;
    let mut buffer = vec![0; 256 * 1024];
    let mut size = 0;
    loop {
        let read = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
            Err(cause) => {
                return Err(TransferError::from_io(format!("cannot read layer {name}"), cause));
            }
        };
        file.write_all(&buffer[..read]).map_err(failed)?;
        size += read as u64;
        meter.advance(read as u64);
    }
    let descriptor = layer.descriptor()?;
    if size != descriptor.size {
        let text = format!("{} bytes were promised but {size} came", descriptor.size);
        return Err(failed(io::Error::new(io::ErrorKind::UnexpectedEof, text)));
    }
    files.keep(file, &descriptor).map_err(failed)?;
    meter.finish(Outcome::Done);
    Ok(Written::Sent(size))
}

impl Files {
    /// Whether a blob of the right size is there. One of another size is damage, and is written again.
    fn holds(&self, descriptor: &Descriptor) -> bool {
        fs::metadata(self.path(&descriptor.digest)).is_ok_and(|found| found.len() == descriptor.size)
    }

    /// Gives a finished blob its name.
    fn keep(&self, file: NamedTempFile, descriptor: &Descriptor) -> io::Result<()> {
        let path = self.path(&descriptor.digest);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        file.persist(path)?;
        Ok(())
    }
}
