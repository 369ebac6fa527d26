//! Why creating failed.

use lifecycle_spec::ExitCode;

use crate::{AnalyzeError, BuildError, DetectError, ExportError, Phase, RestoreError};

/// One of the phases failed.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// Analysis failed.
    #[error(transparent)]
    Analyze(#[from] AnalyzeError),
    /// Detection failed.
    #[error(transparent)]
    Detect(#[from] DetectError),
    /// The group has extensions (CRE-04, exit 22).
    #[error(
        "detected order contains extensions which is not supported by the creator; run the phases one by one"
    )]
    Extensions,
    /// Restoring failed.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// Building failed.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// Exporting failed.
    #[error(transparent)]
    Export(#[from] ExportError),
}

impl CreateError {
    /// The number that the phase ends with.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Analyze(error) => error.exit_code(),
            Self::Detect(error) => error.exit_code(),
            Self::Extensions => ExitCode::Detect,
            Self::Restore(error) => error.exit_code(),
            Self::Build(error) => error.exit_code(),
            Self::Export(error) => error.exit_code(),
        }
    }

    /// Which phase failed.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        match self {
            Self::Analyze(_) => Phase::Analyze,
            Self::Detect(_) | Self::Extensions => Phase::Detect,
            Self::Restore(_) => Phase::Restore,
            Self::Build(_) => Phase::Build,
            Self::Export(_) => Phase::Export,
        }
    }
}
