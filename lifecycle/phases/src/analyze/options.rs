//! What analysis needs to know.

use std::path::PathBuf;

use lifecycle_image::Reference;
use lifecycle_spec::PlatformApi;

use crate::Place;

/// The inputs of [`crate::analyze()`] (cnb.md 1.3, analyzer).
#[derive(Debug, Clone)]
pub struct AnalyzeOptions {
    /// The Platform API that rules.
    pub api: PlatformApi,
    /// The image that will be written.
    pub image: Reference,
    /// More names for it.
    pub tags: Vec<Reference>,
    /// The image that is replaced, if it is not `image`: a reference, or an image id of a daemon.
    pub previous_image: Option<String>,
    /// The run image; without it, one is chosen from `run.toml`.
    pub run_image: Option<String>,
    /// `run.toml`. Since Platform API 0.12.
    pub run: PathBuf,
    /// `stack.toml`. Until Platform API 0.11.
    pub stack: PathBuf,
    /// The layers directory, where the previous image's SBOM is unpacked.
    pub layers: Place,
    /// Where layers of images in a daemon are kept, if they are. Since Platform API 0.9.
    pub launch_cache: Option<PathBuf>,
    /// Leave the SBOM away (AN-04).
    pub skip_layers: bool,
    /// Where `analyzed.toml` is written.
    pub analyzed: PathBuf,
}
