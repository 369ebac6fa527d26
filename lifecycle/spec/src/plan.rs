//! `plan.toml`: the resolved plan of the selected group.

use std::path::Path;

use crate::document::{self, Fault, Flaw, Node, Table};
use crate::{BuildpackId, Requirement, Version};

/// `plan.toml` (P§plan.toml, PLN-07). An empty plan is an empty file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PlanToml {
    /// One entry per name.
    pub entries: Vec<PlanEntry>,
}

/// All about one name of the plan.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PlanEntry {
    /// Who provides it, in group order.
    pub providers: Vec<Provider>,
    /// What is required of it, in group order.
    pub requires: Vec<Requirement>,
}

/// A module that provides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// The id.
    pub id: BuildpackId,
    /// The version.
    pub version: Version,
    /// Whether it is an extension. Since Platform API 0.10.
    pub extension: bool,
}

impl PlanToml {
    /// Reads the file.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Flaw> {
        document::read(path, bytes, |root| {
            Ok(Self {
                entries: root.each("entries", PlanEntry::read)?,
            })
        })
    }

    /// The text of the file.
    #[must_use]
    pub fn to_toml(&self) -> String {
        Node::new()
            .tables("entries", self.entries.iter().map(PlanEntry::node))
            .to_toml()
    }
}

impl PlanEntry {
    fn read(table: &Table<'_>) -> Result<Self, Fault> {
        Ok(Self {
            providers: table.each("providers", Provider::read)?,
            requires: table.each("requires", Requirement::read)?,
        })
    }

    fn node(&self) -> Node {
        Node::new()
            .tables("providers", self.providers.iter().map(Provider::node))
            .tables("requires", self.requires.iter().map(Requirement::node))
    }
}

impl Provider {
    fn read(table: &Table<'_>) -> Result<Self, Fault> {
        Ok(Self {
            id: table.required("id")?,
            version: table.required("version")?,
            extension: table.flag("extension")?,
        })
    }

    fn node(&self) -> Node {
        Node::new()
            .string("id", &self.id)
            .string("version", &self.version)
            .flag("extension", self.extension)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::PlanToml;

    #[test]
    fn golden_bytes_lifecycle_3_6() {
        let text = r#"[[entries]]

  [[entries.providers]]
    id = "acme/a"
    version = "1"

  [[entries.providers]]
    id = "acme/x"
    version = "2"
    extension = true

  [[entries.requires]]
    name = "python"
    [entries.requires.metadata]
      launch = true
      version = "3.12"

  [[entries.requires]]
    name = "python"
"#;
        let plan = PlanToml::parse(Path::new("plan.toml"), text.as_bytes()).unwrap();
        assert_eq!(plan.to_toml(), text);
    }

    #[test]
    fn an_empty_plan_is_an_empty_file_lifecycle_3_6() {
        assert_eq!(PlanToml::default().to_toml(), "");
        assert_eq!(PlanToml::parse(Path::new("p"), b"").unwrap(), PlanToml::default());
    }
}
