//! `analyzed.toml`: what is known about the images before the build.

use std::path::Path;

use crate::document::{self, Fault, Flaw, Node, Table};
use crate::{TargetData, label::LifecycleLabel};

/// `analyzed.toml` (P§analyzed.toml, AN-08). References are digest references, daemon image ids or layout paths.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AnalyzedToml {
    /// The image that this build replaces, if it could be read. `[image]` in the file (X-27).
    pub previous_image: Option<String>,
    /// The image that the build runs in. Since Platform API 0.10.
    pub build_image: Option<BuildImage>,
    /// The previous image's lifecycle label, empty if there is none.
    pub metadata: LifecycleLabel,
    /// The image that the app image is based on.
    pub run_image: Option<RunImage>,
}

/// `[build-image]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildImage {
    /// Its digest reference.
    pub reference: String,
    /// Whether extensions change it. Since Platform API 0.13 (DET-10, X-06).
    pub extend: bool,
}

/// `[run-image]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunImage {
    /// Its reference; empty when an extension has just chosen another image (DET-07).
    pub reference: String,
    /// Its name. Since Platform API 0.12.
    pub image: Option<String>,
    /// Whether extensions change it. Since Platform API 0.12.
    pub extend: bool,
    /// What it is. Since Platform API 0.12.
    pub target: Option<TargetData>,
}

impl AnalyzedToml {
    /// Reads the file.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Flaw> {
        document::read(path, bytes, |root| {
            let image = root.table("image")?;
            let metadata = root.table("metadata")?;
            Ok(Self {
                previous_image: image
                    .map(|image| image.optional("reference"))
                    .transpose()?
                    .flatten(),
                build_image: root
                    .table("build-image")?
                    .as_ref()
                    .map(BuildImage::read)
                    .transpose()?,
                metadata: metadata
                    .as_ref()
                    .map(LifecycleLabel::read)
                    .transpose()?
                    .unwrap_or_default(),
                run_image: root
                    .table("run-image")?
                    .as_ref()
                    .map(RunImage::read)
                    .transpose()?,
            })
        })
    }

    /// The file with the layout of the reference (lifecycle.md 3.6).
    #[must_use]
    pub fn to_toml(&self) -> String {
        let reference = self.previous_image.as_deref().unwrap_or_default();
        Node::new()
            .table("image", Node::new().string("reference", reference))
            .optional_table("build-image", self.build_image.as_ref().map(BuildImage::node))
            .table("metadata", self.metadata.node())
            .optional_table("run-image", self.run_image.as_ref().map(RunImage::node))
            .to_toml()
    }
}

impl BuildImage {
    fn read(table: &Table<'_>) -> Result<Self, Fault> {
        Ok(Self {
            reference: table.optional("reference")?.unwrap_or_default(),
            extend: table.flag("extend")?,
        })
    }

    fn node(&self) -> Node {
        Node::new()
            .string("reference", &self.reference)
            .flag("extend", self.extend)
    }
}

impl RunImage {
    fn read(table: &Table<'_>) -> Result<Self, Fault> {
        Ok(Self {
            reference: table.optional("reference")?.unwrap_or_default(),
            image: table.optional("image")?,
            extend: table.flag("extend")?,
            target: table
                .table("target")?
                .as_ref()
                .map(TargetData::read)
                .transpose()?,
        })
    }

    fn node(&self) -> Node {
        Node::new()
            .string("reference", &self.reference)
            .optional("image", self.image.as_ref())
            .flag("extend", self.extend)
            .optional_table("target", self.target.as_ref().map(TargetData::node))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{AnalyzedToml, RunImage};
    use crate::{Distro, TargetData};

    const FRESH: &str = r#"[image]
  reference = ""

[metadata]
  [metadata.config]
    sha = ""
  [metadata.launcher]
    sha = ""
  [metadata.process-types]
    sha = ""
  [metadata.run-image]
    top-layer = ""
    reference = ""

[run-image]
  reference = "r/run@sha256:00"
  image = "r/run"
  [run-image.target]
    os = "linux"
    arch = "amd64"
    [run-image.target.distro]
      name = "debian"
      version = "12"
"#;

    #[test]
    fn a_fresh_file_has_the_bytes_of_the_reference_lifecycle_3_6() {
        let target = TargetData {
            os: "linux".to_owned(),
            arch: "amd64".to_owned(),
            distro: Some(Distro {
                name: "debian".to_owned(),
                version: "12".to_owned(),
            }),
            ..TargetData::default()
        };
        let run_image = RunImage {
            reference: "r/run@sha256:00".to_owned(),
            image: Some("r/run".to_owned()),
            extend: false,
            target: Some(target),
        };
        let fresh = AnalyzedToml {
            run_image: Some(run_image),
            ..AnalyzedToml::default()
        };
        assert_eq!(fresh.to_toml(), FRESH);
        assert_eq!(
            AnalyzedToml::parse(Path::new("analyzed.toml"), FRESH.as_bytes()).unwrap(),
            fresh
        );
    }

    #[test]
    fn layers_of_the_previous_image_survive_lbl_01() {
        let text = r#"[image]
  reference = "r/app@sha256:11"

[build-image]
  reference = "r/build@sha256:22"
  extend = true

[metadata]

  [[metadata.app]]
    sha = "sha256:a"

  [[metadata.buildpacks]]
    key = "acme/a"
    version = "1"
    [metadata.buildpacks.layers]
      [metadata.buildpacks.layers.deps]
        sha = "sha256:b"
        build = false
        launch = true
        cache = false
        [metadata.buildpacks.layers.deps.metadata]
          v = 1
    [metadata.buildpacks.store]
      [metadata.buildpacks.store.metadata]
        k = "v"
  [metadata.config]
    sha = "sha256:c"
  [metadata.launcher]
    sha = "sha256:d"
  [metadata.process-types]
    sha = "sha256:e"
  [metadata.run-image]
    top-layer = "sha256:f"
    reference = "r/run@sha256:33"
    image = "r/run"
    mirrors = ["m/run"]
"#;
        let analyzed = AnalyzedToml::parse(Path::new("analyzed.toml"), text.as_bytes()).unwrap();
        assert_eq!(analyzed.to_toml(), text);
    }

    #[test]
    fn keys_of_other_versions_are_tolerated() {
        let text = "later = 1\n[run-image]\nreference = 'x'\n[run-image.target]\nos = 'linux'\narch = 'arm'\narch-variant = 'v7'\n";
        let analyzed = AnalyzedToml::parse(Path::new("a"), text.as_bytes()).unwrap();
        assert_eq!(
            analyzed.run_image.unwrap().target.unwrap().variant.as_deref(),
            Some("v7")
        );
    }
}
