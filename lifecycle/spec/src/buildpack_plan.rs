//! The buildpack plan: the entries that one module is asked to provide.

use std::path::Path;

use crate::Requirement;
use crate::document::{self, Flaw, Node};

/// The file at `CNB_BP_PLAN_PATH` (B§Buildpack Plan, UNM-01).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BuildpackPlan {
    /// What is required of the module.
    pub entries: Vec<Requirement>,
}

impl BuildpackPlan {
    /// Reads the file.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Flaw> {
        document::read(path, bytes, |root| {
            Ok(Self {
                entries: root.each("entries", Requirement::read)?,
            })
        })
    }

    /// The text of the file.
    #[must_use]
    pub fn to_toml(&self) -> String {
        Node::new()
            .tables("entries", self.entries.iter().map(Requirement::node))
            .to_toml()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::BuildpackPlan;

    #[test]
    fn is_written_as_it_is_read_unm_01() {
        let text =
            "[[entries]]\n  name = \"a\"\n  [entries.metadata]\n    v = 1\n\n[[entries]]\n  name = \"b\"\n";
        let plan = BuildpackPlan::parse(Path::new("plan.toml"), text.as_bytes()).unwrap();
        assert_eq!(plan.to_toml(), text);
    }
}
