//! The command lines and variables of older tools: what they mean, as plain data, and one function that does it.
//!
//! These tools are called inside of a stack's image, so scripts run in place ([`crate::InPlace`]) and nothing needs root.

pub mod herokuish;
pub mod slugbuilder;
pub mod slugrunner;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::remote::sentence;
use crate::{HerokuError, Remote};

/// Where these tools keep config vars, one file for each.
const ENV_PATH: &str = "/tmp/env";
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

    /// One as a path, or what it is without it.
    fn path(&self, name: &str, default: &str) -> PathBuf {
        self.0
            .get(name)
            .map_or_else(|| PathBuf::from(default), PathBuf::from)
    }

    /// Refuses what only works with an object store.
    fn refuse_object_store(&self) -> Result<(), HerokuError> {
        match self.text("BUILDER_STORAGE") {
            Some(kind) => Err(HerokuError::ObjectStore {
                what: format!("BUILDER_STORAGE={kind}"),
            }),
            None => Ok(()),
        }
    }
}

/// Opens what a variable or an argument names: an http(s) URL, `file:`, or a path. Anything else with a scheme is an object
/// store's.
fn open(text: &str, remote: &dyn Remote) -> Result<Box<dyn Read + Send>, HerokuError> {
    let path = match text.split_once("://") {
        Some(("http" | "https", _)) => {
            return remote.open(text).map_err(|failure| HerokuError::Fetch {
                address: shown(text),
                reason: sentence(&failure),
            });
        }
        Some(("file", path)) => Path::new(path),
        Some(_) => return Err(HerokuError::ObjectStore { what: shown(text) }),
        None => Path::new(text),
    };
    Ok(Box::new(
        fs_err::File::open(path).map_err(HerokuError::io("open", path))?,
    ))
}

/// A directory that a variable names as a prefix. URLs cannot be written to.
fn prefix(name: &'static str, text: &str) -> Result<PathBuf, HerokuError> {
    match text.split_once("://") {
        Some(("file", path)) => Ok(PathBuf::from(path)),
        Some(("http" | "https", _)) => Err(HerokuError::Unsupported {
            what: format!("{name}={}", shown(text)),
            reason: "uploads by HTTP are not built yet; name a directory, and upload what is in it"
                .to_owned(),
        }),
        Some(_) => Err(HerokuError::ObjectStore {
            what: format!("{name}={}", shown(text)),
        }),
        None => Ok(PathBuf::from(text)),
    }
}

/// A URL without its query and user.
fn shown(url: &str) -> String {
    let url = url.split('?').next().unwrap_or_default();
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://***@{rest}"),
        _ => url.to_owned(),
    }
}

/// Arguments as text, for words that are names.
fn words(arguments: &[OsString]) -> Vec<&str> {
    arguments
        .iter()
        .map(|word| OsStr::to_str(word).unwrap_or("\u{fffd}"))
        .collect()
}
