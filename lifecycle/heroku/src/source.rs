//! Where an app's source comes from (SB-05).

use std::fmt;
use std::io::Read;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use fs_err as fs;
use lifecycle_layers::tree;

use crate::fetch::{bring, copy_tree, only_directory, unpack};
use crate::{Address, HerokuError, Remote};

/// An app's source.
pub enum Source {
    /// A directory, which is copied.
    Directory(PathBuf),
    /// An archive or a repository, here or elsewhere. An archive may have the app in one directory, as archives of
    /// repositories have.
    Address(Address),
    /// A tar, compressed or not: a file, standard input.
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
            Self::Address(address) => return write!(f, "Address({address})"),
            Self::Tar { name, .. } => name,
        })
    }
}

impl Source {
    /// Brings the source into an empty directory, without git's own files, and says when its newest file was changed, in
    /// seconds since 1970.
    pub(crate) fn bring(
        self,
        into: &Path,
        remote: &dyn Remote,
        ssh_key: Option<&Path>,
    ) -> Result<i64, HerokuError> {
        match self {
            Self::Directory(path) if !path.is_dir() => {
                let reason = "there is no such directory".to_owned();
                return Err(HerokuError::File {
                    file: path.display().to_string(),
                    reason,
                });
            }
            Self::Directory(path) => copy_tree(&path, into)?,
            Self::Address(address) => {
                bring(&address, into, remote, ssh_key)?;
                remove_git(into)?;
                if let Some(only) = only_directory(into)? {
                    lift(&only, into)?;
                }
            }
            Self::Tar { name, reader } => unpack(&name, reader, into)?,
        }
        remove_git(into)?;
        newest(into)
    }
}

/// Moves what is in a directory into the one that it is in, and removes it.
fn lift(only: &Path, into: &Path) -> Result<(), HerokuError> {
    // What is in it may have its name.
    let aside = into.join(".source");
    let moved = |from: &Path, to: &Path| fs::rename(from, to).map_err(HerokuError::io("move", from));
    moved(only, &aside)?;
    for entry in fs::read_dir(&aside).map_err(HerokuError::io("read", &aside))? {
        let entry = entry.map_err(HerokuError::io("read", &aside))?;
        moved(&entry.path(), &into.join(entry.file_name()))?;
    }
    fs::remove_dir(&aside).map_err(HerokuError::io("remove", &aside))
}

/// Removes `.git` at every depth: no part of an app, and whoever reads a slug shall not find its history (SL-01).
pub(crate) fn remove_git(directory: &Path) -> Result<(), HerokuError> {
    each(directory, &mut |path, is_directory| {
        if path.file_name().is_none_or(|name| name != ".git") {
            return Ok(true);
        }
        let removed = if is_directory {
            tree::remove_path(path)
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
