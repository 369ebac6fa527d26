//! How a phase tells what happens.

use std::error::Error;
use std::fmt;

use lifecycle_image::{Meter, NoProgress, Progress, Step};

/// Somebody who is told what a phase does. Only the command line knows whether that is a terminal.
///
/// Texts are without trailing newline. Blobs and layers on their way are told through [`Progress`].
pub trait Reporter: Progress {
    /// A phase begins.
    fn phase(&self, phase: Phase);
    /// Something that every user wants to read.
    fn info(&self, text: &str);
    /// Something that explains what happened, for whoever asks.
    fn debug(&self, text: &str);
    /// Something that is probably not wanted, but does not stop the phase.
    fn warning(&self, text: &str);
    /// A line that a buildpack's program printed, on either of its outputs: raw bytes, without the newline.
    fn output(&self, line: &[u8]);
}

/// A phase, for its headline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// [`crate::analyze()`]
    Analyze,
    /// [`crate::detect()`]
    Detect,
    /// [`crate::restore()`]
    Restore,
    /// [`crate::extend()`] of the build image.
    ExtendBuild,
    /// [`crate::extend()`] of the run image.
    ExtendRun,
    /// [`crate::build()`]
    Build,
    /// [`crate::export()`]
    Export,
    /// [`crate::rebase()`]
    Rebase,
}

impl Phase {
    /// The headline that users search logs for (platforms.md PK-36), without its arrow.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Analyze => "ANALYZING",
            Self::Detect => "DETECTING",
            Self::Restore => "RESTORING",
            Self::ExtendBuild => "EXTENDING (BUILD)",
            Self::ExtendRun => "EXTENDING (RUN)",
            Self::Build => "BUILDING",
            Self::Export => "EXPORTING",
            Self::Rebase => "REBASING",
        }
    }
}

impl fmt::Display for Phase {
    /// The verb, as in `failed to build: …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Analyze => "analyze",
            Self::Detect => "detect",
            Self::Restore => "restore",
            Self::ExtendBuild => "extend build image",
            Self::ExtendRun => "extend run image",
            Self::Build => "build",
            Self::Export => "export",
            Self::Rebase => "rebase",
        })
    }
}

/// Nobody listens.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quiet;

impl Progress for Quiet {
    fn begin(&self, step: Step, name: &str, total: Option<u64>) -> Box<dyn Meter> {
        NoProgress.begin(step, name, total)
    }
}

impl Reporter for Quiet {
    fn phase(&self, _: Phase) {}
    fn info(&self, _: &str) {}
    fn debug(&self, _: &str) {}
    fn warning(&self, _: &str) {}
    fn output(&self, _: &[u8]) {}
}

/// An error with what caused it, in one line. What the message above quotes already is not said again.
pub(crate) fn explain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.ends_with(&message) {
            text = format!("{text}: {message}");
        }
        cause = error.source();
    }
    text
}
