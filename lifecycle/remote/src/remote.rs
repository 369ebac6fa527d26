//! The one who brings.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use lifecycle_image::Digest;
use lifecycle_registry::{Secret, Web, WebFile};
use url::Url;

use crate::checkout::Order;
use crate::{GitSettings, Object, RemoteError, Repository, StoreSettings};

/// Brings what lies elsewhere.
#[derive(Debug, Clone)]
pub struct Remote {
    web: Web,
    git: GitSettings,
    stores: StoreSettings,
}

/// A file on the web.
#[derive(Debug, Clone)]
pub struct File {
    /// Its address; a user and a password in it are sent and never shown.
    pub url: Url,
    /// The `Authorization` header, for the address's origin alone.
    pub authorization: Option<Secret>,
    /// It is an error if there are more bytes than this.
    pub limit: u64,
    /// What its bytes have to be.
    pub checksum: Option<Digest>,
}

impl File {
    /// Reads an `http` or `https` address.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, RemoteError> {
        let fault = |reason: String| RemoteError::Address {
            address: crate::repository::shown(text),
            reason,
        };
        let url = Url::parse(text).map_err(|error| fault(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(fault("it is neither http nor https".to_owned()));
        }
        Ok(Self {
            url,
            authorization: None,
            limit: u64::MAX,
            checksum: None,
        })
    }
}

/// What is known of a file that was brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Download {
    /// Its size in bytes.
    pub size: u64,
    /// `Last-Modified` in seconds since 1970, if it was given.
    pub last_modified: Option<i64>,
}

/// What is known of files that were checked out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkout {
    /// The full commit.
    pub commit: String,
    /// When the commit was made, in seconds since 1970.
    pub time: i64,
}

impl Remote {
    /// One who brings from the web, from repositories as `git` says, and from stores as `stores` says.
    pub fn new(web: Web, git: GitSettings, stores: StoreSettings) -> Self {
        Self { web, git, stores }
    }

    /// The same with other settings for repositories.
    #[must_use]
    pub fn with_git(self, git: GitSettings) -> Self {
        Self { git, ..self }
    }

    /// How repositories are fetched.
    pub fn git(&self) -> &GitSettings {
        &self.git
    }

    /// Brings a file into `into`, whose content is replaced, and leaves that at its beginning.
    ///
    /// # Errors
    /// When it cannot be had whole, is larger than its limit, or is not what its checksum says.
    pub fn download(&self, file: &File, into: &mut fs::File) -> Result<Download, RemoteError> {
        let wanted = WebFile {
            url: &file.url,
            authorization: file.authorization.as_ref(),
            limit: file.limit,
        };
        let received = self.web.get(&wanted, into)?;
        if let Some(expected) = &file.checksum {
            let actual = hash(expected, into).map_err(RemoteError::io("read", Path::new("the download")))?;
            if actual != *expected {
                return Err(RemoteError::Checksum {
                    address: crate::repository::shown(file.url.as_str()),
                    expected: expected.clone(),
                    actual,
                });
            }
        }
        into.seek(SeekFrom::Start(0))
            .map_err(RemoteError::io("read", Path::new("the download")))?;
        Ok(Download {
            size: received.size,
            last_modified: received.last_modified,
        })
    }

    /// Sends all of `from` to an address, by PUT.
    ///
    /// # Errors
    /// When the server does not take it.
    pub fn upload(&self, from: &fs::File, to: &File) -> Result<(), RemoteError> {
        let wanted = WebFile {
            url: &to.url,
            authorization: to.authorization.as_ref(),
            limit: to.limit,
        };
        Ok(self.web.put(&wanted, from)?)
    }

    /// Brings an object into `into`, whose content is replaced, and leaves that at its beginning.
    ///
    /// # Errors
    /// When there is none, it cannot be had whole, or it is larger than `limit`.
    pub fn get(&self, object: &Object, limit: u64, into: &mut fs::File) -> Result<Download, RemoteError> {
        object.get(&self.web, &self.stores, limit, into)
    }

    /// Puts all of `from` into a store; in parts when it is large.
    ///
    /// # Errors
    /// When the store does not take it.
    pub fn put(&self, from: &fs::File, object: &Object) -> Result<(), RemoteError> {
        object.put(&self.web, &self.stores, from)
    }

    /// Brings the files of a repository into the empty directory `into`: its submodules and its subdirectory as it says,
    /// with the modes 0644 and 0755 (H29).
    ///
    /// # Errors
    /// When git cannot, or the repository lacks what is asked for.
    pub fn check_out(&self, repository: &Repository, into: &Path) -> Result<Checkout, RemoteError> {
        Order::new(&self.git, repository)?.carry_out(&self.web, into)
    }
}

fn hash(expected: &Digest, file: &mut fs::File) -> io::Result<Digest> {
    file.seek(SeekFrom::Start(0))?;
    let mut hasher = expected.hasher();
    let mut block = vec![0; 256 * 1024];
    loop {
        match file.read(&mut block)? {
            0 => return Ok(hasher.finish()),
            length => hasher.update(&block[..length]),
        }
    }
}
