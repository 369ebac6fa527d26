//! The store's directory: where things lie in it, and how files come to be there.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, Permissions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use fs_err::{self as fs, File};
use lifecycle_image::{Blob, Blobs, DiffId, Digest, Repository};
use lifecycle_layers::tree;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::NamedTempFile;

use crate::StoreError;
use crate::lock::FileLock;

/// The version of the directory's layout.
const VERSION: u32 = 1;
/// The file that says the version, and so that a directory is a store.
const VERSION_FILE: &str = "version";
/// What names of unfinished files begin with.
const TEMPORARY: &str = ".tmp-";

/// A store's directory.
#[derive(Debug)]
pub(crate) struct Directory {
    root: PathBuf,
    /// Whether what has a name shall survive a power cut.
    durable: bool,
    live: LiveScratch,
}

impl Directory {
    /// Opens the store in `root`, or makes one there.
    pub(crate) fn open(root: &Path, durable: bool) -> Result<Self, StoreError> {
        create_private(root)?;
        // Messages and locks shall hold wherever the process goes.
        let root = fs::canonicalize(root).map_err(|cause| StoreError::io("find", root, cause))?;
        let live = LiveScratch::default();
        let directory = Self { root, durable, live };
        directory.check_owner()?;
        directory.check_version()?;
        for part in [
            "blobs", "caches", "images", "layers", "leases", "locks", "origins", "records", "tmp", "trees",
        ] {
            create_private(&directory.path(part))?;
        }
        Ok(directory)
    }

    fn check_owner(&self) -> Result<(), StoreError> {
        let failed = |cause| StoreError::io("look at", &self.root, cause);
        let found = fs::metadata(&self.root).map_err(failed)?;
        let user = rustix::process::geteuid().as_raw();
        if found.uid() != user {
            return Err(StoreError::Owner {
                path: self.root.clone(),
                owner: found.uid(),
                user,
            });
        }
        if found.mode() & 0o077 != 0 {
            fs::set_permissions(&self.root, Permissions::from_mode(0o700)).map_err(failed)?;
        }
        Ok(())
    }

    fn check_version(&self) -> Result<(), StoreError> {
        let path = self.path(VERSION_FILE);
        match fs::read_to_string(&path) {
            Ok(text) if text.trim_end() == VERSION.to_string() => Ok(()),
            Ok(text) => Err(StoreError::Version {
                path: self.root.clone(),
                found: text.trim_end().chars().take(20).collect(),
                expected: VERSION,
            }),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                let failed = |cause| StoreError::io("read", &self.root, cause);
                for entry in fs::read_dir(&self.root).map_err(failed)? {
                    let name = entry.map_err(failed)?.file_name();
                    // Another process may be making the same store right now.
                    if !name.to_string_lossy().starts_with(TEMPORARY) && name != VERSION_FILE {
                        // That one is past its version file now, or this is no store.
                        if path.exists() {
                            return self.check_version();
                        }
                        return Err(StoreError::NotAStore {
                            path: self.root.clone(),
                        });
                    }
                }
                let mut file = temporary_in(&self.root)?;
                let failed = |cause| StoreError::io("write", &path, cause);
                file.write_all(format!("{VERSION}\n").as_bytes())
                    .map_err(failed)?;
                file.as_file().sync_data().map_err(failed)?;
                file.persist(&path).map_err(|error| failed(error.error))?;
                Ok(())
            }
            Err(cause) => Err(StoreError::io("read", &path, cause)),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn path(&self, part: &str) -> PathBuf {
        self.root.join(part)
    }

    /// Where a blob lies. A digest consists of a known word and hexadecimal digits, so this stays inside
    /// (CVE-2024-3727).
    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path("blobs").join(digest.algorithm()).join(digest.hex())
    }

    /// The directory of what is known about the stored forms of a layer.
    pub(crate) fn forms_path(&self, diff_id: &DiffId) -> PathBuf {
        self.path("layers").join(file_name(&diff_id.0))
    }

    /// A lock that all processes agree on; its file is gone when nobody holds it.
    pub(crate) fn lock(&self, name: &str) -> Result<FileLock, StoreError> {
        let path = self.path("locks").join(name);
        let lock = FileLock::exclusive(&path).map_err(|cause| StoreError::io("lock", &path, cause))?;
        Ok(lock.removed_at_end())
    }

    /// Keeps a prune from taking away what the caller is about to rely on.
    pub(crate) fn hold_off_prune(&self) -> Result<FileLock, StoreError> {
        let path = self.path("locks/prune");
        FileLock::shared(&path).map_err(|cause| StoreError::io("lock", &path, cause))
    }

    /// Waits until nobody relies on anything new, and keeps it so.
    pub(crate) fn prune_alone(&self) -> Result<FileLock, StoreError> {
        let path = self.path("locks/prune");
        FileLock::exclusive(&path).map_err(|cause| StoreError::io("lock", &path, cause))
    }

    /// Marks `path` as used now, so that no prune takes it while this store is open. Says whether it is there.
    pub(crate) fn pin(&self, path: &Path) -> Result<bool, StoreError> {
        let _lock = self.hold_off_prune()?;
        touch(path)
    }

    /// A new file without a name that anybody looks for.
    pub(crate) fn temporary(&self) -> Result<NamedTempFile, StoreError> {
        let parent = self.path("tmp");
        self.live.check_open("create a file in", &parent)?;
        temporary_in(&parent)
    }

    /// A new directory without a name that anybody looks for.
    pub(crate) fn temporary_directory(&self) -> Result<RemovedAtEnd, StoreError> {
        let parent = self.path("tmp");
        self.live.check_open("create a directory in", &parent)?;
        tempfile::Builder::new()
            .prefix(TEMPORARY)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(&parent)
            .map(|directory| RemovedAtEnd::new(directory, &self.live))
            .map_err(|cause| StoreError::io("create a directory in", &parent, cause))
    }

    /// The temporary directories that this process has now.
    pub(crate) fn live_scratch(&self) -> &LiveScratch {
        &self.live
    }

    /// Takes a directory out of the store in one step; what comes back is nobody's any more.
    pub(crate) fn doom(&self, path: &Path) -> Result<RemovedAtEnd, StoreError> {
        let doomed = self.temporary_directory()?;
        fs::rename(path, doomed.path().join("doomed"))
            .map_err(|cause| StoreError::io("remove", path, cause))?;
        Ok(doomed)
    }

    /// Writes a small file, whole or not at all.
    pub(crate) fn put(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let mut file = self.temporary()?;
        file.write_all(bytes)
            .map_err(|cause| StoreError::io("write", path, cause))?;
        self.keep(file, path)
    }

    /// Writes a small document, whole or not at all.
    pub(crate) fn put_json(&self, path: &Path, value: &impl Serialize) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(value)
            .map_err(|cause| StoreError::io("write", path, io::Error::from(cause)))?;
        self.put(path, &bytes)
    }

    /// Writes a small document that costs work when it is gone, no more. It is not flushed: after a power cut it may be
    /// there in part or empty, which no JSON object or list is. [`read_note`] reads it.
    pub(crate) fn note_json(&self, path: &Path, value: &impl Serialize) -> Result<(), StoreError> {
        let failed = |cause| StoreError::io("write", path, cause);
        let mut file = self.temporary()?;
        let mut out = BufWriter::new(&mut file);
        serde_json::to_writer(&mut out, value).map_err(|cause| failed(cause.into()))?;
        out.into_inner().map_err(|error| failed(error.into_error()))?;
        let temporary = file.into_temp_path();
        self.rename(&temporary, path)?;
        // It has another name now.
        drop(temporary.keep());
        Ok(())
    }

    /// Gives a finished file its name.
    pub(crate) fn keep(&self, file: NamedTempFile, path: &Path) -> Result<(), StoreError> {
        let (file, temporary) = file.into_parts();
        self.settle(&file, &temporary, path)?;
        // It has another name now.
        drop(temporary.keep());
        Ok(())
    }

    /// Puts on the disk what was written to a file so far.
    pub(crate) fn flush(&self, file: &std::fs::File) -> io::Result<()> {
        if self.durable { file.sync_data() } else { Ok(()) }
    }

    /// Renames a finished file from `temporary` to `path`. Its bytes are on the disk first: a name never leads
    /// to half a file.
    pub(crate) fn settle(
        &self,
        file: &std::fs::File,
        temporary: &Path,
        path: &Path,
    ) -> Result<(), StoreError> {
        self.flush(file)
            .map_err(|cause| StoreError::io("write", path, cause))?;
        self.rename(temporary, path)
    }

    fn rename(&self, temporary: &Path, path: &Path) -> Result<(), StoreError> {
        // A prune that has seen an older file of this name must not take this one for it.
        let _lock = self.hold_off_prune()?;
        path.parent().map_or(Ok(()), create_private)?;
        fs::rename(temporary, path).map_err(|cause| StoreError::io("write", path, cause))
    }

    /// Flushes the names in a directory: what is named elsewhere afterwards can rely on them.
    pub(crate) fn sync_names(&self, directory: &Path) -> Result<(), StoreError> {
        if !self.durable {
            return Ok(());
        }
        match File::open(directory).and_then(|directory| directory.sync_all()) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::io("flush", directory, cause))
            }
            _ => Ok(()),
        }
    }

    /// Flushes a whole tree of new files.
    pub(crate) fn sync_tree(&self, directory: &Path) -> Result<(), StoreError> {
        if self.durable {
            File::open(directory)
                .and_then(|directory| Ok(rustix::fs::syncfs(&directory)?))
                .map_err(|cause| StoreError::io("flush", directory, cause))?;
        }
        Ok(())
    }
}

impl Blobs for Directory {
    fn place(&self) -> String {
        format!("the store {}", self.root.display())
    }

    fn open(&self, digest: &Digest, offset: u64) -> io::Result<Blob> {
        let mut file = File::open(self.blob_path(digest))?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(offset))?;
        Ok(Blob {
            reader: Box::new(file),
            size,
        })
    }

    fn origins(&self, digest: &Digest) -> Vec<Repository> {
        self.known_origins(digest)
    }
}

/// The temporary directories that a process has now, for the case that it has to end before it has dropped them. Then there
/// are no new ones, and no new temporary files.
#[derive(Debug, Clone, Default)]
pub struct LiveScratch(Arc<Mutex<Live>>);

#[derive(Debug, Default)]
struct Live {
    paths: BTreeSet<PathBuf>,
    /// The process is ending: there are no new ones.
    closed: bool,
}

impl LiveScratch {
    /// Removes all of them, whoever uses them, and lets nobody make new ones.
    pub fn remove_all(&self) {
        let paths = {
            let mut live = self.live();
            live.closed = true;
            std::mem::take(&mut live.paths)
        };
        for path in paths {
            // Under this name nobody can give it a place in the store any more.
            let doomed = path.with_extension("doomed");
            if fs::rename(&path, &doomed).is_err() {
                continue;
            }
            // Whoever is at work in it fails as soon as a directory is gone, and may put something there before.
            let removed = (0..50).any(|_| {
                remove_tree(&doomed).is_ok() || {
                    thread::sleep(Duration::from_millis(10));
                    false
                }
            });
            if !removed {
                tracing::debug!("{} stays", doomed.display());
            }
        }
    }

    /// An error when the process is ending.
    fn check_open(&self, action: &'static str, parent: &Path) -> Result<(), StoreError> {
        if self.live().closed {
            return Err(StoreError::io(action, parent, io::ErrorKind::Interrupted.into()));
        }
        Ok(())
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A directory that goes when this is dropped.
#[derive(Debug)]
pub(crate) struct RemovedAtEnd {
    path: PathBuf,
    live: LiveScratch,
}

impl RemovedAtEnd {
    pub(crate) fn new(directory: tempfile::TempDir, live: &LiveScratch) -> Self {
        let (path, live) = (directory.keep(), live.clone());
        live.live().paths.insert(path.clone());
        Self { path, live }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The directory stays, or has another name by now.
    pub(crate) fn keep(mut self) {
        self.live.live().paths.remove(&self.path);
        self.path = PathBuf::new();
    }

    /// The directory stays for [`LiveScratch::remove_all`], or for [`Store::tidy_up`](crate::Store::tidy_up) of a later
    /// process.
    pub(crate) fn abandon(mut self) {
        self.path = PathBuf::new();
    }
}

impl Drop for RemovedAtEnd {
    fn drop(&mut self) {
        if self.path.as_os_str().is_empty() {
            return;
        }
        if let Err(error) = remove_tree(&self.path) {
            tracing::warn!("{error}");
        }
        self.live.live().paths.remove(&self.path);
    }
}

/// A digest as a file name.
pub(crate) fn file_name(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm(), digest.hex())
}

/// Any text as a file name.
pub(crate) fn hashed_name(text: &str) -> String {
    Digest::of(text.as_bytes()).hex().to_owned()
}

/// Reads a small document of the store; nothing when it is not there.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StoreError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(StoreError::io("read", path, cause)),
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|cause| StoreError::Damaged {
            path: path.to_owned(),
            reason: cause.to_string(),
        })
}

/// Reads a document that [`Directory::note_json`] wrote. One that is damaged is as good as none.
pub(crate) fn read_note<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StoreError> {
    match read_json(path) {
        Err(StoreError::Damaged { path, reason }) => {
            tracing::warn!("ignoring {}: {reason}", path.display());
            Ok(None)
        }
        read => read,
    }
}

/// The entries of a directory, sorted; none when it is not there.
pub(crate) fn entries(directory: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let failed = |cause| StoreError::io("read", directory, cause);
    let listing = match fs::read_dir(directory) {
        Ok(listing) => listing,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(failed(cause)),
    };
    let mut paths = listing
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed)?;
    paths.sort();
    Ok(paths)
}

/// Marks a file as used now. Says whether it is there.
pub(crate) fn touch(path: &Path) -> Result<bool, StoreError> {
    let now = rustix::fs::Timestamps {
        last_access: rustix::fs::Timespec {
            tv_sec: 0,
            tv_nsec: rustix::fs::UTIME_NOW,
        },
        last_modification: rustix::fs::Timespec {
            tv_sec: 0,
            tv_nsec: rustix::fs::UTIME_NOW,
        },
    };
    match rustix::fs::utimensat(rustix::fs::CWD, path, &now, rustix::fs::AtFlags::empty()) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(cause) => Err(StoreError::io("mark", path, cause.into())),
    }
}

/// When a file was used last, as [`touch`] tells it.
pub(crate) fn used(path: &Path) -> Option<SystemTime> {
    fs::symlink_metadata(path).and_then(|found| found.modified()).ok()
}

/// Removes a file; that it is gone already is no failure.
pub(crate) fn remove_file(path: &Path) -> Result<bool, StoreError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(cause) => Err(StoreError::io("remove", path, cause)),
    }
}

/// Removes a directory with all it holds, however deep that is and whatever modes the directories in it have.
pub(crate) fn remove_tree(path: &Path) -> Result<(), StoreError> {
    tree::remove_path(path).map_err(|cause| StoreError::io("remove", path, cause))
}

fn temporary_in(parent: &Path) -> Result<NamedTempFile, StoreError> {
    tempfile::Builder::new()
        .prefix(TEMPORARY)
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(parent)
        .map_err(|cause| StoreError::io("create a file in", parent, cause))
}

/// Makes a directory that only its owner can look into, if it is not there.
pub(crate) fn create_private(path: &Path) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|cause| StoreError::io("create", path, cause))
}
