//! What can go wrong on the way.

use std::io;
use std::path::{Path, PathBuf};

use lifecycle_image::{Digest, TransferError, TransferErrorKind};

/// Something could not be brought. No variant holds a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// The web did not give it, or did not take it.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// The bytes are not those that were asked for.
    #[error("{address} has other content than was asked for: expected {expected}, got {actual}")]
    Checksum {
        /// Where they came from.
        address: String,
        /// The digest that was asked for.
        expected: Digest,
        /// The digest of what came.
        actual: Digest,
    },
    /// A text is no address that can be used.
    #[error("{address} cannot be used as an address: {reason}")]
    Address {
        /// The text, without password.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An object store did not give it, or did not take it.
    #[error("cannot {what} {object}")]
    Store {
        /// What was attempted.
        what: &'static str,
        /// With which object.
        object: String,
        /// What the store said.
        #[source]
        cause: object_store::Error,
    },
    /// An object is larger than it may be.
    #[error("{object} is larger than {limit} bytes")]
    TooLarge {
        /// The object.
        object: String,
        /// The most bytes that it may have.
        limit: u64,
    },
    /// A store went silent.
    #[error("nothing came of {object} for {seconds} s")]
    Silent {
        /// The object.
        object: String,
        /// For how long.
        seconds: u64,
    },
    /// A repository needs a program that is not here.
    #[error("cannot fetch {repository} without the program git: {reason}; install git, {instead}")]
    NoGit {
        /// The repository.
        repository: String,
        /// What it is needed for.
        reason: String,
        /// What would do in its place.
        instead: &'static str,
    },
    /// The program git failed, or the library in its place.
    #[error("cannot fetch {repository}: {said}")]
    Git {
        /// The repository.
        repository: String,
        /// What git said about it.
        said: String,
    },
    /// A repository lacks what was asked for.
    #[error("{repository} has no {what}")]
    Missing {
        /// The repository.
        repository: String,
        /// What was asked for.
        what: String,
    },
    /// This machine did not do its part.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was attempted.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        cause: io::Error,
    },
}

impl RemoteError {
    /// Whether there is no such file, object or repository.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::Transfer(error) => error.kind == TransferErrorKind::NotFound,
            Self::Store { cause, .. } => matches!(cause, object_store::Error::NotFound { .. }),
            Self::Missing { .. } => true,
            _ => false,
        }
    }

    /// For `map_err`: what was attempted with which file.
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::Io { what, path, cause }
    }
}
