//! `store.toml`: what a buildpack keeps from one build of an image to the next.

use std::path::Path;

use crate::ValueTable;
use crate::document::{self, Flaw, Node};

/// `<layers>/<bp>/store.toml` (BPB-05).
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct StoreToml {
    /// `[metadata]`, the buildpack's own.
    #[serde(default, deserialize_with = "crate::json::table_without_nulls")]
    pub metadata: ValueTable,
}

impl StoreToml {
    /// Reads the file.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Flaw> {
        document::read(path, bytes, |root| {
            Ok(Self {
                metadata: root.values("metadata")?.unwrap_or_default(),
            })
        })
    }

    /// The text of the file.
    #[must_use]
    pub fn to_toml(&self) -> String {
        self.node().to_toml()
    }

    pub(crate) fn node(&self) -> Node {
        Node::new().values("metadata", Some(&self.metadata))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::StoreToml;

    #[test]
    fn is_written_as_it_is_read_bpb_05() {
        let text = "[metadata]\n  a = 1\n  [metadata.b]\n    c = 1979-05-27T07:32:00Z\n";
        let store = StoreToml::parse(Path::new("store.toml"), text.as_bytes()).unwrap();
        assert_eq!(store.to_toml(), text);
    }
}
