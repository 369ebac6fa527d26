//! The build plan: what a module's detection provides and requires.

use std::path::Path;

use crate::ValueTable;
use crate::document::{self, Fault, Flaw, Node, Table};

/// The file that `bin/detect` writes (B§Build Plan).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BuildPlan {
    /// The top level and then each `[[or]]`, in the order in which they are tried (PLN-01). Never empty once read.
    pub alternatives: Vec<PlanSections>,
}

/// One alternative of a build plan.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PlanSections {
    /// Names that the module provides.
    pub provides: Vec<String>,
    /// What the module requires.
    pub requires: Vec<Requirement>,
}

/// Something that a module requires, with what it has to say about it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Requirement {
    /// The name by which somebody provides it.
    pub name: String,
    /// `[metadata]` for the provider; none and an empty one are written differently.
    pub metadata: Option<ValueTable>,
}

impl BuildPlan {
    /// Reads the file; an empty one offers and wants nothing.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Flaw> {
        document::read(path, bytes, |root| {
            let mut alternatives = vec![PlanSections::read(root)?];
            alternatives.extend(root.each("or", PlanSections::read)?);
            Ok(Self { alternatives })
        })
    }
}

impl PlanSections {
    fn read(table: &Table<'_>) -> Result<Self, Fault> {
        Ok(Self {
            provides: table.each("provides", |provide| provide.required("name"))?,
            requires: table.each("requires", Requirement::read)?,
        })
    }
}

impl Requirement {
    pub(crate) fn read(table: &Table<'_>) -> Result<Self, Fault> {
        if table.has("version") {
            let message = "`version` belongs into `metadata`: as a key of its own it was removed";
            return Err(table.fault_at("version", message));
        }
        Ok(Self {
            name: table.required("name")?,
            metadata: table.values("metadata")?,
        })
    }

    pub(crate) fn node(&self) -> Node {
        Node::new()
            .string("name", &self.name)
            .values("metadata", self.metadata.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::BuildPlan;
    use crate::Value;

    fn parse(text: &str) -> Result<BuildPlan, crate::Flaw> {
        BuildPlan::parse(Path::new("plan.toml"), text.as_bytes())
    }

    #[test]
    fn top_level_first_then_each_or_pln_01() {
        let plan = parse(
            "[[provides]]\nname = 'a'\n[[requires]]\nname = 'a'\n[requires.metadata]\nv = '1'\n[[or]]\n[[or.provides]]\nname = 'b'\n[[or]]\n",
        )
        .unwrap();
        assert_eq!(plan.alternatives.len(), 3);
        assert_eq!(plan.alternatives[0].provides, ["a"]);
        assert_eq!(
            plan.alternatives[0].requires[0].metadata.as_ref().unwrap()["v"],
            Value::from("1")
        );
        assert_eq!(plan.alternatives[1].provides, ["b"]);
        assert_eq!(plan.alternatives[2], super::PlanSections::default());
    }

    #[test]
    fn an_empty_plan_is_one_empty_alternative() {
        assert_eq!(parse("").unwrap().alternatives, [super::PlanSections::default()]);
    }

    #[test]
    fn a_version_beside_the_name_is_refused_pln_08_x_19() {
        for text in [
            "[[requires]]\nname = 'a'\nversion = '1'\n",
            "[[or]]\nrequires = [{name = 'a', version = ''}]\n",
        ] {
            assert!(
                parse(text)
                    .unwrap_err()
                    .message()
                    .starts_with("`version` belongs into"),
                "{text}"
            );
        }
    }
}
