//! A registry index: which buildpacks there are, and in which image each version is (cnb.md 4.5).

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use fs_err as fs;
use lifecycle_image::Reference;
use lifecycle_spec::BuildpackId;
use serde::Deserialize;

use crate::ModuleName;
use crate::address::is_registrable;

/// The directory of an index, for example a checkout of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryIndex {
    directory: PathBuf,
}

/// One version of a buildpack in an index.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct IndexEntry {
    /// The part of the id before the slash.
    pub ns: String,
    /// The part behind it.
    pub name: String,
    /// The version.
    pub version: String,
    /// Whether its author has taken it back.
    #[serde(default)]
    pub yanked: bool,
    /// Its image, by digest.
    pub addr: String,
}

/// An index has no answer.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The id cannot be in an index (RGX-01).
    #[error(
        "{id} cannot be in a registry index: ids there are NAMESPACE/NAME of small letters, digits, `-` and `.`"
    )]
    Id {
        /// The id.
        id: BuildpackId,
    },
    /// The index does not know the buildpack.
    #[error("the registry index in {} does not know {id}", directory.display())]
    Unknown {
        /// Where the index is.
        directory: PathBuf,
        /// The id.
        id: BuildpackId,
    },
    /// The index does not know the version.
    #[error("the registry index has no {wanted}; it has {known}")]
    Version {
        /// What was asked for.
        wanted: String,
        /// What there is.
        known: String,
    },
    /// A file of the index cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// A line of the index is wrong.
    #[error("{}:{line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}

impl RegistryIndex {
    /// The index in a directory.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    /// The entry of a buildpack: of the version that is asked for, else of the newest that was not taken back.
    pub fn find(&self, name: &ModuleName) -> Result<IndexEntry, IndexError> {
        let entries = self.entries(&name.id)?;
        let found = match &name.version {
            Some(version) => entries.iter().find(|entry| entry.version == version.as_str()),
            None => entries
                .iter()
                .filter(|entry| !entry.yanked)
                .max_by_key(|entry| semver::Version::parse(&entry.version).ok()),
        };
        found.cloned().ok_or_else(|| IndexError::Version {
            wanted: name.to_string(),
            known: entries
                .iter()
                .map(|entry| {
                    let yanked = if entry.yanked { " (yanked)" } else { "" };
                    format!("{}{yanked}", entry.version)
                })
                .collect::<Vec<_>>()
                .join(", "),
        })
    }

    /// All versions of a buildpack, in the order of the file.
    pub fn entries(&self, id: &BuildpackId) -> Result<Vec<IndexEntry>, IndexError> {
        let path = self
            .directory
            .join(path_of(id).ok_or_else(|| IndexError::Id { id: id.clone() })?);
        let file = match fs::File::open(&path) {
            Ok(file) => file,
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
                return Err(IndexError::Unknown {
                    directory: self.directory.clone(),
                    id: id.clone(),
                });
            }
            Err(cause) => return Err(IndexError::Read { path, cause }),
        };
        let mut entries = Vec::new();
        for (number, line) in BufReader::new(file).lines().enumerate() {
            let line = line.map_err(|cause| IndexError::Read {
                path: path.clone(),
                cause,
            })?;
            if line.trim().is_empty() {
                continue;
            }
            let entry = read_line(&line, id).map_err(|reason| IndexError::Line {
                path: path.clone(),
                line: number + 1,
                reason,
            })?;
            entries.push(entry);
        }
        Ok(entries)
    }
}

/// Reads a line. What it names must be the buildpack that was asked for, and one exact image: a tag may be moved by
/// whoever has the repository (RGX-02).
fn read_line(line: &str, id: &BuildpackId) -> Result<IndexEntry, String> {
    let entry: IndexEntry = serde_json::from_str(line).map_err(|error| error.to_string())?;
    if format!("{}/{}", entry.ns, entry.name) != id.as_str() {
        return Err(format!(
            "the entry is of {}/{}, not of {id}",
            entry.ns, entry.name
        ));
    }
    let reference: Reference = entry.addr.parse().map_err(|error| format!("`addr`: {error}"))?;
    if reference.digest().is_none() {
        return Err(format!("`addr`: {} has no digest", entry.addr));
    }
    Ok(entry)
}

/// The file of a buildpack (RGX-02).
fn path_of(id: &BuildpackId) -> Option<PathBuf> {
    if !is_registrable(id) {
        return None;
    }
    let (namespace, name) = id.as_str().split_once('/')?;
    let folder = match name.len() {
        length @ (1 | 2) => Path::new(&length.to_string()).to_owned(),
        3 => Path::new("3").join(&name[..2]),
        _ => Path::new(&name[..2]).join(&name[2..4]),
    };
    // `..` is made of characters that are allowed.
    let is_plain = folder
        .components()
        .all(|part| matches!(part, std::path::Component::Normal(_)));
    is_plain.then(|| folder.join(format!("{namespace}_{name}")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(text: &str) -> BuildpackId {
        BuildpackId::new(text).unwrap()
    }

    #[test]
    fn files_of_an_index_rgx_02() {
        for (text, path) in [
            ("acme/a", "1/acme_a"),
            ("acme/go", "2/acme_go"),
            ("acme/php", "3/ph/acme_php"),
            ("acme/java", "ja/va/acme_java"),
            ("acme/python", "py/th/acme_python"),
        ] {
            assert_eq!(path_of(&id(text)), Some(PathBuf::from(path)), "{text}");
        }
        for text in ["python", "Acme/x", "a/b/c", "acme/....", "acme/..x"] {
            assert_eq!(path_of(&id(text)), None, "{text}");
        }
    }

    #[test]
    fn the_newest_version_that_was_not_taken_back() {
        let directory = tempfile::tempdir().unwrap();
        let digest = "0".repeat(64);
        let line = |version: &str, yanked: bool| {
            format!(
                r#"{{"ns":"acme","name":"java","version":"{version}","yanked":{yanked},"addr":"r.test/java@sha256:{digest}"}}"#
            )
        };
        fs::create_dir_all(directory.path().join("ja/va")).unwrap();
        let file = directory.path().join("ja/va/acme_java");
        let lines = [line("1.9.0", false), line("1.10.0", false), line("2.0.0", true)];
        fs::write(&file, lines.join("\n")).unwrap();
        let index = RegistryIndex::new(directory.path());
        let find = |name: &str| index.find(&name.parse().unwrap());
        assert_eq!(find("acme/java").unwrap().version, "1.10.0");
        assert!(find("acme/java@2.0.0").unwrap().yanked);
        let error = find("acme/java@3").unwrap_err().to_string();
        assert_eq!(
            error,
            "the registry index has no acme/java@3; it has 1.9.0, 1.10.0, 2.0.0 (yanked)"
        );
        assert!(matches!(find("acme/jaws"), Err(IndexError::Unknown { .. })));
        assert!(matches!(find("java"), Err(IndexError::Id { .. })));

        for wrong in [
            "{",
            r#"{"ns":"acme","name":"other","version":"1","addr":"r.test/x"}"#,
            r#"{"ns":"acme","name":"java","version":"1","addr":"r.test/java:latest"}"#,
        ] {
            fs::write(&file, format!("{}\n{wrong}\n", line("1.0.0", false))).unwrap();
            let error = find("acme/java").unwrap_err().to_string();
            assert!(error.contains("acme_java:2: "), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_id_leaves_the_index(text in "[a-z0-9./_-]{1,20}") {
            if let Ok(id) = BuildpackId::new(text)
                && let Some(path) = path_of(&id)
            {
                let is_plain = |part| matches!(part, std::path::Component::Normal(_));
                prop_assert!(path.components().all(is_plain));
            }
        }
    }
}
