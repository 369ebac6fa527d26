//! Sources that are not local: git repositories and web addresses (H27 to H29).

use crate::boolean;

/// A git repository, and what of it is wanted (H29).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GitReference {
    /// The address for git, without fragment and query.
    pub remote: String,
    /// Branch, tag or commit.
    pub reference: Option<String>,
    /// The directory inside the repository.
    pub subdirectory: Option<String>,
    /// The commit it must be; a prefix is enough.
    pub checksum: Option<String>,
    /// Whether `.git` stays.
    pub keep_git_dir: Option<bool>,
    /// Whether submodules are fetched; yes if not said.
    pub submodules: Option<bool>,
    /// Whether files get the time of the commit in place of the checkout's.
    pub commit_time: bool,
    /// Whether `checksum` is fetched directly, without asking what the reference points to.
    pub fetch_by_commit: bool,
}

impl GitReference {
    /// Reads `git@host:path`, `ssh://`, `git://`, or `http(s)://` with a path that ends in `.git`; `None` if the
    /// text is something else. The error is a message about a query that makes no sense.
    pub fn parse(text: &str) -> Option<Result<Self, String>> {
        let (rest, fragment) = match text.split_once('#') {
            Some((rest, fragment)) => (rest, fragment),
            None => (text, ""),
        };
        let (remote, query) = match rest.split_once('?') {
            Some((remote, query)) => (remote, query),
            None => (rest, ""),
        };
        is_git_address(remote).then(|| Self::with_options(remote, query, fragment))
    }

    fn with_options(remote: &str, query: &str, fragment: &str) -> Result<Self, String> {
        let (reference, subdirectory) = fragment.split_once(':').unwrap_or((fragment, ""));
        let mut git = Self {
            remote: remote.to_owned(),
            reference: Some(decode(reference)).filter(|reference| !reference.is_empty()),
            subdirectory: Some(clean_subdirectory(&decode(subdirectory))).filter(|path| !path.is_empty()),
            ..Self::default()
        };
        let mut seen: Vec<String> = Vec::new();
        for item in query.split('&').filter(|item| !item.is_empty()) {
            let (key, value) = item.split_once('=').unwrap_or((item, ""));
            let (key, value) = (decode(key), decode(value));
            if seen.contains(&key) {
                return Err(format!("query {key:?} has multiple values"));
            }
            git.set(&key, value)?;
            seen.push(key);
        }
        Ok(git)
    }

    fn set(&mut self, key: &str, value: String) -> Result<(), String> {
        match key {
            "submodules" => self.submodules = Some(parse_switch(key, &value)?),
            "keep-git-dir" => self.keep_git_dir = Some(parse_switch(key, &value)?),
            "fetch-by-commit" => self.fetch_by_commit = parse_switch(key, &value)?,
            _ if value.is_empty() => return Err(format!("query {key:?} has no value")),
            "ref" => replace(&mut self.reference, value, "ref")?,
            "tag" => replace(&mut self.reference, qualified("refs/tags/", value), "ref")?,
            "branch" => replace(&mut self.reference, qualified("refs/heads/", value), "ref")?,
            "subdir" => replace(&mut self.subdirectory, value, "subdir")?,
            "checksum" | "commit" => self.checksum = Some(value),
            "mtime" => match value.as_str() {
                "checkout" | "commit" => self.commit_time = value == "commit",
                _ => {
                    return Err(format!(
                        "invalid mtime value: {value:?} (must be \"checkout\" or \"commit\")"
                    ));
                }
            },
            _ => return Err(format!("unexpected query {key:?}")),
        }
        Ok(())
    }
}

fn is_git_address(remote: &str) -> bool {
    match remote.split_once("://") {
        Some((scheme, rest)) => match scheme.to_lowercase().as_str() {
            "ssh" | "git" => true,
            "http" | "https" => rest
                .split_once('/')
                .is_some_and(|(_, path)| path.strip_suffix(".git").is_some()),
            _ => false,
        },
        None => remote.split_once('@').is_some_and(|(user, rest)| {
            let user_like = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            let host_like = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
            let host = rest.split_once(':').map(|(host, _)| host);
            !user.is_empty()
                && user.chars().all(user_like)
                && host.is_some_and(|host| !host.is_empty() && host.chars().all(host_like))
        }),
    }
}

fn replace(place: &mut Option<String>, value: String, name: &str) -> Result<(), String> {
    match place {
        Some(other) if *other != value => Err(format!("{name} conflicts: {other:?} vs {value:?}")),
        _ => {
            *place = Some(value);
            Ok(())
        }
    }
}

fn qualified(prefix: &str, name: String) -> String {
    if name.starts_with(prefix) {
        name
    } else {
        format!("{prefix}{name}")
    }
}

/// A switch in a query: no value means yes.
fn parse_switch(key: &str, value: &str) -> Result<bool, String> {
    match value {
        "" => Ok(true),
        value => boolean::parse(value).ok_or_else(|| format!("invalid {key} value: {value:?}")),
    }
}

fn clean_subdirectory(path: &str) -> String {
    crate::path::join("/", path).trim_start_matches('/').to_owned()
}

/// Replaces `%41`; anything that is no such escape stays.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let escaped = behind.get(..2).filter(|_| first == b'%').and_then(hexadecimal);
        bytes.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { &behind[2..] } else { behind };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hexadecimal(digits: &[u8]) -> Option<u8> {
    let digits = str::from_utf8(digits)
        .ok()
        .filter(|digits| !digits.starts_with('+'))?;
    u8::from_str_radix(digits, 16).ok()
}

/// Whether a source is fetched by HTTP.
pub(crate) fn is_http(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

/// The longest name that file systems take, in bytes.
const LONGEST_NAME: usize = 255;

/// The name of the file that an address gives: the last path element, or `__unnamed__` (H27). The path is decoded
/// before it is taken apart, so that a slash stays a slash, and what is no name of a file is none.
pub(crate) fn file_name(url: &str) -> String {
    let path = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = path.split(['?', '#']).next().unwrap_or(path);
    let path = decode(path.split_once('/').map_or("", |(_, path)| path));
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or("");
    let is_name = !matches!(name, "" | "." | "..") && !name.contains('\0') && name.len() <= LONGEST_NAME;
    if is_name { name } else { "__unnamed__" }.to_owned()
}

/// What a `--checksum` for a web address may be: an algorithm and as many hexadecimal digits as it gives (H28).
pub(crate) fn is_digest(text: &str) -> bool {
    text.split_once(':').is_some_and(|(algorithm, hex)| {
        let length = match algorithm {
            "sha256" => 64,
            "sha384" => 96,
            "sha512" => 128,
            _ => return false,
        };
        hex.len() == length && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_repositories_h29() {
        for text in [
            "git@host.test:a/b.git",
            "ssh://host.test/a",
            "git://host.test/a",
            "https://host.test/a.git#main:sub",
        ] {
            assert!(GitReference::parse(text).unwrap().is_ok(), "{text}");
        }
        for text in [
            "https://host.test/a",
            "a/b.git",
            "host.test:a",
            "file:///a.git",
            "a@b",
            "./a@b:c",
        ] {
            assert_eq!(GitReference::parse(text), None, "{text}");
        }
    }

    #[test]
    fn fragments_and_queries_h29() {
        let git = |text: &str| GitReference::parse(text).unwrap();
        let parsed = git("https://host.test/a.git#v1:sub/../dir").unwrap();
        assert_eq!(parsed.reference.as_deref(), Some("v1"));
        assert_eq!(parsed.subdirectory.as_deref(), Some("dir"));
        let parsed =
            git("https://host.test/a.git?tag=v1&subdir=d&submodules=false&keep-git-dir&mtime=commit")
                .unwrap();
        assert_eq!(parsed.remote, "https://host.test/a.git");
        assert_eq!(parsed.reference.as_deref(), Some("refs/tags/v1"));
        assert_eq!(
            (parsed.submodules, parsed.keep_git_dir, parsed.commit_time),
            (Some(false), Some(true), true)
        );
        for (query, word) in [
            ("ref=a&ref=b", "multiple"),
            ("ref=", "no value"),
            ("tag=a&branch=b", "conflicts"),
            ("submodules=maybe", "invalid"),
            ("mtime=now", "mtime"),
            ("odd=1", "unexpected"),
        ] {
            let error = git(&format!("https://host.test/a.git?{query}")).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn file_names_of_addresses_h27() {
        for (url, name) in [
            ("https://host.test/a/b.txt?x=1", "b.txt"),
            ("https://host.test/a/", "a"),
            ("https://host.test/", "__unnamed__"),
            ("https://host.test", "__unnamed__"),
            ("https://host.test/a%20b", "a b"),
            ("https://host.test/a/..%2f..%2fb", "b"),
            ("https://host.test/a/%2e%2e", "__unnamed__"),
            ("https://host.test/..", "__unnamed__"),
            ("https://host.test/a%00b", "__unnamed__"),
        ] {
            assert_eq!(file_name(url), name, "{url}");
        }
    }
}
