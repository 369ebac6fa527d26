//! What extending came to, and how it is told meanwhile.

use std::sync::Arc;

use lifecycle_executor::{StepName, StepOutcome};
use lifecycle_image::Progress;

use crate::Reporter;

/// What extending came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtendReport {
    /// The variables of the extended image: the build goes on with them (EXT-03).
    pub environment: Vec<(String, String)>,
    /// How many Dockerfiles there were.
    pub dockerfiles: usize,
    /// Steps that were carried out.
    pub executed: usize,
    /// Steps whose result an earlier build had.
    pub cached: usize,
}

/// Tells a phase's reporter what the executor does.
#[derive(Debug)]
pub(super) struct Watcher(pub(super) Arc<dyn Reporter>);

impl lifecycle_executor::Reporter for Watcher {
    fn begin(&self, step: &StepName) {
        self.0
            .info(&format!("[{}/{}] {}", step.number, step.count, step.text));
    }

    fn output(&self, _: &StepName, bytes: &[u8]) {
        for line in bytes
            .strip_suffix(b"\n")
            .unwrap_or(bytes)
            .split(|byte| *byte == b'\n')
        {
            self.0.output(line);
        }
    }

    fn end(&self, step: &StepName, outcome: StepOutcome) {
        if outcome == StepOutcome::Cached {
            self.0.info(&format!(
                "[{}/{}] taken from an earlier build",
                step.number, step.count
            ));
        }
    }

    fn warn(&self, warning: &lifecycle_diagnostics::Diagnostic) {
        // Every extension's Dockerfile has an argument for its base, without a default, because it has to.
        if warning.code == "InvalidDefaultArgInFrom" {
            return;
        }
        self.0.warning(&warning.to_string());
    }

    fn progress(&self) -> Arc<dyn Progress> {
        Arc::clone(&self.0) as Arc<dyn Progress>
    }
}
