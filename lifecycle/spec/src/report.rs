//! `report.toml`: what was exported.

use std::path::Path;

use crate::document::{self, Flaw, Node};
use crate::{BomEntry, PlatformApi};

/// `report.toml` of exporter, creator and rebaser (P§report.toml, EXP-13).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReportToml {
    /// All references that were written.
    pub tags: Vec<String>,
    /// The image id; a daemon only.
    pub image_id: Option<String>,
    /// The manifest's digest; a registry or layout only.
    pub digest: Option<String>,
    /// The manifest's size in bytes; a registry or layout only. An integer (X-28).
    pub manifest_size: Option<u64>,
    /// The legacy bill of materials. Written for Platform API 0.7 and 0.8 only.
    pub bom: Vec<BomEntry>,
}

impl ReportToml {
    /// Reads the file. The size may be a string, as the specification prints it (X-28).
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Flaw> {
        document::read(path, bytes, |root| {
            let bom = match root.table("build")? {
                Some(build) => build.each("bom", BomEntry::read)?,
                None => Vec::new(),
            };
            let Some(image) = root.table("image")? else {
                return Ok(Self {
                    bom,
                    ..Self::default()
                });
            };
            let manifest_size = match image.text("manifest-size") {
                Ok(_) => image.optional("manifest-size")?,
                Err(_) => image
                    .integer("manifest-size")?
                    .and_then(|size| size.try_into().ok()),
            };
            Ok(Self {
                tags: image.list("tags")?,
                image_id: image.optional("image-id")?,
                digest: image.optional("digest")?,
                manifest_size,
                bom,
            })
        })
    }

    /// The text of the file.
    #[must_use]
    pub fn to_toml(&self, api: PlatformApi) -> String {
        let mut node = Node::new();
        if api.has_legacy_bom_in_metadata() && !self.bom.is_empty() {
            node = node.table(
                "build",
                Node::new().tables("bom", self.bom.iter().map(BomEntry::node)),
            );
        }
        let image = Node::new()
            .list("tags", &self.tags)
            .optional("image-id", self.image_id.as_ref())
            .optional("digest", self.digest.as_ref());
        let image = match self.manifest_size {
            Some(size) => image.integer("manifest-size", size),
            None => image,
        };
        node.table("image", image).to_toml()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::ReportToml;
    use crate::PlatformApi;

    #[test]
    fn golden_bytes_lifecycle_3_6() {
        let text =
            "[image]\n  tags = [\"r/a:1\", \"r/a:2\"]\n  digest = \"sha256:00\"\n  manifest-size = 1042\n";
        let report = ReportToml::parse(Path::new("report.toml"), text.as_bytes()).unwrap();
        assert_eq!(report.to_toml(PlatformApi::V0_12), text);
    }

    #[test]
    fn a_size_is_read_as_number_or_string_x_28() {
        for text in ["[image]\nmanifest-size = 7\n", "[image]\nmanifest-size = '7'\n"] {
            assert_eq!(
                ReportToml::parse(Path::new("r"), text.as_bytes())
                    .unwrap()
                    .manifest_size,
                Some(7)
            );
        }
    }
}
