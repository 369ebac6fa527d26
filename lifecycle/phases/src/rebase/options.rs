//! What rebasing needs to know.

use std::path::PathBuf;

use lifecycle_image::Reference;
use lifecycle_spec::PlatformApi;

/// The inputs of [`crate::rebase()`] (cnb.md 1.3, rebaser).
#[derive(Debug, Clone)]
pub struct RebaseOptions {
    /// The Platform API that rules.
    pub api: PlatformApi,
    /// The names that the rebased image gets; the first is read, too, unless there is a previous image.
    pub images: Vec<Reference>,
    /// The image that is rebased (REB-02).
    pub previous_image: Option<String>,
    /// The new run image; without it, the one that the app image names.
    pub run_image: Option<String>,
    /// Rebase although the checks are against it (REB-03, REB-08).
    pub force: bool,
    /// Where `report.toml` is written.
    pub report: PathBuf,
}
