//! Why a process did not start.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use lifecycle_spec::{ApiError, ExitCode, Flaw};

/// Why a process did not start. Every member but [`Api`](Self::Api) ends with exit code 82.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The Platform API or a Buildpack API is not supported (LAU-15).
    #[error(transparent)]
    Api(#[from] ApiError),
    /// `config/metadata.toml` is not what it should be.
    #[error("read build metadata: {0}")]
    Metadata(#[from] Flaw),
    /// The launcher was not told what to start (LAU-06).
    #[error(
        "determine start command: no process type was named and no command was given; processes in this image: {}",
        known.join(", ")
    )]
    NoCommand {
        /// The types that exist.
        known: Vec<String>,
    },
    /// The command is empty (LAU-14).
    #[error("determine start command: {of} is empty")]
    EmptyCommand {
        /// Whose it is.
        of: String,
    },
    /// The process is for other execution environments (LAU-02).
    #[error(
        "determine start command: process type `{process}` is for the execution environments {wanted}, not for `{current}`"
    )]
    OtherExecEnv {
        /// Its type.
        process: String,
        /// The environments that it is for, joined.
        wanted: String,
        /// The environment that this is.
        current: String,
    },
    /// A process names a buildpack that is not in the metadata.
    #[error(
        "determine start command: process type `{process}` comes from buildpack `{buildpack}`, which is not part of this image"
    )]
    UnknownBuildpack {
        /// Its type.
        process: String,
        /// The id that it names.
        buildpack: String,
    },
    /// There is no such program in `PATH`.
    #[error("path lookup: `{}` is no executable file in PATH ({})", program.display(), path.display())]
    NotFound {
        /// The program.
        program: OsString,
        /// The `PATH` that was searched.
        path: OsString,
    },
    /// An exec.d program ended with an error (XCD-01).
    #[error("exec.d: {} failed with {status}", program.display())]
    ExecDFailed {
        /// The program.
        program: PathBuf,
        /// How it ended.
        status: ExitStatus,
    },
    /// An exec.d program wrote something else than variables (XCD-02).
    #[error("exec.d: the output on descriptor 3 is not usable: {0}")]
    ExecDOutput(Flaw),
    /// The operating system refused something.
    #[error("{action} {}: {cause}", path.display())]
    Io {
        /// What was to be done.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// An environment directory of a layer cannot be read.
    #[error("modify environment: {0}")]
    Environment(#[source] io::Error),
}

impl LaunchError {
    pub(crate) fn io(action: &'static str, path: &Path, cause: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            cause,
        }
    }

    /// 11 and 12 for APIs, 82 for all else (cnb.md 1.2).
    #[must_use]
    pub const fn exit_code(&self) -> ExitCode {
        match self {
            Self::Api(error) => error.exit_code(),
            _ => ExitCode::Launch,
        }
    }

    /// Whether launching failed, and not the agreement on an API before it.
    #[must_use]
    pub const fn is_launch(&self) -> bool {
        !matches!(self, Self::Api(_))
    }
}
