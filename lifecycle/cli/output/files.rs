//! The files of an image, in a directory or as a tar (`type=local`, `type=tar`; O5).

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lifecycle_attestation::{SLSA_PROVENANCE, read};
use lifecycle_image::{
    Compression, Image, Index, Layer, NoProgress, Receipt, Reference, Sink, TransferError, TransferErrorKind,
    Upload,
};
use lifecycle_layers::{ExtractOptions, Ownership, Refused, Whiteouts, extract, flatten};

/// Where the files go.
#[derive(Debug, Clone)]
pub(crate) enum FilesTo {
    Directory(PathBuf),
    File(PathBuf),
    Stdout,
}

/// A sink of files. Whatever was said about the image goes along as JSON files.
#[derive(Debug)]
pub(crate) struct FilesSink {
    to: FilesTo,
    latest: Option<i64>,
    scratch: PathBuf,
}

impl FilesSink {
    pub(crate) fn new(to: FilesTo, latest: Option<i64>, scratch: PathBuf) -> Self {
        Self { to, latest, scratch }
    }
}

impl Sink for FilesSink {
    fn begin(&self, _: &[Reference]) -> Result<Box<dyn Upload>, TransferError> {
        Ok(Box::new(FilesUpload {
            to: self.to.clone(),
            latest: self.latest,
            scratch: self.scratch.clone(),
            images: Vec::new(),
            documents: BTreeMap::new(),
        }))
    }
}

struct FilesUpload {
    to: FilesTo,
    latest: Option<i64>,
    scratch: PathBuf,
    images: Vec<Image>,
    /// What was said, by the name of its file.
    documents: BTreeMap<String, Vec<u8>>,
}

impl Upload for FilesUpload {
    fn layer(&mut self, _: Arc<dyn Layer>) {}

    fn member(&mut self, image: &Image) -> Result<Receipt, TransferError> {
        let receipt = receipt(image)?;
        if image.artifact_type().is_none() {
            self.images.push(image.clone());
            return Ok(receipt);
        }
        for statement in read(image)? {
            let name = if statement.predicate_type == SLSA_PROVENANCE {
                "provenance.json"
            } else {
                "sbom.spdx.json"
            };
            let bytes = serde_json::to_vec_pretty(&statement.predicate);
            let bytes = bytes.map_err(|error| failed("cannot write an attestation", error.into()))?;
            self.documents.insert(name.to_owned(), bytes);
        }
        Ok(receipt)
    }

    fn finish(mut self: Box<Self>, image: &Image) -> Result<Receipt, TransferError> {
        self.images.push(image.clone());
        self.write()?;
        receipt(image)
    }

    fn finish_index(self: Box<Self>, _: &Index) -> Result<Receipt, TransferError> {
        let last = self.images.last().map(receipt).transpose()?;
        self.write()?;
        last.ok_or_else(|| {
            TransferError::new(
                TransferErrorKind::Unsupported,
                "there is no image to take files from",
            )
        })
    }
}

impl FilesUpload {
    fn write(&self) -> Result<(), TransferError> {
        match (&self.to, self.images.as_slice()) {
            (FilesTo::Directory(path), [image]) => self.fill(path, image),
            // One below the other, as several systems cannot share a root.
            (FilesTo::Directory(path), images) => images.iter().try_for_each(|image| {
                let name = image.platform().to_string().replace('/', "_");
                self.fill(&path.join(name), image)
            }),
            (FilesTo::File(path), [image]) => self.write_file(path, image),
            (FilesTo::Stdout, [image]) => self.write_tar(image, io::stdout().lock()).map(drop),
            (FilesTo::File(_) | FilesTo::Stdout, _) => Err(TransferError::new(
                TransferErrorKind::Unsupported,
                "a tar holds the files of one platform; use type=local for several",
            )),
        }
    }

    fn write_tar(&self, image: &Image, out: impl Write) -> Result<(), TransferError> {
        let out = BufWriter::with_capacity(1 << 20, out);
        let written = flatten(image.layers(), self.latest, out);
        let mut out = written.map_err(|error| {
            TransferError::caused(
                TransferErrorKind::Local,
                "cannot write the files of the image",
                error,
            )
        })?;
        out.flush()
            .map_err(|error| failed("cannot write the files of the image", error))
    }

    /// Whole or not at all.
    fn write_file(&self, path: &Path, image: &Image) -> Result<(), TransferError> {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let shown = format!("cannot write {}", path.display());
        let mut file = tempfile::Builder::new()
            .prefix(".lifecycle-")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666))
            .tempfile_in(parent.unwrap_or_else(|| Path::new(".")))
            .map_err(|error| failed(&shown, error))?;
        self.write_tar(image, file.as_file_mut())?;
        file.persist(path)
            .map(drop)
            .map_err(|error| failed(&shown, error.error))
    }

    /// Puts the files into a directory, over what is there. They belong to whoever does it, as with any copy.
    fn fill(&self, path: &Path, image: &Image) -> Result<(), TransferError> {
        let shown = format!("cannot write to {}", path.display());
        std::fs::create_dir_all(path).map_err(|error| failed(&shown, error))?;
        let directory = std::fs::File::open(path).map_err(|error| failed(&shown, error))?;
        let mut tar = tempfile::tempfile_in(&self.scratch).map_err(|error| failed(&shown, error))?;
        self.write_tar(image, &mut tar)?;
        io::Seek::rewind(&mut tar).map_err(|error| failed(&shown, error))?;
        let options = ExtractOptions {
            // What was hidden is gone already.
            whiteouts: Whiteouts::Literal,
            ownership: Ownership::Squash,
            refused: Refused::Skip,
            ..ExtractOptions::default()
        };
        extract(
            tar,
            Some(Compression::None),
            directory.as_fd(),
            &options,
            &NoProgress,
        )
        .map_err(|error| TransferError::caused(TransferErrorKind::Local, &shown, error))?;
        for (name, bytes) in &self.documents {
            std::fs::write(path.join(name), bytes).map_err(|error| failed(&shown, error))?;
        }
        Ok(())
    }
}

fn receipt(image: &Image) -> Result<Receipt, TransferError> {
    let document = image.encode_manifest()?;
    Ok(Receipt {
        names: Vec::new(),
        digest: document.descriptor.digest,
        manifest_size: document.descriptor.size,
        sent: 0,
        existed: 0,
        mounted: 0,
    })
}

fn failed(message: &str, error: io::Error) -> TransferError {
    TransferError::from_io(message, error)
}
