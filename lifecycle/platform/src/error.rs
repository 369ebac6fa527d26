//! What goes wrong around the phases.

use std::io;
use std::path::{Path, PathBuf};

use lifecycle_image::{ImageError, LayerError, TransferError};
use lifecycle_layers::ExtractError;
use lifecycle_phases::{AnalyzeError, ExportError, FileError, RestoreError};
use lifecycle_sandbox::{EnterError, OverlayError, Rung, SandboxError, UserError};
use lifecycle_spec::ExitCode;
use lifecycle_store::StoreError;

/// A build or a run failed.
#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    /// The source cannot be built.
    #[error("cannot build {}: {reason}", path.display())]
    Source {
        /// Where it is, or was expected.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The rung of isolation that was asked for does not hold here.
    #[error("isolation {rung:?} is not possible here: {missing}")]
    Rung {
        /// Which.
        rung: Rung,
        /// What is in the way, and what would grant it.
        missing: String,
    },
    /// Nothing on the ladder is enough to run a build in a root of its own.
    #[error(
        "buildpacks cannot be run here, because neither namespaces nor chroot are allowed (`lifecycle doctor` says what \
         would allow them); in a pod, run the phases in the builder image itself: /cnb/lifecycle/creator"
    )]
    NoRoot,
    /// The image is for another machine.
    #[error("the image is for {image}, but this machine runs {host}")]
    Platform {
        /// What the image is for.
        image: String,
        /// What this machine is.
        host: String,
    },
    /// The image cannot be started as asked.
    #[error("{0}")]
    Image(String),
    /// The builder image is not one.
    #[error("{builder} is not a builder: {reason}")]
    NotABuilder {
        /// Its name.
        builder: String,
        /// What it lacks.
        reason: String,
    },
    /// A phase ended with another code than 0; what it said is in the log.
    #[error("{phase} failed with exit code {code}: {meaning}")]
    Phase {
        /// Which phase.
        phase: &'static str,
        /// Its code.
        code: i32,
        /// What the code means.
        meaning: &'static str,
    },
    /// A buildpack left what this process must not open.
    #[error(
        "{what} was left at {}, where only a file or a directory can be; it was not opened, because it leads to this \
         machine and not to the builder",
        path.display()
    )]
    Remains {
        /// Where, as the step saw it.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// Somebody asked to stop.
    #[error("stopped")]
    Stopped,
    /// Reading or writing failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// No namespace could be entered.
    #[error(transparent)]
    Enter(EnterError),
    /// A command could not be isolated.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// A root could not be put together.
    #[error(transparent)]
    Overlay(#[from] OverlayError),
    /// The image's user does not exist in it.
    #[error(transparent)]
    User(#[from] UserError),
    /// A file that steps and phases hand to each other cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// A layer could not be unpacked.
    #[error(transparent)]
    Extract(#[from] ExtractError),
    /// A layer could not be read.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// An image's documents do not fit together.
    #[error(transparent)]
    Documents(#[from] ImageError),
    /// An image could not be read or written.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The analyze phase failed.
    #[error("failed to analyze: {0}")]
    Analyze(#[source] AnalyzeError),
    /// The restore phase failed.
    #[error("failed to restore: {0}")]
    Restore(#[source] RestoreError),
    /// The export phase failed.
    #[error("failed to export: {0}")]
    Export(#[source] ExportError),
}

impl PlatformError {
    pub(crate) fn io(action: &'static str, path: &Path, cause: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            cause,
        }
    }

    /// The exit code of a program that ends with this: the failed phase's own, else 1.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Phase { code, .. } => *code,
            Self::Analyze(error) => i32::from(error.exit_code().number()),
            Self::Restore(error) => i32::from(error.exit_code().number()),
            Self::Export(error) => i32::from(error.exit_code().number()),
            _ => i32::from(ExitCode::Generic.number()),
        }
    }
}
