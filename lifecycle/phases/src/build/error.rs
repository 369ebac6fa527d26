//! Why a build failed.

use lifecycle_spec::ExitCode;

use crate::process::quoted;
use crate::sboms::SbomError;
use crate::{FileError, ModuleError};

/// Building failed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// It was started as root, but buildpacks are not to be trusted that far (BLD-05).
    #[error("refusing to run as root")]
    Root,
    /// A buildpack's program failed (exit 51).
    #[error("buildpack '{module}' {ending}{}", quoted(last_lines))]
    Buildpack {
        /// The buildpack as `id@version`.
        module: String,
        /// Its exit code, if it came to that.
        code: Option<i32>,
        /// How its program ended: `exited with status 1`.
        ending: String,
        /// The last lines that it printed.
        last_lines: Vec<String>,
    },
    /// A buildpack says it left something unmet that it was not asked for (UNM-04).
    #[error("buildpack '{module}' left '{name}' unmet in build.toml, but the plan did not ask it for that")]
    Unmet {
        /// The buildpack as `id@version`.
        module: String,
        /// What it left unmet.
        name: String,
    },
    /// A buildpack's SBOM file cannot be used.
    #[error("buildpack '{module}' left an SBOM file that cannot be used")]
    Sbom {
        /// The buildpack as `id@version`.
        module: String,
        /// Why.
        #[source]
        cause: SbomError,
    },
    /// A file of a buildpack cannot be used.
    #[error("buildpack '{module}' left a file that cannot be used")]
    Contribution {
        /// The buildpack as `id@version`.
        module: String,
        /// Why.
        #[source]
        cause: FileError,
    },
    /// A file of the platform is missing or wrong.
    #[error(transparent)]
    File(#[from] FileError),
    /// A buildpack of the group is missing or wrong.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// Somebody asked to stop.
    #[error("cancelled")]
    Cancelled,
}

impl BuildError {
    /// The number that the phase ends with (cnb.md 1.2, lifecycle.md 1.4).
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Buildpack { .. } => ExitCode::BuildpackFailed,
            Self::Unmet { .. } | Self::Sbom { .. } | Self::Contribution { .. } => ExitCode::Build,
            Self::Module(error) => error.exit_code(ExitCode::Build),
            Self::Root | Self::File(_) | Self::Cancelled => ExitCode::Generic,
        }
    }
}
