//! How work in progress is told to whoever watches.

use std::fmt;

/// Somebody who watches blobs move. Libraries report here; only the command line knows a terminal.
pub trait Progress: Send + Sync + fmt::Debug {
    /// Work on one blob or layer begins. `name` is a label or a digest, `total` its size in bytes if known.
    fn begin(&self, step: Step, name: &str, total: Option<u64>) -> Box<dyn Meter>;
}

/// Watches one piece of work; dropping it without [`Meter::finish`] means the work failed.
pub trait Meter: Send + Sync {
    /// `bytes` more have been dealt with.
    fn advance(&self, bytes: u64);
    /// The work is done.
    fn finish(&self, outcome: Outcome);
}

/// What is being done with a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Reading files and hashing the tar they make.
    Hash,
    /// Reading, hashing and compressing.
    Pack,
    /// Unpacking into a directory.
    Extract,
    /// From a registry.
    Download,
    /// To a registry.
    Upload,
    /// Between local places.
    Copy,
}

/// How a piece of work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The bytes were made or moved.
    Done,
    /// They were there already.
    Existed,
    /// The registry mounted them from another repository.
    Mounted,
    /// Nothing had changed, an earlier result was taken.
    Reused,
}

/// Nobody watches.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn begin(&self, _: Step, _: &str, _: Option<u64>) -> Box<dyn Meter> {
        Box::new(NoProgress)
    }
}

impl Meter for NoProgress {
    fn advance(&self, _: u64) {}
    fn finish(&self, _: Outcome) {}
}
