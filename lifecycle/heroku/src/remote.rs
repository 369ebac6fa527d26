//! What lies elsewhere, fetched by somebody else.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Why something could not be fetched. No password in it.
pub type RemoteFailure = Box<dyn Error + Send + Sync>;

/// Fetches what is behind addresses, and puts things there. Whoever implements it holds credentials, proxies and limits.
pub trait Remote: Sync + fmt::Debug {
    /// The bytes behind the URL of a file.
    fn open(&self, address: &str) -> Result<Box<dyn Read + Send>, RemoteFailure>;

    /// Puts a file, all of it, behind a URL.
    fn put(&self, from: &File, address: &str) -> Result<(), RemoteFailure>;

    /// Checks out a repository with its submodules and `.git` into an empty directory, at a branch, a tag or a commit
    /// (MP-04). `ssh_key` is a private key file for it.
    fn check_out(
        &self,
        url: &str,
        reference: Option<&str>,
        ssh_key: Option<&Path>,
        into: &Path,
    ) -> Result<(), RemoteFailure>;
}

/// A failure and its causes in one sentence.
pub(crate) fn sentence(failure: &RemoteFailure) -> String {
    let mut text = failure.to_string();
    let mut next = failure.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}
