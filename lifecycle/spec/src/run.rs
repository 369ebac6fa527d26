//! `run.toml`: run images and their mirrors.

use std::path::Path;

use crate::document::{self, Fault, Flaw, Node, Table};

/// `/cnb/run.toml`, since Platform API 0.12 (P§run.toml). The first entry is the default (RUN-04).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunToml {
    /// The images.
    pub images: Vec<RunImageEntry>,
}

/// A run image and where else it can be had.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct RunImageEntry {
    /// Its reference.
    #[serde(
        default,
        skip_serializing_if = "String::is_empty",
        deserialize_with = "crate::json::default_when_null"
    )]
    pub image: String,
    /// References of the same image on other registries.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "crate::json::default_when_null"
    )]
    pub mirrors: Vec<String>,
}

impl RunToml {
    /// Reads the file.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Flaw> {
        document::read(path, bytes, |root| {
            Ok(Self {
                images: root.each("images", RunImageEntry::read)?,
            })
        })
    }

    /// The text of the file.
    #[must_use]
    pub fn to_toml(&self) -> String {
        Node::new()
            .tables("images", self.images.iter().map(RunImageEntry::node))
            .to_toml()
    }
}

impl RunImageEntry {
    /// Mirrors without an image are an error: there is nothing that they mirror.
    pub(crate) fn read(table: &Table<'_>) -> Result<Self, Fault> {
        let entry = Self {
            image: table.optional("image")?.unwrap_or_default(),
            mirrors: table.list("mirrors")?,
        };
        if entry.image.is_empty() && !entry.mirrors.is_empty() {
            return Err(table.fault_at("mirrors", "`mirrors` need an `image` that they mirror"));
        }
        Ok(entry)
    }

    pub(crate) fn node(&self) -> Node {
        Node::new()
            .optional("image", Some(&self.image))
            .optional_list("mirrors", &self.mirrors)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::RunToml;

    #[test]
    fn is_written_as_it_is_read() {
        let text = "[[images]]\n  image = \"r/a\"\n  mirrors = [\"m/a\"]\n\n[[images]]\n  image = \"r/b\"\n";
        assert_eq!(
            RunToml::parse(Path::new("run.toml"), text.as_bytes())
                .unwrap()
                .to_toml(),
            text
        );
    }

    #[test]
    fn mirrors_need_an_image() {
        let error = RunToml::parse(Path::new("run.toml"), b"[[images]]\nmirrors = ['m']\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "run.toml:2:11: `mirrors` need an `image` that they mirror"
        );
    }
}
