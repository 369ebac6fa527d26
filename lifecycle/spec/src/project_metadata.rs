//! `project-metadata.toml`: where the source came from.

use std::path::Path;

use crate::ValueTable;
use crate::document::{self, Flaw, Node};

/// `project-metadata.toml`, and as JSON the label `io.buildpacks.project.metadata`.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ProjectMetadataToml {
    /// `[source]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<ProjectSource>,
}

/// Where the source came from.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ProjectSource {
    /// `git`, `image`, `s3`, …
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Which version of it, in the words of that kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<ValueTable>,
    /// What else there is to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<ValueTable>,
}

impl ProjectMetadataToml {
    /// Reads the file.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Flaw> {
        document::read(path, bytes, |root| {
            let source = match root.table("source")? {
                None => None,
                Some(source) => Some(ProjectSource {
                    kind: source.optional("type")?,
                    version: source.values("version")?.filter(|version| !version.is_empty()),
                    metadata: source.values("metadata")?.filter(|metadata| !metadata.is_empty()),
                }),
            };
            Ok(Self { source })
        })
    }

    /// The text of the file.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let source = self.source.as_ref().map(|source| {
            Node::new()
                .optional("type", source.kind.as_ref())
                .values("version", source.version.as_ref())
                .values("metadata", source.metadata.as_ref())
        });
        Node::new().optional_table("source", source).to_toml()
    }

    /// The label: `{}` when nothing is known.
    #[must_use]
    pub fn to_json(&self) -> String {
        crate::json::write(self)
    }

    /// Reads the label.
    pub fn parse_label(text: &str) -> Result<Self, Flaw> {
        crate::json::read(crate::label::PROJECT, text)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::ProjectMetadataToml;

    #[test]
    fn label_bytes_lifecycle_3_5() {
        assert_eq!(ProjectMetadataToml::default().to_json(), "{}");
        let text = "[source]\n  type = \"git\"\n  [source.version]\n    commit = \"abc\"\n  [source.metadata]\n    refs = [\"<a>\"]\n";
        let project = ProjectMetadataToml::parse(Path::new("p"), text.as_bytes()).unwrap();
        assert_eq!(project.to_toml(), text);
        let json =
            r#"{"source":{"type":"git","version":{"commit":"abc"},"metadata":{"refs":["\u003ca\u003e"]}}}"#;
        assert_eq!(project.to_json(), json);
        assert_eq!(ProjectMetadataToml::parse_label(json).unwrap(), project);
    }
}
