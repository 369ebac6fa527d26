//! The command lines and variables of older tools: what they mean, as plain data, and one function that does it.
//!
//! These tools are called inside of a stack's image, so scripts run in place ([`crate::InPlace`]) and nothing needs root.

pub mod herokuish;
pub mod slugbuilder;
pub mod slugrunner;
pub mod storage;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::address::{OBJECT_STORES, redacted};
use crate::remote::sentence;
use crate::{Address, HerokuError, Remote};

/// Where these tools keep config vars, one file for each.
const ENV_PATH: &str = "/tmp/env";
/// Where the buildpacks of a stack's image are.
const BUILDPACK_PATH: &str = "/tmp/buildpacks";
/// `STACK` when nobody says another.
const DEFAULT_STACK: &str = "heroku-24";

/// The variables that a tool was started with. Empty ones are absent.
#[derive(Debug, Clone, Default)]
pub struct Variables(BTreeMap<String, OsString>);

impl Variables {
    /// Takes them as they are.
    pub fn new(pairs: impl IntoIterator<Item = (String, OsString)>) -> Self {
        Self(pairs.into_iter().filter(|(_, value)| !value.is_empty()).collect())
    }

    /// One as text.
    fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|value| value.to_string_lossy().into_owned())
    }

    /// What scripts of buildpacks may see: nothing that a tool uses for itself, credentials above all, and nothing that
    /// changes what they do behind their back (PIT-16). Config vars are files.
    fn of_scripts(&self) -> Vec<(String, String)> {
        const OWN: [&str; 12] = [
            "GIT_",
            "BUNDLE_",
            "NODE_",
            "npm_",
            "BUILDPACK_",
            "BUILDER_",
            "DEIS_",
            "AWS_",
            "S3_",
            "GOOGLE_",
            "AZURE_",
            "CNB_REGISTRY_",
        ];
        const PLACES: [&str; 5] = ["TAR_PATH", "PUT_PATH", "CACHE_PATH", "SLUG_URL", "SSH_KEY"];
        let is_own = |name: &str| PLACES.contains(&name) || OWN.iter().any(|prefix| name.starts_with(prefix));
        let seen = self.0.iter().filter(|(name, _)| !is_own(name));
        seen.map(|(name, value)| (name.clone(), value.to_string_lossy().into_owned()))
            .collect()
    }

    /// The buildpacks that the stack's image brings along, in the order of their names.
    fn installed(&self) -> Result<Vec<Address>, HerokuError> {
        let directory = self.path("BUILDPACK_PATH", BUILDPACK_PATH);
        let Ok(entries) = fs_err::read_dir(&directory) else {
            return Ok(Vec::new());
        };
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry.map_err(HerokuError::io("read", &directory))?.path();
            if path.is_dir() {
                paths.push(path);
            }
        }
        paths.sort();
        paths
            .iter()
            .map(|path| Address::parse(&path.to_string_lossy(), Path::new("/")))
            .collect()
    }

    /// One as a path, or what it is without it.
    pub fn path(&self, name: &str, default: &str) -> PathBuf {
        self.0
            .get(name)
            .map_or_else(|| PathBuf::from(default), PathBuf::from)
    }
}

/// Where something is or goes, as a variable or an argument names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A path of this machine.
    Path(PathBuf),
    /// An `http` or `https` URL, or an object of a store.
    Address(String),
}

impl Location {
    /// Reads a URL, `file:`, or a path.
    fn parse(name: &str, text: &str) -> Result<Self, HerokuError> {
        match text.split_once("://") {
            Some(("file", path)) => Ok(Self::Path(PathBuf::from(path))),
            Some((scheme, _)) if matches!(scheme, "http" | "https") || OBJECT_STORES.contains(&scheme) => {
                Ok(Self::Address(text.to_owned()))
            }
            Some((scheme, _)) => Err(HerokuError::Unsupported {
                what: format!("{name}={}", redacted(text)),
                reason: format!("nobody here speaks `{scheme}`; use http, https, file, s3, gs or az"),
            }),
            None => Ok(Self::Path(PathBuf::from(text))),
        }
    }

    /// One below it. A query, which may be a signature, stays behind the name.
    fn join(&self, name: &str) -> Self {
        match self {
            Self::Path(path) => Self::Path(path.join(name)),
            Self::Address(address) => {
                let (path, query) = match address.split_once('?') {
                    Some((path, query)) => (path, format!("?{query}")),
                    None => (address.as_str(), String::new()),
                };
                Self::Address(format!("{}/{name}{query}", path.trim_end_matches('/')))
            }
        }
    }

    /// Its bytes; nothing if there is no such file.
    fn open(&self, remote: &dyn Remote) -> Result<Option<Box<dyn Read + Send>>, HerokuError> {
        match self {
            Self::Path(path) => match fs_err::File::open(path) {
                Ok(file) => Ok(Some(Box::new(file))),
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                    ) =>
                {
                    Ok(None)
                }
                Err(error) => Err(HerokuError::io("open", path)(error)),
            },
            Self::Address(address) => remote.open(address).map_err(|failure| HerokuError::Fetch {
                address: redacted(address),
                reason: sentence(&failure),
            }),
        }
    }

    /// Its bytes, which have to be there.
    fn read(&self, remote: &dyn Remote) -> Result<Box<dyn Read + Send>, HerokuError> {
        self.open(remote)?.ok_or_else(|| HerokuError::Fetch {
            address: self.to_string(),
            reason: "there is no such file".to_owned(),
        })
    }

    /// Puts a file there, so that it appears whole.
    fn put(&self, from: &Path, remote: &dyn Remote) -> Result<(), HerokuError> {
        match self {
            Self::Path(path) => {
                let parent = path.parent().unwrap_or(Path::new("."));
                let mut next = path.as_os_str().to_owned();
                next.push(".next");
                fs_err::create_dir_all(parent)
                    .and_then(|()| fs_err::copy(from, &next))
                    .and_then(|_| fs_err::rename(&next, path))
                    .map_err(HerokuError::io("write", path))
            }
            Self::Address(address) => {
                let file = std::fs::File::open(from).map_err(HerokuError::io("open", from))?;
                remote.put(&file, address).map_err(|failure| HerokuError::Send {
                    address: redacted(address),
                    reason: sentence(&failure),
                })
            }
        }
    }
}

/// Without a password and a signature.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Address(address) => f.write_str(&redacted(address)),
        }
    }
}

/// Arguments as text, for words that are names.
fn words(arguments: &[OsString]) -> Vec<&str> {
    arguments
        .iter()
        .map(|word| OsStr::to_str(word).unwrap_or("\u{fffd}"))
        .collect()
}
