//! `group.toml`: the modules that detection selected.

use crate::document::{Fault, Table};
use crate::{ApiError, BuildpackApi, BuildpackId, Version};

/// A module of the group. metadata.toml and the build label name modules in the same way.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "documents", derive(serde::Serialize, serde::Deserialize))]
pub struct GroupModule {
    /// The id.
    pub id: BuildpackId,
    /// The version.
    pub version: Version,
    /// Where to read about it.
    #[cfg_attr(
        feature = "documents",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub homepage: Option<String>,
    /// The Buildpack API that it declares, as written; [`GroupModule::negotiate`] makes it a [`BuildpackApi`].
    #[cfg_attr(
        feature = "documents",
        serde(default, skip_serializing_if = "String::is_empty")
    )]
    pub api: String,
}

impl GroupModule {
    /// `id@version`, as messages name the module.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}@{}", self.id, self.version)
    }

    /// The rules that this module wants, or exit 12. `kind` is `Buildpack`, `Extension`, or `buildpack` in the launcher.
    pub fn negotiate(&self, kind: &'static str) -> Result<BuildpackApi, ApiError> {
        BuildpackApi::negotiate(&self.api, kind, &self.label())
    }

    pub(crate) fn read(table: &Table<'_>) -> Result<Self, Fault> {
        Ok(Self {
            id: table.required("id")?,
            version: table.required("version")?,
            homepage: table.optional("homepage")?,
            // A module without one is refused when its API is negotiated, with the text that platforms know.
            api: table.optional("api")?.unwrap_or_default(),
        })
    }
}

#[cfg(feature = "documents")]
pub use file::GroupToml;

#[cfg(feature = "documents")]
mod file {
    use std::path::Path;

    use super::GroupModule;
    use crate::document::{self, Flaw, Node};

    /// `group.toml` (P§group.toml, DTA-03).
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    pub struct GroupToml {
        /// The buildpacks, in the order in which they build.
        pub buildpacks: Vec<GroupModule>,
        /// The extensions, in the order in which they generate. Since Platform API 0.10.
        pub extensions: Vec<GroupModule>,
    }

    impl GroupToml {
        /// Reads the file.
        pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Flaw> {
            document::read(path, bytes, |root| {
                Ok(Self {
                    buildpacks: root.each("group", GroupModule::read)?,
                    extensions: root.each("group-extensions", GroupModule::read)?,
                })
            })
        }

        /// The text of the file.
        #[must_use]
        pub fn to_toml(&self) -> String {
            Node::new()
                .tables("group", self.buildpacks.iter().map(GroupModule::node))
                .tables("group-extensions", self.extensions.iter().map(GroupModule::node))
                .to_toml()
        }
    }

    impl GroupModule {
        pub(crate) fn node(&self) -> Node {
            Node::new()
                .string("id", &self.id)
                .string("version", &self.version)
                .optional("api", Some(&self.api))
                .optional("homepage", self.homepage.as_ref())
        }
    }
}

#[cfg(test)]
#[cfg(feature = "documents")]
mod tests {
    use std::path::Path;

    use super::GroupToml;

    const TEXT: &str = r#"[[group]]
  id = "acme/a"
  version = "1.0.0"
  api = "0.12"
  homepage = "https://a.example"

[[group]]
  id = "acme/b"
  version = "2.0.0"
  api = "0.9"

[[group-extensions]]
  id = "acme/x"
  version = "0.0.1"
  api = "0.10"
"#;

    #[test]
    fn is_written_as_it_is_read_dta_03() {
        let group = GroupToml::parse(Path::new("group.toml"), TEXT.as_bytes()).unwrap();
        assert_eq!(group.buildpacks[1].label(), "acme/b@2.0.0");
        assert_eq!(group.to_toml(), TEXT);
    }

    #[test]
    fn a_member_without_version_is_an_error_with_its_place() {
        let error = GroupToml::parse(Path::new("group.toml"), b"\n[[group]]\nid = 'a'\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "group.toml:2:1: missing key `version` in `group`"
        );
    }

    #[test]
    fn a_member_without_api_is_refused_when_negotiated_bpc_01() {
        let group = GroupToml::parse(Path::new("g"), b"[[group]]\nid = 'a'\nversion = '1'\n").unwrap();
        let error = group.buildpacks[0].negotiate("Buildpack").unwrap_err();
        assert_eq!(
            error.to_string(),
            "failed to parse buildpack API '<nil>' for buildpack 'a@1'"
        );
    }
}
