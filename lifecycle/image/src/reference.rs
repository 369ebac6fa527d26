//! Image names.

use std::fmt;
use std::str::FromStr;

use crate::Digest;

/// The registry a name without one belongs to, as container engines have always read it.
const DEFAULT_REGISTRY: &str = "index.docker.io";
/// Other spellings of the default registry.
const DEFAULT_REGISTRY_ALIASES: [&str; 2] = ["docker.io", "registry-1.docker.io"];
/// Where one-word names of the default registry live.
const DEFAULT_NAMESPACE: &str = "library";
/// The tag of a name that has neither tag nor digest.
const DEFAULT_TAG: &str = "latest";

/// A repository of a registry: `registry/path`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository {
    registry: String,
    path: String,
}

impl Repository {
    /// The registry's host, with the port if the name has one. Docker Hub is always `index.docker.io`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path below the registry, without a leading slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The name as people write it: Docker Hub's host and `library/` are left out where they follow from the rest.
    pub fn familiar(&self) -> String {
        if self.registry != DEFAULT_REGISTRY {
            return self.to_string();
        }
        match self.path.strip_prefix("library/") {
            Some(name) if !name.contains('/') => name.to_owned(),
            // What would be read as another registry keeps its own.
            _ if split_registry(&self.path).0.is_some() => self.to_string(),
            _ => self.path.clone(),
        }
    }

    /// The reference to the content that `digest` addresses here.
    pub fn at(&self, digest: &Digest) -> Reference {
        Reference {
            repository: self.clone(),
            tag: None,
            digest: Some(digest.clone()),
        }
    }

    /// The reference to what `tag` names here.
    pub fn tagged(&self, tag: &str) -> Result<Reference, InvalidReference> {
        check_tag(tag).map_err(|reason| InvalidReference {
            text: format!("{self}:{tag}"),
            reason,
        })?;
        Ok(Reference {
            repository: self.clone(),
            tag: Some(tag.to_owned()),
            digest: None,
        })
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)
    }
}

/// The name of an image: a repository with a tag, a digest, or both. Always fully qualified; a name without
/// tag and digest gets the tag `latest`. When both are there the digest decides.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    repository: Repository,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// The text does not name an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} does not name an image: {reason}")]
pub struct InvalidReference {
    text: String,
    reason: &'static str,
}

impl Reference {
    /// The repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The registry's host, with the port if there is one.
    pub fn registry(&self) -> &str {
        &self.repository.registry
    }

    /// The tag, if the name has one.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if the name has one.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What a registry is asked for: the digest if there is one, else the tag.
    pub fn identifier(&self) -> &str {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.as_str(),
            (None, Some(tag)) => tag,
            (None, None) => DEFAULT_TAG,
        }
    }

    /// The name as people write it: Docker Hub's host, `library/` and the tag `latest` are left out.
    pub fn familiar(&self) -> String {
        let mut name = self.repository.familiar();
        match (&self.tag, &self.digest) {
            (Some(tag), None) if tag == DEFAULT_TAG => {}
            (Some(tag), _) => name = format!("{name}:{tag}"),
            (None, _) => {}
        }
        match &self.digest {
            Some(digest) => format!("{name}@{digest}"),
            None => name,
        }
    }
}

impl FromStr for Reference {
    type Err = InvalidReference;

    /// Reads `[registry[:port]/]path[:tag][@digest]`.
    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        parse(text).map_err(|reason| InvalidReference {
            text: text.chars().take(300).collect(),
            reason,
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.repository.fmt(f)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

fn parse(text: &str) -> Result<Reference, &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => {
            let digest = digest
                .parse::<Digest>()
                .map_err(|_| "the part after `@` is not a digest")?;
            (rest, Some(digest))
        }
        None => (text, None),
    };
    let (registry, rest) = split_registry(rest);
    let (path, tag) = match rest.rsplit_once(':') {
        Some((path, tag)) => {
            check_tag(tag)?;
            (path, Some(tag.to_owned()))
        }
        None => (rest, None),
    };
    check_path(path)?;
    let registry = match registry {
        Some(registry) => {
            check_registry(registry)?;
            if DEFAULT_REGISTRY_ALIASES.contains(&registry) {
                DEFAULT_REGISTRY
            } else {
                registry
            }
        }
        None => DEFAULT_REGISTRY,
    };
    let path = if registry == DEFAULT_REGISTRY && !path.contains('/') {
        format!("{DEFAULT_NAMESPACE}/{path}")
    } else {
        path.to_owned()
    };
    let tag = tag.or_else(|| digest.is_none().then(|| DEFAULT_TAG.to_owned()));
    Ok(Reference {
        repository: Repository {
            registry: registry.to_owned(),
            path,
        },
        tag,
        digest,
    })
}

/// The first component is a registry if it could not be part of a path: it has a dot or a port, is
/// `localhost`, or has capital letters.
fn split_registry(text: &str) -> (Option<&str>, &str) {
    match text.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|byte| byte.is_ascii_uppercase()) =>
        {
            (Some(first), rest)
        }
        _ => (None, text),
    }
}

fn check_registry(registry: &str) -> Result<(), &'static str> {
    let (host, port) = match registry.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest
                .split_once(']')
                .ok_or("the IPv6 address has no closing bracket")?;
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return Err("the part in brackets is not an IPv6 address");
            }
            match port.strip_prefix(':') {
                Some(port) => (None, Some(port)),
                None if port.is_empty() => (None, None),
                None => return Err("only a port may follow the IPv6 address"),
            }
        }
        None => match registry.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(registry), None),
        },
    };
    if let Some(host) = host {
        let label_is_good = |label: &str| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        if host.len() > 253 || !host.split('.').all(label_is_good) {
            return Err("the registry is not a host name");
        }
    }
    match port.map(str::parse::<u16>) {
        Some(Err(_)) => Err("the registry's port is not a number up to 65535"),
        _ => Ok(()),
    }
}

fn check_path(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        return Err("the repository is missing");
    }
    if path.len() > 255 {
        return Err("the repository is longer than 255 characters");
    }
    if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err("the repository must be in lower case");
    }
    if path.split('/').all(is_path_component) {
        Ok(())
    } else {
        Err(
            "a component of the repository is not made of a-z, 0-9 with single separators `.`, `_`, `__` or dashes between",
        )
    }
}

fn is_path_component(component: &str) -> bool {
    let separator_is_good =
        |separator: &str| matches!(separator, "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-');
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    alphanumeric(first)
        && alphanumeric(last)
        && component
            .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            .filter(|separator| !separator.is_empty())
            .all(separator_is_good)
}

fn check_tag(tag: &str) -> Result<(), &'static str> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    match tag.as_bytes() {
        [] => Err("the tag is empty"),
        bytes if bytes.len() > 128 => Err("the tag is longer than 128 characters"),
        [first, rest @ ..]
            if word(*first) && rest.iter().all(|&byte| word(byte) || matches!(byte, b'.' | b'-')) =>
        {
            Ok(())
        }
        _ => Err(
            "the tag may hold only letters, digits, `_`, `.` and `-`, and begins with none of the last two",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_qualified() {
        for (text, full, familiar) in [
            ("app", "index.docker.io/library/app:latest", "app"),
            ("me/app:1", "index.docker.io/me/app:1", "me/app:1"),
            ("docker.io/app", "index.docker.io/library/app:latest", "app"),
            ("localhost/app", "localhost/app:latest", "localhost/app"),
            (
                "localhost:5000/a/b:t",
                "localhost:5000/a/b:t",
                "localhost:5000/a/b:t",
            ),
            ("127.0.0.1:80/a", "127.0.0.1:80/a:latest", "127.0.0.1:80/a"),
            ("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a"),
            (
                "registry.test/a__b/c--d.e",
                "registry.test/a__b/c--d.e:latest",
                "registry.test/a__b/c--d.e",
            ),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(reference.to_string(), full, "{text}");
            assert_eq!(reference.familiar(), familiar, "{text}");
            assert_eq!(full.parse::<Reference>().unwrap(), reference, "{text}");
        }
    }

    #[test]
    fn what_people_write_means_the_same() {
        for (path, familiar) in [
            ("library/a", "a"),
            ("library/a/b", "library/a/b"),
            ("localhost/a", "index.docker.io/localhost/a"),
            ("a.b/c", "index.docker.io/a.b/c"),
        ] {
            let reference: Reference = format!("{DEFAULT_REGISTRY}/{path}").parse().unwrap();
            let short = reference.familiar();
            assert_eq!(short, familiar);
            assert_eq!(short.parse::<Reference>().unwrap(), reference, "{path}");
        }
    }

    #[test]
    fn a_digest_decides() {
        let digest = Digest::of(b"");
        let reference: Reference = format!("r.test/a:t@{digest}").parse().unwrap();
        assert_eq!(reference.identifier(), digest.as_str());
        assert_eq!(reference.tag(), Some("t"));
        let reference: Reference = format!("r.test/a@{digest}").parse().unwrap();
        assert_eq!(reference.tag(), None);
    }

    #[test]
    fn names_that_are_none() {
        let long = format!("r.test/{}", "a".repeat(256));
        for text in [
            "",
            "/",
            "a/",
            "/a",
            "App",
            "a//b",
            "a_",
            "-a",
            "a___b",
            "a..b",
            "a:",
            "a:.t",
            "a: t",
            "a@sha256:12",
            "r.test:99999/a",
            "r.test:/a",
            "-r.test/a",
            "[::1/a",
            "[x]/a",
            "a/../b",
            "a b",
            "a\0b",
            "user@host/a",
            &long,
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text:?}");
        }
    }
}
