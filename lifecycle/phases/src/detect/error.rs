//! Why a detection failed.

use lifecycle_spec::ExitCode;

use super::{ModuleOutcome, Verdict};
use crate::process::quoted;
use crate::{FileError, ModuleError};

/// Detection failed.
#[derive(Debug, thiserror::Error)]
pub enum DetectError {
    /// It was started as root, but buildpacks are not to be trusted that far (DET-13).
    #[error("refusing to run as root")]
    Root,
    /// No group passed (exit 20), or none passed and a buildpack had an error (exit 21).
    #[error("No buildpack groups passed detection.{}", summary(modules))]
    NoGroup {
        /// Whether a buildpack had an error.
        errored: bool,
        /// What every module said, in the order in which they were asked.
        modules: Vec<ModuleOutcome>,
    },
    /// A file of the platform is missing or wrong.
    #[error(transparent)]
    File(#[from] FileError),
    /// A module of the order is missing or wrong.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// Composite buildpacks that stand for each other (ORD-05).
    #[error("the order never ends: composite buildpacks refer to each other: {}", path.join(" → "))]
    Cycle {
        /// The way round, as `id@version`.
        path: Vec<String>,
    },
    /// There are too many groups or combinations of plans to try.
    #[error(
        "gave up after {tries} tries to find a group; the order or its buildpacks' alternative plans multiply beyond that"
    )]
    TooMany {
        /// How many were tried.
        tries: u64,
    },
    /// Extensions, while they were an experiment.
    #[error(
        "experimental features are disabled by CNB_EXPERIMENTAL_MODE=error; the order has image extensions, which need Platform API 0.13 or CNB_EXPERIMENTAL_MODE=warn"
    )]
    Experimental,
    /// An extension's `bin/generate` failed.
    #[error("failed to generate: extension '{module}' {ending}{}", quoted(last_lines))]
    ExtensionFailed {
        /// The extension as `id@version`.
        module: String,
        /// How its program ended: `exited with status 1`.
        ending: String,
        /// The last lines that it printed.
        last_lines: Vec<String>,
    },
    /// What an extension generated cannot be used.
    #[error("failed to generate: extension '{module}': {reason}")]
    Generated {
        /// The extension as `id@version`.
        module: String,
        /// What is wrong.
        reason: String,
    },
    /// Somebody asked to stop.
    #[error("cancelled")]
    Cancelled,
}

impl DetectError {
    /// The number that the phase ends with (cnb.md 1.2, lifecycle.md 1.4).
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::NoGroup { errored: false, .. } => ExitCode::DetectFailed,
            Self::NoGroup { errored: true, .. } => ExitCode::DetectFailedWithErrors,
            Self::Module(error) => error.exit_code(ExitCode::Detect),
            Self::Cycle { .. } | Self::TooMany { .. } => ExitCode::Detect,
            Self::ExtensionFailed { .. } => ExitCode::ExtensionFailed,
            Self::Generated { .. } => ExitCode::Generate,
            Self::Root | Self::File(_) | Self::Experimental | Self::Cancelled => ExitCode::Generic,
        }
    }
}

/// One line for each module: what it is called and what it said last.
fn summary(modules: &[ModuleOutcome]) -> String {
    let line = |outcome: &ModuleOutcome| {
        let said = || {
            let text = String::from_utf8_lossy(&outcome.output);
            text.lines()
                .map(str::trim)
                .rfind(|line| !line.is_empty())
                .map(str::to_owned)
        };
        let reason = outcome.reason.clone().or_else(said);
        let word = match outcome.verdict {
            Verdict::Pass => "passed, but its group did not".to_owned(),
            Verdict::Fail => "does not want it".to_owned(),
            Verdict::Error(Some(code)) => format!("exited with status {code}"),
            Verdict::Error(None) => "could not be asked".to_owned(),
            Verdict::WrongTarget => "is for other run images".to_owned(),
        };
        match reason {
            Some(reason) => format!("\n  {} {word}: {reason}", outcome.module),
            None => format!("\n  {} {word}", outcome.module),
        }
    };
    modules.iter().map(line).collect::<Vec<_>>().concat()
}
