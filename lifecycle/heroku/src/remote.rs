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
    /// The bytes of a file on the web or an object of a store; nothing if there is none.
    fn open(&self, address: &str) -> Result<Option<Box<dyn Read + Send>>, RemoteFailure>;

    /// Puts a file, all of it, where the address says: by PUT, or into a store.
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

/// What is behind an address that has to be there.
pub(crate) fn open(remote: &dyn Remote, address: &str) -> Result<Box<dyn Read + Send>, String> {
    match remote.open(address) {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err("there is nothing at that address".to_owned()),
        Err(failure) => Err(sentence(&failure)),
    }
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
