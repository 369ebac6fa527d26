//! `lifecycle.toml`: which APIs a lifecycle speaks.

use std::path::Path;

use crate::document::{self, Fault, Flaw, Node, Table};
use crate::{BuildpackApi, PlatformApi, SbomFormat};

/// `lifecycle.toml` at the root of the release archive (cnb.md 4.4, LT-02).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LifecycleToml {
    /// The version of the lifecycle.
    pub version: String,
    /// Media types of the SBOM files that it understands.
    pub sbom_formats: Vec<String>,
    /// Which APIs it speaks.
    pub apis: Apis,
}

/// Which APIs a lifecycle speaks; as JSON the label `io.buildpacks.lifecycle.apis` (LCI-03).
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Apis {
    /// Buildpack API versions.
    pub buildpack: ApiList,
    /// Platform API versions.
    pub platform: ApiList,
}

/// Versions of one API, ascending. What is deprecated is supported, too (LCI-02).
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ApiList {
    /// Versions that will go.
    #[serde(default, deserialize_with = "crate::json::default_when_null")]
    pub deprecated: Vec<String>,
    /// All versions.
    #[serde(default, deserialize_with = "crate::json::default_when_null")]
    pub supported: Vec<String>,
}

impl Apis {
    /// What this lifecycle speaks.
    #[must_use]
    pub fn own() -> Self {
        let list = |supported: Vec<&str>| ApiList {
            deprecated: Vec::new(),
            supported: supported.into_iter().map(str::to_owned).collect(),
        };
        Self {
            buildpack: list(BuildpackApi::ALL.into_iter().map(BuildpackApi::as_str).collect()),
            platform: list(PlatformApi::ALL.into_iter().map(PlatformApi::as_str).collect()),
        }
    }

    /// The label `io.buildpacks.lifecycle.apis`.
    #[must_use]
    pub fn to_json(&self) -> String {
        crate::json::write(self)
    }

    /// Reads the label.
    pub fn parse_label(text: &str) -> Result<Self, Flaw> {
        crate::json::read(crate::label::LIFECYCLE_APIS, text)
    }
}

impl ApiList {
    fn read(table: &Table<'_>) -> Result<Self, Fault> {
        Ok(Self {
            deprecated: table.list("deprecated")?,
            supported: table.list("supported")?,
        })
    }

    fn node(&self) -> Node {
        Node::new()
            .list("deprecated", &self.deprecated)
            .list("supported", &self.supported)
    }

    /// The oldest version that is not deprecated, for the minimum of the descriptor's first form.
    fn minimum(&self) -> &str {
        self.supported
            .iter()
            .find(|version| !self.deprecated.contains(version))
            .map_or("", String::as_str)
    }
}

impl LifecycleToml {
    /// What describes this lifecycle.
    #[must_use]
    pub fn own(version: impl Into<String>) -> Self {
        Self {
            version: version.into(),
            sbom_formats: SbomFormat::ALL
                .map(|format| format.media_type().to_owned())
                .to_vec(),
            apis: Apis::own(),
        }
    }

    /// Reads the file. Without `[apis]` the minimum versions of `[api]` are all that is known.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Flaw> {
        document::read(path, bytes, |root| {
            let lifecycle = root
                .table("lifecycle")?
                .ok_or_else(|| root.fault("missing table `[lifecycle]`"))?;
            let minimum = root.table("api")?;
            let apis = root.table("apis")?;
            let list = |key| {
                let listed = apis.as_ref().map(|apis| apis.table(key)).transpose()?.flatten();
                if let Some(listed) = listed {
                    return ApiList::read(&listed);
                }
                let minimum = minimum
                    .as_ref()
                    .map(|api| api.optional::<String>(key))
                    .transpose()?
                    .flatten();
                Ok(ApiList {
                    deprecated: Vec::new(),
                    supported: minimum.into_iter().collect(),
                })
            };
            Ok(Self {
                version: lifecycle.required("version")?,
                sbom_formats: lifecycle.list("sbom-formats")?,
                apis: Apis {
                    buildpack: list("buildpack")?,
                    platform: list("platform")?,
                },
            })
        })
    }

    /// The text of the file, with the minimum versions for programs that know no lists.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let Apis { buildpack, platform } = &self.apis;
        Node::new()
            .table(
                "apis",
                Node::new()
                    .table("buildpack", buildpack.node())
                    .table("platform", platform.node()),
            )
            .table(
                "api",
                Node::new()
                    .string("platform", platform.minimum())
                    .string("buildpack", buildpack.minimum()),
            )
            .table(
                "lifecycle",
                Node::new()
                    .string("version", &self.version)
                    .list("sbom-formats", &self.sbom_formats),
            )
            .to_toml()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Apis, LifecycleToml};

    const GOLDEN: &str = r#"[apis]
  [apis.buildpack]
    deprecated = []
    supported = ["0.7", "0.8", "0.9", "0.10", "0.11", "0.12"]
  [apis.platform]
    deprecated = []
    supported = ["0.7", "0.8", "0.9", "0.10", "0.11", "0.12", "0.13", "0.14", "0.15"]

[api]
  platform = "0.7"
  buildpack = "0.7"

[lifecycle]
  version = "1.2.3"
  sbom-formats = ["application/vnd.cyclonedx+json", "application/spdx+json", "application/vnd.syft+json"]
"#;

    #[test]
    fn golden_bytes_lci_02_lt_02() {
        let own = LifecycleToml::own("1.2.3");
        assert_eq!(own.to_toml(), GOLDEN);
        assert_eq!(
            LifecycleToml::parse(Path::new("lifecycle.toml"), GOLDEN.as_bytes()).unwrap(),
            own
        );
    }

    #[test]
    fn label_bytes_lci_03() {
        let json = r#"{"buildpack":{"deprecated":[],"supported":["0.7","0.8","0.9","0.10","0.11","0.12"]},"platform":{"deprecated":[],"supported":["0.7","0.8","0.9","0.10","0.11","0.12","0.13","0.14","0.15"]}}"#;
        assert_eq!(Apis::own().to_json(), json);
        assert_eq!(Apis::parse_label(json).unwrap(), Apis::own());
        Apis::parse_label(r#"{"buildpack":{"deprecated":null,"supported":["0.2"]},"platform":{}}"#).unwrap();
    }

    #[test]
    fn the_first_form_of_the_descriptor_is_read_lt() {
        let text = "[api]\nplatform = '0.3'\nbuildpack = '0.2'\n[lifecycle]\nversion = '0.7.0'\n";
        let old = LifecycleToml::parse(Path::new("l"), text.as_bytes()).unwrap();
        assert_eq!(old.apis.platform.supported, ["0.3"]);
    }
}
