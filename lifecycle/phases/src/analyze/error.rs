//! Why an analysis failed.

use lifecycle_image::TransferError;
use lifecycle_spec::ExitCode;

use crate::FileError;
use crate::images::ImagesError;

/// Analysis failed.
#[derive(Debug, thiserror::Error)]
pub enum AnalyzeError {
    /// The images that were asked for do not go together, or there is no run image.
    #[error(transparent)]
    Images(#[from] ImagesError),
    /// The result could not be written.
    #[error("no write access to {image}")]
    Write {
        /// The image.
        image: String,
        /// Why.
        #[source]
        cause: TransferError,
    },
    /// The previous image may be there, but could not be read.
    #[error("cannot read the previous image {image}")]
    PreviousImage {
        /// The image.
        image: String,
        /// Why.
        #[source]
        cause: TransferError,
    },
    /// The run image could not be read.
    #[error("cannot read the run image {image}")]
    RunImage {
        /// The image.
        image: String,
        /// Why.
        #[source]
        cause: TransferError,
    },
    /// The run image does not say what it runs on (AN-09).
    #[error("the run image {image} does not name its operating system; it cannot be a base image")]
    NoOperatingSystem {
        /// The image.
        image: String,
    },
    /// A file of the platform is missing or wrong.
    #[error(transparent)]
    File(#[from] FileError),
}

impl AnalyzeError {
    /// The number that the phase ends with (cnb.md 1.2, lifecycle.md 1.4).
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Images(error) => error.exit_code(ExitCode::Analyze),
            Self::Write { .. }
            | Self::PreviousImage { .. }
            | Self::RunImage { .. }
            | Self::NoOperatingSystem { .. } => ExitCode::Analyze,
            Self::File(_) => ExitCode::Generic,
        }
    }
}
