//! `io.buildpacks.builder.metadata`: what a builder is made of.

use serde::{Deserialize, Serialize};

use super::label;
use crate::json::default_when_null;
use crate::{Apis, BuildpackId, ExecEnvs, License, RunImageEntry, StackToml, Version};

/// What a builder is made of (BDR-03). Lifecycle images carry one with `lifecycle` only (KA-02).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BuilderLabel {
    /// What the builder is for.
    #[serde(default)]
    pub description: String,
    /// Its buildpacks.
    #[serde(default, deserialize_with = "default_when_null")]
    pub buildpacks: Vec<BuilderModuleLabel>,
    /// Its extensions.
    #[serde(default, deserialize_with = "default_when_null")]
    pub extensions: Vec<BuilderModuleLabel>,
    /// The run image for old platforms (BU-05).
    #[serde(default)]
    pub stack: StackToml,
    /// Its lifecycle.
    #[serde(default)]
    pub lifecycle: LifecycleVersions,
    /// What made it.
    #[serde(default, rename = "createdBy")]
    pub created_by: CreatedBy,
    /// The run images.
    #[serde(default, deserialize_with = "default_when_null")]
    pub images: Vec<RunImageEntry>,
}

label!(BuilderLabel, BUILDER);

/// A module of a builder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BuilderModuleLabel {
    /// The id.
    pub id: BuildpackId,
    /// The name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The version.
    pub version: Version,
    /// What it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Where to read about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub homepage: Option<String>,
    /// Words to find it by.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "default_when_null"
    )]
    pub keywords: Vec<String>,
    /// The execution environments that it supports.
    #[serde(
        default,
        rename = "exec-env",
        skip_serializing_if = "ExecEnvs::is_empty",
        deserialize_with = "default_when_null"
    )]
    pub exec_env: ExecEnvs,
    /// Its licences.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "default_when_null"
    )]
    pub licenses: Vec<License>,
    /// Whether the user's variables stay out of its environment.
    #[serde(default, rename = "clear-env", skip_serializing_if = "std::ops::Not::not")]
    pub clear_env: bool,
}

/// A lifecycle and what it speaks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleVersions {
    /// The version.
    #[serde(default)]
    pub version: String,
    /// The oldest APIs, for old platforms.
    #[serde(default)]
    pub api: MinimumApis,
    /// All APIs.
    #[serde(default)]
    pub apis: Apis,
}

/// One version of each API.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MinimumApis {
    /// Of the Buildpack API.
    #[serde(default)]
    pub buildpack: String,
    /// Of the Platform API.
    #[serde(default)]
    pub platform: String,
}

/// The tool that made a builder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedBy {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Its version.
    #[serde(default)]
    pub version: String,
}

#[cfg(test)]
mod tests {
    use super::BuilderLabel;

    #[test]
    fn golden_bytes_bdr_03() {
        let text = concat!(
            r#"{"description":"d","buildpacks":[{"id":"acme/a","name":"A","version":"1","homepage":"h"}],"extensions":[],"#,
            r#""stack":{"runImage":{"image":"r/run","mirrors":["m/run"]}},"#,
            r#""lifecycle":{"version":"1.2.3","api":{"buildpack":"0.7","platform":"0.7"},"apis":{"buildpack":{"deprecated":[],"supported":["0.7"]},"platform":{"deprecated":[],"supported":["0.7"]}}},"#,
            r#""createdBy":{"name":"lifecycle","version":"1.2.3"},"images":[{"image":"r/run","mirrors":["m/run"]}]}"#,
        );
        assert_eq!(BuilderLabel::parse(text).unwrap().to_json(), text);
    }

    #[test]
    fn other_tools_nulls_and_keys_are_tolerated() {
        let text = r#"{"buildpacks":null,"extensions":null,"stack":{"runImage":{"image":"r","mirrors":null}},"images":null,"groups":[]}"#;
        assert_eq!(BuilderLabel::parse(text).unwrap().stack.run_image.image, "r");
    }
}
