//! How registries are spoken to: what the command line and the environment say, as settings.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lifecycle_registry::{
    Keychain, KeychainError, Mirrors, Pem, Proxies, Retry, Roots, Secret, Settings, Trust, TrustRule,
};

use crate::arguments::RegistryArguments;
use crate::environment::Environment;

/// How long a `docker-credential-*` program may take.
const HELPER_TIMEOUT: Duration = Duration::from_secs(30);

/// The settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistrySettingsError {
    /// The variable with credentials cannot be used. Platforms know the text (lifecycle.md 1.10).
    #[error("failed to parse {AUTH_MAP} value")]
    Map(#[source] KeychainError),
    /// A file with credentials cannot be used.
    #[error(transparent)]
    Keychain(#[from] KeychainError),
    /// A certificate cannot be read.
    #[error("cannot read the certificates in {}, which {named_by} names", path.display())]
    Certificates {
        /// The file or directory.
        path: PathBuf,
        /// The variable or option.
        named_by: &'static str,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
}

/// Everything that the command line and the environment say about registries.
pub(crate) fn settings(
    arguments: &RegistryArguments,
    environment: &Environment,
) -> Result<Settings, RegistrySettingsError> {
    Ok(Settings {
        keychain: keychain(environment)?,
        trust: trust(arguments, environment),
        roots: roots(arguments, environment)?,
        proxies: proxies(environment),
        mirrors: mirrors(arguments),
        retry: if environment.is_pod() {
            Retry::patient()
        } else {
            Retry::default()
        },
        user_agent: concat!("lifecycle/", env!("CARGO_PKG_VERSION")).to_owned(),
        ..Settings::default()
    })
}

/// Credentials: the map of `CNB_REGISTRY_AUTH`, then the files (AUTH-01, AUTH-02).
fn keychain(environment: &Environment) -> Result<Keychain, RegistrySettingsError> {
    let mut keychain = Keychain::default();
    if let Some(map) = environment.text(AUTH_MAP) {
        keychain = keychain
            .with_map(AUTH_MAP, map)
            .map_err(RegistrySettingsError::Map)?;
    }
    for file in credential_files(environment) {
        keychain = keychain.with_file(&file)?;
    }
    Ok(with_helpers(keychain, environment))
}

/// Lets a keychain use the credential helpers of this machine.
pub(crate) fn with_helpers(keychain: Keychain, environment: &Environment) -> Keychain {
    keychain.with_helpers(environment.program_directories(), HELPER_TIMEOUT)
}

/// The settings of somebody who gave no arguments about registries.
pub(crate) fn none_given() -> RegistryArguments {
    RegistryArguments {
        insecure_registry: Vec::new(),
        registry_ca: Vec::new(),
        registry_mirror: Vec::new(),
    }
}

/// The variable that holds credentials itself.
pub(crate) const AUTH_MAP: &str = "CNB_REGISTRY_AUTH";

/// Where credentials may lie, docker's file first (KB-09), then podman's. Named files that do not exist are among
/// them.
pub(crate) fn credential_files(environment: &Environment) -> Vec<PathBuf> {
    let docker = environment
        .path("DOCKER_CONFIG")
        .or_else(|| Some(environment.home()?.join(".docker")));
    let podman = environment.path("REGISTRY_AUTH_FILE").map_or_else(
        || {
            let runtime = environment.path("XDG_RUNTIME_DIR");
            let config = environment
                .path("XDG_CONFIG_HOME")
                .or_else(|| Some(environment.home()?.join(".config")));
            [runtime, config]
                .into_iter()
                .flatten()
                .map(|directory| directory.join("containers/auth.json"))
                .collect()
        },
        |file| vec![file],
    );
    docker
        .map(|directory| directory.join("config.json"))
        .into_iter()
        .chain(podman)
        .collect()
}

fn trust(arguments: &RegistryArguments, environment: &Environment) -> Vec<TrustRule> {
    insecure(arguments, environment)
        .into_iter()
        .map(|prefix| TrustRule {
            prefix,
            trust: Trust::Insecure,
        })
        .collect()
}

/// Registries that may be spoken to without verified TLS.
pub(crate) fn insecure(arguments: &RegistryArguments, environment: &Environment) -> Vec<String> {
    let listed = arguments
        .insecure_registry
        .iter()
        .map(|item| item.trim().to_owned());
    listed
        .filter(|item| !item.is_empty())
        .chain(environment.list("CNB_INSECURE_REGISTRIES"))
        .collect()
}

/// Certificate authorities: `SSL_CERT_FILE` and `SSL_CERT_DIR` take the place of the system's, `--registry-ca` comes
/// on top.
fn roots(arguments: &RegistryArguments, environment: &Environment) -> Result<Roots, RegistrySettingsError> {
    let mut roots = Roots::default();
    if let Some(file) = environment.path("SSL_CERT_FILE") {
        roots.store.push(pem(&file, "SSL_CERT_FILE")?);
    }
    for directory in environment.paths("SSL_CERT_DIR") {
        roots.store.extend(pems(&directory, "SSL_CERT_DIR")?);
    }
    for file in &arguments.registry_ca {
        roots.extra.push(pem(file, "--registry-ca")?);
    }
    Ok(roots)
}

fn pem(path: &Path, named_by: &'static str) -> Result<Pem, RegistrySettingsError> {
    let text = fs_err::read(path).map_err(|cause| RegistrySettingsError::Certificates {
        path: path.to_owned(),
        named_by,
        cause,
    })?;
    Ok(Pem {
        origin: path.display().to_string(),
        text,
    })
}

/// The certificates of a directory. Links by hash lead to many of them a second time; those are left out.
fn pems(directory: &Path, named_by: &'static str) -> Result<Vec<Pem>, RegistrySettingsError> {
    let failed = |cause| RegistrySettingsError::Certificates {
        path: directory.to_owned(),
        named_by,
        cause,
    };
    let mut files = BTreeMap::new();
    for entry in fs_err::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        // A link may lead nowhere.
        if let Ok(file) = fs_err::metadata(&path)
            && file.is_file()
        {
            files.insert((file.dev(), file.ino()), path);
        }
    }
    let mut paths: Vec<PathBuf> = files.into_values().collect();
    paths.sort();
    paths.iter().map(|path| pem(path, named_by)).collect()
}

/// Proxies by docker's and curl's conventions: the lower-case names win, except that there is no `ALL_PROXY` for Go
/// programs and none here.
fn proxies(environment: &Environment) -> Proxies {
    let either = |lower, upper| environment.text(lower).or_else(|| environment.text(upper));
    Proxies {
        http: either("http_proxy", "HTTP_PROXY").map(Secret::new),
        https: either("https_proxy", "HTTPS_PROXY").map(Secret::new),
        no_proxy: either("no_proxy", "NO_PROXY").unwrap_or_default().to_owned(),
    }
}

/// Mirrors in the order in which they were given, by what they mirror.
fn mirrors(arguments: &RegistryArguments) -> Vec<Mirrors> {
    let mut by_registry: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (of, at) in &arguments.registry_mirror {
        by_registry.entry(of).or_default().push(at.clone());
    }
    by_registry
        .into_iter()
        .map(|(of, at)| Mirrors {
            of: of.to_owned(),
            at,
            fallback: true,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_lie_where_docker_and_podman_put_them_kb_09() {
        for (variables, files) in [
            (
                &[("HOME", "/h"), ("XDG_RUNTIME_DIR", "/run/u")][..],
                &[
                    "/h/.docker/config.json",
                    "/run/u/containers/auth.json",
                    "/h/.config/containers/auth.json",
                ][..],
            ),
            (
                &[
                    ("HOME", "/h"),
                    ("DOCKER_CONFIG", "/d"),
                    ("REGISTRY_AUTH_FILE", "/a.json"),
                ],
                &["/d/config.json", "/a.json"],
            ),
            (&[], &[]),
        ] {
            let found = credential_files(&Environment::from_pairs(variables));
            assert_eq!(found, files.iter().map(PathBuf::from).collect::<Vec<_>>());
        }
    }

    #[test]
    fn insecure_registries_come_from_both_places_kb_03() {
        let environment = Environment::from_pairs(&[("CNB_INSECURE_REGISTRIES", "a:5000,, b/c ,")]);
        let arguments = RegistryArguments {
            insecure_registry: vec!["x".to_owned(), String::new()],
            ..none_given()
        };
        let rules = trust(&arguments, &environment);
        let prefixes: Vec<&str> = rules.iter().map(|rule| rule.prefix.as_str()).collect();
        assert_eq!(prefixes, ["x", "a:5000", "b/c"]);
        assert!(rules.iter().all(|rule| rule.trust == Trust::Insecure));
    }

    #[test]
    fn a_broken_map_is_an_error_that_shows_no_secret() {
        let environment = Environment::from_pairs(&[(AUTH_MAP, r#"{"r": "Basic s3cr3t!"#)]);
        let error = settings(&none_given(), &environment).unwrap_err();
        let text = crate::failure::sentence(&error);
        assert!(
            text.starts_with("failed to parse CNB_REGISTRY_AUTH value: "),
            "{text}"
        );
        assert!(!text.contains("s3cr3t"), "{text}");
    }

    #[test]
    fn mirrors_keep_their_order() {
        let pair = |of: &str, at: &str| (of.to_owned(), at.to_owned());
        let registry_mirror = vec![pair("r", "m1"), pair("s", "m2"), pair("r", "m3")];
        let found = mirrors(&RegistryArguments {
            registry_mirror,
            ..none_given()
        });
        assert_eq!(found[0].at, ["m1", "m3"]);
        assert_eq!(found[1].of, "s");
    }

    #[test]
    fn a_certificate_that_is_not_there_is_named_with_its_option() {
        let arguments = RegistryArguments {
            registry_ca: vec!["/nowhere/ca.pem".into()],
            ..none_given()
        };
        let error = settings(&arguments, &Environment::default())
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "cannot read the certificates in /nowhere/ca.pem, which --registry-ca names"
        );
    }
}
