//! What detection needs to know.

use std::path::PathBuf;

use lifecycle_spec::ExperimentalMode;

use crate::Surroundings;

/// The inputs of [`crate::detect()`] (cnb.md 1.3, detector). All paths are absolute.
#[derive(Debug, Clone)]
pub struct DetectOptions {
    /// Where and as whom scripts run.
    pub surroundings: Surroundings,
    /// The directory of buildpacks.
    pub buildpacks: PathBuf,
    /// The directory of extensions. Since Platform API 0.10.
    pub extensions: PathBuf,
    /// `order.toml`
    pub order: PathBuf,
    /// `system.toml`, which may be missing. Since Platform API 0.15.
    pub system: PathBuf,
    /// `run.toml`, which may be missing. Since Platform API 0.12.
    pub run: PathBuf,
    /// `analyzed.toml`, which may be missing. Changed when an extension chooses another run image.
    pub analyzed: PathBuf,
    /// Where `group.toml` is written.
    pub group: PathBuf,
    /// Where `plan.toml` is written.
    pub plan: PathBuf,
    /// Where extensions put their Dockerfiles. Since Platform API 0.10.
    pub generated: PathBuf,
    /// What to do about extensions while they were an experiment.
    pub experimental: ExperimentalMode,
}
