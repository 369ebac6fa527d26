//! `stack.toml`: the run image of old builders.

use std::path::Path;

use crate::RunImageEntry;
use crate::document::{self, Flaw, Node};

/// `/cnb/stack.toml`, until Platform API 0.11; builders still carry it for old platforms (BU-05).
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StackToml {
    /// `[run-image]`.
    #[serde(rename = "runImage", default)]
    pub run_image: RunImageEntry,
}

impl StackToml {
    /// Reads the file.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Flaw> {
        document::read(path, bytes, |root| {
            let run_image = root
                .table("run-image")?
                .as_ref()
                .map(RunImageEntry::read)
                .transpose()?;
            Ok(Self {
                run_image: run_image.unwrap_or_default(),
            })
        })
    }

    /// The text of the file.
    #[must_use]
    pub fn to_toml(&self) -> String {
        self.node().to_toml()
    }

    pub(crate) fn node(&self) -> Node {
        Node::new().table("run-image", self.run_image.node())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::StackToml;

    #[test]
    fn is_written_as_it_is_read() {
        let text = "[run-image]\n  image = \"r/a\"\n  mirrors = [\"m/a\"]\n";
        assert_eq!(
            StackToml::parse(Path::new("stack.toml"), text.as_bytes())
                .unwrap()
                .to_toml(),
            text
        );
    }
}
