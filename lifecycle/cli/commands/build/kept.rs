//! Where layers are kept from one build to the next: `--cache` and `--cache-image`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lifecycle_image::Reference;
use lifecycle_store::{Cache, Sharing};

use crate::arguments::BuildArguments;
use crate::failure::Failure;
use crate::session::Session;

/// Where.
#[derive(Debug)]
pub(super) enum Kept {
    Nowhere,
    InDirectory(PathBuf),
    InStore(Cache),
}

impl Kept {
    pub(super) fn path(&self) -> Option<PathBuf> {
        match self {
            Self::Nowhere => None,
            Self::InDirectory(path) => Some(path.clone()),
            Self::InStore(cache) => Some(cache.path().to_owned()),
        }
    }

    /// A directory of the user's may lie on any file system and be written by anybody, so its layers are only in tars.
    pub(super) fn unpacked(&self) -> Option<PathBuf> {
        match self {
            Self::Nowhere | Self::InDirectory(_) => None,
            Self::InStore(cache) => Some(cache.path().join("unpacked")),
        }
    }

    /// The same goes for what extensions' Dockerfiles came to.
    pub(super) fn extended(&self) -> Option<PathBuf> {
        match self {
            Self::Nowhere | Self::InDirectory(_) => None,
            Self::InStore(cache) => Some(cache.path().join("extended")),
        }
    }
}

/// What `--cache` names.
#[derive(Debug, PartialEq, Eq)]
enum CacheName {
    /// `none`, a name in the store, or a directory, which has a slash.
    Word(String),
    /// An image in a registry.
    Image(Reference),
}

/// Reads `--cache`: a word, or as pack writes it `type=build` with `format=volume;name=NAME`, `format=bind;source=DIR` or
/// `format=image;name=IMAGE`.
fn cache_name(text: &str) -> Result<CacheName, Failure> {
    let is_word = ["name=", "source="].iter().all(|key| !text.contains(key));
    if !text.contains('=') || text.contains('/') && is_word {
        return Ok(CacheName::Word(text.to_owned()));
    }
    let mut parts: BTreeMap<&str, &str> = text.split(';').filter_map(|part| part.split_once('=')).collect();
    let mut take = |key| parts.remove(key);
    let (kind, format, name, source) = (take("type"), take("format"), take("name"), take("source"));
    let cache = match (kind.unwrap_or("build"), format.unwrap_or("volume"), name, source) {
        ("build", "volume", Some(name), None) if !name.contains('/') => {
            Some(CacheName::Word(name.to_owned()))
        }
        ("build", "bind", None, Some(source)) => {
            let path = std::path::absolute(source)?.join("");
            Some(CacheName::Word(path.display().to_string()))
        }
        ("build", "image", Some(name), None) => Some(CacheName::Image(name.parse()?)),
        _ => None,
    };
    cache.filter(|_| parts.is_empty()).ok_or_else(|| {
        Failure::new("cache", format!("{text:?} is no cache that there is here")).help(
            "write --cache NAME, --cache DIR, or type=build with format=volume;name=NAME, format=bind;source=DIR or \
             format=image;name=IMAGE; launch layers need no cache, the store has them",
        )
    })
}

/// The image that keeps layers: `--cache-image`, or a `--cache` that is one.
pub(super) fn cache_image(arguments: &BuildArguments) -> Result<Option<Reference>, Failure> {
    let named = arguments.cache.as_deref().map(cache_name).transpose()?;
    match (&arguments.pack.cache_image, named) {
        (Some(_), Some(CacheName::Image(_))) => Err(Failure::new(
            "cache",
            "--cache and --cache-image both name an image",
        )
        .help("leave one of them out")),
        (None, Some(CacheName::Image(image))) => Ok(Some(image)),
        (image, _) => Ok(image.clone()),
    }
}

/// The cache that `--cache` names, in a word or as pack writes it; without it, one for each repository.
pub(super) fn cache(
    arguments: &BuildArguments,
    name: &Reference,
    session: &Session,
) -> Result<Kept, Failure> {
    let named = match arguments.cache.as_deref().map(cache_name).transpose()? {
        Some(CacheName::Word(word)) => Some(word),
        // What an image keeps needs nothing beside it.
        Some(CacheName::Image(_)) => return Ok(Kept::Nowhere),
        None => None,
    };
    let key = match named.as_deref() {
        Some("none") => return Ok(Kept::Nowhere),
        Some(path) if path.contains('/') => {
            let path = std::path::absolute(Path::new(path))?;
            fs_err::create_dir_all(&path)?;
            return Ok(Kept::InDirectory(path));
        }
        Some(key) => key.to_owned(),
        None if arguments.pack.cache_image.is_some() => return Ok(Kept::Nowhere),
        None => name.repository().to_string(),
    };
    Ok(Kept::InStore(
        session.store()?.cache(&format!("build {key}"), Sharing::Locked)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_are_named_in_a_word_or_as_pack_does() {
        let word = |text: &str| Some(CacheName::Word(text.to_owned()));
        for (text, expected) in [
            ("none", word("none")),
            ("me", word("me")),
            ("./dir=x", word("./dir=x")),
            ("type=build;format=volume;name=me", word("me")),
            ("name=me;type=build", word("me")),
            ("type=build;format=bind;source=/srv/cache", word("/srv/cache/")),
            (
                "type=build;format=image;name=r.test/a/cache:1",
                Some(CacheName::Image("r.test/a/cache:1".parse().unwrap())),
            ),
            ("type=build;format=volume;name=a/b", None),
            ("type=launch;format=volume;name=me", None),
            ("type=build;format=image;source=x", None),
            ("type=build;format=volume;name=me;more=x", None),
        ] {
            assert_eq!(cache_name(text).ok(), expected, "{text}");
        }
    }
}
