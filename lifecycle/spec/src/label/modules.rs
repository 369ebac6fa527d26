//! Labels about the modules of a builder or package: where they lie, and in which order they are tried.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::label;
use crate::json::default_when_null;
use crate::{BuildpackId, ExecEnvs, Flaw, License, Stack, Target, Version};

/// `io.buildpacks.buildpack.layers` and `io.buildpacks.extension.layers`: modules by id and version (BDR-05).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ModuleLayers(pub BTreeMap<BuildpackId, BTreeMap<Version, ModuleLayer>>);

label!(ModuleLayers, BUILDPACK_LAYERS);

/// One version of a module. Several may share a layer (BDR-06).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ModuleLayer {
    /// The Buildpack API that it declares.
    #[serde(default)]
    pub api: String,
    /// Its deprecated stacks.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "default_when_null"
    )]
    pub stacks: Vec<Stack>,
    /// What it runs on.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "default_when_null"
    )]
    pub targets: Vec<Target>,
    /// For a composite: its groups.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "default_when_null"
    )]
    pub order: Vec<OrderLabelGroup>,
    /// The diffID of its layer.
    #[serde(default, rename = "layerDiffID")]
    pub layer_diff_id: String,
    /// Where to read about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub homepage: Option<String>,
    /// The name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// `io.buildpacks.buildpack.order` and `io.buildpacks.buildpack.order-extensions` (BDR-04).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OrderLabel(#[serde(deserialize_with = "default_when_null")] pub Vec<OrderLabelGroup>);

label!(OrderLabel, BUILDPACK_ORDER);

/// One alternative of an order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderLabelGroup {
    /// The modules, in order.
    #[serde(deserialize_with = "default_when_null")]
    pub group: Vec<OrderLabelEntry>,
}

/// One module of a group. Unlike in order.toml the version may be missing: a builder knows which one it has (BU-03).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderLabelEntry {
    /// The id.
    pub id: BuildpackId,
    /// The version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// Whether the group passes without it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// The execution environments in which the entry counts.
    #[serde(
        default,
        rename = "exec-env",
        skip_serializing_if = "ExecEnvs::is_empty",
        deserialize_with = "default_when_null"
    )]
    pub exec_env: ExecEnvs,
}

/// `io.buildpacks.buildpackage.metadata`: the entry module of a package (PKG-04).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PackageLabel {
    /// The id.
    pub id: BuildpackId,
    /// The name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The version.
    pub version: Version,
    /// Where to read about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub homepage: Option<String>,
    /// What it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Words to find it by.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "default_when_null"
    )]
    pub keywords: Vec<String>,
    /// Its licences.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "default_when_null"
    )]
    pub licenses: Vec<License>,
    /// Stacks that all modules of the package support (PKG-06).
    #[serde(default, deserialize_with = "default_when_null")]
    pub stacks: Vec<Stack>,
}

label!(PackageLabel, PACKAGE);

/// `io.buildpacks.buildpack.system`: buildpacks that take part in every group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemLabel {
    /// Put in front of each group.
    #[serde(default, deserialize_with = "default_when_null")]
    pub pre: SystemLabelBuildpacks,
    /// Put behind each group.
    #[serde(default, deserialize_with = "default_when_null")]
    pub post: SystemLabelBuildpacks,
}

label!(SystemLabel, BUILDPACK_SYSTEM);

/// One end of a [`SystemLabel`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemLabelBuildpacks {
    /// The buildpacks, in order.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "default_when_null"
    )]
    pub buildpacks: Vec<OrderLabelEntry>,
}

/// Reads `io.buildpacks.stack.mixins`.
pub fn parse_mixins(text: &str) -> Result<Vec<String>, Flaw> {
    crate::json::read::<Option<_>>(super::STACK_MIXINS, text).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::{ModuleLayers, OrderLabel, PackageLabel, SystemLabel, parse_mixins};

    #[test]
    fn module_layers_golden_bytes_bdr_05() {
        let text = concat!(
            r#"{"acme/a":{"1":{"api":"0.10","targets":[{"os":"linux","arch":"amd64","distros":[{"name":"debian","version":"12"}]}],"layerDiffID":"sha256:a","name":"A"}},"#,
            r#""acme/c":{"2":{"api":"0.10","stacks":[{"id":"*"}],"order":[{"group":[{"id":"acme/a","version":"1","optional":true}]}],"layerDiffID":"sha256:c","homepage":"h"}}}"#,
        );
        assert_eq!(ModuleLayers::parse(text).unwrap().to_json(), text);
    }

    #[test]
    fn no_extensions_are_two_braces_bu_06() {
        assert_eq!(ModuleLayers::default().to_json(), "{}");
    }

    #[test]
    fn order_golden_bytes_bdr_04() {
        let text = r#"[{"group":[{"id":"acme/a","version":"1"},{"id":"acme/b","optional":true}]}]"#;
        assert_eq!(OrderLabel::parse(text).unwrap().to_json(), text);
        assert_eq!(OrderLabel::parse("null").unwrap(), OrderLabel::default());
    }

    #[test]
    fn package_golden_bytes_pkg_04() {
        let text = r#"{"id":"acme/a","name":"A","version":"1","stacks":[{"id":"*"}]}"#;
        assert_eq!(PackageLabel::parse(text).unwrap().to_json(), text);
    }

    #[test]
    fn system_golden_bytes_bdr_02() {
        let text = r#"{"pre":{"buildpacks":[{"id":"acme/a","version":"1","optional":true}]},"post":{}}"#;
        assert_eq!(SystemLabel::parse(text).unwrap().to_json(), text);
    }

    #[test]
    fn mixins_are_a_list_or_null() {
        assert_eq!(parse_mixins(r#"["a","build:b"]"#).unwrap(), ["a", "build:b"]);
        assert_eq!(parse_mixins("null").unwrap(), [] as [&str; 0]);
        assert!(parse_mixins("{}").is_err());
    }
}
