//! Why an export failed.

use std::path::PathBuf;

use lifecycle_image::{LayerError, TransferError};
use lifecycle_layers::PackError;
use lifecycle_spec::ExitCode;

use super::ExportOptions;
use crate::FileError;
use crate::images::ImagesError;

/// Exporting failed. No name stands for a new image then.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// No name was given (exit 3).
    #[error("at least one image argument is required")]
    NoImage,
    /// `analyzed.toml` names no run image (exit 3).
    #[error("run image not found in analyzed metadata")]
    NoRunImage,
    /// The names do not go together.
    #[error(transparent)]
    Images(#[from] ImagesError),
    /// The run image that extensions made is not where the extender puts it.
    #[error("cannot use the extended run image in {}: {reason}", directory.display())]
    Extended {
        /// Where it should be.
        directory: PathBuf,
        /// What is wrong.
        reason: String,
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
    /// The app image could not be written.
    #[error("cannot write {image}")]
    Write {
        /// The image.
        image: String,
        /// Why.
        #[source]
        cause: TransferError,
    },
    /// The process that should start does not exist (KB-06).
    #[error("there is no process of type '{process_type}'; {}", known_processes(known))]
    Process {
        /// What was asked for.
        process_type: String,
        /// The types that exist.
        known: Vec<String>,
    },
    /// A process type cannot be a file name (LCH-06).
    #[error("the process type '{process_type}' is empty or holds one of the characters / > < : | & \\")]
    ProcessType {
        /// The type.
        process_type: String,
    },
    /// A layer has no contents, and the previous image cannot help (EXP-19).
    #[error("layer '{layer}' has no contents: {reason}")]
    NoContents {
        /// The layer, as `buildpack:layer`.
        layer: String,
        /// Why there is nothing else to take.
        reason: &'static str,
    },
    /// A slice's pattern is malformed.
    #[error(transparent)]
    Slice(#[from] PackError),
    /// A layer could not be made.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A file of the platform or of a buildpack is missing or wrong.
    #[error(transparent)]
    File(#[from] FileError),
}

impl ExportError {
    pub(super) fn write(options: &ExportOptions, cause: TransferError) -> Self {
        Self::Write {
            image: options.name(),
            cause,
        }
    }

    /// The number that the phase ends with (cnb.md 1.2, lifecycle.md 1.4).
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::NoImage | Self::NoRunImage => ExitCode::InvalidArguments,
            Self::Images(error) => error.exit_code(ExitCode::Export),
            Self::Extended { .. }
            | Self::RunImage { .. }
            | Self::Write { .. }
            | Self::Process { .. }
            | Self::ProcessType { .. }
            | Self::NoContents { .. }
            | Self::Slice(_)
            | Self::Layer(_)
            | Self::File(_) => ExitCode::Export,
        }
    }
}

fn known_processes(known: &[String]) -> String {
    if known.is_empty() {
        return "the buildpacks contributed none; leave -process-type empty to start the launcher".to_owned();
    }
    format!(
        "the image has {}; choose one with -process-type, or leave it empty for the buildpacks' default",
        known.join(", ")
    )
}
