//! What restoring needs to know.

use std::path::PathBuf;

use lifecycle_spec::PlatformApi;

use crate::Place;

/// The inputs of [`crate::restore()`] (cnb.md 1.3, restorer).
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// The Platform API that rules.
    pub api: PlatformApi,
    /// The layers directory.
    pub layers: Place,
    /// `group.toml`
    pub group: PathBuf,
    /// `analyzed.toml`, which may be missing.
    pub analyzed: PathBuf,
    /// `run.toml`, which may be missing. Since Platform API 0.14.
    pub run: PathBuf,
    /// The build image, if extensions need it. Since Platform API 0.10.
    pub build_image: Option<String>,
    /// Restore `store.toml` only (RES-02).
    pub skip_layers: bool,
}
