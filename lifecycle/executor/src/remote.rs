//! What is fetched over a network, by somebody else.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::path::Path;

use lifecycle_dockerfile::GitReference;

/// Fetches what ADD names on the web and in git repositories. Whoever implements it holds credentials, proxies and
/// limits.
pub trait Remote: Send + Sync + fmt::Debug {
    /// Downloads `url` to `into`, an empty file. An answer other than 2xx is an error (H27).
    fn download(&self, url: &str, into: &mut File) -> Result<Download, RemoteError>;

    /// Checks out the files of `repository` into the empty directory `into`: submodules, subdirectory and `.git` as
    /// the reference says, modes 0644 and 0755 (H29).
    fn checkout(&self, repository: &GitReference, into: &Path) -> Result<Checkout, RemoteError>;
}

/// What is known about a download.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Download {
    /// The time of `Last-Modified` in seconds since the epoch, if the answer had one.
    pub last_modified: Option<i64>,
}

/// What was checked out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkout {
    /// The full commit.
    pub commit: String,
}

/// Nothing is fetched.
#[derive(Debug, Clone, Copy, Default)]
pub struct Offline;

/// Something could not be fetched.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct RemoteError {
    /// What failed. No credentials in it.
    pub message: String,
    /// Why.
    #[source]
    pub cause: Option<Box<dyn Error + Send + Sync>>,
}

impl RemoteError {
    /// An error without a failure below it.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            cause: None,
        }
    }
}

impl Remote for Offline {
    fn download(&self, url: &str, _: &mut File) -> Result<Download, RemoteError> {
        Err(RemoteError::new(format!(
            "cannot download {url}: this build is offline"
        )))
    }

    fn checkout(&self, repository: &GitReference, _: &Path) -> Result<Checkout, RemoteError> {
        let remote = &repository.remote;
        Err(RemoteError::new(format!(
            "cannot fetch {remote}: this build is offline"
        )))
    }
}
