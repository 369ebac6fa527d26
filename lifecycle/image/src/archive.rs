//! OCI archives and Docker archives.
//!
//! An OCI archive is a tar of an OCI layout. A Docker archive is what `docker save` writes: a `manifest.json`
//! that names configurations and layer tars; since version 25 Docker puts an OCI layout around it. [`Archive`]
//! reads all of them in place: one pass over the tar's headers says where every file lies, nothing is unpacked,
//! and a name inside the archive is never used as a path.
//!
//! [`ArchiveSink`] writes both kinds as a stream. A Docker archive of ours has both forms over the same blobs,
//! so that old and new readers find what they know and digests survive the journey. The layers in it stay as
//! they are compressed: Docker, podman and skopeo unpack what they find.

mod docker;
mod members;
mod write;

#[cfg(test)]
mod tests;

use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use flate2::read::MultiGzDecoder;
use fs_err::File;

use self::docker::DockerImages;
use self::members::Members;
pub use self::write::{ArchiveKind, ArchiveSink};
use crate::layout::{Entries, INDEX, Images, MARKER, check_marker};
use crate::{Artifact, Digest, Image, Reference, Source, TransferError, TransferErrorKind};

/// An archive that images are read from.
#[derive(Debug, Clone)]
pub struct Archive {
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    Layout(Images),
    Docker(DockerImages),
}

impl Archive {
    /// Opens the archive in a file. A file that is compressed as a whole is unpacked first, to a file without a
    /// name in the directory `spool`.
    ///
    /// # Errors
    /// [`TransferErrorKind::Unsupported`] when it is no archive of images, [`TransferErrorKind::Corrupt`] when it
    /// is damaged.
    pub fn open(path: &Path, spool: &Path) -> Result<Self, TransferError> {
        let place = format!("the archive {}", path.display());
        let failed = |cause| TransferError::from_io(format!("cannot open {place}"), cause);
        let mut file = File::open(path).map_err(failed)?.into_file();
        if !file.metadata().map_err(failed)?.is_file() {
            return Self::read(file, spool);
        }
        let mut start = Vec::new();
        (&mut file).take(4).read_to_end(&mut start).map_err(failed)?;
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        match Wrapping::of(&start) {
            Wrapping::None => Self::index(place, file),
            wrapping => {
                let file = spooled(wrapping, file, spool).map_err(failed)?;
                Self::index(place, file)
            }
        }
    }

    /// Reads an archive from a pipe, by way of a file without a name in the directory `spool`.
    pub fn read(mut pipe: impl Read, spool: &Path) -> Result<Self, TransferError> {
        let place = "the archive that was piped in".to_owned();
        let failed = |cause| TransferError::from_io(format!("cannot read {place}"), cause);
        let mut start = Vec::new();
        (&mut pipe).take(4).read_to_end(&mut start).map_err(failed)?;
        let wrapping = Wrapping::of(&start);
        let file = spooled(wrapping, io::Cursor::new(start).chain(pipe), spool).map_err(failed)?;
        Self::index(place, file)
    }

    /// What `name` stands for: a full name, or in an OCI archive the name inside the layout. Without a name, the
    /// only image.
    ///
    /// # Errors
    /// [`TransferErrorKind::NotFound`] when nothing has the name; [`TransferErrorKind::Unsupported`] when there are
    /// several images and no name was given.
    pub fn named(&self, name: Option<&str>) -> Result<Artifact, TransferError> {
        match &self.content {
            Content::Layout(images) => images.named(name),
            Content::Docker(images) => images.named(name),
        }
    }

    /// The names of the images, as they are written in the archive.
    pub fn names(&self) -> Vec<String> {
        match &self.content {
            Content::Layout(images) => images.entries.names(),
            Content::Docker(images) => images.names(),
        }
    }

    fn index(place: String, file: std::fs::File) -> Result<Self, TransferError> {
        let members = Arc::new(Members::read(&place, file)?);
        let content = if members.has(MARKER) && members.has(INDEX) {
            check_marker(&members.document(MARKER)?, &place)?;
            let entries = Entries::parse(&members.document(INDEX)?).map_err(|cause| {
                TransferError::caused(
                    TransferErrorKind::Corrupt,
                    format!("cannot use {INDEX} of {place}"),
                    cause,
                )
            })?;
            Content::Layout(Images {
                blobs: members,
                entries,
            })
        } else if members.has(docker::MANIFEST) {
            Content::Docker(DockerImages::read(members)?)
        } else {
            return Err(TransferError::new(
                TransferErrorKind::Unsupported,
                format!(
                    "{place} holds no images: it has neither {MARKER} with {INDEX} nor {}",
                    docker::MANIFEST
                ),
            ));
        };
        Ok(Self { content })
    }
}

impl Source for Archive {
    fn artifact(&self, reference: &Reference) -> Result<Artifact, TransferError> {
        match &self.content {
            Content::Layout(images) => images.artifact(reference),
            Content::Docker(images) => images.artifact(reference),
        }
    }

    fn member(&self, _: &Reference, digest: &Digest) -> Result<Image, TransferError> {
        match &self.content {
            Content::Layout(images) => images.member(digest),
            Content::Docker(images) => images.by_digest(digest),
        }
    }
}

/// How an archive is compressed as a whole.
#[derive(Debug, Clone, Copy)]
enum Wrapping {
    None,
    Gzip,
    Zstd,
}

impl Wrapping {
    fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd] => Self::Zstd,
            _ => Self::None,
        }
    }
}

fn spooled(wrapping: Wrapping, mut bytes: impl Read, directory: &Path) -> io::Result<std::fs::File> {
    let mut file = tempfile::tempfile_in(directory)?;
    match wrapping {
        Wrapping::None => io::copy(&mut bytes, &mut file)?,
        Wrapping::Gzip => io::copy(&mut MultiGzDecoder::new(bytes), &mut file)?,
        Wrapping::Zstd => io::copy(&mut zstd::Decoder::new(bytes)?, &mut file)?,
    };
    file.rewind()?;
    Ok(file)
}
