//! OCI image layout directories (OCI image specification, "Image Layout").
//!
//! A layout holds any number of images. Reading verifies every byte against its digest. A writer puts each
//! blob under a temporary name and renames it, and changes `index.json` last, under a lock on the directory:
//! whoever reads at the same time, and whatever dies in between, sees whole images only. Base layers may be
//! left out ([`Layout::sparse`]); a layer that is not there says so when it is opened. Nothing is flushed to the
//! disk: like any copy, a layout survives a killed process but not a power cut.

mod images;
mod index;
mod write;

#[cfg(test)]
mod tests;

use std::fs::Permissions;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err::{self as fs, File};
use tempfile::NamedTempFile;

pub(crate) use self::images::Images;
pub(crate) use self::index::Entries;
use crate::manifest::MAX_DOCUMENT;
use crate::{
    Artifact, Blob, Blobs, Descriptor, Digest, Image, NoProgress, Progress, Reference, Sink, Source,
    TransferError, TransferErrorKind, Upload,
};

/// The file that says a directory is a layout.
pub(crate) const MARKER: &str = "oci-layout";
/// Its content.
pub(crate) const MARKER_TEXT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
/// The file that names the images.
pub(crate) const INDEX: &str = "index.json";

/// An OCI image layout directory.
#[derive(Debug, Clone)]
pub struct Layout {
    files: Arc<Files>,
    sparse: bool,
    name: Option<String>,
    progress: Arc<dyn Progress>,
}

/// The files of a layout directory.
#[derive(Debug)]
struct Files {
    directory: PathBuf,
}

impl Layout {
    /// Opens a layout that is there.
    ///
    /// # Errors
    /// [`TransferErrorKind::NotFound`] when there is no directory or nothing in it, as pack leaves one for the lifecycle to
    /// fill; [`TransferErrorKind::Unsupported`] when it is no layout or of another version.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, TransferError> {
        let directory = directory.into();
        let text = read_document(&directory.join(MARKER)).map_err(|cause| {
            let shown = directory.display();
            let entries = fs::read_dir(&directory).ok();
            match entries.filter(|_| cause.kind() == io::ErrorKind::NotFound) {
                Some(mut entries) => TransferError::new(
                    match entries.next() {
                        Some(_) => TransferErrorKind::Unsupported,
                        None => TransferErrorKind::NotFound,
                    },
                    format!("{shown} is no OCI layout: it has no file {MARKER}"),
                ),
                None => TransferError::from_io(format!("cannot open the OCI layout {shown}"), cause),
            }
        })?;
        check_marker(&text, &directory.display().to_string())?;
        Ok(Self {
            files: Arc::new(Files { directory }),
            sparse: false,
            name: None,
            progress: Arc::new(NoProgress),
        })
    }

    /// Opens a layout, and makes it when the directory is empty or not there.
    ///
    /// # Errors
    /// [`TransferErrorKind::Unsupported`] when the directory holds something else.
    pub fn create(directory: impl Into<PathBuf>) -> Result<Self, TransferError> {
        let directory = directory.into();
        let shown = directory.display().to_string();
        let failed = |cause| TransferError::from_io(format!("cannot create the OCI layout {shown}"), cause);
        fs::create_dir_all(&directory).map_err(failed)?;
        // Two writers may find the directory empty at the same time.
        let _lock = lock(&directory).map_err(failed)?;
        if !directory.join(MARKER).exists() {
            if fs::read_dir(&directory).map_err(failed)?.next().is_some() {
                return Err(TransferError::new(
                    TransferErrorKind::Unsupported,
                    format!("{shown} is neither empty nor an OCI layout; choose another directory"),
                ));
            }
            let files = Files {
                directory: directory.clone(),
            };
            let empty = Entries::default().encode().map_err(crate::ImageError::from)?;
            files.replace(INDEX, &empty.bytes).map_err(failed)?;
            files.replace(MARKER, MARKER_TEXT.as_bytes()).map_err(failed)?;
        }
        Self::open(directory)
    }

    /// The same layout, written to in sparse form: of an image's layers, only those that are handed to
    /// [`Upload::layer`] are written; the others stay away.
    #[must_use]
    pub fn sparse(self) -> Self {
        Self { sparse: true, ..self }
    }

    /// The same layout, where images are written under `name` inside it instead of under their tag.
    #[must_use]
    pub fn under(self, name: impl Into<String>) -> Self {
        Self {
            name: Some(name.into()),
            ..self
        }
    }

    /// The same layout, with somebody who watches what is written.
    #[must_use]
    pub fn watched(self, progress: Arc<dyn Progress>) -> Self {
        Self { progress, ..self }
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.files.directory
    }

    /// Whether a blob is here. Its content is not looked at.
    pub fn has(&self, digest: &Digest) -> bool {
        self.files.path(digest).is_file()
    }

    /// The entries of `index.json`: descriptors whose annotations are the names.
    pub fn entries(&self) -> Result<Vec<Descriptor>, TransferError> {
        Ok(self.images()?.entries.all().to_vec())
    }

    /// The names of the images: in full where there is a full name; the digest of those without any.
    pub fn names(&self) -> Result<Vec<String>, TransferError> {
        Ok(self.images()?.entries.names())
    }

    /// What `name` stands for: the name inside the layout (most writers put the tag there), or a full name.
    /// Without a name, the layout's only image.
    ///
    /// # Errors
    /// [`TransferErrorKind::NotFound`] when nothing has the name; [`TransferErrorKind::Unsupported`] when several
    /// images have it, or there are several and no name was given.
    pub fn named(&self, name: Option<&str>) -> Result<Artifact, TransferError> {
        self.images()?.named(name)
    }

    fn images(&self) -> Result<Images, TransferError> {
        Ok(Images {
            blobs: Arc::clone(&self.files) as Arc<dyn Blobs>,
            entries: self.files.entries()?,
        })
    }
}

impl Source for Layout {
    fn artifact(&self, reference: &Reference) -> Result<Artifact, TransferError> {
        self.images()?.artifact(reference)
    }

    fn member(&self, _: &Reference, digest: &Digest) -> Result<Image, TransferError> {
        self.images()?.member(digest)
    }
}

impl Sink for Layout {
    fn begin(&self, names: &[Reference]) -> Result<Box<dyn Upload>, TransferError> {
        Ok(Box::new(write::LayoutUpload::new(self.clone(), names)))
    }
}

impl Blobs for Files {
    fn place(&self) -> String {
        format!("the OCI layout {}", self.directory.display())
    }

    fn open(&self, digest: &Digest, offset: u64) -> io::Result<Blob> {
        let mut file = File::open(self.path(digest))?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(offset))?;
        Ok(Blob {
            reader: Box::new(file),
            size,
        })
    }
}

impl Files {
    fn path(&self, digest: &Digest) -> PathBuf {
        // A digest consists of a known word and hexadecimal digits, so this stays inside (CVE-2024-3727).
        self.directory
            .join("blobs")
            .join(digest.algorithm())
            .join(digest.hex())
    }

    fn entries(&self) -> Result<Entries, TransferError> {
        let path = self.directory.join(INDEX);
        let shown = path.display();
        let bytes = read_document(&path)
            .map_err(|cause| TransferError::from_io(format!("cannot read {shown}"), cause))?;
        Entries::parse(&bytes).map_err(|cause| {
            TransferError::caused(TransferErrorKind::Corrupt, format!("cannot use {shown}"), cause)
        })
    }

    /// A new file that is in nobody's way until it gets its name.
    fn temporary(&self) -> io::Result<NamedTempFile> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".tmp-");
        // As any program makes files: the umask decides who may read them.
        builder.permissions(Permissions::from_mode(0o666));
        builder.tempfile_in(&self.directory)
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.temporary()?;
        file.write_all(bytes)?;
        file.persist(self.directory.join(name))?;
        Ok(())
    }
}

/// A document of a layout. One that is too large is cut, and then none: who wrote it may want this machine's memory.
fn read_document(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

pub(crate) fn check_marker(text: &[u8], place: &str) -> Result<(), TransferError> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Marker {
        image_layout_version: String,
    }
    let unsupported = |text| TransferError::new(TransferErrorKind::Unsupported, text);
    match serde_json::from_slice(text) {
        Ok(Marker { image_layout_version }) if image_layout_version.starts_with("1.") => Ok(()),
        Ok(Marker { image_layout_version }) => Err(unsupported(format!(
            "{place} is an OCI layout of version {image_layout_version:?}; versions 1.x are supported"
        ))),
        Err(cause) => Err(TransferError::caused(
            TransferErrorKind::Corrupt,
            format!("{place} has a file {MARKER} that says nothing"),
            cause,
        )),
    }
}

/// Holds other writers of a layout off until the file is dropped. The lock is on the directory itself, so that
/// no file of ours lies in a layout; it ends with the process, however that ends.
fn lock(directory: &Path) -> io::Result<std::fs::File> {
    let directory = File::open(directory)?.into_file();
    directory.lock()?;
    Ok(directory)
}
