//! What happened during a detection, until it is known whom that concerns.

use crate::Reporter;

/// More explanations than these are of no use to anybody.
const MOST: usize = 5000;

/// Messages in order.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    lines: Vec<Line>,
    dropped: usize,
}

#[derive(Debug)]
enum Line {
    Info(String),
    Debug(String),
}

impl Journal {
    pub(crate) fn info(&mut self, text: impl Into<String>) {
        self.push(Line::Info(text.into()));
    }

    pub(crate) fn debug(&mut self, text: impl Into<String>) {
        self.push(Line::Debug(text.into()));
    }

    fn push(&mut self, line: Line) {
        if self.lines.len() < MOST {
            self.lines.push(line);
        } else {
            self.dropped += 1;
        }
    }

    /// Tells it as it was meant.
    pub(crate) fn tell(&self, reporter: &dyn Reporter) {
        for line in &self.lines {
            match line {
                Line::Info(text) => reporter.info(text),
                Line::Debug(text) => reporter.debug(text),
            }
        }
    }

    /// Tells all of it to everybody: nothing passed, and the explanations say why (DTI-01).
    pub(crate) fn tell_all(&self, reporter: &dyn Reporter) {
        for Line::Info(text) | Line::Debug(text) in &self.lines {
            reporter.info(text);
        }
        if self.dropped > 0 {
            reporter.info(&format!("… and {} more lines", self.dropped));
        }
    }
}
