//! Why a rebase failed.

use lifecycle_image::TransferError;
use lifecycle_spec::{ExitCode, Flaw};

use crate::FileError;
use crate::images::ImagesError;

/// Rebasing failed.
#[derive(Debug, thiserror::Error)]
pub enum RebaseError {
    /// No name was given.
    #[error("at least one image argument is required")]
    NoImage,
    /// The image was not built by a lifecycle (exit 3).
    #[error(
        "{image} has no label {}, so it was not built by buildpacks and cannot be rebased",
        lifecycle_spec::label::LIFECYCLE
    )]
    NoLabel {
        /// The image.
        image: String,
    },
    /// Neither the caller nor the image names a run image (exit 3).
    #[error("-run-image is required when there is no run image metadata available")]
    NoRunImage,
    /// A label is malformed.
    #[error(transparent)]
    Label(#[from] Flaw),
    /// The names do not go together, or no run image can be read.
    #[error(transparent)]
    Images(#[from] ImagesError),
    /// An image could not be read.
    #[error("cannot read {image}")]
    Read {
        /// The image.
        image: String,
        /// Why.
        #[source]
        cause: TransferError,
    },
    /// The rebased image could not be written.
    #[error("cannot write {image}")]
    Write {
        /// The image.
        image: String,
        /// Why.
        #[source]
        cause: TransferError,
    },
    /// The new base does not fit the app image.
    #[error("{reason}; use another base, or -force if you know that it works")]
    Unfit {
        /// Why not.
        reason: String,
    },
    /// The recorded top layer of the run image is not in the app image.
    #[error(
        "the app image does not hold the layer {top_layer:?} that its label names as the top of its run image"
    )]
    TopLayer {
        /// The diff ID in the label.
        top_layer: String,
    },
    /// The new run image has no layers.
    #[error("the run image {image} has no layers")]
    EmptyBase {
        /// The image.
        image: String,
    },
    /// A file could not be written.
    #[error(transparent)]
    File(#[from] FileError),
}

impl RebaseError {
    /// The number that the phase ends with (cnb.md 1.2, lifecycle.md 1.4).
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::NoImage | Self::NoLabel { .. } | Self::NoRunImage => ExitCode::InvalidArguments,
            Self::Images(ImagesError::NoAccessibleRunImage { .. })
            | Self::Label(_)
            | Self::Read { .. }
            | Self::Write { .. }
            | Self::Unfit { .. }
            | Self::TopLayer { .. }
            | Self::EmptyBase { .. } => ExitCode::Rebase,
            Self::Images(error) => error.exit_code(ExitCode::Rebase),
            Self::File(_) => ExitCode::Generic,
        }
    }

    /// Without a name to choose from, the advice is another one than in analysis (REB-04).
    pub(super) fn from_choice(error: ImagesError) -> Self {
        match error {
            ImagesError::NoRunImage => Self::NoRunImage,
            other => Self::Images(other),
        }
    }
}
