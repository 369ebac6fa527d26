//! SBOM formats and where SBOM files lie (cnb.md 1.14).

use std::path::{Path, PathBuf};

use crate::{BuildpackId, LayerName};

/// A format of a software bill of materials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SbomFormat {
    /// CycloneDX JSON.
    CycloneDx,
    /// SPDX JSON.
    Spdx,
    /// Syft JSON.
    Syft,
}

impl SbomFormat {
    /// All formats, in the order of the specification.
    pub const ALL: [Self; 3] = [Self::CycloneDx, Self::Spdx, Self::Syft];

    /// The media type, as buildpack.toml's `sbom-formats` has it.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::CycloneDx => "application/vnd.cyclonedx+json",
            Self::Spdx => "application/spdx+json",
            Self::Syft => "application/vnd.syft+json",
        }
    }

    /// The end of the file name (SBOM-02).
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::CycloneDx => "cdx.json",
            Self::Spdx => "spdx.json",
            Self::Syft => "syft.json",
        }
    }

    /// The format of a media type, with or without parameters.
    #[must_use]
    pub fn of_media_type(text: &str) -> Option<Self> {
        let essence = text.split(';').next().unwrap_or_default().trim();
        Self::ALL
            .into_iter()
            .find(|format| format.media_type() == essence)
    }

    /// The format of a file named `<stem>.sbom.<extension>`, with its stem.
    #[must_use]
    pub fn of_file(name: &str) -> Option<(&str, Self)> {
        let (stem, extension) = name.rsplit_once(".sbom.")?;
        let format = Self::ALL
            .into_iter()
            .find(|format| format.extension() == extension)?;
        Some((stem, format))
    }
}

/// Where the lifecycle puts an SBOM: `<layers>/sbom/<tree>/<bp>/[<layer>/]sbom.<ext>`.
///
/// `tree` is `launch`, `build` or `cache`. Platform API 0.8 had another layout for a short while; what was written
/// then is not looked for.
#[must_use]
pub fn sbom_path(
    layers: &Path,
    tree: &str,
    buildpack: &BuildpackId,
    layer: Option<&LayerName>,
    format: SbomFormat,
) -> PathBuf {
    let mut path = layers.join("sbom").join(tree).join(buildpack.directory());
    if let Some(layer) = layer {
        path.push(layer.as_str());
    }
    path.join(format!("sbom.{}", format.extension()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{SbomFormat, sbom_path};
    use crate::{BuildpackId, LayerName};

    #[test]
    fn formats_by_media_type_and_file_name_sbom_02() {
        for format in SbomFormat::ALL {
            assert_eq!(SbomFormat::of_media_type(format.media_type()), Some(format));
            let file = format!("a.sbom.b.sbom.{}", format.extension());
            assert_eq!(SbomFormat::of_file(&file), Some(("a.sbom.b", format)));
        }
        assert_eq!(
            SbomFormat::of_media_type("application/spdx+json; version=2.3"),
            Some(SbomFormat::Spdx)
        );
        assert_eq!(SbomFormat::of_media_type("text/plain"), None);
        assert_eq!(SbomFormat::of_file("launch.sbom.json"), None);
        assert_eq!(SbomFormat::of_file("launch.toml"), None);
    }

    #[test]
    fn paths_1_14() {
        let id = BuildpackId::new("acme/a").unwrap();
        let layer = LayerName::new("deps").unwrap();
        let layers = Path::new("/layers");
        assert_eq!(
            sbom_path(layers, "launch", &id, Some(&layer), SbomFormat::Spdx),
            Path::new("/layers/sbom/launch/acme_a/deps/sbom.spdx.json")
        );
        assert_eq!(
            sbom_path(layers, "build", &id, None, SbomFormat::CycloneDx),
            Path::new("/layers/sbom/build/acme_a/sbom.cdx.json")
        );
    }
}
