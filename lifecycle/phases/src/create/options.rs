//! What creating needs to know.

use crate::{AnalyzeOptions, BuildOptions, DetectOptions, ExportOptions, RestoreOptions};

/// The inputs of [`crate::create()`]: those of its phases, which must name the same files and directories.
#[derive(Debug, Clone)]
pub struct CreateOptions {
    /// Of the first phase.
    pub analyze: AnalyzeOptions,
    /// Of the second.
    pub detect: DetectOptions,
    /// Of the third; its `skip_layers` is `-skip-restore`.
    pub restore: RestoreOptions,
    /// Of the fourth.
    pub build: BuildOptions,
    /// Of the last.
    pub export: ExportOptions,
}
