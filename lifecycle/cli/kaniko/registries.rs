//! kaniko's ways to speak to registries, as settings of ours.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lifecycle_image::Reference;
use lifecycle_registry::{
    Cloud, Credential, HostTls, Identity, Keychain, Mirrors, Pem, Retry, Secret, Settings, Trust, TrustRule,
};

use super::settings::RegistrySettings;
use crate::environment::Environment;
use crate::failure::Failure;
use crate::registry;

/// Where the images of kaniko keep credentials.
const OWN_CONFIG: &str = "/kaniko/.docker/config.json";

/// Everything that flags and variables say about registries. `destinations` are what is pushed to: some flags are about
/// them, and others about all that is pulled.
pub(super) fn settings(
    given: &RegistrySettings,
    destinations: &[Reference],
    environment: &Environment,
) -> Result<Settings, Failure> {
    let usual = registry::settings(&registry::none_given(), environment)?;
    let mut user_agent = usual.user_agent.clone();
    if let Some(upstream) = environment.text("UPSTREAM_CLIENT_TYPE") {
        user_agent = format!("{user_agent},{upstream}");
    }
    let attempts = usual.retry.attempts.max(given.retries.saturating_add(1));
    Ok(Settings {
        keychain: keychain(given, environment)?,
        trust: trust(given, destinations),
        hosts: hosts(given)?,
        mirrors: mirrors(given)?,
        retry: Retry {
            attempts,
            ..usual.retry
        },
        ignore_immutable_tags: given.ignore_immutable_tags,
        user_agent,
        ..usual
    })
}

/// Credentials in the order in which kaniko asks for them: the text of `DOCKER_AUTH_CONFIG`, files, helpers (kaniko.md
/// 1.9).
fn keychain(given: &RegistrySettings, environment: &Environment) -> Result<Keychain, Failure> {
    let mut keychain = Keychain::default();
    if let Some(text) = environment.text("DOCKER_AUTH_CONFIG") {
        keychain = keychain.with_file_text("DOCKER_AUTH_CONFIG", text)?;
    }
    let mut files = registry::credential_files(environment);
    if !files.iter().any(|file| file == Path::new(OWN_CONFIG)) {
        files.push(PathBuf::from(OWN_CONFIG));
    }
    for file in &files {
        keychain = keychain.with_file(file)?;
    }
    let all = ["env", "google", "ecr", "acr", "gitlab"]
        .map(str::to_owned)
        .to_vec();
    for helper in given.credential_helpers.as_ref().unwrap_or(&all) {
        keychain = match helper.as_str() {
            "env" => keychain.with_rule("KANIKO_<REGISTRY>_USER", of_variables(environment)),
            "google" => keychain.with_cloud(Cloud::Google),
            "ecr" => keychain.with_cloud(Cloud::Amazon),
            "acr" => keychain.with_cloud(Cloud::Azure),
            _ => of_gitlab(keychain, environment),
        };
    }
    Ok(registry::with_helpers(keychain, environment))
}

/// `KANIKO_<REGISTRY>_USER` and `_PASSWORD`: the whole host, else a domain above it, with `_` for dots and dashes.
fn of_variables(environment: &Environment) -> impl Fn(&str) -> Option<Credential> + Send + Sync + 'static {
    let plain = |text: &str| text.to_uppercase().replace(['-', '.', ':'], "_");
    let named = |suffix: &str| -> BTreeMap<String, String> {
        let variables = environment.all().filter_map(|(name, value)| {
            let name = name.to_str()?.strip_prefix("KANIKO_")?.strip_suffix(suffix)?;
            Some((plain(name), value.to_str()?.to_owned()))
        });
        variables.collect()
    };
    let (users, passwords) = (named("_USER"), named("_PASSWORD"));
    move |host| {
        let labels: Vec<&str> = host.split('.').collect();
        (0..labels.len()).find_map(|first| {
            let name = plain(&labels[first..].join("."));
            Some(Credential::Basic {
                username: users.get(&name)?.clone(),
                password: Secret::new(passwords.get(&name)?.clone()),
            })
        })
    }
}

/// What a job of GitLab has in its environment: its registry, and its dependency proxy.
fn of_gitlab(mut keychain: Keychain, environment: &Environment) -> Keychain {
    for [host, user, password] in [
        ["CI_REGISTRY", "CI_REGISTRY_USER", "CI_REGISTRY_PASSWORD"],
        [
            "CI_DEPENDENCY_PROXY_SERVER",
            "CI_DEPENDENCY_PROXY_USER",
            "CI_DEPENDENCY_PROXY_PASSWORD",
        ],
    ] {
        let found = [host, user, password].map(|name| environment.text(name));
        if let [Some(registry), Some(user), Some(password)] = found {
            let credential = Credential::Basic {
                username: user.to_owned(),
                password: Secret::new(password),
            };
            keychain = keychain.with_credential(host, registry, credential);
        }
    }
    keychain
}

fn trust(given: &RegistrySettings, destinations: &[Reference]) -> Vec<TrustRule> {
    let of = |insecure: bool, skip: bool| match (insecure, skip) {
        (true, _) => Trust::Insecure,
        (false, true) => Trust::SkipVerify,
        (false, false) => Trust::Verified,
    };
    let rule = |prefix: &str, trust| TrustRule {
        prefix: prefix.to_owned(),
        trust,
    };
    let pull = of(given.insecure_pull, given.skip_tls_verify_pull);
    let push = of(given.insecure, given.skip_tls_verify);
    let listed = |host: &str| {
        let names = |list: &[String]| list.iter().any(|known| registry_of(known) == host);
        of(
            names(&given.insecure_registries),
            names(&given.skip_tls_verify_registries),
        )
    };
    let mut rules = Vec::new();
    if pull != Trust::Verified {
        rules.push(rule("", pull));
    }
    for host in given
        .insecure_registries
        .iter()
        .chain(&given.skip_tls_verify_registries)
    {
        let host = registry_of(host);
        rules.push(rule(&host, listed(&host)));
    }
    for destination in destinations {
        let trust = push.max(listed(destination.registry()));
        rules.push(rule(&destination.repository().to_string(), trust));
    }
    rules
}

/// The host that names know a registry by.
fn registry_of(text: &str) -> String {
    let host = text.trim_start_matches("https://").trim_start_matches("http://");
    let host = host.trim_end_matches('/');
    let reference = format!("{host}/x/y").parse::<Reference>();
    reference.map_or_else(|_| host.to_owned(), |reference| reference.registry().to_owned())
}

fn hosts(given: &RegistrySettings) -> Result<BTreeMap<String, HostTls>, Failure> {
    let mut hosts: BTreeMap<String, HostTls> = BTreeMap::new();
    for (host, file) in &given.certificates {
        let roots = &mut hosts.entry(registry_of(host)).or_default().roots;
        roots.push(Pem {
            origin: file.clone(),
            text: fs_err::read(file)?,
        });
    }
    for (host, files) in &given.client_certificates {
        let (certificate, key) = files.split_once(',').ok_or_else(|| {
            Failure::new(
                "certificate",
                format!("--registry-client-cert {host}={files} names one file"),
            )
            .help("write HOST=CERTIFICATE,KEY")
        })?;
        hosts.entry(registry_of(host)).or_default().identity = Some(Identity {
            origin: certificate.to_owned(),
            certificates: fs_err::read(certificate)?,
            key: Secret::new(fs_err::read_to_string(key)?),
        });
    }
    Ok(hosts)
}

fn mirrors(given: &RegistrySettings) -> Result<Vec<Mirrors>, Failure> {
    let mut mirrors: Vec<Mirrors> = Vec::new();
    for (of, at) in &given.maps {
        let at = at.trim_start_matches("https://").trim_end_matches('/');
        if of.is_empty() || at.is_empty() || at.contains("://") {
            let message = format!("{of}={at} maps no registry to another");
            return Err(Failure::new("mirror", message).help("write HOST=HOST or HOST=HOST/PATH"));
        }
        match mirrors.iter_mut().find(|known| known.of == *of) {
            Some(known) => known.at.push(at.to_owned()),
            None => mirrors.push(Mirrors {
                of: of.clone(),
                at: vec![at.to_owned()],
                fallback: !given.skip_fallback,
            }),
        }
    }
    Ok(mirrors)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(text: &str) -> Reference {
        text.parse().unwrap()
    }

    #[test]
    fn push_and_pull_are_trusted_apart() {
        let given = RegistrySettings {
            insecure_pull: true,
            skip_tls_verify_registries: vec!["s.test".to_owned()],
            ..RegistrySettings::default()
        };
        let rules = trust(&given, &[reference("r.test/a:1"), reference("s.test/b")]);
        let found: Vec<_> = rules
            .iter()
            .map(|rule| (rule.prefix.as_str(), rule.trust))
            .collect();
        assert_eq!(
            found,
            [
                ("", Trust::Insecure),
                ("s.test", Trust::SkipVerify),
                ("r.test/a", Trust::Verified),
                ("s.test/b", Trust::SkipVerify),
            ]
        );
    }

    #[test]
    fn credentials_of_variables_go_to_their_host_and_what_is_below_it() {
        let environment = Environment::from_pairs(&[
            ("KANIKO_R_TEST_USER", "u"),
            ("KANIKO_R_TEST_PASSWORD", "p"),
            ("KANIKO_LONELY_TEST_USER", "u"),
        ]);
        let find = of_variables(&environment);
        for host in ["r.test", "sub.r.test", "r-test"] {
            assert!(find(host).is_some(), "{host}");
        }
        // O#1004: a host that only looks like it gets nothing.
        for host in ["r.test.evil", "xr.test", "lonely.test", "test"] {
            assert!(find(host).is_none(), "{host}");
        }
    }

    #[test]
    fn mirrors_are_of_any_registry_and_keep_their_order() {
        let map = |of: &str, at: &str| (of.to_owned(), at.to_owned());
        let given = RegistrySettings {
            maps: vec![
                map("docker.io", "m1.test/hub"),
                map("r.test", "m2.test"),
                map("docker.io", "m3.test"),
            ],
            skip_fallback: true,
            ..RegistrySettings::default()
        };
        let found = mirrors(&given).unwrap();
        assert_eq!(found[0].at, ["m1.test/hub", "m3.test"]);
        assert!(!found[0].fallback);
        assert_eq!((found[1].of.as_str(), found.len()), ("r.test", 2));
        let broken = RegistrySettings {
            maps: vec![map("r.test", "")],
            ..RegistrySettings::default()
        };
        assert!(mirrors(&broken).is_err());
    }
}
