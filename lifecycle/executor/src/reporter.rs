//! Who is told how the build goes.

use std::fmt;
use std::sync::Arc;

use lifecycle_diagnostics::Diagnostic;
use lifecycle_image::{NoProgress, Progress};

/// Somebody who watches a build. Stages work at the same time, so calls come from several threads.
pub trait Reporter: Send + Sync + fmt::Debug {
    /// How RUN is kept apart from the host, once the first one needs to know.
    fn isolation(&self, isolation: &str) {
        let _ = isolation;
    }

    /// A step begins.
    fn begin(&self, step: &StepName) {
        let _ = step;
    }

    /// Output of a step's command: standard output and standard error, as they come.
    fn output(&self, step: &StepName, bytes: &[u8]) {
        let _ = (step, bytes);
    }

    /// A step ended.
    fn end(&self, step: &StepName, outcome: StepOutcome) {
        let _ = (step, outcome);
    }

    /// Something that does not stop the build: a build check's finding, something left out.
    fn warn(&self, warning: &Diagnostic) {
        let _ = warning;
    }

    /// Who watches layers being packed and unpacked.
    fn progress(&self) -> Arc<dyn Progress> {
        Arc::new(NoProgress)
    }
}

/// Nobody watches.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Reporter for Silent {}

/// Which step, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepName {
    /// The platform of the image, where there are several.
    pub platform: Option<String>,
    /// The stage's name, or `stage-N`.
    pub stage: String,
    /// The stage's place in the file, from 0.
    pub stage_index: usize,
    /// The step's number in its stage, from 1.
    pub number: usize,
    /// How many steps the stage has.
    pub count: usize,
    /// The instruction as written.
    pub text: String,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepOutcome {
    /// It was carried out.
    Done,
    /// The result of an earlier build was taken.
    Cached,
    /// The same step was carried out elsewhere in this build, in another stage or for another platform.
    Shared,
    /// It failed; the build's error says why.
    Failed,
}
