//! Where an app's source comes from (SB-05).

use std::fmt;
use std::io::Read;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::HerokuError;
use crate::fetch::{copy_tree, unpack};

/// An app's source.
pub enum Source {
    /// A directory, which is copied.
    Directory(PathBuf),
    /// A tar, compressed or not: a file, standard input, a download.
    Tar {
        /// What messages call it.
        name: String,
        /// Its bytes.
        reader: Box<dyn Read + Send>,
    },
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Directory(path) => return write!(f, "Directory({})", path.display()),
            Self::Tar { name, .. } => name,
        })
    }
}

impl Source {
    /// Brings the source into an empty directory, without git's own files, and says when its newest file was changed, in
    /// seconds since 1970.
    pub(crate) fn bring(self, into: &Path) -> Result<i64, HerokuError> {
        match self {
            Self::Directory(path) if !path.is_dir() => {
                let reason = "there is no such directory".to_owned();
                return Err(HerokuError::File {
                    file: path.display().to_string(),
                    reason,
                });
            }
            Self::Directory(path) => copy_tree(&path, into)?,
            Self::Tar { name, reader } => unpack(&name, reader, into)?,
        }
        remove_git(into)?;
        newest(into)
    }
}

/// Removes `.git` at every depth: no part of an app, and whoever reads a slug shall not find its history (SL-01).
pub(crate) fn remove_git(directory: &Path) -> Result<(), HerokuError> {
    each(directory, &mut |path, is_directory| {
        if path.file_name().is_none_or(|name| name != ".git") {
            return Ok(true);
        }
        let removed = if is_directory {
            fs::remove_dir_all(path)
        } else {
            fs::remove_file(path)
        };
        removed.map_err(HerokuError::io("remove", path))?;
        Ok(false)
    })
}

/// When the newest file below a directory was changed.
fn newest(directory: &Path) -> Result<i64, HerokuError> {
    let mut newest = 0;
    each(directory, &mut |path, is_directory| {
        if !is_directory {
            let metadata = fs::symlink_metadata(path).map_err(HerokuError::io("read", path))?;
            newest = newest.max(metadata.mtime());
        }
        Ok(true)
    })?;
    Ok(newest)
}

/// Visits everything below a directory; a directory is entered when `visit` says so.
pub(crate) fn each(
    directory: &Path,
    visit: &mut dyn FnMut(&Path, bool) -> Result<bool, HerokuError>,
) -> Result<(), HerokuError> {
    let mut waiting = vec![directory.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(&folder).map_err(HerokuError::io("read", &folder))? {
            let entry = entry.map_err(HerokuError::io("read", &folder))?;
            let path = entry.path();
            let is_directory = entry
                .file_type()
                .map_err(HerokuError::io("read", &path))?
                .is_dir();
            if visit(&path, is_directory)? && is_directory {
                waiting.push(path);
            }
        }
    }
    Ok(())
}
