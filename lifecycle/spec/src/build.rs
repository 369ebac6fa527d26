//! `build.toml`: what a buildpack reports about its build.

use std::path::Path;

use crate::BomEntry;
use crate::document::{self, Flaw};

/// `<layers>/<bp>/build.toml` (BTM-01).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BuildToml {
    /// Names of plan entries that the buildpack leaves to later ones (UNM-02, UNM-04).
    pub unmet: Vec<String>,
    /// The legacy bill of materials.
    pub bom: Vec<BomEntry>,
}

impl BuildToml {
    /// Reads the file.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Flaw> {
        document::read(path, bytes, |root| {
            Ok(Self {
                unmet: root.each("unmet", |unmet| unmet.required("name"))?,
                bom: root.each("bom", BomEntry::read)?,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::BuildToml;

    #[test]
    fn unmet_names_unm_04() {
        let build = BuildToml::parse(Path::new("build.toml"), b"[[unmet]]\nname = 'a'\n").unwrap();
        assert_eq!(build.unmet, ["a"]);
        let error = BuildToml::parse(Path::new("build.toml"), b"[[unmet]]\nname = ''\n").unwrap_err();
        assert_eq!(error.to_string(), "build.toml:2:8: `name` must not be empty");
    }

    #[test]
    fn a_version_in_a_bom_entry_is_refused_btm_02() {
        let error = BuildToml::parse(Path::new("b"), b"[[bom]]\nname = 'a'\nversion = '1'\n").unwrap_err();
        assert!(
            error.message().starts_with("`version` belongs into `metadata`"),
            "{error}"
        );
    }
}
