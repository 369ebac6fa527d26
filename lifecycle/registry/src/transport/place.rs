//! Where a repository is really asked for: mirrors, and how far each host is trusted.

use std::fmt;
use std::net::IpAddr;

use lifecycle_image::Repository;
use url::Url;

use super::resolver::is_localhost;
use crate::settings::{Mirrors, Trust, TrustRule};

/// A repository on a host that is asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// `host` or `host:port`.
    pub(crate) host: String,
    /// The repository's path there.
    pub(crate) path: String,
}

impl Place {
    /// The place that a repository's name says.
    pub(crate) fn origin(repository: &Repository) -> Self {
        Self {
            host: repository.registry().to_owned(),
            path: repository.path().to_owned(),
        }
    }

    /// Where to read a repository, in the order to ask.
    pub(crate) fn readable(repository: &Repository, mirrors: &[Mirrors]) -> Vec<Self> {
        let origin = Self::origin(repository);
        let rule = mirrors
            .iter()
            .filter_map(|mirrors| Some((mirrors, origin.below(&mirrors.of)?)))
            .max_by_key(|(mirrors, _)| mirrors.of.len());
        let Some((mirrors, rest)) = rule else {
            return vec![origin];
        };
        let mut places: Vec<Self> = mirrors.at.iter().map(|at| Self::join(at, rest)).collect();
        if mirrors.fallback || places.is_empty() {
            places.push(origin);
        }
        places
    }

    /// The host of an address that belongs to no repository.
    pub(crate) fn foreign(url: &Url) -> Self {
        Self {
            host: host_of(url),
            path: String::new(),
        }
    }

    /// What follows `prefix` in `host/path`, if the prefix ends where a component ends.
    fn below(&self, prefix: &str) -> Option<&str> {
        let (host, path) = prefix
            .trim_end_matches('/')
            .split_once('/')
            .unwrap_or((prefix.trim_end_matches('/'), ""));
        // The default registry has several names; the reference type knows them.
        let host = format!("{host}/x/y")
            .parse::<lifecycle_image::Reference>()
            .map_or_else(|_| host.to_owned(), |reference| reference.registry().to_owned());
        if host != self.host {
            return None;
        }
        match self.path.strip_prefix(path)? {
            rest if path.is_empty() => Some(rest),
            "" => Some(""),
            rest => rest.strip_prefix('/'),
        }
    }

    fn join(at: &str, rest: &str) -> Self {
        let at = at.trim_end_matches('/');
        let (host, prefix) = at.split_once('/').unwrap_or((at, ""));
        let path = match (prefix, rest) {
            ("", rest) => rest.to_owned(),
            (prefix, "") => prefix.to_owned(),
            (prefix, rest) => format!("{prefix}/{rest}"),
        };
        Self {
            host: host.to_owned(),
            path,
        }
    }

    /// How far the place is trusted: the longest rule that fits.
    pub(crate) fn trust(&self, rules: &[TrustRule]) -> Trust {
        let fits = |rule: &&TrustRule| {
            let prefix = rule.prefix.trim_end_matches('/');
            let (host, path) = prefix.split_once('/').unwrap_or((prefix, ""));
            let host_fits = host.is_empty() || host == self.host || host == name_of(&self.host);
            let path_fits = path.is_empty()
                || self
                    .path
                    .strip_prefix(path)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            host_fits && path_fits
        };
        let rule = rules.iter().filter(fits).max_by_key(|rule| rule.prefix.len());
        rule.map_or(Trust::Verified, |rule| rule.trust)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.path)
    }
}

/// The host's name without its port.
fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Whether a host is this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    let name = name_of(host).trim_start_matches('[').trim_end_matches(']');
    is_localhost(name) || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// `host:port` of an address, with the port only if it is written.
pub(crate) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Whether credentials for one address may go to the other: scheme, host and port are the same.
pub(crate) fn is_same_origin(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme()
        && one.host_str() == other.host_str()
        && one.port_or_known_default() == other.port_or_known_default()
}

/// An address as it may be shown: without user, password and query, which holds signatures.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    if url.username() != "" || url.password().is_some() {
        // Both fail only for addresses that have no host, which have no user either.
        if url.set_username("").is_err() || url.set_password(None).is_err() {
            return format!("{}:…", url.scheme());
        }
    }
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(name: &str, mirrors: &[Mirrors]) -> Vec<String> {
        let reference: lifecycle_image::Reference = name.parse().unwrap();
        Place::readable(reference.repository(), mirrors)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    fn mirror(of: &str, at: &[&str], fallback: bool) -> Mirrors {
        Mirrors {
            of: of.into(),
            at: at.iter().map(|&at| at.into()).collect(),
            fallback,
        }
    }

    #[test]
    fn mirrors_are_asked_in_order_and_the_longest_prefix_decides() {
        let mirrors = [
            mirror("docker.io", &["m1.test/hub/", "m2.test:5000"], true),
            mirror("r.test", &["m.test"], false),
            mirror("r.test/team", &["t.test/ours"], true),
        ];
        let hub = places("app", &mirrors);
        assert_eq!(hub[..2], ["m1.test/hub/library/app", "m2.test:5000/library/app"]);
        assert!(hub[2].ends_with("/library/app") && hub.len() == 3, "{hub:?}");
        assert_eq!(places("r.test/a/b", &mirrors), ["m.test/a/b"]);
        assert_eq!(
            places("r.test/team/b", &mirrors),
            ["t.test/ours/b", "r.test/team/b"]
        );
        assert_eq!(places("r.test/team", &mirrors), ["t.test/ours", "r.test/team"]);
        assert_eq!(places("r.test/teamwork", &mirrors), ["m.test/teamwork"]);
        assert_eq!(places("r.test:5000/a", &mirrors), ["r.test:5000/a"]);
    }

    #[test]
    fn trust_follows_the_longest_rule_on_component_boundaries() {
        let rule = |prefix: &str, trust| TrustRule {
            prefix: prefix.into(),
            trust,
        };
        let rules = [
            rule("r.test", Trust::Insecure),
            rule("r.test:5000/team", Trust::SkipVerify),
            rule("p.test:80", Trust::PlainHttp),
        ];
        let trust = |host: &str, path: &str| {
            let (host, path) = (host.to_owned(), path.to_owned());
            Place { host, path }.trust(&rules)
        };
        assert_eq!(trust("r.test", "a"), Trust::Insecure);
        assert_eq!(trust("r.test:5000", "a"), Trust::Insecure);
        assert_eq!(trust("r.test:5000", "team/a"), Trust::SkipVerify);
        assert_eq!(trust("r.test:5000", "teamwork"), Trust::Insecure);
        assert_eq!(trust("p.test", "a"), Trust::Verified);
        assert_eq!(trust("r.test.evil.test", "a"), Trust::Verified);
        let all = [rule("", Trust::SkipVerify)];
        assert_eq!(Place::join("x.test", "a").trust(&all), Trust::SkipVerify);
    }

    #[test]
    fn this_machine_has_many_names() {
        for host in [
            "localhost",
            "localhost:5000",
            "a.localhost",
            "127.0.0.1:1",
            "127.9.9.9",
            "[::1]:5000",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "localhost.evil.test",
            "10.0.0.1",
            "r.local",
            "[fe80::1]",
            "1270.0.0.1",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn addresses_are_shown_without_secrets() {
        let url = "https://u:p@s.test/b?X-Amz-Signature=abc#f".parse().unwrap();
        assert_eq!(shown(&url), "https://s.test/b");
    }
}
