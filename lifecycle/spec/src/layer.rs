//! `<layer>.toml`: the types and the metadata of a layer.

use std::path::Path;

use crate::document::{self, Flaw, Node};
use crate::{ExecEnvs, Value, ValueTable};

/// `<layers>/<bp>/<layer>.toml` (B§Layer Content Metadata, cnb.md 2.11).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LayerToml {
    /// `[types]`; a restored file has none, so that a buildpack must opt in again (LYR-04).
    pub types: LayerTypes,
    /// `[metadata]`, the buildpack's own.
    pub metadata: Option<ValueTable>,
}

/// What a layer is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct LayerTypes {
    /// Part of the app image.
    pub launch: bool,
    /// Visible to later buildpacks.
    pub build: bool,
    /// Kept in the cache.
    pub cache: bool,
}

impl LayerTypes {
    /// Whether the layer is for nothing, and so is to be ignored (BPB-02).
    #[must_use]
    pub const fn is_none(self) -> bool {
        !self.launch && !self.build && !self.cache
    }
}

impl LayerToml {
    /// Reads the file.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Flaw> {
        document::read(path, bytes, |root| {
            if let Some(key) = ["launch", "build", "cache"].into_iter().find(|key| root.has(key)) {
                let message = format!("`{key}` belongs into the table `[types]`");
                return Err(root.fault_at(key, message));
            }
            let types = match root.table("types")? {
                Some(types) => LayerTypes {
                    launch: types.flag("launch")?,
                    build: types.flag("build")?,
                    cache: types.flag("cache")?,
                },
                None => LayerTypes::default(),
            };
            Ok(Self {
                types,
                metadata: root.values("metadata")?,
            })
        })
    }

    /// The file as it is restored: metadata and no types (LYR-04).
    #[must_use]
    pub fn to_restored_toml(&self) -> String {
        Node::new().values("metadata", self.metadata.as_ref()).to_toml()
    }

    /// The execution environments that the layer is for: `metadata.exec-env`, since Buildpack API 0.12 (XEN-03).
    #[must_use]
    pub fn exec_env(&self) -> ExecEnvs {
        match self
            .metadata
            .as_ref()
            .and_then(|metadata| metadata.get("exec-env"))
        {
            Some(Value::Array(members)) => ExecEnvs(
                members
                    .iter()
                    .filter_map(Value::as_str)
                    .map(str::to_owned)
                    .collect(),
            ),
            _ => ExecEnvs::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{LayerToml, LayerTypes};

    fn parse(text: &str) -> Result<LayerToml, crate::Flaw> {
        LayerToml::parse(Path::new("layer.toml"), text.as_bytes())
    }

    #[test]
    fn types_default_to_false_2_11() {
        assert!(parse("").unwrap().types.is_none());
        let types = parse("[types]\nbuild = true\n").unwrap().types;
        assert_eq!(
            types,
            LayerTypes {
                launch: false,
                build: true,
                cache: false
            }
        );
        assert!(!types.is_none());
    }

    #[test]
    fn types_at_the_top_are_an_error_bpb_03() {
        let error = parse("[metadata]\n[types]\n")
            .and(parse("cache = true\n"))
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "layer.toml:1:9: `cache` belongs into the table `[types]`"
        );
    }

    #[test]
    fn a_restored_file_has_no_types_lyr_04() {
        let layer =
            parse("[types]\nlaunch = true\n[metadata]\nversion = '1'\nexec-env = ['test']\n").unwrap();
        assert_eq!(
            layer.to_restored_toml(),
            "[metadata]\n  exec-env = [\"test\"]\n  version = \"1\"\n"
        );
        assert_eq!(layer.exec_env().0, ["test"]);
        assert_eq!(parse("[types]\n").unwrap().to_restored_toml(), "");
    }
}
