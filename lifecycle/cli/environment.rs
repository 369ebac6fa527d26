//! The only place that reads environment variables.
//!
//! Everything below the command line takes its settings as plain values. This module collects what the
//! variables say, once, and the commands hand it on.

use std::ffi::OsString;
use std::path::PathBuf;

/// The environment of the process, by name. Reading goes through here so that tests can make one up.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    variables: Vec<(OsString, OsString)>,
}

impl Environment {
    /// The environment this process was started with.
    pub(crate) fn of_process() -> Self {
        Self {
            variables: std::env::vars_os().collect(),
        }
    }

    /// The same with variables that take the place of its own.
    pub(crate) fn with(&self, pairs: &[(String, String)]) -> Self {
        let own = |name: &OsString| !pairs.iter().any(|(other, _)| other.as_str() == name);
        let kept = self.variables.iter().filter(|(name, _)| own(name)).cloned();
        let added = pairs.iter().map(|(name, value)| (name.into(), value.into()));
        Self {
            variables: kept.chain(added).collect(),
        }
    }

    /// The value of a variable. Empty counts as absent: job templates set what they do not use to nothing.
    pub(crate) fn os(&self, name: &str) -> Option<&OsString> {
        let set = |(key, value): &&(OsString, OsString)| key == name && !value.is_empty();
        self.variables.iter().find(set).map(|(_, value)| value)
    }

    /// The value of a variable as text; bytes that are not UTF-8 count as absent.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.os(name)?.to_str()
    }

    /// The value of a variable as a path.
    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        self.os(name).map(PathBuf::from)
    }

    /// Whether a variable holds what Go's `ParseBool` takes for true (reference lifecycle, GEN-13).
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.text(name)
            .is_some_and(|value| matches!(value, "1" | "t" | "T" | "TRUE" | "true" | "True"))
    }

    /// The comma-separated items of a variable, without blank ones (KB-03).
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        let items = self.text(name).unwrap_or_default().split(',');
        items
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// The directories in a variable that has colons between them, as `PATH` does.
    pub(crate) fn paths(&self, name: &str) -> Vec<PathBuf> {
        let value = self.os(name).cloned().unwrap_or_default();
        std::env::split_paths(&value)
            .filter(|path| !path.as_os_str().is_empty())
            .collect()
    }

    /// Whether this is a pod: the kubelet names the API server to every container.
    pub(crate) fn is_pod(&self) -> bool {
        self.os("KUBERNETES_SERVICE_HOST").is_some()
    }

    /// Where programs are looked for.
    pub(crate) fn program_directories(&self) -> Vec<PathBuf> {
        self.paths("PATH")
    }

    /// All variables, in the order of the process.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&OsString, &OsString)> {
        self.variables.iter().map(|(key, value)| (key, value))
    }

    /// The user's home directory, if one is named.
    pub(crate) fn home(&self) -> Option<PathBuf> {
        self.path("HOME")
    }

    /// Where temporary files go.
    pub(crate) fn temporary_directory(&self) -> PathBuf {
        self.path("TMPDIR").unwrap_or_else(|| PathBuf::from("/tmp"))
    }

    /// The store when no `--store` is given: `LIFECYCLE_STORE`, else `/var/lib/lifecycle` for root and the
    /// user's data directory for everybody else.
    pub(crate) fn store(&self, is_root: bool) -> Option<PathBuf> {
        if let Some(store) = self.path("LIFECYCLE_STORE") {
            return Some(store);
        }
        if is_root {
            return Some(PathBuf::from("/var/lib/lifecycle"));
        }
        let data = self
            .path("XDG_DATA_HOME")
            .or_else(|| Some(self.home()?.join(".local/share")))?;
        Some(data.join("lifecycle"))
    }

    /// The file of certificate authorities that this machine trusts: `SSL_CERT_FILE`, else the system's bundle.
    pub(crate) fn certificates(&self) -> Option<PathBuf> {
        const BUNDLES: [&str; 3] = [
            "/etc/ssl/certs/ca-certificates.crt",
            "/etc/pki/tls/certs/ca-bundle.crt",
            "/etc/ssl/cert.pem",
        ];
        let bundle = || BUNDLES.iter().map(PathBuf::from).find(|path| path.is_file());
        self.path("SSL_CERT_FILE").or_else(bundle)
    }

    /// Proxy variables in both spellings, as given: they are handed to build steps as they are.
    pub(crate) fn proxies(&self) -> Vec<(String, String)> {
        const NAMES: [&str; 8] = [
            "HTTP_PROXY",
            "http_proxy",
            "HTTPS_PROXY",
            "https_proxy",
            "NO_PROXY",
            "no_proxy",
            "ALL_PROXY",
            "all_proxy",
        ];
        NAMES
            .iter()
            .filter_map(|&name| Some((name.to_owned(), self.text(name)?.to_owned())))
            .collect()
    }
}

#[cfg(test)]
impl Environment {
    /// A made-up environment.
    pub(crate) fn from_pairs(pairs: &[(&str, &str)]) -> Self {
        Self {
            variables: pairs
                .iter()
                .map(|&(key, value)| (key.into(), value.into()))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_read_as_go_does_gen_13() {
        for (value, expected) in [
            ("1", true),
            ("True", true),
            ("t", true),
            ("yes", false),
            ("0", false),
            ("", false),
        ] {
            assert_eq!(
                Environment::from_pairs(&[("X", value)]).flag("X"),
                expected,
                "{value:?}"
            );
        }
    }

    #[test]
    fn lists_skip_blank_items_kb_03() {
        let environment = Environment::from_pairs(&[("X", "a, b,,")]);
        assert_eq!(environment.list("X"), ["a", "b"]);
    }

    #[test]
    fn the_store_is_the_users_own() {
        let user = Environment::from_pairs(&[("HOME", "/home/u")]);
        assert_eq!(user.store(false), Some("/home/u/.local/share/lifecycle".into()));
        assert_eq!(user.store(true), Some("/var/lib/lifecycle".into()));
        let named = Environment::from_pairs(&[("LIFECYCLE_STORE", "/s"), ("HOME", "/home/u")]);
        assert_eq!(named.store(true), Some("/s".into()));
        assert_eq!(Environment::default().store(false), None);
    }
}
