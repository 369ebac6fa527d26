//! Where an image is or shall go, as written on the command line.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use lifecycle_image::{InvalidReference, Reference};

/// A place for an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// `NAME`, where nothing says more: the local store if it has it, else the name's registry.
    Nearest(Reference),
    /// `store:NAME`: the local store.
    Store(Reference),
    /// `registry:NAME`.
    Registry(Reference),
    /// `oci:DIRECTORY[:NAME]`: an OCI layout directory.
    Layout(PathBuf, Option<String>),
    /// `oci-archive:FILE[:NAME]`: a tar of an OCI layout.
    OciArchive(PathBuf, Option<String>),
    /// `docker-archive:FILE[:NAME]`: what `docker save` writes.
    DockerArchive(PathBuf, Option<String>),
}

/// The text names no place.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidPlace {
    /// The part that should name an image does not.
    #[error(transparent)]
    Reference(#[from] InvalidReference),
    /// The path is missing.
    #[error("{0:?} has no path: expected {0}PATH or {0}PATH:NAME")]
    NoPath(String),
}

impl Place {
    /// Reads a place; a name without a prefix stands for `default`.
    pub(crate) fn parse(text: &str, default: fn(Reference) -> Place) -> Result<Self, InvalidPlace> {
        let Some((kind, rest)) = text.split_once(':') else {
            return Ok(default(text.parse()?));
        };
        let path = |make: fn(PathBuf, Option<String>) -> Place| {
            // The name may hold colons of its own, the path may not.
            let (path, name) = match rest.split_once(':') {
                Some((path, name)) if !name.is_empty() => (path, Some(name.to_owned())),
                _ => (rest.trim_end_matches(':'), None),
            };
            if path.is_empty() {
                Err(InvalidPlace::NoPath(format!("{kind}:")))
            } else {
                Ok(make(path.into(), name))
            }
        };
        match kind {
            "store" => Ok(Self::Store(rest.parse()?)),
            "registry" => Ok(Self::Registry(rest.parse()?)),
            "docker" if rest.starts_with("//") => Ok(Self::Registry(rest[2..].parse()?)),
            "oci" => path(Self::Layout),
            "oci-archive" => path(Self::OciArchive),
            "docker-archive" => path(Self::DockerArchive),
            _ => Ok(default(text.parse()?)),
        }
    }
}

/// A name without a prefix stands for a registry.
impl FromStr for Place {
    type Err = InvalidPlace;

    fn from_str(text: &str) -> Result<Self, InvalidPlace> {
        Self::parse(text, Self::Registry)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, path, name) = match self {
            Self::Store(reference) => return write!(f, "store:{}", reference.familiar()),
            Self::Nearest(reference) | Self::Registry(reference) => {
                return f.write_str(&reference.familiar());
            }
            Self::Layout(path, name) => ("oci", path, name),
            Self::OciArchive(path, name) => ("oci-archive", path, name),
            Self::DockerArchive(path, name) => ("docker-archive", path, name),
        };
        write!(f, "{kind}:{}", path.display())?;
        name.as_ref().map_or(Ok(()), |name| write!(f, ":{name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_by_their_prefix() {
        let parse = |text: &str| text.parse::<Place>().unwrap();
        let reference = |text: &str| text.parse::<Reference>().unwrap();
        assert_eq!(parse("app:1"), Place::Registry(reference("app:1")));
        assert_eq!(
            parse("localhost:5000/app"),
            Place::Registry(reference("localhost:5000/app"))
        );
        assert_eq!(parse("docker://app"), Place::Registry(reference("app")));
        assert_eq!(parse("store:app"), Place::Store(reference("app")));
        assert_eq!(parse("oci:out"), Place::Layout("out".into(), None));
        assert_eq!(
            parse("oci:out:r.test/app:1"),
            Place::Layout("out".into(), Some("r.test/app:1".into()))
        );
        assert_eq!(
            parse("oci-archive:a.tar:v1"),
            Place::OciArchive("a.tar".into(), Some("v1".into()))
        );
        assert_eq!(
            parse("docker-archive:a.tar"),
            Place::DockerArchive("a.tar".into(), None)
        );
        assert!("oci:".parse::<Place>().is_err());
        assert!("App".parse::<Place>().is_err());
    }
}
