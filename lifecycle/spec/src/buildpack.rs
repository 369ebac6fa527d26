//! `buildpack.toml`: a buildpack's own description.

use std::path::Path;

use crate::document::{self, Fault, Flaw, Table};
use crate::order::OrderGroup;
use crate::{ApiError, BuildpackApi, BuildpackId, ExecEnvs, Target, ValueTable, Version};

/// `buildpack.toml` (B§buildpack.toml).
#[derive(Debug, Clone, PartialEq)]
pub struct BuildpackToml {
    /// The Buildpack API that it declares, as written.
    pub api: String,
    /// `[buildpack]`.
    pub buildpack: ModuleInfo,
    /// For a composite buildpack: the groups that it stands for.
    pub order: Vec<OrderGroup>,
    /// What it runs on. Since Buildpack API 0.10.
    pub targets: Vec<Target>,
    /// What it ran on before there were targets.
    pub stacks: Vec<Stack>,
    /// `[metadata]`, the buildpack's own.
    pub metadata: ValueTable,
}

/// `[buildpack]` or `[extension]`.
#[derive(Debug, Clone, PartialEq)]
pub struct ModuleInfo {
    /// The id.
    pub id: BuildpackId,
    /// The version.
    pub version: Version,
    /// The name for people.
    pub name: Option<String>,
    /// Where to read about it.
    pub homepage: Option<String>,
    /// What it does.
    pub description: Option<String>,
    /// Words to find it by.
    pub keywords: Vec<String>,
    /// Its licences.
    pub licenses: Vec<License>,
    /// Whether the user's variables stay out of its environment (ENV-06).
    pub clear_env: bool,
    /// Media types of the SBOM files that it writes.
    pub sbom_formats: Vec<String>,
    /// The execution environments that it supports. Counts since Buildpack API 0.12 (XEN-03).
    pub exec_env: ExecEnvs,
}

/// A licence, by SPDX identifier or by address.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct License {
    /// SPDX identifier.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Where its text is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
}

/// A deprecated `[[stacks]]` entry.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Stack {
    /// The stack id, or `*`.
    pub id: String,
    /// Mixins that must be there.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "crate::json::default_when_null"
    )]
    pub mixins: Vec<String>,
}

impl BuildpackToml {
    /// Reads the file. Unknown keys are ignored (BPT-04).
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Flaw> {
        Self::parse_with_warnings(path, bytes).map(|(document, _)| document)
    }

    /// Reads the file and lists its unknown keys, for tools that help to write it.
    pub fn parse_with_warnings(path: &Path, bytes: &[u8]) -> Result<(Self, Vec<Flaw>), Flaw> {
        document::read_with_warnings(path, bytes, |root| {
            let info = root
                .table("buildpack")?
                .ok_or_else(|| root.fault("missing table `[buildpack]`"))?;
            let order = root.each("order", OrderGroup::read)?;
            let stacks = root.each("stacks", Stack::read)?;
            if !order.is_empty() && !stacks.is_empty() {
                return Err(root.fault_at("stacks", "a buildpack with `order` cannot have `stacks`"));
            }
            Ok(Self {
                api: root.optional("api")?.unwrap_or_default(),
                buildpack: ModuleInfo::read(&info)?,
                order,
                targets: root.each("targets", Target::read)?,
                stacks,
                metadata: root.values("metadata")?.unwrap_or_default(),
            })
        })
    }

    /// The rules that the buildpack wants, or exit 12.
    pub fn negotiate(&self) -> Result<BuildpackApi, ApiError> {
        BuildpackApi::negotiate(&self.api, "Buildpack", &self.buildpack.label())
    }

    /// Whether it stands for other buildpacks and has no programs of its own (BPC-03).
    #[must_use]
    pub fn is_composite(&self) -> bool {
        !self.order.is_empty()
    }
}

impl ModuleInfo {
    /// `id@version`, as messages name the module.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}@{}", self.id, self.version)
    }

    pub(crate) fn read(table: &Table<'_>) -> Result<Self, Fault> {
        Ok(Self {
            id: table.required("id")?,
            version: table.required("version")?,
            name: table.optional("name")?,
            homepage: table.optional("homepage")?,
            description: table.optional("description")?,
            keywords: table.list("keywords")?,
            licenses: table.each("licenses", License::read)?,
            clear_env: table.flag("clear-env")?,
            sbom_formats: table.list("sbom-formats")?,
            exec_env: ExecEnvs(table.list_or_names("exec-env")?),
        })
    }
}

impl License {
    pub(crate) fn read(table: &Table<'_>) -> Result<Self, Fault> {
        Ok(Self {
            kind: table.optional("type")?,
            uri: table.optional("uri")?,
        })
    }
}

impl Stack {
    fn read(table: &Table<'_>) -> Result<Self, Fault> {
        Ok(Self {
            id: table.required("id")?,
            mixins: table.list("mixins")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::BuildpackToml;
    use crate::{BuildpackApi, Value};

    fn parse(text: &str) -> BuildpackToml {
        BuildpackToml::parse(Path::new("buildpack.toml"), text.as_bytes()).unwrap()
    }

    #[test]
    fn every_key_of_the_schema_bpt() {
        let text = r#"
api = "0.12"
[buildpack]
id = "acme/python"
name = "Python"
version = "1.2.3"
homepage = "https://acme.example"
description = "d"
keywords = ["k"]
clear-env = true
sbom-formats = ["application/vnd.cyclonedx+json"]
exec-env = ["test"]
[[buildpack.licenses]]
type = "MIT"
uri = "https://l.example"
[[targets]]
os = "linux"
arch = "arm64"
variant = "v8"
[[targets.distros]]
name = "debian"
version = "12"
[[stacks]]
id = "*"
mixins = ["m"]
[metadata]
include-files = ["a"]
pre = { x = 1 }
"#;
        let (buildpack, warnings) =
            BuildpackToml::parse_with_warnings(Path::new("buildpack.toml"), text.as_bytes()).unwrap();
        assert_eq!(warnings, []);
        assert_eq!(buildpack.negotiate(), Ok(BuildpackApi::V0_12));
        assert_eq!(buildpack.buildpack.label(), "acme/python@1.2.3");
        assert!(buildpack.buildpack.clear_env);
        assert_eq!(buildpack.targets[0].variant, "v8");
        assert_eq!(buildpack.targets[0].distros[0].name, "debian");
        assert_eq!(
            buildpack.metadata["include-files"],
            Value::Array(vec![Value::from("a")])
        );
        assert!(!buildpack.is_composite());
    }

    #[test]
    fn exec_env_in_both_forms_x_16() {
        for text in ["exec-env = ['test']", "[[buildpack.exec-env]]\nname = 'test'"] {
            let buildpack = parse(&format!("[buildpack]\nid = 'a'\nversion = '1'\n{text}\n"));
            assert!(buildpack.buildpack.exec_env.include("test"), "{text}");
            assert!(!buildpack.buildpack.exec_env.include("production"), "{text}");
        }
    }

    #[test]
    fn variant_in_both_spellings_x_11() {
        for key in ["variant", "arch-variant"] {
            let text = format!("[buildpack]\nid = 'a'\nversion = '1'\n[[targets]]\n{key} = 'v7'\n");
            assert_eq!(parse(&text).targets[0].variant, "v7");
        }
    }

    #[test]
    fn order_and_stacks_exclude_each_other_bpt_02() {
        let text = "[buildpack]\nid = 'a'\nversion = '1'\n[[stacks]]\nid = '*'\n[[order]]\ngroup = []\n";
        let error = BuildpackToml::parse(Path::new("b"), text.as_bytes()).unwrap_err();
        assert_eq!(error.message(), "a buildpack with `order` cannot have `stacks`");
    }

    #[test]
    fn unknown_keys_are_ignored_or_listed_bpt_04() {
        let text = "[buildpack]\nid = 'a'\nversion = '1'\nidd = 1\n";
        parse(text);
        let (_, warnings) = BuildpackToml::parse_with_warnings(Path::new("b"), text.as_bytes()).unwrap();
        assert_eq!(warnings[0].to_string(), "b:4:1: unknown key `buildpack.idd`");
    }
}
