//! A cache directory: `committed/<diff ID>.tar` and `committed/io.buildpacks.lifecycle.cache.metadata` (CACHE-04).
//!
//! A new state is made in a directory of its own and takes the old one's place by renaming, so readers and whoever is
//! killed see one state or the other. Layers that stay are hard links.

use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err as fs;
use lifecycle_image::{
    BlobReader, Compression, Descriptor, DiffId, Digest, Family, Layer, LayerError, MediaType, Outcome, Step,
};
use lifecycle_layers::{PackError, Packing};
use lifecycle_spec::label::{self, CacheLabel};
use rustix::fs::{Advice, fadvise};

use super::write::{CacheContents, CachedContents};
use crate::layer::UnpackError;
use crate::{FileError, Reporter, files};

/// The state that counts.
const COMMITTED: &str = "committed";
/// The state before, while it is replaced.
const BACKUP: &str = "committed-backup";
/// The state that is being made.
const STAGING: &str = "staging";

/// A cache directory.
#[derive(Debug, Clone)]
pub(crate) struct CacheDirectory {
    path: PathBuf,
}

/// A cache directory could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CacheError {
    #[error("cannot write to {}{}", directory.display(), access(directory))]
    Io {
        directory: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error(transparent)]
    Pack(#[from] PackError),
    #[error(transparent)]
    Layer(#[from] LayerError),
    #[error(transparent)]
    Transfer(#[from] lifecycle_image::TransferError),
}

impl CacheDirectory {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// What the cache holds. Nothing, if it was never written.
    pub(crate) fn label(&self) -> Result<CacheLabel, FileError> {
        let directory = self.committed();
        let label = files::read_if_there(&directory.join(label::CACHE), |_, bytes| {
            CacheLabel::parse(&String::from_utf8_lossy(bytes))
        })?;
        Ok(label.unwrap_or_default())
    }

    /// A layer. Its bytes are verified by whoever unpacks it.
    pub(crate) fn layer(&self, diff_id: &DiffId) -> Result<Arc<dyn Layer>, UnpackError> {
        let path = tar_path(&self.committed(), diff_id);
        match fs::metadata(&path) {
            Ok(found) => Ok(Arc::new(TarFile {
                path,
                diff_id: diff_id.clone(),
                size: found.len(),
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(UnpackError::Missing(diff_id.to_string()))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Removes a layer that is not what its name says. If that is not allowed here, exporting cannot replace it either.
    pub(crate) fn discard_damaged(&self, diff_id: &DiffId) {
        let path = tar_path(&self.committed(), diff_id);
        let digest = fs::File::open(&path).and_then(Digest::of_reader);
        if digest.is_ok_and(|digest| digest == diff_id.0) {
            return;
        }
        if let Err(error) = fs::remove_file(&path) {
            tracing::warn!(%error, "a damaged cache entry stays");
        }
    }

    /// Replaces the state of the cache.
    pub(crate) fn write(
        &self,
        contents: &CacheContents,
        reporter: &dyn Reporter,
    ) -> Result<CacheLabel, CacheError> {
        self.replace(|staging| {
            let label = contents.write_each(|cached| self.add(staging, cached, reporter))?;
            fs::write(staging.join(label::CACHE), label.to_file()).map_err(|cause| self.failed(cause))?;
            Ok(label)
        })
    }

    /// Replaces the state of a cache that has layers only.
    pub(crate) fn write_layers(
        &self,
        layers: &[CachedContents],
        reporter: &dyn Reporter,
    ) -> Result<(), CacheError> {
        self.replace(|staging| {
            layers
                .iter()
                .try_for_each(|cached| self.add(staging, cached, reporter).map(drop))
        })
    }

    /// Makes a new state in a directory of its own, and has it take the place of the old one.
    fn replace<T>(&self, fill: impl FnOnce(&Path) -> Result<T, CacheError>) -> Result<T, CacheError> {
        let failed = |cause| self.failed(cause);
        fs::create_dir_all(&self.path).map_err(failed)?;
        let staging = self.path.join(STAGING);
        // What an earlier run left behind when it was killed (complaint 11).
        files::remove(&staging).map_err(failed)?;
        fs::create_dir(&staging).map_err(failed)?;
        let committed = fill(&staging).and_then(|filled| {
            self.commit(&staging).map_err(failed)?;
            Ok(filled)
        });
        if committed.is_err() {
            // The error that counts is known already.
            drop(files::remove(&staging));
        }
        committed
    }

    fn failed(&self, cause: io::Error) -> CacheError {
        CacheError::Io {
            directory: self.path.clone(),
            cause,
        }
    }

    /// Adds a layer: a link if it was there before, else it is read once and written once.
    fn add(
        &self,
        staging: &Path,
        cached: &CachedContents,
        reporter: &dyn Reporter,
    ) -> Result<DiffId, CacheError> {
        let failed = |cause| self.failed(cause);
        let name = cached.contents.name();
        if let Some(diff_id) = cached.known_diff_id(reporter)? {
            let (from, to) = (tar_path(&self.committed(), &diff_id), tar_path(staging, &diff_id));
            if to.exists() || (from.is_file() && fs::hard_link(&from, &to).is_ok()) {
                reporter.info(&format!("Reusing cache layer '{}'", cached.label));
                reporter.begin(Step::Copy, &name, None).finish(Outcome::Reused);
                return Ok(diff_id);
            }
        }
        let meter = reporter.begin(Step::Copy, &name, None);
        let mut file = tempfile::NamedTempFile::new_in(staging).map_err(failed)?;
        let packing = Packing {
            compression: Compression::None,
            ..Packing::default()
        };
        let packed = lifecycle_layers::pack(&*cached.contents, &packing, file.as_file_mut(), &*meter)?;
        let to = tar_path(staging, &packed.diff_id);
        let kept = file.persist(&to).map_err(|error| failed(error.error))?;
        // Others may read the cache: the next build may run as another user of the same group (PS-04).
        kept.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .map_err(failed)?;
        meter.finish(Outcome::Done);
        reporter.info(&format!("Adding cache layer '{}'", cached.label));
        Ok(packed.diff_id)
    }

    /// The directory of the present state; a state whose replacement was interrupted is the present one.
    fn committed(&self) -> PathBuf {
        let (committed, backup) = (self.path.join(COMMITTED), self.path.join(BACKUP));
        if committed.is_dir() || !backup.is_dir() {
            committed
        } else {
            backup
        }
    }

    fn commit(&self, staging: &Path) -> io::Result<()> {
        let (committed, backup) = (self.path.join(COMMITTED), self.path.join(BACKUP));
        if committed.is_dir() {
            files::remove(&backup)?;
            fs::rename(&committed, &backup)?;
        }
        if let Err(error) = fs::rename(staging, &committed) {
            if backup.is_dir() {
                fs::rename(&backup, &committed)?;
            }
            return Err(error);
        }
        files::remove(&backup)
    }
}

fn tar_path(directory: &Path, diff_id: &DiffId) -> PathBuf {
    directory.join(format!("{diff_id}.tar"))
}

/// Who may do what with a directory, for whoever has to set that right (PS-07).
fn access(directory: &Path) -> String {
    match fs::metadata(directory) {
        Ok(found) => format!(
            ", which belongs to {}:{} and has mode {:o}, as {}:{}",
            found.uid(),
            found.gid(),
            found.mode() & 0o7777,
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        ),
        Err(_) => String::new(),
    }
}

/// A layer that lies uncompressed in a file: its digest is its diff ID.
#[derive(Debug)]
struct TarFile {
    path: PathBuf,
    diff_id: DiffId,
    size: u64,
}

impl Layer for TarFile {
    fn known(&self) -> Option<Descriptor> {
        Some(Descriptor::new(
            self.media_type(),
            self.diff_id.0.clone(),
            self.size,
        ))
    }

    fn descriptor(&self) -> Result<Descriptor, LayerError> {
        Ok(Descriptor::new(
            self.media_type(),
            self.diff_id.0.clone(),
            self.size,
        ))
    }

    fn diff_id(&self) -> Result<DiffId, LayerError> {
        Ok(self.diff_id.clone())
    }

    fn open(&self, offset: u64) -> Result<BlobReader, LayerError> {
        let open = || {
            let mut file = fs::File::open(&self.path)?;
            file.seek(SeekFrom::Start(offset))?;
            // The system reads twice as far ahead then, so a disk has something to do while a core unpacks. To ask for
            // the bytes themselves (`WILLNEED`) costs more than it brings: their pages would be small ones.
            fadvise(&file, 0, None, Advice::Sequential).ok();
            Ok(file)
        };
        let file = open().map_err(|cause| LayerError::new(self.diff_id.as_str(), cause))?;
        Ok(Box::new(file))
    }

    fn media_type(&self) -> MediaType {
        MediaType::layer(Family::Oci, Compression::None)
    }
}
