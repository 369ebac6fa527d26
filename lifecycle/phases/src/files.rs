//! The files that phases hand to each other.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use fs_err as fs;
use lifecycle_layers::tree;
use lifecycle_spec::{BuildpackPlan, Flaw, Requirement};
use tempfile::TempDir;

/// The most that is read of a document, in bytes. Nearly all that documents say ends in an image's configuration, which is
/// smaller.
const LARGEST: u64 = 16 << 20;

/// A file of the platform or of a buildpack could not be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It could not be read or written. The message names it.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What is in it is wrong.
    #[error(transparent)]
    Flaw(#[from] Flaw),
}

/// Reads a document that must be there, of at most 16 MiB: whoever wrote it may mean to fill this machine's memory.
pub fn read<T>(path: &Path, parse: impl FnOnce(&Path, &[u8]) -> Result<T, Flaw>) -> Result<T, FileError> {
    Ok(parse(path, &bytes(path)?)?)
}

/// Reads a document that may be missing.
pub(crate) fn read_if_there<T>(
    path: &Path,
    parse: impl FnOnce(&Path, &[u8]) -> Result<T, Flaw>,
) -> Result<Option<T>, FileError> {
    match bytes(path) {
        Ok(bytes) => Ok(Some(parse(path, &bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        let text = format!(
            "{} is larger than {} MiB, which no document is",
            path.display(),
            LARGEST >> 20
        );
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(bytes)
}

/// Writes a document, and the directories above it.
pub(crate) fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(path, text)
}

/// Writes a document where buildpacks write too, in place of what is there: a link of theirs may lead to a file that is none
/// of their business.
pub(crate) fn replace(path: &Path, text: &str) -> io::Result<()> {
    remove(path)?;
    write(path, text)
}

/// The plan of one module, for the time that its program runs.
#[derive(Debug)]
pub(crate) struct PlanFile {
    directory: TempDir,
}

impl PlanFile {
    /// Writes down what the module has been given.
    pub(crate) fn of(given: &[Requirement]) -> io::Result<Self> {
        let file = Self {
            directory: tempfile::tempdir()?,
        };
        let plan = BuildpackPlan {
            entries: given.to_vec(),
        };
        write(&file.path(), &plan.to_toml())?;
        Ok(file)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("plan.toml")
    }
}

/// Removes a directory and what is in it, or a file; that nothing is there is fine.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    tree::remove_path(path).map_err(|cause| {
        let text = format!("cannot remove {}: {cause}", path.display());
        io::Error::new(cause.kind(), text)
    })
}

/// Copies a file, and makes the directories above it. What was there before, a link even, is replaced.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if let Some(directory) = to.parent() {
        fs::create_dir_all(directory)?;
    }
    remove(to)?;
    fs::copy(from, to).map(drop)
}

#[cfg(test)]
mod tests {
    use lifecycle_spec::StoreToml;

    use super::*;

    #[test]
    fn a_document_without_end_is_not_read_to_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.toml");
        fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
        for result in [
            read(&path, StoreToml::parse).map(drop),
            read_if_there(&path, StoreToml::parse).map(drop),
        ] {
            let error = result.unwrap_err().to_string();
            assert!(
                error.ends_with("store.toml is larger than 16 MiB, which no document is"),
                "{error}"
            );
        }
    }
}
