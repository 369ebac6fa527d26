//! The SBOM files that lie in an app image, and one list made from them.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lifecycle_image::{Image, Layer, NoProgress, Progress, Step};
use lifecycle_layers::tree::find_below;
use lifecycle_layers::{ExtractError, ExtractOptions, Limits, Ownership, Refused};
use lifecycle_spec::SbomFormat;
use lifecycle_spec::label::LifecycleLabel;
use serde_json::{Map, Value, json};

/// More than any honest SBOM layer holds.
const LIMITS: Limits = Limits {
    entries: Some(100_000),
    bytes: Some(1 << 30),
};

/// An image's SBOM could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SbomError {
    /// The label names no layer.
    #[error("the image has no SBOM layer")]
    None,
    /// The label names a layer that the image does not have.
    #[error("the image's label names {0} as its SBOM layer, but it has no such layer")]
    Missing(String),
    /// The layer cannot be opened.
    #[error(transparent)]
    Layer(#[from] lifecycle_image::LayerError),
    /// The layer cannot be unpacked.
    #[error("cannot unpack the SBOM layer")]
    Extract(#[from] ExtractError),
    /// A file cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A file is not what its name says.
    #[error("{} is not a CycloneDX document", path.display())]
    Document {
        /// The file, below the image's SBOM directory.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: serde_json::Error,
    },
}

/// An SBOM file of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SbomFile {
    /// Its path below the image's SBOM directory: `BUILDPACK/[LAYER/]sbom.EXTENSION`.
    pub(crate) path: PathBuf,
    /// What it is written in.
    pub(crate) format: SbomFormat,
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
}

/// The SBOM layer that the label names.
pub(crate) fn layer(image: &Image, label: &LifecycleLabel) -> Result<Arc<dyn Layer>, SbomError> {
    let sha = label
        .sbom
        .as_ref()
        .map(|sbom| sbom.sha.as_str())
        .filter(|sha| !sha.is_empty());
    let sha = sha.ok_or(SbomError::None)?;
    let is_it = |layer: &&Arc<dyn Layer>| layer.diff_id().is_ok_and(|diff_id| diff_id.as_str() == sha);
    image
        .layers()
        .iter()
        .find(is_it)
        .cloned()
        .ok_or_else(|| SbomError::Missing(sha.to_owned()))
}

/// Reads the SBOM files of an image. Of its layers, only the one with them is read; it is unpacked in `scratch`.
pub(crate) fn read(
    image: &Image,
    label: &LifecycleLabel,
    scratch: &Path,
    progress: &dyn Progress,
) -> Result<Vec<SbomFile>, SbomError> {
    let layer = layer(image, label)?;
    let root = tempfile::tempdir_in(scratch)?;
    let directory = fs::File::open(root.path())?;
    let expected = layer.diff_id()?;
    let options = ExtractOptions {
        ownership: Ownership::Squash,
        refused: Refused::Skip,
        limits: LIMITS,
        expected: Some(&expected),
        ..ExtractOptions::default()
    };
    let meter = progress.begin(Step::Extract, "SBOM", layer.known().map(|known| known.size));
    lifecycle_layers::extract(layer.open(0)?, None, directory.as_fd(), &options, &*meter)?;
    meter.finish(lifecycle_image::Outcome::Done);
    let layers = image.config().config.env("CNB_LAYERS_DIR").unwrap_or("/layers");
    let mut files = Vec::new();
    if let Some((launch, kind)) = find_below(root.path(), &Path::new(layers).join("sbom/launch"))
        && kind.is_dir()
    {
        collect(&launch, Path::new(""), &mut files)?;
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}

fn collect(root: &Path, below: &Path, files: &mut Vec<SbomFile>) -> io::Result<()> {
    let entries = match fs::read_dir(root.join(below)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let path = below.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            collect(root, &path, files)?;
        } else if let Some(format) = format(&path).filter(|_| kind.is_file()) {
            files.push(SbomFile {
                format,
                bytes: fs::read(root.join(&path))?,
                path,
            });
        }
    }
    Ok(())
}

/// The format of an SBOM file, by its name.
fn format(path: &Path) -> Option<SbomFormat> {
    let extension = path.file_name()?.to_str()?.strip_prefix("sbom.")?;
    SbomFormat::ALL
        .into_iter()
        .find(|format| format.extension() == extension)
}

impl SbomFile {
    fn document(&self) -> Result<Map<String, Value>, SbomError> {
        serde_json::from_slice(&self.bytes).map_err(|cause| SbomError::Document {
            path: self.path.clone(),
            cause,
        })
    }
}

/// One CycloneDX list of everything in the CycloneDX files: each component once, dependencies joined.
pub(crate) fn merge(files: &[SbomFile], name: &str, version: &str) -> Result<Value, SbomError> {
    let mut components = Vec::new();
    let mut dependencies: Vec<Value> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut spec_version = "1.4".to_owned();
    for file in files.iter().filter(|file| file.format == SbomFormat::CycloneDx) {
        let mut document = file.document()?;
        if let Some(found) = document.get("specVersion").and_then(Value::as_str)
            && newer(found, &spec_version)
        {
            found.clone_into(&mut spec_version);
        }
        // A package that is described is in the image with what it consists of; a mere directory is not worth a line.
        let described = document
            .get_mut("metadata")
            .and_then(|about| about.get_mut("component"));
        let described = described
            .map(Value::take)
            .filter(|component| component.get("purl").is_some());
        for component in described.into_iter().chain(list(&mut document, "components")) {
            if seen.insert(identity(&component)) {
                components.push(component);
            }
        }
        for dependency in list(&mut document, "dependencies") {
            if !dependencies.contains(&dependency) {
                dependencies.push(dependency);
            }
        }
    }
    let mut merged = json!({
        "bomFormat": "CycloneDX",
        "specVersion": spec_version,
        "version": 1,
        "metadata": { "component": { "type": "container", "name": name, "version": version } },
        "components": components,
    });
    if !dependencies.is_empty() {
        merged["dependencies"] = dependencies.into();
    }
    Ok(merged)
}

fn list(document: &mut Map<String, Value>, key: &str) -> Vec<Value> {
    match document.remove(key) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

/// What makes two components the same: the package URL, else kind, name and version.
fn identity(component: &Value) -> String {
    let text = |key: &str| component.get(key).and_then(Value::as_str).unwrap_or_default();
    match text("purl") {
        "" => format!(
            "{}\0{}\0{}\0{}",
            text("type"),
            text("group"),
            text("name"),
            text("version")
        ),
        purl => purl.to_owned(),
    }
}

fn newer(one: &str, other: &str) -> bool {
    let parts = |text: &str| {
        text.split('.')
            .map(|part| part.parse().unwrap_or(0))
            .collect::<Vec<u32>>()
    };
    parts(one) > parts(other)
}

/// How many different components the CycloneDX files name together.
pub(crate) fn count_components(files: &[SbomFile]) -> Result<usize, SbomError> {
    let merged = merge(files, "", "")?;
    Ok(merged["components"].as_array().map_or(0, Vec::len))
}

/// An image without anybody watching: for a summary.
pub(crate) fn read_quietly(
    image: &Image,
    label: &LifecycleLabel,
    scratch: &Path,
) -> Result<Vec<SbomFile>, SbomError> {
    read(image, label, scratch, &NoProgress)
}

#[cfg(test)]
mod tests {
    use lifecycle_image::{
        BytesLayer, Compression, DiffId, Digest, Family, History, MediaType, Platform, mutate,
    };
    use lifecycle_layers::{Contents, FilesLayer, Style};
    use lifecycle_spec::label::LayerSha;

    use super::*;

    fn file(path: &str, text: &str) -> SbomFile {
        SbomFile {
            path: path.into(),
            format: SbomFormat::CycloneDx,
            bytes: text.as_bytes().to_vec(),
        }
    }

    #[test]
    fn an_image_leads_to_no_sbom_of_this_machine() {
        let here = tempfile::tempdir().unwrap();
        fs::create_dir_all(here.path().join("sbom/launch")).unwrap();
        fs::write(here.path().join("sbom/launch/sbom.cdx.json"), "{}").unwrap();
        let outside = here.path().to_str().unwrap();
        let scratch = here.path().join("scratch/a");
        fs::create_dir_all(&scratch).unwrap();
        for (link, target, layers) in [
            ("layers", outside.to_owned(), "/layers"),
            ("layers/sbom", format!("{outside}/sbom"), "/layers"),
            ("layers/sbom/launch", format!("{outside}/sbom/launch"), "/layers"),
            ("other", "x".to_owned(), "/../../.."),
        ] {
            let contents = FilesLayer::new("a trap", Style::Reference).symlink(link, target, 0o777);
            let mut tar = Vec::new();
            contents.write(&mut tar).unwrap();
            let diff_id = DiffId(Digest::of(&tar));
            let sbom = LayerSha::new(diff_id.to_string());
            let layer = BytesLayer::new(MediaType::layer(Family::Oci, Compression::None), tar, diff_id);
            let image = mutate::append(
                Image::empty(&Platform::host()),
                Arc::new(layer),
                History::default(),
            );
            let image = mutate::configure(image, |config| config.config.set_env("CNB_LAYERS_DIR", layers));
            let label = LifecycleLabel {
                sbom: Some(sbom),
                ..LifecycleLabel::default()
            };
            let files = read(&image, &label, &scratch, &NoProgress).unwrap();
            assert!(files.is_empty(), "{link}: {files:?}");
        }
    }

    #[test]
    fn a_component_is_listed_once() {
        let files = [
            file(
                "a/sbom.cdx.json",
                r#"{"specVersion":"1.10","components":[{"purl":"pkg:pypi/x@1"},{"name":"y","version":"2"}]}"#,
            ),
            file(
                "b/sbom.cdx.json",
                r#"{"specVersion":"1.5","components":[{"purl":"pkg:pypi/x@1"},{"name":"y","version":"3"}],"dependencies":[{"ref":"x"}]}"#,
            ),
        ];
        let merged = merge(&files, "demo", "sha256:0").unwrap();
        assert_eq!(merged["specVersion"], "1.10");
        assert_eq!(merged["components"].as_array().unwrap().len(), 3);
        assert_eq!(merged["dependencies"], json!([{ "ref": "x" }]));
        assert_eq!(merged["metadata"]["component"]["name"], "demo");
        assert_eq!(count_components(&files).unwrap(), 3);
    }

    #[test]
    fn a_package_that_is_described_is_a_component_a_directory_is_none() {
        let files = [
            file(
                "a/sbom.cdx.json",
                r#"{"metadata":{"component":{"name":"a","purl":"pkg:cargo/a@1"}}}"#,
            ),
            file(
                "b/sbom.cdx.json",
                r#"{"metadata":{"component":{"name":"/"}},"components":[{"name":"b"}]}"#,
            ),
            file("c/sbom.cdx.json", r#"{"metadata":1}"#),
        ];
        let merged = merge(&files, "demo", "sha256:0").unwrap();
        assert_eq!(
            merged["components"],
            json!([{"name": "a", "purl": "pkg:cargo/a@1"}, {"name": "b"}])
        );
    }

    #[test]
    fn a_document_that_is_none_is_named() {
        let error = merge(&[file("a/sbom.cdx.json", "[]")], "", "").unwrap_err();
        assert_eq!(error.to_string(), "a/sbom.cdx.json is not a CycloneDX document");
    }

    #[test]
    fn formats_by_file_name() {
        assert_eq!(format(Path::new("a/b/sbom.spdx.json")), Some(SbomFormat::Spdx));
        assert_eq!(format(Path::new("a/sbom.legacy.json")), None);
    }
}
