//! What came out of each phase.

use crate::{AnalyzeReport, BuildReport, DetectReport, ExportReport, RestoreReport};

/// The reports of the phases.
#[derive(Debug, Clone)]
pub struct CreateReport {
    /// What is known about the images.
    pub analyzed: AnalyzeReport,
    /// The group and its plan.
    pub detected: DetectReport,
    /// What came back.
    pub restored: RestoreReport,
    /// What the buildpacks did.
    pub built: BuildReport,
    /// The image.
    pub exported: ExportReport,
}
