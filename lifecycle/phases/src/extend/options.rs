//! What extending needs to know.

use std::path::PathBuf;

use lifecycle_layers::Packing;
use lifecycle_spec::PlatformApi;

/// The inputs of [`crate::extend()`] (cnb.md 1.3, extender). All paths are absolute.
#[derive(Debug, Clone)]
pub struct ExtendOptions {
    /// The Platform API that rules.
    pub api: PlatformApi,
    /// Which image is extended.
    pub kind: ExtendKind,
    /// `analyzed.toml`
    pub analyzed: PathBuf,
    /// `group.toml`
    pub group: PathBuf,
    /// The directory of generated Dockerfiles.
    pub generated: PathBuf,
    /// Where the extended run image is written.
    pub extended: PathBuf,
    /// The app directory: the context of Dockerfiles without one of their own.
    pub app: PathBuf,
    /// Where the restorer put the image that is extended.
    pub base_images: PathBuf,
    /// The root file system of the image; `/` in a container of it.
    pub root: PathBuf,
    /// Directories within that root that are not the image's: layers, app, platform, caches.
    pub volumes: Vec<PathBuf>,
    /// The value of the argument `build_id`: another one for each build (DKF-06).
    pub build_id: String,
    /// Variables for proxies; they leave no trace in images and cache.
    pub proxies: Vec<(String, String)>,
    /// How layers are compressed.
    pub packing: Packing,
}

impl ExtendOptions {
    /// What lies in the root but is not persisted (EXT-08).
    pub(super) fn not_of_the_image(&self) -> Vec<PathBuf> {
        let own = [&self.generated, &self.extended, &self.app, &self.base_images];
        self.volumes.iter().chain(own).cloned().collect()
    }
}

/// Which image is extended: `-kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtendKind {
    /// The image that buildpacks run in.
    Build,
    /// The image that the app image is based on. Since Platform API 0.12.
    Run,
}

impl ExtendKind {
    /// The kind of a word.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        [Self::Build, Self::Run]
            .into_iter()
            .find(|kind| kind.word() == word)
    }

    /// `build` or `run`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Run => "run",
        }
    }
}
