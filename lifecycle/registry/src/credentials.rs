//! Who we are, by registry.
//!
//! A [`Keychain`] asks its sources in the order they were added: the JSON map of `CNB_REGISTRY_AUTH` (AUTH-01), then
//! the configuration files of docker and podman (AUTH-02). Whoever has something for a repository wins; nobody
//! having anything means anonymous (AUTH-03). Files are read when they are added, so that they may be out of reach
//! later, when privileges are gone (AUTH-04).

mod auth_file;
mod auth_map;
mod cloud;
mod helper;
mod key;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use self::cloud::Cloud;

use self::auth_file::AuthFile;
use self::helper::Helpers;
use self::key::{Scope, normalize};
use crate::Secret;

/// What proves to a registry who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// A name and a password.
    Basic {
        /// The name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// A token that the registry's token server takes for a shorter-lived one (OAuth2 refresh token).
    IdentityToken(Secret),
    /// A token that is sent to the registry as it is.
    RegistryToken(Secret),
}

impl Credential {
    /// The secret in it, which must not come up in a message.
    pub(crate) fn secret(&self) -> &Secret {
        match self {
            Self::Basic { password, .. } => password,
            Self::IdentityToken(token) | Self::RegistryToken(token) => token,
        }
    }
}

/// Credentials for any number of registries.
#[derive(Debug, Clone, Default)]
pub struct Keychain {
    sources: Vec<Source>,
    helpers: Helpers,
}

#[derive(Debug, Clone)]
enum Source {
    Map {
        name: String,
        entries: BTreeMap<String, Credential>,
    },
    File(AuthFile),
    Rule {
        name: String,
        rule: Rule,
    },
    Cloud(Cloud),
}

type ByHost = dyn Fn(&str) -> Option<Credential> + Send + Sync;

/// Says what there is for a host.
#[derive(Clone)]
struct Rule(Arc<ByHost>);

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rule(…)")
    }
}

/// Credentials were given in a form that cannot be used. Values are not shown: they may be secrets.
#[derive(Debug, thiserror::Error)]
pub enum KeychainError {
    /// The file is there and cannot be read (KB-09).
    #[error("cannot read the credentials in {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        cause: io::Error,
    },
    /// The text is not what it should be.
    #[error("cannot use the credentials in {name}: {reason}")]
    Invalid {
        /// Where the text came from.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

impl KeychainError {
    fn invalid(name: &str, reason: impl Into<String>) -> Self {
        Self::Invalid {
            name: name.to_owned(),
            reason: reason.into(),
        }
    }

    /// A JSON error without the value that it was about.
    fn json(name: &str, error: &serde_json::Error) -> Self {
        let what = match error.classify() {
            serde_json::error::Category::Data => "a value has the wrong type",
            _ => "it is not valid JSON",
        };
        let (line, column) = (error.line(), error.column());
        Self::invalid(name, format!("{what} at line {line}, column {column}"))
    }
}

/// What a keychain has for a repository.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    /// The credential; nothing means anonymous.
    pub(crate) credential: Option<Credential>,
    /// Where it came from.
    pub(crate) source: String,
    /// What went wrong on the way to it, which explains a refusal later.
    pub(crate) notes: Vec<String>,
}

impl Keychain {
    /// Adds the JSON object of `CNB_REGISTRY_AUTH`: registry → value of an `Authorization` header (`Basic`,
    /// `Bearer` or `X-Identity`). Scheme and path of a key are optional; `name` is for messages.
    pub fn with_map(mut self, name: &str, json: &str) -> Result<Self, KeychainError> {
        let entries = auth_map::parse(name, json)?;
        let name = name.to_owned();
        self.sources.push(Source::Map { name, entries });
        Ok(self)
    }

    /// Adds the text of a docker `config.json` or podman `auth.json`; `name` is for messages.
    pub fn with_file_text(mut self, name: &str, json: &str) -> Result<Self, KeychainError> {
        self.sources.push(Source::File(AuthFile::parse(name, json)?));
        Ok(self)
    }

    /// Adds a docker `config.json` or podman `auth.json`. A file that is not there adds nothing.
    pub fn with_file(self, path: &Path) -> Result<Self, KeychainError> {
        match fs_err::read_to_string(path) {
            Ok(text) => self.with_file_text(&path.display().to_string(), &text),
            Err(cause)
                if matches!(
                    cause.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(self)
            }
            Err(cause) => Err(KeychainError::Unreadable {
                path: path.to_owned(),
                cause,
            }),
        }
    }

    /// Adds one credential for `registry`: a host, or a host and a path.
    #[must_use]
    pub fn with_credential(mut self, name: &str, registry: &str, credential: Credential) -> Self {
        self.sources.push(Source::Map {
            name: name.to_owned(),
            entries: BTreeMap::from([(normalize(registry), credential)]),
        });
        self
    }

    /// Adds what a function knows for a registry's host (with its port, if it has one).
    #[must_use]
    pub fn with_rule(
        mut self,
        name: &str,
        rule: impl Fn(&str) -> Option<Credential> + Send + Sync + 'static,
    ) -> Self {
        self.sources.push(Source::Rule {
            name: name.to_owned(),
            rule: Rule(Arc::new(rule)),
        });
        self
    }

    /// Adds the credential helper of a cloud for this cloud's registries, which no file has to name. Where the helper is
    /// not installed this adds nothing.
    #[must_use]
    pub fn with_cloud(mut self, cloud: Cloud) -> Self {
        self.sources.push(Source::Cloud(cloud));
        self
    }

    /// Says where `docker-credential-*` programs are looked for, and how long one may take. Relative directories
    /// are passed over: what they mean changes with the working directory.
    #[must_use]
    pub fn with_helpers(mut self, directories: Vec<PathBuf>, timeout: Duration) -> Self {
        self.helpers = Helpers { directories, timeout };
        self
    }

    /// The credential for a repository, `path` of `host`. Helper programs are run here; this may take a while.
    pub(crate) fn find(&self, host: &str, path: &str) -> Found {
        let scope = Scope::new(host, path);
        let mut notes = Vec::new();
        for source in &self.sources {
            let (name, credential) = match source {
                Source::Map { name, entries } => (name.as_str(), find_in_map(entries, &scope)),
                Source::File(file) => (file.name.as_str(), file.find(&scope, &self.helpers, &mut notes)),
                Source::Rule { name, rule } => (name.as_str(), rule.0(host)),
                Source::Cloud(cloud) => (cloud.helper(), cloud.find(host, &self.helpers, &mut notes)),
            };
            if let Some(credential) = credential {
                return Found {
                    credential: Some(credential),
                    source: name.to_owned(),
                    notes,
                };
            }
        }
        Found {
            notes,
            ..Found::default()
        }
    }
}

/// The longest key that is a prefix. The reference lifecycle drops the path of a key, so a host that is known
/// only by keys with other paths is served too.
fn find_in_map(entries: &BTreeMap<String, Credential>, scope: &Scope) -> Option<Credential> {
    let by_prefix = scope.candidates().find_map(|key| entries.get(key));
    let by_host = || {
        let same_host = |(key, _): &(&String, &Credential)| key.split('/').next() == Some(scope.host());
        entries.iter().find(same_host).map(|(_, credential)| credential)
    };
    by_prefix.or_else(by_host).cloned()
}

#[cfg(test)]
mod tests;
