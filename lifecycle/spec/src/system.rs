//! `system.toml`: buildpacks that take part in every group.

use std::path::Path;

use crate::OrderEntry;
use crate::document::{self, Flaw, Node};

/// `/cnb/system.toml`, since Platform API 0.15 (DET-03, DET-04).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SystemToml {
    /// Put in front of each group.
    pub pre: Vec<OrderEntry>,
    /// Put behind each group.
    pub post: Vec<OrderEntry>,
}

impl SystemToml {
    /// Reads the file.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Flaw> {
        document::read(path, bytes, |root| match root.table("system")? {
            Some(system) => {
                let list = |key| match system.table(key)? {
                    Some(table) => table.each("buildpacks", OrderEntry::read),
                    None => Ok(Vec::new()),
                };
                Ok(Self {
                    pre: list("pre")?,
                    post: list("post")?,
                })
            }
            None => Ok(Self::default()),
        })
    }

    /// The text of the file.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let list = |entries: &[OrderEntry]| {
            (!entries.is_empty())
                .then(|| Node::new().tables("buildpacks", entries.iter().map(OrderEntry::node)))
        };
        let system = Node::new()
            .optional_table("pre", list(&self.pre))
            .optional_table("post", list(&self.post));
        Node::new().table("system", system).to_toml()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::SystemToml;

    #[test]
    fn optional_is_kept_det_04_x_03() {
        let text = r#"[system]
  [system.pre]

    [[system.pre.buildpacks]]
      id = "a"
      version = "1"
      optional = true
  [system.post]

    [[system.post.buildpacks]]
      id = "b"
      version = "2"
"#;
        let system = SystemToml::parse(Path::new("system.toml"), text.as_bytes()).unwrap();
        assert!(system.pre[0].optional);
        assert_eq!(system.to_toml(), text);
    }
}
