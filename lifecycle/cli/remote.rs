//! What lies elsewhere, for whoever builds: the web and git repositories behind the traits of the libraries.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use lifecycle_dockerfile::GitReference;
use lifecycle_executor::{Checkout, Download, RemoteError};
use lifecycle_heroku::RemoteFailure;
use lifecycle_registry::{Secret, Web};
use lifecycle_remote::{GitAuthorization, GitSettings, Object, Remote, Repository, StoreSettings};
use url::Url;

use crate::environment::Environment;
#[cfg(feature = "kubernetes")]
use crate::failure::Failure;

/// The user that servers take together with a token.
const TOKEN_USER: &str = "x-access-token";

/// All that lies elsewhere: the web with the settings of registries, repositories as git is set up, and stores as the
/// environment says, in the words of their own tools.
pub(crate) fn everything(web: Web, environment: &Environment) -> Remote {
    Remote::new(web, GitSettings::default(), stores(environment))
}

/// What a store's tools know a variable of theirs by.
const PREFIXES: [&str; 4] = ["AWS_", "S3_", "GOOGLE_", "AZURE_"];

/// The same as variables for another machine, where files of this one are not.
#[cfg(feature = "kubernetes")]
pub(crate) fn store_variables(environment: &Environment) -> Result<BTreeMap<String, String>, Failure> {
    /// Files with the key of an account, which can be a variable as well.
    const KEYS: [&str; 3] = [
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GOOGLE_SERVICE_ACCOUNT",
        "GOOGLE_SERVICE_ACCOUNT_PATH",
    ];
    let settings = stores(environment);
    let has = |wanted: &str| settings.variables.iter().any(|(name, _)| name == wanted);
    if settings.profile.is_some() && has("AWS_PROFILE") && !has("AWS_ACCESS_KEY_ID") {
        return Err(Failure::new(
            "source",
            "a profile of AWS is in a file of this machine, which the pod does not have",
        )
        .help("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"));
    }
    let mut variables = BTreeMap::new();
    for (name, value) in &settings.variables {
        if KEYS.contains(&name.as_str()) {
            let key = fs_err::read_to_string(value.reveal())?;
            variables.insert("GOOGLE_SERVICE_ACCOUNT_KEY".to_owned(), key);
        } else if !name.ends_with("_FILE") && name != "AWS_PROFILE" {
            variables.insert(name.clone(), value.reveal().to_owned());
        }
    }
    Ok(variables)
}

fn stores(environment: &Environment) -> StoreSettings {
    let named = environment.all().filter_map(|(name, value)| {
        let (name, value) = (name.to_str()?, value.to_str()?);
        let is_ours = PREFIXES.iter().any(|prefix| name.starts_with(prefix)) && !value.is_empty();
        is_ours.then(|| (name.to_owned(), Secret::new(value)))
    });
    let file = environment
        .path("AWS_SHARED_CREDENTIALS_FILE")
        .or_else(|| Some(environment.home()?.join(".aws/credentials")));
    // A file that cannot be read is as good as none: the store will say what is missing.
    let text = file.and_then(|file| fs_err::read_to_string(file).ok());
    let profile = environment.text("AWS_PROFILE").unwrap_or("default").to_owned();
    StoreSettings {
        variables: named.collect(),
        profile: text.map(|text| (Secret::new(text), profile)),
    }
}

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
    fn open(&self, address: &str) -> Result<Option<Box<dyn Read + Send>>, RemoteFailure> {
        let mut into = tempfile::tempfile_in(&self.scratch)?;
        let brought = match Object::parse(address) {
            Some(object) => self.remote.get(&object?, u64::MAX, &mut into),
            None => self
                .remote
                .download(&lifecycle_remote::File::parse(address)?, &mut into),
        };
        match brought {
            Ok(_) => Ok(Some(Box::new(into))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn put(&self, from: &File, address: &str) -> Result<(), RemoteFailure> {
        match Object::parse(address) {
            Some(object) => self.remote.put(from, &object?)?,
            None => self
                .remote
                .upload(from, &lifecycle_remote::File::parse(address)?)?,
        }
        Ok(())
    }

    fn check_out(
        &self,
        url: &str,
        reference: Option<&str>,
        ssh_key: Option<&Path>,
        into: &Path,
    ) -> Result<(), RemoteFailure> {
        let git = GitSettings {
            ssh_key: ssh_key.map(Path::to_owned),
            ..self.remote.git().clone()
        };
        let repository = Repository {
            keep_git_directory: true,
            // The same commit gives the same slug.
            commit_time: true,
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
            &Remote::new(registry.web(), GitSettings::default(), StoreSettings::default()),
            &secrets.collect(),
            None,
        )
    }

    #[test]
    fn stores_are_set_up_by_the_variables_of_their_own_tools_sb_06() {
        let home = tempfile::tempdir().unwrap();
        fs_err::create_dir(home.path().join(".aws")).unwrap();
        fs_err::write(
            home.path().join(".aws/credentials"),
            "[p]\naws_access_key_id = x\n",
        )
        .unwrap();
        let settings = stores(&Environment::from_pairs(&[
            ("AWS_REGION", "r"),
            ("S3_ENDPOINT", "http://h"),
            ("PATH", "/bin"),
            ("AZURE_X", ""),
            ("AWS_PROFILE", "p"),
            ("HOME", home.path().to_str().unwrap()),
        ]));
        let names: Vec<&str> = settings.variables.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["AWS_REGION", "S3_ENDPOINT", "AWS_PROFILE"]);
        let (text, profile) = settings.profile.unwrap();
        assert!(text.reveal().starts_with("[p]") && profile == "p");
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
