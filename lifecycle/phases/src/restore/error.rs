//! Why restoring failed.

use lifecycle_image::TransferError;
use lifecycle_spec::{ApiError, ExitCode};

use crate::FileError;

/// Restoring failed. A cache never is the reason.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// A file of the platform is missing or wrong, or a restored one could not be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A buildpack of the group wants a Buildpack API that this program does not speak.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The run image or the build image could not be read.
    #[error("cannot read {image}")]
    Image {
        /// The image.
        image: String,
        /// Why.
        #[source]
        cause: TransferError,
    },
}

impl RestoreError {
    /// The number that the phase ends with (cnb.md 1.2, lifecycle.md 1.4).
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::File(_) => ExitCode::Generic,
            Self::Api(error) => error.exit_code(),
            Self::Image { .. } => ExitCode::Restore,
        }
    }
}
