//! Tells what the executor does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use lifecycle_diagnostics::Diagnostic;
use lifecycle_executor::{Reporter, StepName, StepOutcome};
use lifecycle_image::Progress;

use crate::console::{Console, Event};

/// The most bytes of a line that are kept until it ends.
const LONGEST_LINE: usize = 64 << 10;

/// Where several platforms are built at the same time, each line says which it belongs to.
#[derive(Debug)]
pub(super) struct Watcher {
    console: Console,
    /// Lines that have begun, by the step's label.
    begun: Mutex<HashMap<String, Vec<u8>>>,
}

impl Watcher {
    pub(super) fn new(console: &Console) -> Self {
        Self {
            console: console.clone(),
            begun: Mutex::default(),
        }
    }

    /// As BuildKit does: `[linux/arm64 build 2/3]`.
    fn label(step: &StepName) -> String {
        let platform = step.platform.as_ref().map(|platform| format!("{platform} "));
        let platform = platform.unwrap_or_default();
        format!("[{platform}{} {}/{}]", step.stage, step.number, step.count)
    }

    fn tell(&self, label: &str, line: &[u8]) {
        let line = [label.as_bytes(), b" ", line].concat();
        self.console.tell(&Event::Output(&line));
    }

    /// Tells the lines that have ended, and keeps the rest.
    fn tell_lines(&self, label: &str, bytes: &[u8]) {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = begun.entry(label.to_owned()).or_default();
        rest.extend_from_slice(bytes);
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            self.tell(label, &line[..end]);
        }
        if rest.len() > LONGEST_LINE {
            self.tell(label, &std::mem::take(rest));
        }
    }
}

impl Reporter for Watcher {
    fn isolation(&self, isolation: &str) {
        self.console.debug(format!("isolation: {isolation}"));
    }

    fn begin(&self, step: &StepName) {
        self.console.info(format!("{} {}", Self::label(step), step.text));
    }

    fn output(&self, step: &StepName, bytes: &[u8]) {
        if step.platform.is_some() {
            self.tell_lines(&Self::label(step), bytes);
            return;
        }
        let lines = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        for line in lines.split(|&byte| byte == b'\n') {
            self.console.tell(&Event::Output(line));
        }
    }

    fn end(&self, step: &StepName, outcome: StepOutcome) {
        let label = Self::label(step);
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rest) = begun.remove(&label).filter(|rest| !rest.is_empty()) {
            self.tell(&label, &rest);
        }
        drop(begun);
        let whence = match outcome {
            StepOutcome::Cached => "from an earlier build",
            StepOutcome::Shared => "carried out once for all that need it",
            StepOutcome::Done | StepOutcome::Failed => return,
        };
        self.console.info(format!("{label} {whence}: {}", step.text));
    }

    fn warn(&self, warning: &Diagnostic) {
        self.console.diagnostic(warning);
    }

    fn progress(&self) -> Arc<dyn Progress> {
        Arc::new(self.console.clone())
    }
}
