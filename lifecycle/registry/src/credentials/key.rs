//! The names under which credentials are kept.

use std::sync::LazyLock;

use lifecycle_image::Reference;

/// The registry that names without one belong to.
static DEFAULT_REGISTRY: LazyLock<String> = LazyLock::new(|| canonical_host("x/y", "x/y"));

/// `host/path` of a repository, and every shorter prefix of it, ready to be looked up.
#[derive(Debug)]
pub(crate) struct Scope {
    text: String,
    host: usize,
}

impl Scope {
    pub(crate) fn new(host: &str, path: &str) -> Self {
        Self {
            text: format!("{host}/{path}"),
            host: host.len(),
        }
    }

    pub(crate) fn host(&self) -> &str {
        &self.text[..self.host]
    }

    /// `host/a/b`, `host/a`, `host`: the longest path prefix wins.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = &str> {
        let ends = self.text.match_indices('/').map(|(place, _)| place);
        let ends: Vec<usize> = ends
            .chain([self.text.len()])
            .filter(|&end| end >= self.host)
            .collect();
        ends.into_iter().rev().map(|end| &self.text[..end])
    }

    /// What credential helpers know a host by: docker's name for its default registry is an address of the first
    /// version of the protocol.
    pub(crate) fn helper_key(&self) -> String {
        if self.host() == *DEFAULT_REGISTRY {
            format!("https://{}/v1/", self.host())
        } else {
            self.host().to_owned()
        }
    }
}

/// `host[:port][/path]` of a key as people and programs write them: with a scheme, with the `/v1/` of the default
/// registry, under one of its other names.
pub(crate) fn normalize(key: &str) -> String {
    let key = key.trim();
    let key = key.split_once("://").map_or(key, |(_, rest)| rest);
    let key = key.trim_end_matches('/');
    let (host, path) = key.split_once('/').unwrap_or((key, ""));
    let host = canonical_host(&format!("{host}/x/y"), host);
    match path {
        "" | "v1" | "v2" => host,
        path => format!("{host}/{path}"),
    }
}

fn canonical_host(name: &str, otherwise: &str) -> String {
    name.parse::<Reference>().map_or_else(
        |_| otherwise.to_owned(),
        |reference| reference.registry().to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_brought_to_one_form() {
        let hub = DEFAULT_REGISTRY.as_str();
        for (key, expected) in [
            ("https://r.test", "r.test"),
            ("http://r.test:5000/v2/", "r.test:5000"),
            ("r.test/team/", "r.test/team"),
            ("docker.io", hub),
            (&format!("https://{hub}/v1/"), hub),
            ("[::1]:5000", "[::1]:5000"),
            ("", ""),
        ] {
            assert_eq!(normalize(key), expected, "{key}");
        }
    }

    #[test]
    fn longer_prefixes_come_first() {
        let scope = Scope::new("r.test:5000", "a/b");
        let candidates: Vec<_> = scope.candidates().collect();
        assert_eq!(candidates, ["r.test:5000/a/b", "r.test:5000/a", "r.test:5000"]);
        assert_eq!(scope.helper_key(), "r.test:5000");
        let hub = Scope::new(&DEFAULT_REGISTRY, "x/y").helper_key();
        assert!(hub.starts_with("https://") && hub.ends_with("/v1/"), "{hub}");
    }
}
