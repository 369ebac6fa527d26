//! What can go wrong in a store.

use std::io;
use std::path::{Path, PathBuf};

use lifecycle_image::{Digest, ImageError, LayerError, TransferError, TransferErrorKind};
use lifecycle_layers::ExtractError;

/// The store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A file or directory could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as in `read`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why it failed.
        #[source]
        cause: io::Error,
    },
    /// The disk is full, or the user's quota is used up. Nothing half-written has a name.
    #[error(
        "no space left for {}; free some, or remove what the store no longer needs with `lifecycle cache prune`",
        path.display()
    )]
    NoSpace {
        /// The file that did not fit.
        path: PathBuf,
        /// The system's error.
        #[source]
        cause: io::Error,
    },
    /// The directory holds something else.
    #[error("{} is neither empty nor a store; choose another directory", path.display())]
    NotAStore {
        /// The directory.
        path: PathBuf,
    },
    /// Another version of this program made the store.
    #[error(
        "the store {} has version {found:?}, this program reads version {expected}; use another directory or remove it",
        path.display()
    )]
    Version {
        /// The store's directory.
        path: PathBuf,
        /// What its version file says.
        found: String,
        /// The version this program reads and writes.
        expected: u32,
    },
    /// The directory belongs to somebody else, who could change what we believe to be verified.
    #[error(
        "the store {} belongs to user {owner}, but this runs as user {user}; choose a directory of your own",
        path.display()
    )]
    Owner {
        /// The store's directory.
        path: PathBuf,
        /// The number of the user it belongs to.
        owner: u32,
        /// The number of the user who wants to use it.
        user: u32,
    },
    /// A file of the store does not say what it should. `verify` names all of them.
    #[error("{} is damaged: {reason}; remove damage with `lifecycle cache verify`", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// There is no image of this name.
    #[error("the store has no image {name}")]
    NoImage {
        /// The name that was asked for.
        name: String,
    },
    /// A layer could not be read or made.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A layer could not be extracted.
    #[error("cannot extract the layer {digest}")]
    Extract {
        /// The digest of its stored bytes.
        digest: Digest,
        /// Why.
        #[source]
        cause: ExtractError,
    },
    /// An image's documents do not fit together.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// An image in the store could not be read.
    #[error(transparent)]
    Transfer(#[from] TransferError),
}

impl StoreError {
    pub(crate) fn io(action: &'static str, path: &Path, cause: io::Error) -> Self {
        let path = path.to_owned();
        if is_full(&cause) {
            Self::NoSpace { path, cause }
        } else {
            Self::Io { action, path, cause }
        }
    }

    /// A layer that does not unpack to `path`; a full disk is told apart.
    pub(crate) fn extract(digest: &Digest, path: &Path, cause: ExtractError) -> Self {
        match cause {
            ExtractError::Io { cause, .. } if is_full(&cause) => Self::io("write", path, cause),
            cause => Self::Extract {
                digest: digest.clone(),
                cause,
            },
        }
    }

    /// The same error where an [`io::Error`] is wanted, without losing its kind.
    pub(crate) fn into_io(self) -> io::Error {
        let kind = match &self {
            Self::Io { cause, .. } | Self::NoSpace { cause, .. } => cause.kind(),
            Self::Damaged { .. } => io::ErrorKind::InvalidData,
            Self::NoImage { .. } => io::ErrorKind::NotFound,
            Self::Layer(error) => error.cause.kind(),
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, self)
    }
}

fn is_full(cause: &io::Error) -> bool {
    matches!(
        cause.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

impl From<StoreError> for TransferError {
    fn from(error: StoreError) -> Self {
        let kind = match error {
            StoreError::Layer(error) => return error.into(),
            StoreError::Image(error) => return error.into(),
            StoreError::Transfer(error) => return error,
            StoreError::NoImage { .. } => TransferErrorKind::NotFound,
            StoreError::Damaged { .. } | StoreError::Extract { .. } => TransferErrorKind::Corrupt,
            _ => TransferErrorKind::Local,
        };
        Self::caused(kind, "the local store failed", error)
    }
}
