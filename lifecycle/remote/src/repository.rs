//! A git repository, and what of it is wanted.

use lifecycle_registry::Secret;
use url::Url;

use crate::RemoteError;

/// The protocols that git may speak to another machine. Anything else, `ext::` above all, could start programs.
pub(crate) const PROTOCOLS: [&str; 5] = ["https", "http", "ssh", "git+ssh", "git"];

/// A git repository, and what of it is wanted (H29).
#[derive(Debug, Clone)]
pub struct Repository {
    /// The address: `https://…`, `http://…`, `ssh://…`, `git://…`, `user@host:path`; where [`crate::GitSettings::local`]
    /// says so also `file://…` and a path. A user and a password in it are given to git as credentials and never shown.
    pub url: String,
    /// Branch, tag, full name (`refs/…`) or commit; without one the repository's own branch.
    pub reference: Option<String>,
    /// The directory that is wanted in place of the whole.
    pub subdirectory: Option<String>,
    /// How much of the history is fetched.
    pub depth: Depth,
    /// Whether submodules are fetched.
    pub submodules: bool,
    /// Whether `.git` stays, without password and without anything that differs from one checkout to the next. It belongs
    /// to the whole repository and does not stay beside a subdirectory.
    pub keep_git_directory: bool,
    /// Whether files have the time of the commit in place of that of the checkout.
    pub commit_time: bool,
    /// Who we are, for this repository's host alone.
    pub authorization: Option<GitAuthorization>,
}

/// How much of a history is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// So many commits; one is enough for the files.
    Commits(std::num::NonZeroU32),
    /// All of it.
    Whole,
}

/// Who we are for a git server behind HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GitAuthorization {
    /// A user and a password or token. Given when the server asks.
    Basic {
        /// The user. Servers that take tokens take any name.
        username: String,
        /// The password or token.
        password: Secret,
    },
    /// The value of the `Authorization` header, sent with each request.
    Header(Secret),
}

impl Repository {
    /// The files of a repository's own branch, without history and `.git`, with submodules.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            reference: None,
            subdirectory: None,
            depth: Depth::Commits(std::num::NonZeroU32::MIN),
            submodules: true,
            keep_git_directory: false,
            commit_time: false,
            authorization: None,
        }
    }

    /// The same at a branch, a tag or a commit.
    #[must_use]
    pub fn at(self, reference: Option<impl Into<String>>) -> Self {
        let reference = reference.map(Into::into);
        Self { reference, ..self }
    }
}

/// An address, taken apart.
#[derive(Debug)]
pub(crate) struct Address {
    /// What git is told: without user and password if there was a password.
    pub(crate) url: String,
    /// What people are told.
    pub(crate) shown: String,
    /// The beginning of the address that credentials are for; `None` if they are not git's matter.
    pub(crate) origin: Option<String>,
    /// User and password of the address.
    pub(crate) authorization: Option<GitAuthorization>,
}

impl Address {
    /// Takes an address apart and refuses what git must not be told.
    pub(crate) fn parse(text: &str, is_local_allowed: bool) -> Result<Self, RemoteError> {
        let fault = |reason: String| RemoteError::Address {
            address: shown(text),
            reason,
        };
        if text.is_empty() || text.starts_with('-') || text.contains(char::is_control) {
            return Err(fault("it is no address of a git repository".to_owned()));
        }
        let plain = Self {
            url: text.to_owned(),
            shown: shown(text),
            origin: None,
            authorization: None,
        };
        let Some((scheme, rest)) = text.split_once("://") else {
            // `ext::sh -c …` is a protocol too; `user@host:path` is ssh; all else is a path.
            return match text.split_once(':') {
                Some((host, path)) if !host.contains('/') && host.contains('@') && !path.starts_with(':') => {
                    let target = host.rsplit('@').next().unwrap_or_default();
                    if target.is_empty() || target.starts_with('-') || path.starts_with('-') {
                        return Err(fault("it could be taken for an option".to_owned()));
                    }
                    Ok(plain)
                }
                Some((head, rest)) if rest.starts_with(':') || !head.contains('/') => {
                    Err(fault(format!("git may not use `{head}` for it")))
                }
                // Git runs elsewhere, and knows the path by its whole name only.
                _ if is_local_allowed => Ok(Self {
                    url: std::path::absolute(text)
                        .map_err(|error| fault(error.to_string()))?
                        .to_string_lossy()
                        .into_owned(),
                    ..plain
                }),
                _ => Err(fault("repositories of this machine are not read".to_owned())),
            };
        };
        if scheme == "file" && is_local_allowed {
            return Ok(plain);
        }
        if !PROTOCOLS.contains(&scheme) {
            return Err(fault(format!(
                "git may not use `{scheme}` for it; use one of {}",
                PROTOCOLS.join(", ")
            )));
        }
        let authority = rest.split('/').next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        if host.is_empty() || host.starts_with('-') || authority.starts_with('-') {
            return Err(fault("it has no host".to_owned()));
        }
        if !matches!(scheme, "http" | "https") {
            return Ok(plain);
        }
        // A `#` of a password is no fragment.
        let escaped = format!(
            "{scheme}://{}{}",
            authority.replace('#', "%23"),
            &rest[authority.len()..]
        );
        let mut url = Url::parse(&escaped).map_err(|error| fault(error.to_string()))?;
        let authorization = (!url.username().is_empty() || url.password().is_some()).then(|| {
            let (username, password) = (decode(url.username()), url.password().map(decode));
            // A token may stand alone where the user stands.
            GitAuthorization::Basic {
                password: Secret::new(password.clone().unwrap_or_else(|| username.clone())),
                username,
            }
        });
        if url.set_username("").is_err() || url.set_password(None).is_err() {
            return Err(fault("it has no host".to_owned()));
        }
        Ok(Self {
            origin: Some(url.origin().ascii_serialization()),
            url: url.to_string(),
            authorization,
            ..plain
        })
    }
}

impl Address {
    /// What an address in a repository of this one stands for: `./` and `../` begin at this one, as git has it.
    pub(crate) fn resolve(&self, text: &str) -> String {
        let (mut base, mut rest) = (self.url.trim_end_matches('/'), text);
        let mut is_relative = false;
        loop {
            if let Some(below) = rest.strip_prefix("./") {
                rest = below;
            } else if let Some(beside) = rest.strip_prefix("../") {
                rest = beside;
                base = base.rfind(['/', ':']).map_or("", |end| &base[..end]);
            } else {
                break;
            }
            is_relative = true;
        }
        if is_relative {
            format!("{base}/{rest}")
        } else {
            text.to_owned()
        }
    }
}

fn decode(text: &str) -> String {
    let pairs = format!("x={}", text.replace('+', "%2B"));
    url::form_urlencoded::parse(pairs.as_bytes())
        .map(|(_, value)| value.into_owned())
        .collect()
}

/// Whether a text may be the name of a branch, a tag or a commit. Nothing that git takes for an option, a range, or a rule
/// of what to fetch.
pub(crate) fn check_reference(reference: &str) -> Result<(), &'static str> {
    const SPECIAL: &[char] = &[':', '^', '~', '?', '*', '[', '\\', ' '];
    if reference.starts_with(['-', '+', '/']) || reference.ends_with(['/', '.']) {
        return Err("it could be taken for an option");
    }
    if reference.is_empty()
        || reference.contains("..")
        || reference.contains("@{")
        || reference.contains(SPECIAL)
        || reference.contains(char::is_control)
    {
        return Err("it is no branch, tag or commit");
    }
    Ok(())
}

/// An address without user, password and query, which may hold signatures.
pub(crate) fn shown(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let end = rest.find('/').unwrap_or(rest.len());
    let rest = match rest[..end].rfind('@') {
        Some(at) => format!("***@{}", &rest[at + 1..]),
        None => rest.to_owned(),
    };
    match rest.split_once('?') {
        Some((path, query)) if !query.is_empty() => format!("{scheme}://{path}?***"),
        _ => format!("{scheme}://{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_could_start_programs_are_refused_cve_2019_13139() {
        for text in [
            "",
            "-x",
            "--upload-pack=touch /tmp/x",
            "ext::sh -c touch%20/tmp/x",
            "fd::17/x",
            "https://-oProxyCommand=x/r",
            "ssh://-oProxyCommand=x/r",
            "git@-oProxyCommand=x:r",
            "git@host:-x",
            "ftp://h/r",
            "host:r",
            "a\nb",
            "/local/path",
            "file:///local/path",
        ] {
            assert!(Address::parse(text, false).is_err(), "{text}");
        }
        assert!(Address::parse("/local/path", true).is_ok());
        assert!(Address::parse("file:///local/path", true).is_ok());
        assert!(Address::parse("ext::x", true).is_err());
    }

    #[test]
    fn passwords_are_taken_out() {
        for (text, url, user, password) in [
            ("https://u:p%20w@h/r.git", "https://h/r.git", "u", "p w"),
            ("https://u:p#w@h:1/r", "https://h:1/r", "u", "p#w"),
            ("https://token@h/r", "https://h/r", "token", "token"),
        ] {
            let address = Address::parse(text, false).unwrap();
            assert_eq!(address.url, url);
            let expected = GitAuthorization::Basic {
                username: user.into(),
                password: Secret::new(password),
            };
            assert_eq!(address.authorization, Some(expected));
            assert!(address.shown.contains("***@h"), "{}", address.shown);
        }
        let address = Address::parse("ssh://git@h/r", false).unwrap();
        assert_eq!((address.url.as_str(), address.origin), ("ssh://git@h/r", None));
    }

    #[test]
    fn addresses_of_submodules_begin_at_the_repository() {
        let address = Address::parse("https://u:p@h/a/r.git/", false).unwrap();
        for (text, resolved) in [
            ("../s.git", "https://h/a/s.git"),
            ("../../s", "https://h/s"),
            ("./s", "https://h/a/r.git/s"),
            ("./../s", "https://h/a/s"),
            ("https://other/s", "https://other/s"),
            ("/local", "/local"),
        ] {
            assert_eq!(address.resolve(text), resolved, "{text}");
        }
    }

    #[test]
    fn references_that_are_options_or_rules_are_refused_cve_2019_13139() {
        for reference in [
            "-x",
            "--upload-pack=x",
            "+a",
            "a:b",
            "a..b",
            "*",
            "HEAD^{tree}",
            "@{-1}",
            "",
            "a b",
        ] {
            assert!(check_reference(reference).is_err(), "{reference}");
        }
        for reference in ["main", "feature/x", "v1.2", "refs/pull/1/head", "a@b"] {
            assert!(check_reference(reference).is_ok(), "{reference}");
        }
    }
}
