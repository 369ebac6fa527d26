//! What lies elsewhere, for whoever builds: the web and git repositories behind the traits of the libraries.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use lifecycle_dockerfile::GitReference;
use lifecycle_executor::{Checkout, Download, RemoteError};
use lifecycle_registry::Secret;
use lifecycle_remote::{GitAuthorization, GitSettings, Remote, Repository};
use url::Url;

/// The user that servers take together with a token.
const TOKEN_USER: &str = "x-access-token";

/// What a Dockerfile names. Nobody else's credentials are used for it than those that the build was given as secrets (H30):
/// whoever wrote the Dockerfile chose the address.
#[derive(Debug)]
pub(crate) struct Named {
    remote: Remote,
    secrets: BTreeMap<String, lifecycle_executor::Secret>,
}

impl Named {
    pub(crate) fn new(
        remote: &Remote,
        secrets: &BTreeMap<String, lifecycle_executor::Secret>,
        agent: Option<PathBuf>,
    ) -> Self {
        let git = GitSettings {
            local: false,
            ssh_agent: agent,
            ..remote.git().clone()
        };
        Self {
            remote: remote.clone().with_git(git),
            secrets: secrets.clone(),
        }
    }

    /// The secret `name` with one of these endings, the first that there is.
    fn secret(&self, name: &str, separator: &str, hosts: &[String]) -> Option<String> {
        let names = hosts.iter().map(|host| format!("{name}{separator}{host}"));
        let value = names.into_iter().find_map(|name| self.secrets.get(&name))?;
        Some(String::from_utf8_lossy(value.value()).trim_end().to_owned())
    }

    fn authorization(&self, url: &Url) -> Option<Secret> {
        let hosts = hosts(url.host_str()?, url.port());
        let header = self.secret("HTTP_AUTH_HEADER", "_", &hosts);
        let token = || Some(format!("Bearer {}", self.secret("HTTP_AUTH_TOKEN", "_", &hosts)?));
        header.or_else(token).map(Secret::new)
    }

    fn git_authorization(&self, address: &str) -> Option<GitAuthorization> {
        let url = Url::parse(address).ok()?;
        let hosts = hosts(url.host_str()?, url.port());
        let find = |name| {
            let general = || self.secret(name, "", &[String::new()]);
            self.secret(name, ".", &hosts).or_else(general)
        };
        let header = find("GIT_AUTH_HEADER").map(|header| GitAuthorization::Header(Secret::new(header)));
        header.or_else(|| find("GIT_AUTH_TOKEN").map(token))
    }
}

/// A token for git servers that take one in place of a password.
fn token(token: String) -> GitAuthorization {
    GitAuthorization::Basic {
        username: TOKEN_USER.to_owned(),
        password: Secret::new(token),
    }
}

/// `host:port`, then `host`.
fn hosts(host: &str, port: Option<u16>) -> Vec<String> {
    let with_port = port.map(|port| format!("{host}:{port}"));
    with_port.into_iter().chain([host.to_owned()]).collect()
}

impl lifecycle_executor::Remote for Named {
    fn download(&self, url: &str, into: &mut File) -> Result<Download, RemoteError> {
        let file = lifecycle_remote::File::parse(url).map_err(failed)?;
        let file = lifecycle_remote::File {
            authorization: self.authorization(&file.url),
            ..file
        };
        let download = self.remote.download(&file, into).map_err(failed)?;
        Ok(Download {
            last_modified: download.last_modified,
        })
    }

    fn checkout(&self, git: &GitReference, into: &Path) -> Result<Checkout, RemoteError> {
        let commit = git.checksum.clone().filter(|_| git.fetch_by_commit);
        let repository = Repository {
            subdirectory: git.subdirectory.clone(),
            submodules: git.submodules.unwrap_or(true),
            keep_git_directory: git.keep_git_dir.unwrap_or(false),
            commit_time: git.commit_time,
            authorization: self.git_authorization(&git.remote),
            ..Repository::new(&git.remote).at(commit.or_else(|| git.reference.clone()))
        };
        let checkout = self.remote.check_out(&repository, into).map_err(failed)?;
        Ok(Checkout {
            commit: checkout.commit,
        })
    }
}

fn failed(error: lifecycle_remote::RemoteError) -> RemoteError {
    RemoteError {
        message: error.to_string(),
        cause: error.source().map(|cause| crate::failure::sentence(cause).into()),
    }
}

/// What classic buildpacks, slugs and sources lie behind: the user's own addresses.
#[derive(Debug)]
pub(crate) struct Elsewhere {
    remote: Remote,
    /// Where downloads are kept while they are read.
    scratch: PathBuf,
}

impl Elsewhere {
    pub(crate) fn new(remote: &Remote, scratch: &Path) -> Self {
        let git = GitSettings {
            local: true,
            ..remote.git().clone()
        };
        Self {
            remote: remote.clone().with_git(git),
            scratch: scratch.to_owned(),
        }
    }
}

impl lifecycle_heroku::Remote for Elsewhere {
    fn open(&self, address: &str) -> Result<Box<dyn Read + Send>, Box<dyn Error + Send + Sync>> {
        let mut into = tempfile::tempfile_in(&self.scratch)?;
        let file = lifecycle_remote::File::parse(address)?;
        self.remote.download(&file, &mut into)?;
        Ok(Box::new(into))
    }

    fn put(&self, from: &File, address: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
        let file = lifecycle_remote::File::parse(address)?;
        Ok(self.remote.upload(from, &file)?)
    }

    fn check_out(
        &self,
        url: &str,
        reference: Option<&str>,
        ssh_key: Option<&Path>,
        into: &Path,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let git = GitSettings {
            ssh_key: ssh_key.map(Path::to_owned),
            ..self.remote.git().clone()
        };
        let repository = Repository {
            keep_git_directory: true,
            ..Repository::new(url).at(reference)
        };
        self.remote.clone().with_git(git).check_out(&repository, into)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(secrets: &[(&str, &str)]) -> Named {
        let registry = lifecycle_registry::Registry::new(lifecycle_registry::Settings::default()).unwrap();
        let secrets = secrets.iter().map(|(name, value)| {
            (
                (*name).to_owned(),
                lifecycle_executor::Secret::new(*value).unwrap(),
            )
        });
        Named::new(
            &Remote::new(registry.web(), GitSettings::default()),
            &secrets.collect(),
            None,
        )
    }

    #[test]
    fn secrets_are_for_their_host_h30() {
        let named = named(&[
            ("HTTP_AUTH_HEADER_a.test:8080", "Basic x"),
            ("HTTP_AUTH_TOKEN_a.test", "token"),
            ("GIT_AUTH_TOKEN", "general"),
            ("GIT_AUTH_HEADER.a.test", "basic own\n"),
        ]);
        let authorization = |url: &str| {
            let secret = named.authorization(&url.parse().unwrap());
            secret.map(|secret| secret.reveal().to_owned())
        };
        assert_eq!(authorization("http://a.test:8080/x").as_deref(), Some("Basic x"));
        assert_eq!(authorization("https://a.test/x").as_deref(), Some("Bearer token"));
        assert_eq!(authorization("https://evil.test/a.test"), None);
        let git = |url: &str| named.git_authorization(url);
        let own = GitAuthorization::Header(Secret::new("basic own"));
        assert_eq!(git("https://a.test/r.git"), Some(own));
        assert_eq!(git("https://b.test/r.git"), Some(token("general".to_owned())));
    }
}
