//! What phases tell, as events.

use lifecycle_phases::{Phase, Reporter};

use super::{Console, Event};

impl Reporter for Console {
    fn phase(&self, phase: Phase) {
        Self::phase(self, phase.title());
    }

    fn info(&self, text: &str) {
        self.tell(&Event::Info(text));
    }

    fn debug(&self, text: &str) {
        self.tell(&Event::Debug(text));
    }

    fn warning(&self, text: &str) {
        self.tell(&Event::Warning(text));
    }

    fn output(&self, line: &[u8]) {
        self.tell(&Event::Output(line));
    }
}
