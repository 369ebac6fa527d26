//! Writing archives.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Read, Write};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;
use tempfile::NamedTempFile;

use super::docker;
use crate::layout::{Entries, INDEX, MARKER, MARKER_TEXT};
use crate::{
    Descriptor, Digest, Image, ImageError, Index, Layer, NoProgress, Outcome, Progress, RawDocument, Receipt,
    Reference, Sink, Step, TransferError, TransferErrorKind, Upload, canonical_json,
};

/// The kinds of archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ArchiveKind {
    /// A tar of an OCI layout.
    Oci,
    /// A Docker archive, with an OCI layout over the same blobs.
    Docker,
}

/// An archive that one image, or one index with its members, is written to.
///
/// The bytes depend on the image and its names alone. Nothing is held in memory: a layer is written once it is
/// finished, while the next one is still being made. A file appears under its name when it is whole.
pub struct ArchiveSink {
    kind: ArchiveKind,
    name: Option<String>,
    progress: Arc<dyn Progress>,
    target: Mutex<Target>,
}

/// Where the archive goes.
enum Target {
    File(PathBuf),
    Stream(Box<dyn Write + Send>),
    /// An upload took it.
    Taken,
}

impl ArchiveSink {
    /// An archive in a file, which is replaced if it is there.
    pub fn create(kind: ArchiveKind, path: impl Into<PathBuf>) -> Self {
        Self::new(kind, Target::File(path.into()))
    }

    /// An archive that is written to a pipe.
    pub fn stream(kind: ArchiveKind, out: impl Write + Send + 'static) -> Self {
        Self::new(kind, Target::Stream(Box::new(out)))
    }

    fn new(kind: ArchiveKind, target: Target) -> Self {
        Self {
            kind,
            name: None,
            progress: Arc::new(NoProgress),
            target: Mutex::new(target),
        }
    }

    /// The same archive, where the image has this name inside the layout instead of its tag.
    #[must_use]
    pub fn under(self, name: impl Into<String>) -> Self {
        Self {
            name: Some(name.into()),
            ..self
        }
    }

    /// The same archive, with somebody who watches what is written.
    #[must_use]
    pub fn watched(self, progress: Arc<dyn Progress>) -> Self {
        Self { progress, ..self }
    }
}

impl Sink for ArchiveSink {
    /// # Errors
    /// [`TransferErrorKind::Unsupported`] the second time: an archive is closed with its first image.
    fn begin(&self, names: &[Reference]) -> Result<Box<dyn Upload>, TransferError> {
        let mut target = self.target.lock().unwrap_or_else(PoisonError::into_inner);
        let (place, out) = match mem::replace(&mut *target, Target::Taken) {
            Target::File(path) => {
                let place = format!("the archive {}", path.display());
                let file = beside(&path)
                    .map_err(|cause| TransferError::from_io(format!("cannot create {place}"), cause))?;
                (place, Out::File(file, path))
            }
            Target::Stream(out) => ("the archive in the pipe".to_owned(), Out::Stream(out)),
            Target::Taken => {
                return Err(TransferError::new(
                    TransferErrorKind::Unsupported,
                    "an archive takes one image or one index; write a second one to an archive of its own",
                ));
            }
        };
        Ok(Box::new(ArchiveUpload {
            kind: self.kind,
            name: self.name.clone(),
            names: names.to_vec(),
            progress: Arc::clone(&self.progress),
            tar: Tar {
                place,
                out: tar::Builder::new(out),
                written: BTreeSet::new(),
                sent: 0,
                existed: 0,
                begun: false,
            },
        }))
    }
}

impl fmt::Debug for ArchiveSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArchiveSink")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// A new file in the directory of `path`, so that it can be renamed to it.
fn beside(path: &Path) -> io::Result<NamedTempFile> {
    use std::os::unix::fs::PermissionsExt;
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    tempfile::Builder::new()
        .prefix(".tmp-")
        .permissions(std::fs::Permissions::from_mode(0o666))
        .tempfile_in(directory)
}

struct ArchiveUpload {
    kind: ArchiveKind,
    name: Option<String>,
    names: Vec<Reference>,
    progress: Arc<dyn Progress>,
    tar: Tar,
}

impl Upload for ArchiveUpload {
    /// Layers are written in the image's order, when it is known.
    fn layer(&mut self, _: Arc<dyn Layer>) {}

    fn member(&mut self, image: &Image) -> Result<Receipt, TransferError> {
        if self.kind == ArchiveKind::Docker {
            return Err(index_in_docker_archive());
        }
        let before = (self.tar.sent, self.tar.existed);
        let manifest = self.image(image)?;
        Ok(Receipt {
            names: Vec::new(),
            digest: manifest.descriptor.digest,
            manifest_size: manifest.descriptor.size,
            sent: self.tar.sent - before.0,
            existed: self.tar.existed - before.1,
            mounted: 0,
        })
    }

    fn finish(mut self: Box<Self>, image: &Image) -> Result<Receipt, TransferError> {
        let mut manifest = self.image(image)?;
        manifest.descriptor.platform = Some(image.platform());
        if self.kind == ArchiveKind::Docker {
            let config = image.encode_config()?.descriptor;
            let layers = image.layers().iter();
            let layers: Vec<_> = layers
                .map(|layer| Ok(blob_name(&layer.descriptor()?.digest)))
                .collect::<Result<_, TransferError>>()?;
            let entry = json!([{
                "Config": blob_name(&config.digest),
                "RepoTags": self.names.iter().filter_map(repo_tag).collect::<Vec<_>>(),
                "Layers": layers,
            }]);
            let text = canonical_json(&entry).map_err(ImageError::Config)?;
            self.tar.file(docker::MANIFEST, &text)?;
        }
        self.conclude(&manifest.descriptor)
    }

    fn finish_index(mut self: Box<Self>, index: &Index) -> Result<Receipt, TransferError> {
        if self.kind == ArchiveKind::Docker {
            return Err(index_in_docker_archive());
        }
        let index = index.encode().map_err(ImageError::from)?;
        self.tar.document(&index)?;
        self.conclude(&index.descriptor)
    }
}

impl ArchiveUpload {
    fn image(&mut self, image: &Image) -> Result<RawDocument, TransferError> {
        for layer in image.layers() {
            self.tar.layer(&**layer, &*self.progress)?;
        }
        self.tar.document(&image.encode_config()?)?;
        let manifest = image.encode_manifest()?;
        self.tar.document(&manifest)?;
        Ok(manifest)
    }

    fn conclude(mut self, top: &Descriptor) -> Result<Receipt, TransferError> {
        let mut entries = Entries::default();
        entries.set(&self.names, self.name.as_deref(), top);
        self.tar
            .file(INDEX, &entries.encode().map_err(ImageError::from)?.bytes)?;
        let (sent, existed) = (self.tar.sent, self.tar.existed);
        self.tar.close()?;
        Ok(Receipt {
            names: self.names,
            digest: top.digest.clone(),
            manifest_size: top.size,
            sent,
            existed,
            mounted: 0,
        })
    }
}

fn index_in_docker_archive() -> TransferError {
    TransferError::new(
        TransferErrorKind::Unsupported,
        "a Docker archive holds no index of several platforms; choose one platform or write an OCI archive",
    )
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

/// A name as `docker load` wants it, always with its tag; names without a tag cannot be told there.
fn repo_tag(name: &Reference) -> Option<String> {
    Some(format!("{}:{}", name.repository().familiar(), name.tag()?))
}

/// The tar that is being written.
struct Tar {
    place: String,
    out: tar::Builder<Out>,
    written: BTreeSet<Digest>,
    sent: u64,
    existed: usize,
    begun: bool,
}

enum Out {
    File(NamedTempFile, PathBuf),
    Stream(Box<dyn Write + Send>),
}

impl Tar {
    fn layer(&mut self, layer: &dyn Layer, progress: &dyn Progress) -> Result<(), TransferError> {
        // A tar's header holds the size, so a layer in the making is waited for.
        let descriptor = layer.descriptor()?;
        let meter = progress.begin(Step::Copy, descriptor.digest.as_str(), Some(descriptor.size));
        if !self.written.insert(descriptor.digest.clone()) {
            self.existed += 1;
            meter.finish(Outcome::Existed);
            return Ok(());
        }
        let mut reader = Counted {
            inner: layer.open(0)?,
            count: 0,
            advance: |bytes| meter.advance(bytes),
        };
        self.append(&blob_name(&descriptor.digest), descriptor.size, &mut reader)?;
        // The reader was read to its end, so it has verified itself; a size that is wrong spoils the tar.
        if reader.count != descriptor.size {
            return Err(TransferError::new(
                TransferErrorKind::Corrupt,
                format!(
                    "layer {} has {} bytes instead of {}",
                    descriptor.digest, reader.count, descriptor.size
                ),
            ));
        }
        self.sent += descriptor.size;
        meter.finish(Outcome::Done);
        Ok(())
    }

    fn document(&mut self, document: &RawDocument) -> Result<(), TransferError> {
        let descriptor = &document.descriptor;
        if self.written.insert(descriptor.digest.clone()) {
            self.append(
                &blob_name(&descriptor.digest),
                descriptor.size,
                &mut &*document.bytes,
            )?;
            self.sent += descriptor.size;
        } else {
            self.existed += 1;
        }
        Ok(())
    }

    fn file(&mut self, name: &str, bytes: &[u8]) -> Result<(), TransferError> {
        self.append(name, bytes.len() as u64, &mut &*bytes)
    }

    fn append(&mut self, name: &str, size: u64, bytes: &mut dyn Read) -> Result<(), TransferError> {
        if !mem::replace(&mut self.begun, true) {
            for directory in ["blobs/", "blobs/sha256/"] {
                self.entry(directory, tar::EntryType::Directory, 0o755, 0, &mut io::empty())?;
            }
            self.file(MARKER, MARKER_TEXT.as_bytes())?;
        }
        self.entry(name, tar::EntryType::Regular, 0o644, size, bytes)
    }

    fn entry(
        &mut self,
        name: &str,
        kind: tar::EntryType,
        mode: u32,
        size: u64,
        bytes: &mut dyn Read,
    ) -> Result<(), TransferError> {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        self.out
            .append_data(&mut header, name, bytes)
            .map_err(|cause| TransferError::from_io(format!("cannot write {}", self.place), cause))
    }

    fn close(self) -> Result<(), TransferError> {
        let failed = |cause| TransferError::from_io(format!("cannot write {}", self.place), cause);
        match self.out.into_inner().map_err(failed)? {
            Out::Stream(mut out) => out.flush().map_err(failed),
            Out::File(file, path) => {
                file.persist(path).map_err(|error| failed(error.error))?;
                Ok(())
            }
        }
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::File(file, _) => file.write(bytes),
            Self::Stream(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File(file, _) => file.flush(),
            Self::Stream(out) => out.flush(),
        }
    }
}

/// A reader that tells how far it is.
struct Counted<R, F> {
    inner: R,
    count: u64,
    advance: F,
}

impl<R: Read, F: Fn(u64)> Read for Counted<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count += read as u64;
        (self.advance)(read as u64);
        Ok(read)
    }
}
