//! What can go wrong on the way.

use std::io;
use std::path::{Path, PathBuf};

use lifecycle_image::{Digest, TransferError};

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
    /// Repositories need a program that is not here.
    #[error("the program git is needed to fetch {repository}, but there is none")]
    NoGit {
        /// The repository.
        repository: String,
    },
    /// The program git failed.
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
    /// For `map_err`: what was attempted with which file.
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::Io { what, path, cause }
    }
}
