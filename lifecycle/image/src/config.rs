//! Image configurations.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{DiffId, Platform};

/// An image configuration (OCI image specification, "Image Configuration"), with Docker's fields.
///
/// Fields that are not named here survive in `other`, at both levels: a base image's health check or an
/// engine's private keys are not lost by putting layers on top.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// The processor architecture.
    #[serde(default)]
    pub architecture: String,
    /// The operating system.
    #[serde(default)]
    pub os: String,
    /// Version of the operating system.
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Features of the operating system.
    #[serde(rename = "os.features", default, skip_serializing_if = "is_empty")]
    pub os_features: Option<Vec<String>>,
    /// Variant of the architecture.
    #[serde(default, skip_serializing_if = "is_blank")]
    pub variant: Option<String>,
    /// When the image was made, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "is_blank")]
    pub author: Option<String>,
    /// How a container of the image starts.
    #[serde(default, deserialize_with = "null_is_default")]
    pub config: ContainerConfig,
    /// The layers' contents.
    #[serde(default)]
    pub rootfs: RootFs,
    /// How each layer came about, lowest first.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub history: Vec<History>,
    /// Fields this type does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The execution part of an image configuration. An absent list or map and an empty one are different things
/// to some engines, so both are kept apart.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerConfig {
    /// `user[:group]`, names or numbers.
    #[serde(default, skip_serializing_if = "is_blank")]
    pub user: Option<String>,
    /// `port/protocol` → empty object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposed_ports: Option<BTreeMap<String, Value>>,
    /// `NAME=value` in order.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub env: Option<Vec<String>>,
    /// The program and its fixed arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// The default arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Paths that hold data of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volumes: Option<BTreeMap<String, Value>>,
    /// The directory a container starts in.
    #[serde(default, skip_serializing_if = "is_blank")]
    pub working_dir: Option<String>,
    /// Labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// The signal that asks a container to stop.
    #[serde(default, skip_serializing_if = "is_blank")]
    pub stop_signal: Option<String>,
    /// Set by BuildKit with every command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args_escaped: Option<bool>,
    /// How to find out whether a container is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Instructions for builds on top of this image.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub on_build: Option<Vec<String>>,
    /// The shell of shell-form commands.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub shell: Option<Vec<String>>,
    /// Fields this type does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A health check. Times are in nanoseconds, as Docker stores them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", text]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<Vec<String>>,
    /// Time between checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<u64>,
    /// Time a check may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// Time a container gets to start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_period: Option<u64>,
    /// Time between checks while it starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_interval: Option<u64>,
    /// Failures in a row that make a container unwell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u64>,
}

/// The layers' contents, lowest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type", default = "layers")]
    pub kind: String,
    /// The digests of the uncompressed tars.
    #[serde(default, deserialize_with = "null_is_default")]
    pub diff_ids: Vec<DiffId>,
}

/// One line of an image's history.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct History {
    /// When, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// By which command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// A remark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether the step made no layer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

impl Default for RootFs {
    fn default() -> Self {
        Self {
            kind: layers(),
            diff_ids: Vec::new(),
        }
    }
}

impl ImageConfig {
    /// The configuration of an image without layers.
    pub fn new(platform: &Platform) -> Self {
        Self {
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
            os_version: platform.os_version.clone(),
            os_features: None,
            variant: platform.variant.clone(),
            created: None,
            author: None,
            config: ContainerConfig::default(),
            rootfs: RootFs::default(),
            history: Vec::new(),
            other: Map::new(),
        }
    }

    /// What the image runs on.
    pub fn platform(&self) -> Platform {
        Platform {
            architecture: self.architecture.clone(),
            os: self.os.clone(),
            os_version: self.os_version.clone(),
            variant: self.variant.clone().filter(|variant| !variant.is_empty()),
        }
    }

    /// The value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.config.labels.as_ref()?.get(key).map(String::as_str)
    }

    /// Sets a label.
    pub fn set_label(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.config
            .labels
            .get_or_insert_default()
            .insert(key.into(), value.into());
    }
}

impl ContainerConfig {
    /// The value of an environment variable. It may itself hold `=`.
    pub fn env(&self, name: &str) -> Option<&str> {
        self.env
            .iter()
            .flatten()
            .find_map(|entry| match entry.split_once('=') {
                Some((key, value)) if key == name => Some(value),
                _ => None,
            })
    }

    /// Sets an environment variable: in its place if it is there, else at the end.
    pub fn set_env(&mut self, name: &str, value: &str) {
        let entry = format!("{name}={value}");
        let env = self.env.get_or_insert_default();
        match env
            .iter_mut()
            .find(|old| old.split_once('=').map_or(old.as_str(), |(key, _)| key) == name)
        {
            Some(old) => *old = entry,
            None => env.push(entry),
        }
    }
}

fn layers() -> String {
    "layers".to_owned()
}

#[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
fn is_blank(text: &Option<String>) -> bool {
    text.as_ref().is_none_or(String::is_empty)
}

#[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
fn is_empty(list: &Option<Vec<String>>) -> bool {
    list.as_ref().is_none_or(Vec::is_empty)
}

fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_survive_l4() {
        let text = r#"{"architecture":"amd64","config":{"Env":["A=b=c"],"Future":{"x":1},"Healthcheck":{"Test":["NONE"]}},
            "docker_version":"1","history":null,"moby.buildkit.cache.v0":"eA==","os":"linux","rootfs":{"type":"layers","diff_ids":null}}"#;
        let config: ImageConfig = serde_json::from_str(text).unwrap();
        assert_eq!(config.config.env("A"), Some("b=c"));
        let again = serde_json::to_value(&config).unwrap();
        assert_eq!(again["config"]["Future"]["x"], 1);
        assert_eq!(again["docker_version"], "1");
        assert_eq!(again["moby.buildkit.cache.v0"], "eA==");
        assert_eq!(again["config"]["Healthcheck"]["Test"][0], "NONE");
    }

    #[test]
    fn a_configuration_of_null_is_an_empty_one() {
        let config: ImageConfig = serde_json::from_str(r#"{"os":"linux","config":null}"#).unwrap();
        assert_eq!(config.config, ContainerConfig::default());
    }

    #[test]
    fn set_env_keeps_the_place() {
        let mut config = ContainerConfig {
            env: Some(vec!["A=1".into(), "B=2".into()]),
            ..Default::default()
        };
        config.set_env("A", "3");
        config.set_env("C", "4");
        assert_eq!(config.env.unwrap(), ["A=3", "B=2", "C=4"]);
    }
}
