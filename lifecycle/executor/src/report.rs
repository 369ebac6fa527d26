//! What a build came to.

use lifecycle_diagnostics::Diagnostic;
use lifecycle_image::Image;
use lifecycle_sandbox::Rung;
use lifecycle_store::StoreError;

use crate::recorder::Recorder;

/// The image, and what is worth knowing about how it came about.
#[derive(Debug)]
pub struct BuildReport {
    /// The image. Its upper layers may still be in the making: a sink follows them.
    pub image: Image,
    /// What the build checks found (N2).
    pub findings: Vec<Diagnostic>,
    /// Steps with a layer that were carried out.
    pub executed: usize,
    /// Steps with a layer whose result an earlier build had.
    pub cached: usize,
    /// How RUN was kept apart from the host, if anything was run.
    pub isolation: Option<Rung>,
    pub(crate) recorder: Recorder,
}

impl BuildReport {
    /// Waits until all layers are packed and every result is remembered for later builds. Dropping the report does
    /// so too, but tells nobody what failed.
    pub fn finish(self) -> Result<Image, StoreError> {
        self.recorder.finish()?;
        Ok(self.image)
    }
}
