//! Looking for damage.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;

use fs_err::{self as fs, File};
use lifecycle_image::{Crew, Digest};

use crate::directory::{Directory, entries, read_json, remove_file, remove_tree};
use crate::forms::Form;
use crate::images::{Named, is_missing_or_damaged};
use crate::records::Record;
use crate::trees::{FILES, RECORD, TreeRecord};
use crate::{Store, StoreError};

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verification {
    /// Blobs that were hashed.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Extracted layers that were looked through.
    pub trees: usize,
    /// What is wrong.
    pub damage: Vec<Damage>,
}

/// Something in the store that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file or directory.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

impl Store {
    /// Hashes every blob and looks through every document and extracted layer. With `remove`, what is damaged
    /// is removed, so that it is fetched or made again; images that cannot be read for that lose their names.
    pub fn verify(&self, remove: bool) -> Result<Verification, StoreError> {
        let found = self.look_for_damage()?;
        if !remove || found.damage.is_empty() {
            return Ok(found);
        }
        // What was damaged may have been written again meanwhile. Now nobody gets a file into its place, or
        // begins to rely on one, before the damage is gone.
        let _alone = self.directory().prune_alone()?;
        let found = self.look_for_damage()?;
        for Damage { path, .. } in &found.damage {
            match fs::symlink_metadata(path) {
                Ok(there) if there.is_dir() => remove_tree(path)?,
                Ok(_) => drop(remove_file(path)?),
                Err(_) => {}
            }
        }
        Ok(found)
    }

    fn look_for_damage(&self) -> Result<Verification, StoreError> {
        let directory = self.directory();
        let mut found = Verification::default();
        self.verify_blobs(&mut found)?;
        directory.verify_documents::<Form>("layers", &mut found)?;
        directory.verify_documents::<Record>("records", &mut found)?;
        directory.verify_trees(&mut found)?;
        // Last, because an image is damaged with its blobs.
        directory.verify_images(&mut found)?;
        Ok(found)
    }

    fn verify_blobs(&self, found: &mut Verification) -> Result<(), StoreError> {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let mut crew = Crew::new(threads);
        for path in self.directory().blob_files()? {
            crew.submit(move || check_blob(&path).map(|checked| (path, checked)));
        }
        for checked in crew.finish() {
            let (path, (bytes, reason)) = checked?;
            found.blobs += 1;
            found.bytes += bytes;
            found.damage.extend(reason.map(|reason| Damage { path, reason }));
        }
        Ok(())
    }
}

/// The size of a blob, and what is wrong with it. One that went meanwhile has nothing wrong.
fn check_blob(path: &Path) -> Result<(u64, Option<String>), StoreError> {
    let failed = |cause| StoreError::io("read", path, cause);
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok((0, None)),
        Err(cause) => return Err(failed(cause)),
    };
    let name = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let algorithm = name(path.parent().and_then(Path::file_name));
    let Ok(digest) = format!("{algorithm}:{}", name(path.file_name())).parse::<Digest>() else {
        return Ok((0, Some("its name is no digest".to_owned())));
    };
    let mut hashing = Hash {
        hasher: digest.hasher(),
        bytes: 0,
    };
    io::copy(&mut file, &mut hashing).map_err(failed)?;
    let actual = hashing.hasher.finish();
    let reason = (actual != digest).then(|| format!("its bytes hash to {actual}"));
    Ok((hashing.bytes, reason))
}

/// Hashes with whatever algorithm a digest names.
struct Hash {
    hasher: lifecycle_image::Hasher,
    bytes: u64,
}

impl io::Write for Hash {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Directory {
    fn verify_documents<T: serde::de::DeserializeOwned>(
        &self,
        part: &str,
        found: &mut Verification,
    ) -> Result<(), StoreError> {
        for path in entries(&self.path(part))? {
            let files = if path.is_dir() {
                entries(&path)?
            } else {
                vec![path]
            };
            for path in files {
                if let Err(error) = read_json::<T>(&path) {
                    found.damage.push(damage(error)?);
                }
            }
        }
        Ok(())
    }

    fn verify_images(&self, found: &mut Verification) -> Result<(), StoreError> {
        let damaged: BTreeSet<PathBuf> = found.damage.iter().map(|damage| damage.path.clone()).collect();
        for path in entries(&self.path("images"))? {
            let named = match read_json::<Named>(&path) {
                Ok(Some(named)) => named,
                Ok(None) => continue,
                Err(error) => {
                    found.damage.push(damage(error)?);
                    continue;
                }
            };
            let is_good = |digest: &Digest| {
                let path = self.blob_path(digest);
                path.exists() && !damaged.contains(&path)
            };
            let reason = match self.reachable(&named.descriptor) {
                Ok(digests) => digests
                    .iter()
                    .find(|digest| !is_good(digest))
                    .map(|digest| format!("it has no good blob {digest}")),
                Err(error) if is_missing_or_damaged(&error) => Some(error.to_string()),
                Err(error) => return Err(error),
            };
            found.damage.extend(reason.map(|reason| Damage {
                path,
                reason: format!("the image {} cannot be used: {reason}", named.name),
            }));
        }
        Ok(())
    }

    fn verify_trees(&self, found: &mut Verification) -> Result<(), StoreError> {
        for path in entries(&self.path("trees"))? {
            found.trees += 1;
            let reason = match read_json::<TreeRecord>(&path.join(RECORD)) {
                Ok(Some(record)) => changed_since(&path.join(FILES), record.finished)
                    .map(|changed| format!("{} was changed after it was extracted", changed.display())),
                Ok(None) => Some(format!("it has no {RECORD}")),
                Err(StoreError::Damaged { reason, .. }) => Some(reason),
                Err(error) => return Err(error),
            };
            found.damage.extend(reason.map(|reason| Damage { path, reason }));
        }
        Ok(())
    }
}

/// A damaged document as a finding; other errors stay errors.
fn damage(error: StoreError) -> Result<Damage, StoreError> {
    match error {
        StoreError::Damaged { path, reason } => Ok(Damage { path, reason }),
        other => Err(other),
    }
}

/// A file below `path` whose content, or a directory whose entries, changed after `finished`.
///
/// A layer may bring times that lie in the future, so the time that the kernel keeps must be late as well.
/// That one alone says nothing: a hard link to a file changes it too.
fn changed_since(path: &Path, finished: u128) -> Option<PathBuf> {
    let Ok(found) = fs::symlink_metadata(path) else {
        return Some(path.to_owned());
    };
    let late = |seconds: i64, nanoseconds: i64| {
        let nanoseconds = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
        u128::try_from(nanoseconds).is_ok_and(|time| time > finished)
    };
    if late(found.mtime(), found.mtime_nsec()) && late(found.ctime(), found.ctime_nsec()) {
        return Some(path.to_owned());
    }
    if !found.is_dir() {
        return None;
    }
    // A directory that its owner may not read cannot be looked into; its own times still speak for it.
    let inside = entries(path).unwrap_or_default();
    inside.iter().find_map(|path| changed_since(path, finished))
}
