//! Directories with two paths.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A directory: where it lies here, and where the image (and the build inside it) shows it.
///
/// In a builder image both are the same. When a build on a laptop analyzes, restores and exports outside of the
/// root file system in which buildpacks run, the layers lie in some temporary directory but are called `/layers`
/// in tars, labels and environment variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Where it lies here.
    pub here: PathBuf,
    /// Where the image shows it. Absolute.
    pub shown: PathBuf,
}

impl Place {
    /// A directory that is shown where it lies.
    pub fn same(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self {
            here: path.clone(),
            shown: path,
        }
    }

    /// A directory below this one, with both paths.
    #[must_use]
    pub fn join(&self, path: impl AsRef<Path>) -> Self {
        Self {
            here: self.here.join(&path),
            shown: self.shown.join(&path),
        }
    }

    /// Whether it has the set-group-ID bit, as volumes of pods that share them by a group do (`fsGroup`): what is made in
    /// it inherits group and bit.
    pub(crate) fn is_shared(&self) -> bool {
        fs_err::metadata(&self.here).is_ok_and(|metadata| metadata.mode() & 0o2000 != 0)
    }
}
