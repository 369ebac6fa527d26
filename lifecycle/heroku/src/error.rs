//! What goes wrong between source and slug.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lifecycle_image::{ImageError, LayerError, TransferError};
use lifecycle_layers::{ExtractError, PackError};
use lifecycle_sandbox::{SandboxError, UserError};
use lifecycle_store::StoreError;

/// Something is wrong with a line of a text file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {reason}")]
pub struct LineError {
    /// The file, as messages name it.
    pub file: String,
    /// The line, from 1 on.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

impl LineError {
    pub(crate) fn new(file: &str, line: usize, reason: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line,
            reason: reason.into(),
        }
    }
}

/// A script of a buildpack, or of the app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptName {
    /// Whose.
    pub of: String,
    /// Which, for example `bin/compile`.
    pub script: &'static str,
}

impl fmt::Display for ScriptName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.script, self.of)
    }
}

/// A slug could not be built, packed, unpacked or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HerokuError {
    /// A line of a Procfile, `.buildpacks`, or of what `bin/release` wrote.
    #[error(transparent)]
    Line(#[from] LineError),
    /// A file of the app has another shape than it should.
    #[error("{file}: {reason}")]
    File {
        /// The file, as messages name it.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// A buildpack's address is none.
    #[error("`{address}` is not a buildpack: {reason}")]
    Address {
        /// The address, without passwords.
        address: String,
        /// Why not.
        reason: String,
    },
    /// A buildpack could not be fetched (MP-06).
    #[error("cannot fetch buildpack {address}: {reason}")]
    Fetch {
        /// The address, without passwords.
        address: String,
        /// What the program or the server said, without passwords.
        reason: String,
    },
    /// An app that was tried does not answer.
    #[error("the app does not answer GET / on port {port}; what it said is above")]
    NoAnswer {
        /// The port.
        port: u16,
    },
    /// An app that was tried answers something else.
    #[error("the app answers {page:?} and not {expected:?}")]
    Page {
        /// What it should answer.
        expected: String,
        /// What it answers.
        page: String,
    },
    /// Something could not be put where it should be.
    #[error("cannot put it at {address}: {reason}")]
    Send {
        /// Where it should be, without a password.
        address: String,
        /// Why it is not there.
        reason: String,
    },
    /// An URL with a scheme that nobody here speaks.
    #[error("cannot use {what}: {reason}")]
    Unsupported {
        /// What was asked for.
        what: String,
        /// Why it cannot be done.
        reason: String,
    },
    /// A config var's name is not one.
    #[error("`{0}` is not the name of a config var; use letters, digits and `_`, and no digit first")]
    ConfigVar(String),
    /// No buildpack takes the app.
    #[error(
        "Unable to select a buildpack: {}; choose one with `--buildpack`, or list some in `.buildpacks`",
        match tried.as_str() { "" => "there is none to try".to_owned(), tried => format!("none of {tried} takes the app") }
    )]
    NoBuildpack {
        /// The buildpacks that were tried; empty if there are none.
        tried: String,
    },
    /// One of several buildpacks does not take the app (MP-03).
    #[error("buildpack {buildpack} of .buildpacks does not take the app, so nothing is built")]
    NotDetected {
        /// Which.
        buildpack: String,
    },
    /// A script ended with another code than 0.
    #[error("{script} failed with exit code {code}")]
    Script {
        /// Which.
        script: ScriptName,
        /// Its code; 128 and more for signals.
        code: i32,
    },
    /// The build took too long (SL-11).
    #[error("{script} was ended: the build took longer than {} s", limit.as_secs())]
    Time {
        /// What was running.
        script: ScriptName,
        /// The limit.
        limit: Duration,
    },
    /// Somebody asked to stop.
    #[error("stopped")]
    Stopped,
    /// The slug is larger than allowed (SL-05, SL-06).
    #[error(
        "the slug has {size} bytes, more than the {limit} that are allowed; the largest directories: {}",
        list(largest)
    )]
    Size {
        /// Its compressed size.
        size: u64,
        /// The limit.
        limit: u64,
        /// The five largest directories and the bytes in them.
        largest: Vec<(String, u64)>,
    },
    /// The directory for a slug has something in it (SL-09).
    #[error("{} is not empty; a slug is only unpacked into an empty directory", .0.display())]
    NotEmpty(PathBuf),
    /// The process type does not exist (SR-05).
    #[error("there is no process type `{name}`, {}", match types.as_str() { "" => "nor any other".to_owned(), types => format!("only {types}") })]
    ProcessType {
        /// What was asked for.
        name: String,
        /// What there is.
        types: String,
    },
    /// Scripts cannot see `/app` here (HC-05).
    #[error(
        "{} is not a directory that can be written, and no other one can be shown in its place without a root of its \
         own; make it, or build where namespaces are allowed", .0.display()
    )]
    NoAppDirectory(PathBuf),
    /// The command line of a front is wrong.
    #[error("{0}")]
    Usage(String),
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
    /// No root could be got ready for a command.
    #[error("cannot get a root file system ready")]
    Room(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A command could not be isolated.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The stack's user does not exist.
    #[error(transparent)]
    User(#[from] UserError),
    /// A slug could not be packed.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// A slug, a source or a buildpack could not be unpacked.
    #[error("{archive}: {cause}")]
    Extract {
        /// The archive.
        archive: String,
        /// Why not.
        #[source]
        cause: ExtractError,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A layer could not be made or read.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// An image's documents do not fit together.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// An image could not be read or written.
    #[error(transparent)]
    Transfer(#[from] TransferError),
}

impl HerokuError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::Io {
            action,
            path: path.to_owned(),
            cause,
        }
    }

    /// The exit code of a program that ends with this: a script's own (SB-04), else 1.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Script { code, .. } => *code,
            _ => 1,
        }
    }
}

fn list(largest: &[(String, u64)]) -> String {
    let lines: Vec<_> = largest
        .iter()
        .map(|(path, bytes)| format!("{path} ({bytes} bytes)"))
        .collect();
    lines.join(", ")
}
