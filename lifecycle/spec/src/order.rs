//! `order.toml`: groups of modules in the order in which detection tries them.

use std::path::Path;

use crate::document::{self, Fault, Flaw, Node, Table};
use crate::{BuildpackId, ExecEnvs, Version};

/// `order.toml` (P§order.toml).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrderToml {
    /// Groups of buildpacks.
    pub order: Vec<OrderGroup>,
    /// Groups of extensions; always optional, never nested. Since Platform API 0.10.
    pub order_extensions: Vec<OrderGroup>,
}

/// One alternative of an order.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct OrderGroup {
    /// The modules, in order.
    pub group: Vec<OrderEntry>,
}

/// One module of a group.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct OrderEntry {
    /// The id.
    pub id: BuildpackId,
    /// The version.
    pub version: Version,
    /// Whether the group passes without it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// The execution environments in which the entry counts. Since Buildpack API 0.12 (ORD-07, X-18).
    #[serde(default, rename = "exec-env", skip_serializing_if = "ExecEnvs::is_empty")]
    pub exec_env: ExecEnvs,
}

impl OrderToml {
    /// Reads the file.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Flaw> {
        document::read(path, bytes, |root| {
            Ok(Self {
                order: root.each("order", OrderGroup::read)?,
                order_extensions: root.each("order-extensions", OrderGroup::read)?,
            })
        })
    }

    /// The text of the file.
    #[must_use]
    pub fn to_toml(&self) -> String {
        Node::new()
            .tables("order", self.order.iter().map(OrderGroup::node))
            .tables(
                "order-extensions",
                self.order_extensions.iter().map(OrderGroup::node),
            )
            .to_toml()
    }
}

impl OrderGroup {
    pub(crate) fn read(table: &Table<'_>) -> Result<Self, Fault> {
        Ok(Self {
            group: table.each("group", OrderEntry::read)?,
        })
    }

    fn node(&self) -> Node {
        Node::new().tables("group", self.group.iter().map(OrderEntry::node))
    }
}

impl OrderEntry {
    pub(crate) fn read(table: &Table<'_>) -> Result<Self, Fault> {
        Ok(Self {
            id: table.required("id")?,
            version: table.required("version")?,
            optional: table.flag("optional")?,
            exec_env: ExecEnvs(table.list_or_names("exec-env")?),
        })
    }

    pub(crate) fn node(&self) -> Node {
        Node::new()
            .string("id", &self.id)
            .string("version", &self.version)
            .flag("optional", self.optional)
            .optional_list("exec-env", &self.exec_env.0)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::OrderToml;

    #[test]
    fn is_written_as_it_is_read() {
        let text = r#"[[order]]

  [[order.group]]
    id = "acme/a"
    version = "1.0.0"

  [[order.group]]
    id = "acme/b"
    version = "2.0.0"
    optional = true
    exec-env = ["test"]

[[order-extensions]]

  [[order-extensions.group]]
    id = "acme/x"
    version = "0.0.1"
"#;
        let order = OrderToml::parse(Path::new("order.toml"), text.as_bytes()).unwrap();
        assert!(order.order[0].group[1].optional);
        assert_eq!(order.to_toml(), text);
    }

    #[test]
    fn entries_need_id_and_version_bpt_01() {
        let error = OrderToml::parse(Path::new("o"), b"[[order]]\ngroup = [{ id = 'a' }]").unwrap_err();
        assert_eq!(
            error.to_string(),
            "o:2:10: missing key `version` in `order.group`"
        );
    }
}
