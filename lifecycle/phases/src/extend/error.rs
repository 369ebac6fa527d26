//! Why extending failed.

use std::path::PathBuf;

use lifecycle_executor::ExecutorError;
use lifecycle_image::TransferError;
use lifecycle_spec::ExitCode;

use super::ExtendKind;
use crate::{FileError, ModuleError};

/// Extending failed.
#[derive(Debug, thiserror::Error)]
pub enum ExtendError {
    /// `analyzed.toml` does not name the image.
    #[error("analyzed.toml names no {} image to extend; the restorer writes it there", kind.word())]
    NoBase {
        /// Which image.
        kind: ExtendKind,
    },
    /// The image's manifest and configuration are not where the restorer puts them.
    #[error("cannot read {reference}, which is to be extended")]
    Base {
        /// The image.
        reference: String,
        /// Why.
        #[source]
        cause: TransferError,
    },
    /// A Dockerfile could not be carried out.
    #[error("cannot apply {}{}", path.display(), reasons(cause))]
    Dockerfile {
        /// The Dockerfile.
        path: PathBuf,
        /// Why, with lines.
        cause: ExecutorError,
    },
    /// The extended run image would run as root (EXT-05).
    #[error(
        "the final user of the extended run image is {user:?}, which is root; an extension that needs root has to reset the user, as with `USER ${{user_id}}:${{group_id}}`"
    )]
    RootUser {
        /// The user.
        user: String,
    },
    /// The extended image could not be put together or written.
    #[error("cannot write the extended image")]
    Image(#[source] TransferError),
    /// An extension is not what it should be.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// A file of the platform is missing or wrong.
    #[error(transparent)]
    File(#[from] FileError),
}

impl ExtendError {
    /// The number that the phase ends with (cnb.md 1.2, lifecycle.md 1.4).
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Module(error) => error.exit_code(ExitCode::Extend),
            _ => ExitCode::Extend,
        }
    }

    pub(super) fn image(cause: impl Into<TransferError>) -> Self {
        Self::Image(cause.into())
    }
}

fn reasons(error: &ExecutorError) -> String {
    let line = |diagnostic: &lifecycle_diagnostics::Diagnostic| {
        let causes = diagnostic.causes.iter().map(|cause| format!(": {cause}"));
        let help = diagnostic.help.iter().map(|help| format!("\n  help: {help}"));
        format!(
            "\n  {diagnostic}{}{}",
            causes.collect::<String>(),
            help.collect::<String>()
        )
    };
    error.diagnostics().iter().map(line).collect()
}
