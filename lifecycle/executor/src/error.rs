//! What can go wrong.

use std::io;

use lifecycle_diagnostics::Diagnostic;
use lifecycle_dockerfile::IgnorePatternError;
use lifecycle_image::{ImageError, LayerError};
use lifecycle_layers::{ExtractError, FormatError, PackError};
use lifecycle_sandbox::{OverlayError, SandboxError, UserError};
use lifecycle_store::StoreError;

use crate::files::FilesError;
use crate::remote::RemoteError;

/// A build came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecutorError {
    /// The Dockerfile, the ignore file or the options make no sense: nothing was done.
    #[error("{}", first(.0))]
    Invalid(Vec<Diagnostic>),
    /// An instruction could not be carried out.
    #[error("{0}")]
    Failed(Diagnostic),
    /// The command of a RUN failed (I2).
    #[error("{diagnostic}")]
    Command {
        /// Where and which.
        diagnostic: Diagnostic,
        /// Its exit code; 128 + n for signal n.
        code: i32,
    },
    /// The build was stopped from outside.
    #[error("the build was cancelled")]
    Cancelled,
    /// The local store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The image could not be put together.
    #[error(transparent)]
    Image(#[from] ImageError),
}

/// What makes no sense.
pub(crate) fn invalid(diagnostic: Diagnostic) -> ExecutorError {
    ExecutorError::Invalid(vec![diagnostic])
}

fn first(diagnostics: &[Diagnostic]) -> String {
    diagnostics.first().map(ToString::to_string).unwrap_or_default()
}

impl ExecutorError {
    /// What to show, each with file, line and column where there is one.
    pub fn diagnostics(&self) -> Vec<Diagnostic> {
        match self {
            Self::Invalid(diagnostics) => diagnostics.clone(),
            Self::Failed(diagnostic) | Self::Command { diagnostic, .. } => vec![diagnostic.clone()],
            Self::Cancelled => vec![Diagnostic::error("cancelled", self.to_string())],
            Self::Store(error) => vec![Diagnostic::error("store", "the local store failed").caused_by(error)],
            Self::Image(error) => {
                vec![Diagnostic::error("image", "the image could not be put together").caused_by(error)]
            }
        }
    }
}

impl From<Diagnostic> for ExecutorError {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::Failed(diagnostic)
    }
}

/// Why a step could not be carried out; its place is added by who runs it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepError {
    #[error("{source_name:?}: not found{}", if *ignored { ", because the ignore file leaves it out" } else { "" })]
    NotFound { source_name: String, ignored: bool },
    #[error("{pattern:?} is not a pattern")]
    Pattern {
        pattern: String,
        #[source]
        cause: PackError,
    },
    #[error("the --exclude patterns make no sense: {0}")]
    Exclude(IgnorePatternError),
    #[error("cannot copy to non-directory: /{0}")]
    ToNonDirectory(String),
    #[error("cannot replace to directory /{0} with file")]
    ReplaceDirectory(String),
    #[error("mkdir /{0}: not a directory")]
    NotADirectory(String),
    #[error("/{0}: too many levels of symbolic links")]
    Circular(String),
    #[error("cannot {action}")]
    Io {
        action: String,
        #[source]
        cause: io::Error,
    },
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error(transparent)]
    Pack(#[from] PackError),
    #[error("cannot unpack {what}")]
    Extract {
        what: String,
        #[source]
        cause: ExtractError,
    },
    #[error("cannot read a layer of the image")]
    Index(#[source] FormatError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Layer(#[from] LayerError),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error(transparent)]
    Overlay(#[from] OverlayError),
    #[error(transparent)]
    User(#[from] UserError),
    #[error("{chown:?} is not an owner: {reason}")]
    Owner { chown: String, reason: String },
    #[error("{what} is not possible: {reason}")]
    Unsupported { what: String, reason: String },
    #[error("{what} is not allowed")]
    NotAllowed { what: String, entitlement: String },
    #[error("device {name} cannot be used: {reason}")]
    Device { name: String, reason: String },
    #[error("{file} does not describe devices: {why}")]
    Specification { file: String, why: String },
    #[error(
        "a command for {platform} cannot be run on this machine, which is {host}: no interpreter for {machine} is registered (binfmt_misc)"
    )]
    Foreign {
        platform: String,
        host: String,
        machine: String,
        #[source]
        cause: Option<Box<SandboxError>>,
    },
    #[error("secret {0}: not found")]
    Secret(String),
    #[error("ssh agent {0}: not forwarded")]
    Ssh(String),
    #[error(transparent)]
    Remote(#[from] RemoteError),
    #[error("{url}: expected the digest {expected}, but the content has {actual}")]
    Checksum {
        url: String,
        expected: String,
        actual: String,
    },
    #[error("process \"{command}\" did not complete successfully: {how}")]
    Command { command: String, how: String, code: i32 },
    #[error("{0}")]
    Origin(Box<Diagnostic>),
    #[error("the build was cancelled")]
    Cancelled,
    /// Another stage failed; its error is the one to show.
    #[error("a stage that this one needs failed")]
    Dependency,
}

impl StepError {
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |cause| Self::Io { action, cause }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "not-found",
            Self::Pattern { .. } | Self::Exclude(_) => "invalid-pattern",
            Self::ToNonDirectory(_)
            | Self::ReplaceDirectory(_)
            | Self::NotADirectory(_)
            | Self::Circular(_) => "invalid-destination",
            Self::Owner { .. } => "invalid-owner",
            Self::Unsupported { .. } => "unsupported",
            Self::NotAllowed { .. } => "not-allowed",
            Self::Foreign { .. } => "foreign-platform",
            Self::Secret(_) | Self::Ssh(_) => "missing-secret",
            Self::Remote(_) => "download-failed",
            Self::Checksum { .. } => "checksum-mismatch",
            Self::Command { .. } => "command-failed",
            Self::User(_) => "unknown-user",
            _ => "step-failed",
        }
    }

    /// The error of the build, at the place of the step.
    pub(crate) fn at(self, span: &lifecycle_diagnostics::Span) -> ExecutorError {
        let mut diagnostic = Diagnostic::error(self.code(), self.to_string()).at(span.clone());
        // Transparent errors say their own message; what lies below is the cause.
        if let Some(cause) = std::error::Error::source(&self) {
            diagnostic = diagnostic.caused_by(cause);
        }
        if let Some(help) = self.help() {
            diagnostic = diagnostic.help(help);
        }
        match self {
            Self::Origin(origin) => ExecutorError::Failed((*origin).at(span.clone())),
            Self::Cancelled | Self::Dependency => ExecutorError::Cancelled,
            Self::Command { code, .. } => ExecutorError::Command { diagnostic, code },
            _ => ExecutorError::Failed(diagnostic),
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::NotFound { ignored: true, .. } => {
                Some("bring it back with a line that begins with ! in the ignore file".to_owned())
            }
            Self::NotAllowed { entitlement, .. } => {
                Some(format!("allow it for this build with --allow {entitlement}"))
            }
            Self::Foreign { machine, .. } => Some(format!(
                "install qemu-{machine}-static (Debian: qemu-user-static), and on kernels before 6.7, or without user namespaces, \
                 register it with flag F (Debian: binfmt-support); or build on such a machine, or keep the instruction in a \
                 stage FROM --platform=$BUILDPLATFORM"
            )),
            Self::Secret(id) => Some(format!("give it with --secret id={id},src=FILE")),
            Self::Ssh(id) => Some(format!("give it with --ssh {id}")),
            Self::Owner { .. } => Some("use numbers, or copy to a stage that has this user".to_owned()),
            _ => None,
        }
    }
}
