//! `io.buildpacks.lifecycle.metadata`: which layers of an app image are what.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::label;
use crate::document::{Fault, Node, Table};
use crate::json::{default_when_null, null_when_empty, table_without_nulls};
use crate::{BuildpackId, RunImageEntry, StackToml, StoreToml, ValueTable};

/// The lifecycle's own label on an app image; as TOML it is `[metadata]` of analyzed.toml (LBL-01).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LifecycleLabel {
    /// The app layers: one per slice, and the rest.
    #[serde(default, deserialize_with = "default_when_null")]
    pub app: AppLayers,
    /// The SBOM layer. Since Platform API 0.8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sbom: Option<LayerSha>,
    /// Launch layers by buildpack, in group order.
    #[serde(
        default,
        serialize_with = "null_when_empty",
        deserialize_with = "default_when_null"
    )]
    pub buildpacks: Vec<BuildpackLayers>,
    /// The layer of `config/metadata.toml`.
    #[serde(default, deserialize_with = "default_when_null")]
    pub config: LayerSha,
    /// The execution environment. Since Platform API 0.15 (X-14).
    #[serde(default, rename = "exec-env", skip_serializing_if = "Option::is_none")]
    pub exec_env: Option<String>,
    /// The launcher's layer.
    #[serde(default, deserialize_with = "default_when_null")]
    pub launcher: LayerSha,
    /// The layer of links in `/cnb/process`; empty if there are no processes (LBL-04).
    #[serde(default, rename = "process-types", deserialize_with = "default_when_null")]
    pub process_types: LayerSha,
    /// The run image.
    #[serde(default, rename = "runImage", deserialize_with = "default_when_null")]
    pub run_image: RunImageLabel,
    /// The run image for old platforms, always written (LBL-03).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<StackToml>,
    /// What other tools added; kept through a rebase (REB-13).
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

label!(LifecycleLabel, LIFECYCLE);

/// The diffID of a layer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerSha {
    /// `sha256:…` of the uncompressed layer, or empty.
    #[serde(default, deserialize_with = "default_when_null")]
    pub sha: String,
}

/// The key `app`. Some images have another shape there, which survives a rebase (REB-13).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AppLayers {
    /// One entry per layer; none is `null`.
    Layers(#[serde(serialize_with = "null_when_empty")] Vec<LayerSha>),
    /// Whatever else there is.
    Other(serde_json::Value),
}

/// The launch layers of one buildpack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BuildpackLayers {
    /// The buildpack's id, with its slashes (LBL-05).
    pub key: BuildpackId,
    /// The buildpack's version.
    #[serde(default, deserialize_with = "default_when_null")]
    pub version: String,
    /// Layers by name.
    #[serde(default, deserialize_with = "default_when_null")]
    pub layers: BTreeMap<String, LayerMetadata>,
    /// What the buildpack keeps from build to build (EXP-21).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreToml>,
}

/// A layer and what its buildpack says about it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LayerMetadata {
    /// The diffID.
    #[serde(default, deserialize_with = "default_when_null")]
    pub sha: String,
    /// `[metadata]` of the layer's TOML.
    #[serde(default, deserialize_with = "table_without_nulls")]
    pub data: Option<ValueTable>,
    /// `types.build`
    #[serde(default)]
    pub build: bool,
    /// `types.launch`
    #[serde(default)]
    pub launch: bool,
    /// `types.cache`
    #[serde(default)]
    pub cache: bool,
}

/// The run image of an app image, for rebasing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunImageLabel {
    /// The diffID of its last layer.
    #[serde(default, rename = "topLayer", deserialize_with = "default_when_null")]
    pub top_layer: String,
    /// Its digest reference, daemon image id or layout path.
    #[serde(default, deserialize_with = "default_when_null")]
    pub reference: String,
    /// Its name and mirrors. Since Platform API 0.12 (LBL-02).
    #[serde(flatten)]
    pub source: RunImageEntry,
}

impl LifecycleLabel {
    /// The layers of a buildpack, whatever its version (LYR-10).
    #[must_use]
    pub fn buildpack(&self, id: &BuildpackId) -> Option<&BuildpackLayers> {
        self.buildpacks.iter().find(|buildpack| buildpack.key == *id)
    }

    pub(crate) fn read(table: &Table<'_>) -> Result<Self, Fault> {
        let sha = |key| {
            Ok(table
                .table(key)?
                .as_ref()
                .map(LayerSha::read)
                .transpose()?
                .unwrap_or_default())
        };
        Ok(Self {
            app: AppLayers::Layers(table.each("app", LayerSha::read)?),
            sbom: table.table("sbom")?.as_ref().map(LayerSha::read).transpose()?,
            buildpacks: table.each("buildpacks", BuildpackLayers::read)?,
            config: sha("config")?,
            exec_env: table.optional("exec-env")?,
            launcher: sha("launcher")?,
            process_types: sha("process-types")?,
            run_image: table
                .table("run-image")?
                .as_ref()
                .map(RunImageLabel::read)
                .transpose()?
                .unwrap_or_default(),
            stack: match table
                .table("stack")?
                .map(|stack| stack.table("run-image"))
                .transpose()?
                .flatten()
            {
                Some(run_image) => Some(StackToml {
                    run_image: RunImageEntry::read(&run_image)?,
                }),
                None => None,
            },
            other: BTreeMap::new(),
        })
    }

    pub(crate) fn node(&self) -> Node {
        // An unknown shape of `app` has no TOML form; it matters to a rebase only, which reads the label itself.
        let app: &[LayerSha] = if let AppLayers::Layers(layers) = &self.app {
            layers
        } else {
            &[]
        };
        Node::new()
            .optional("exec-env", self.exec_env.as_ref())
            .tables("app", app.iter().map(LayerSha::node))
            .optional_table("sbom", self.sbom.as_ref().map(LayerSha::node))
            .tables("buildpacks", self.buildpacks.iter().map(BuildpackLayers::node))
            .table("config", self.config.node())
            .table("launcher", self.launcher.node())
            .table("process-types", self.process_types.node())
            .table("run-image", self.run_image.node())
            .optional_table("stack", self.stack.as_ref().map(StackToml::node))
    }
}

impl Default for AppLayers {
    fn default() -> Self {
        Self::Layers(Vec::new())
    }
}

impl LayerSha {
    /// The layer with this diffID.
    #[must_use]
    pub fn new(sha: impl Into<String>) -> Self {
        Self { sha: sha.into() }
    }

    fn read(table: &Table<'_>) -> Result<Self, Fault> {
        Ok(Self {
            sha: table.optional("sha")?.unwrap_or_default(),
        })
    }

    fn node(&self) -> Node {
        Node::new().string("sha", &self.sha)
    }
}

impl BuildpackLayers {
    fn read(table: &Table<'_>) -> Result<Self, Fault> {
        let mut layers = BTreeMap::new();
        if let Some(names) = table.table("layers")? {
            for name in names.keys() {
                if let Some(layer) = names.table(name)? {
                    layers.insert(name.to_owned(), LayerMetadata::read(&layer)?);
                }
            }
        }
        let store = match table.table("store")? {
            Some(store) => Some(StoreToml {
                metadata: store.values("metadata")?.unwrap_or_default(),
            }),
            None => None,
        };
        Ok(Self {
            key: table.required("key")?,
            version: table.optional("version")?.unwrap_or_default(),
            layers,
            store,
        })
    }

    fn node(&self) -> Node {
        let layers = self
            .layers
            .iter()
            .fold(Node::new(), |node, (name, layer)| node.table(name, layer.node()));
        Node::new()
            .string("key", &self.key)
            .string("version", &self.version)
            .table("layers", layers)
            .optional_table("store", self.store.as_ref().map(StoreToml::node))
    }
}

impl LayerMetadata {
    fn read(table: &Table<'_>) -> Result<Self, Fault> {
        Ok(Self {
            sha: table.optional("sha")?.unwrap_or_default(),
            data: table.values("metadata")?,
            build: table.flag("build")?,
            launch: table.flag("launch")?,
            cache: table.flag("cache")?,
        })
    }

    fn node(&self) -> Node {
        Node::new()
            .string("sha", &self.sha)
            .boolean("build", self.build)
            .boolean("launch", self.launch)
            .boolean("cache", self.cache)
            .values("metadata", self.data.as_ref())
    }
}

impl RunImageLabel {
    fn read(table: &Table<'_>) -> Result<Self, Fault> {
        Ok(Self {
            top_layer: table.optional("top-layer")?.unwrap_or_default(),
            reference: table.optional("reference")?.unwrap_or_default(),
            source: RunImageEntry::read(table)?,
        })
    }

    fn node(&self) -> Node {
        Node::new()
            .string("top-layer", &self.top_layer)
            .string("reference", &self.reference)
            .optional("image", Some(&self.source.image))
            .optional_list("mirrors", &self.source.mirrors)
    }
}

#[cfg(test)]
mod tests {
    use super::{AppLayers, LifecycleLabel};
    use crate::{Value, ValueTable};

    /// Key order, nulls and escapes as lifecycle.md 3.5 lists them.
    const GOLDEN: &str = concat!(
        r#"{"app":[{"sha":"sha256:a"}],"sbom":{"sha":"sha256:s"},"#,
        r#""buildpacks":[{"key":"acme/a","version":"1","layers":{"deps":{"sha":"sha256:b","data":{"f":1.5,"i":1,"t":"\u003c\u0026\u003e"},"build":false,"launch":true,"cache":true},"env":{"sha":"sha256:e","data":null,"build":false,"launch":true,"cache":false}},"store":{"metadata":{"k":"v"}}}],"#,
        r#""config":{"sha":"sha256:c"},"launcher":{"sha":"sha256:l"},"process-types":{"sha":""},"#,
        r#""runImage":{"topLayer":"sha256:t","reference":"r/run@sha256:00","image":"r/run","mirrors":["m/run"]},"#,
        r#""stack":{"runImage":{"image":"r/run","mirrors":["m/run"]}}}"#,
    );

    #[test]
    fn golden_bytes_lifecycle_3_5() {
        let label = LifecycleLabel::parse(GOLDEN).unwrap();
        assert_eq!(label.to_json(), GOLDEN);
        assert!(label.buildpack(&"acme/a".parse().unwrap()).is_some());
    }

    #[test]
    fn what_is_empty_is_null_or_left_out_lifecycle_3_5() {
        let empty = r#"{"app":null,"buildpacks":null,"config":{"sha":""},"launcher":{"sha":""},"process-types":{"sha":""},"runImage":{"topLayer":"","reference":""}}"#;
        assert_eq!(LifecycleLabel::default().to_json(), empty);
        for text in [
            empty,
            "{}",
            r#"{"app":null,"buildpacks":null,"config":null,"runImage":null,"stack":null}"#,
        ] {
            assert_eq!(LifecycleLabel::parse(text).unwrap().to_json(), empty, "{text}");
        }
    }

    #[test]
    fn exec_env_is_written_where_the_specification_has_it_x_14() {
        let label = LifecycleLabel {
            exec_env: Some("test".to_owned()),
            ..LifecycleLabel::default()
        };
        assert!(
            label
                .to_json()
                .contains(r#""config":{"sha":""},"exec-env":"test","launcher""#)
        );
    }

    #[test]
    fn unknown_keys_and_shapes_survive_reb_13() {
        let text = r#"{"app":{"sha":"x"},"buildpacks":null,"config":{"sha":""},"launcher":{"sha":""},"process-types":{"sha":""},"runImage":{"topLayer":"","reference":""},"later":[1,{"a":null}]}"#;
        let label = LifecycleLabel::parse(text).unwrap();
        assert!(matches!(label.app, AppLayers::Other(_)));
        assert_eq!(label.to_json(), text);
    }

    /// A float that is not a number is written as null.
    #[test]
    fn metadata_with_nulls_costs_neither_the_label_nor_its_other_members_an_11() {
        let label = |metadata: &str| {
            let text = format!(
                r#"{{"buildpacks":[{{"key":"a","layers":{{"l":{{"sha":"sha256:l","data":{metadata}}}}},"store":{{"metadata":{metadata}}}}}]}}"#
            );
            let label = LifecycleLabel::parse(&text).unwrap();
            let buildpack = label.buildpacks.into_iter().next().unwrap();
            let layer = &buildpack.layers["l"];
            assert_eq!(layer.sha, "sha256:l");
            (layer.data.clone(), buildpack.store.unwrap().metadata)
        };
        let kept = ValueTable::from([("b".to_owned(), Value::Integer(1))]);
        assert_eq!(label(r#"{"a":null,"b":1}"#), (Some(kept.clone()), kept));
        for other in ["null", "1", "[1]", r#""x""#] {
            assert_eq!(label(other), (None, ValueTable::new()), "{other}");
        }
    }

    #[test]
    fn a_broken_label_is_an_error_an_11() {
        for text in [
            "",
            "[]",
            "{",
            r#"{"buildpacks":[{"key":"a b"}]}"#,
            r#"{"config":1}"#,
        ] {
            assert!(LifecycleLabel::parse(text).is_err(), "{text}");
        }
    }
}
