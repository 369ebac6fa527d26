//! What came out of an analysis.

use lifecycle_spec::AnalyzedToml;

/// What is known about the images.
#[derive(Debug, Clone)]
pub struct AnalyzeReport {
    /// As written to `analyzed.toml`.
    pub analyzed: AnalyzedToml,
}
