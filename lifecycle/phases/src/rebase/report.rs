//! What came out of a rebase.

use lifecycle_image::Receipt;
use lifecycle_spec::ReportToml;

/// What was written.
#[derive(Debug, Clone)]
pub struct RebaseReport {
    /// The new run image.
    pub run_image: String,
    /// How many layers of the old run image were replaced.
    pub replaced: usize,
    /// What was sent.
    pub receipt: Receipt,
    /// As written to `report.toml`.
    pub report: ReportToml,
}
