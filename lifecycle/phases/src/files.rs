//! The files that phases hand to each other.

use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use lifecycle_spec::{BuildpackPlan, Flaw, Requirement};
use tempfile::TempDir;

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

/// Reads a document that must be there.
pub(crate) fn read<T>(
    path: &Path,
    parse: impl FnOnce(&Path, &[u8]) -> Result<T, Flaw>,
) -> Result<T, FileError> {
    Ok(parse(path, &fs::read(path)?)?)
}

/// Reads a document that may be missing.
pub(crate) fn read_if_there<T>(
    path: &Path,
    parse: impl FnOnce(&Path, &[u8]) -> Result<T, Flaw>,
) -> Result<Option<T>, FileError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(parse(path, &bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Writes a document, and the directories above it.
pub(crate) fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(path, text)
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
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Copies a file, and makes the directories above it. What was there before, a link even, is replaced.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if let Some(directory) = to.parent() {
        fs::create_dir_all(directory)?;
    }
    remove(to)?;
    fs::copy(from, to).map(drop)
}
