//! `extension.toml`: an image extension's own description.

use std::path::Path;

use crate::document::{self, Flaw};
use crate::{ApiError, BuildpackApi, ModuleInfo, Target, ValueTable};

/// `extension.toml` (E§extension.toml).
#[derive(Debug, Clone, PartialEq)]
pub struct ExtensionToml {
    /// The Buildpack API that it declares, as written.
    pub api: String,
    /// `[extension]`.
    pub extension: ModuleInfo,
    /// What it runs on. Since Buildpack API 0.10.
    pub targets: Vec<Target>,
    /// `[metadata]`, the extension's own.
    pub metadata: ValueTable,
}

impl ExtensionToml {
    /// Reads the file. Unknown keys are ignored.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Flaw> {
        Self::parse_with_warnings(path, bytes).map(|(document, _)| document)
    }

    /// Reads the file and lists its unknown keys. An `order` is an error: extensions do not compose (IEX-03).
    pub fn parse_with_warnings(path: &Path, bytes: &[u8]) -> Result<(Self, Vec<Flaw>), Flaw> {
        document::read_with_warnings(path, bytes, |root| {
            let info = root
                .table("extension")?
                .ok_or_else(|| root.fault("missing table `[extension]`"))?;
            if root.has("order") {
                return Err(root.fault_at("order", "an extension cannot have an `order`"));
            }
            Ok(Self {
                api: root.optional("api")?.unwrap_or_default(),
                extension: ModuleInfo::read(&info)?,
                targets: root.each("targets", Target::read)?,
                metadata: root.values("metadata")?.unwrap_or_default(),
            })
        })
    }

    /// The rules that the extension wants, or exit 12.
    pub fn negotiate(&self) -> Result<BuildpackApi, ApiError> {
        BuildpackApi::negotiate(&self.api, "Extension", &self.extension.label())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::ExtensionToml;

    #[test]
    fn keys_of_the_schema_iex_05() {
        let text = "api = '0.11'\n[extension]\nid = 'x'\nversion = '1'\nclear-env = true\n[[targets]]\nos = 'linux'\n";
        let extension = ExtensionToml::parse(Path::new("extension.toml"), text.as_bytes()).unwrap();
        assert!(extension.extension.clear_env);
        assert_eq!(extension.targets.len(), 1);
    }

    #[test]
    fn extensions_do_not_compose_iex_03() {
        let text = "order = []\n[extension]\nid = 'x'\nversion = '1'\n";
        let error = ExtensionToml::parse(Path::new("e"), text.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "e:1:9: an extension cannot have an `order`");
    }

    #[test]
    fn an_unsupported_api_names_the_extension_bpc_01() {
        let text = "api = '0.3'\n[extension]\nid = 'x'\nversion = '1'\n";
        let error = ExtensionToml::parse(Path::new("e"), text.as_bytes())
            .unwrap()
            .negotiate()
            .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("failed to set API for Extension 'x@1'"),
            "{error}"
        );
    }
}
