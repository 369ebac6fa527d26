//! What building needs to know.

use std::path::PathBuf;

use crate::Surroundings;

/// The inputs of [`crate::build()`] (cnb.md 1.3, builder). All paths are absolute.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// Where and as whom programs run.
    pub surroundings: Surroundings,
    /// The directory of buildpacks.
    pub buildpacks: PathBuf,
    /// The layers directory.
    pub layers: PathBuf,
    /// `group.toml`
    pub group: PathBuf,
    /// `plan.toml`
    pub plan: PathBuf,
    /// `analyzed.toml`, which may be missing. Since Platform API 0.12.
    pub analyzed: PathBuf,
}
