//! The legacy bill of materials (BTM-02).

use crate::ValueTable;
use crate::document::{Fault, Node, Table};

/// One `[[bom]]` entry of launch.toml, build.toml, metadata.toml or report.toml.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct BomEntry {
    /// What it is about.
    pub name: String,
    /// What is to be said about it.
    pub metadata: Option<ValueTable>,
    /// Who said so; empty until the lifecycle adds it.
    pub buildpack: BomBuildpack,
}

/// The buildpack that an entry came from.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct BomBuildpack {
    /// The id.
    pub id: String,
    /// The version.
    pub version: String,
}

impl BomEntry {
    pub(crate) fn read(table: &Table<'_>) -> Result<Self, Fault> {
        if table.has("version") {
            let message = "`version` belongs into `metadata`: as a key of its own it was removed";
            return Err(table.fault_at("version", message));
        }
        let buildpack = match table.table("buildpack")? {
            Some(buildpack) => BomBuildpack {
                id: buildpack.optional("id")?.unwrap_or_default(),
                version: buildpack.optional("version")?.unwrap_or_default(),
            },
            None => BomBuildpack::default(),
        };
        Ok(Self {
            name: table.required("name")?,
            metadata: table.values("metadata")?,
            buildpack,
        })
    }

    pub(crate) fn node(&self) -> Node {
        let BomBuildpack { id, version } = &self.buildpack;
        Node::new()
            .string("name", &self.name)
            .values("metadata", self.metadata.as_ref())
            .table(
                "buildpack",
                Node::new().string("id", id).string("version", version),
            )
    }
}
