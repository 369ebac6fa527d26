//! What exporting needs to know.

use std::path::PathBuf;

use lifecycle_image::Reference;
use lifecycle_layers::{Owner, Packing};
use lifecycle_spec::label::LauncherVersion;
use lifecycle_spec::{ExecEnv, PlatformApi};

use crate::Place;

/// The inputs of [`crate::export()`] (cnb.md 1.3, exporter).
#[derive(Debug, Clone)]
pub struct ExportOptions {
    /// The Platform API that rules.
    pub api: PlatformApi,
    /// The names that the image gets; at least one.
    pub images: Vec<Reference>,
    /// The app directory.
    pub app: Place,
    /// The layers directory.
    pub layers: Place,
    /// Where the extender left the run image, if it was extended. Since Platform API 0.12.
    pub extended: PathBuf,
    /// `analyzed.toml`
    pub analyzed: PathBuf,
    /// `group.toml`
    pub group: PathBuf,
    /// `run.toml`, which may be missing. Since Platform API 0.12.
    pub run: PathBuf,
    /// `stack.toml`, which may be missing. Until Platform API 0.11.
    pub stack: PathBuf,
    /// `project-metadata.toml`, which may be missing.
    pub project_metadata: PathBuf,
    /// Where `report.toml` is written.
    pub report: PathBuf,
    /// The launcher's program.
    pub launcher: PathBuf,
    /// What the launcher is.
    pub launcher_version: LauncherVersion,
    /// The directory with the SBOM files of lifecycle and launcher, for whoever has them. Since Platform API 0.11.
    pub launcher_sbom: Option<PathBuf>,
    /// Whether that is the lifecycle's own directory; from any other one, all SBOM files are taken (SBOM-04).
    pub launcher_sbom_is_default: bool,
    /// The process that starts when nobody names one; without it, the buildpacks' default.
    pub process_type: Option<String>,
    /// Who owns the app and the layers in the image.
    pub owner: Owner,
    /// The value of `SOURCE_DATE_EPOCH`, whatever it is. Since Platform API 0.9.
    pub source_date_epoch: Option<String>,
    /// The execution environment. Since Platform API 0.15.
    pub exec_env: ExecEnv,
    /// Write the caches while the image is sent.
    pub parallel: bool,
    /// Where layers of images in a daemon are kept, if they are.
    pub launch_cache: Option<PathBuf>,
    /// How layers are compressed.
    pub packing: Packing,
}

impl ExportOptions {
    /// The image, for messages.
    pub(super) fn name(&self) -> String {
        self.images.first().map(ToString::to_string).unwrap_or_default()
    }
}
