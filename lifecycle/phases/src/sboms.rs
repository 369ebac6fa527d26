//! SBOM files: from where buildpacks put them to where the image and the cache have them, and back (cnb.md 1.14).

use std::io;
use std::path::Path;

use fs_err as fs;
use lifecycle_layers::tree::find_below;
use lifecycle_spec::{BuildpackId, LayerName, SbomFormat, sbom_path};

use crate::contributed::{ContributedLayer, names};
use crate::modules::Module;
use crate::{FileError, files};

/// An SBOM file of a buildpack cannot be used (SBOM-03).
#[derive(Debug, thiserror::Error)]
pub enum SbomError {
    /// Its name does not end like those of the known formats.
    #[error(
        "'{file}' is of no known SBOM format; the name must end with .sbom.cdx.json, .sbom.spdx.json or .sbom.syft.json"
    )]
    UnknownFormat {
        /// The file's name.
        file: String,
    },
    /// The buildpack did not say that it writes this format.
    #[error("'{file}' is of media type {media_type}, which `sbom-formats` in buildpack.toml does not list")]
    NotDeclared {
        /// The file's name.
        file: String,
        /// The format's media type.
        media_type: &'static str,
    },
    /// It could not be read or copied.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Copies a buildpack's SBOM files into the trees `launch`, `build` and `cache` below `<layers>/sbom`.
pub(crate) fn collect(
    module: &Module,
    directory: &Path,
    layers: &Path,
    contributed: &[ContributedLayer],
) -> Result<(), SbomError> {
    let declared: Vec<_> = module
        .info
        .sbom_formats
        .iter()
        .filter_map(|text| SbomFormat::of_media_type(text))
        .collect();
    let id = &module.info.id;
    for file in names(directory)?
        .into_iter()
        .filter(|name| name.contains(".sbom."))
    {
        let from = directory.join(&file);
        if !from.is_file() {
            continue;
        }
        let Some((stem, format)) = SbomFormat::of_file(&file) else {
            return Err(SbomError::UnknownFormat { file });
        };
        if !declared.contains(&format) {
            return Err(SbomError::NotDeclared {
                file,
                media_type: format.media_type(),
            });
        }
        let copy = |tree, layer| files::copy(&from, &sbom_path(layers, tree, id, layer, format));
        match stem {
            "launch" | "build" => copy(stem, None)?,
            _ => {
                // What belongs to no layer says nothing about the image.
                let Some(layer) = contributed.iter().find(|layer| layer.name.as_str() == stem) else {
                    continue;
                };
                let types = layer.toml.types;
                if types.launch {
                    copy("launch", Some(&layer.name))?;
                } else if !types.is_none() {
                    copy("build", Some(&layer.name))?;
                }
                if types.cache {
                    copy("cache", Some(&layer.name))?;
                }
            }
        }
    }
    Ok(())
}

/// Gives a restored layer its SBOM files back, from what the previous image and the cache brought. The cache knows
/// better: layers come from there (LYR-02). A link in what they brought, or in what a buildpack left, is none: it would
/// lead to files that this phase can read and buildpacks cannot.
pub(crate) fn restore(layers: &Path, id: &BuildpackId, layer: &LayerName) -> io::Result<()> {
    for tree in ["launch", "cache"] {
        for format in SbomFormat::ALL {
            let from = sbom_path(Path::new(""), tree, id, Some(layer), format);
            if let Some((from, kind)) = find_below(layers, &from)
                && kind.is_file()
            {
                let name = format!("{layer}.sbom.{}", format.extension());
                files::copy(&from, &layers.join(id.directory()).join(name))?;
            }
        }
    }
    Ok(())
}

/// The directory in the SBOM trees of what the lifecycle itself brings (SBOM-05).
pub(crate) const LIFECYCLE: &str = "buildpacksio_lifecycle";

/// Copies the SBOM files that lie beside the lifecycle: the launcher's into the image, the lifecycle's own beside it.
/// Gives back the names of those that are missing; from a directory of the user's own every file counts for the
/// launcher (SBOM-03, SBOM-04).
pub(crate) fn add_lifecycle(layers: &Path, from: &Path, is_default: bool) -> Result<Vec<String>, FileError> {
    let trees = layers.join("sbom");
    let launcher = trees.join("launch").join(LIFECYCLE).join("launcher");
    let lifecycle = trees.join("build").join(LIFECYCLE);
    files::remove(&trees.join("launch").join(LIFECYCLE))?;
    files::remove(&lifecycle)?;
    let mut missing = Vec::new();
    if is_default {
        for format in SbomFormat::ALL {
            let name = format!("sbom.{}", format.extension());
            for (stem, to) in [("launcher", &launcher), ("lifecycle", &lifecycle)] {
                let file = from.join(format!("{stem}.{name}"));
                if file.is_file() {
                    files::copy(&file, &to.join(&name))?;
                } else {
                    missing.push(file.display().to_string());
                }
            }
        }
        return Ok(missing);
    }
    for file in names(from)? {
        let is_sbom = |format: SbomFormat| file.ends_with(&format!("sbom.{}", format.extension()));
        if SbomFormat::ALL.into_iter().any(is_sbom) {
            files::copy(&from.join(&file), &launcher.join(&file))?;
        }
    }
    if !launcher.is_dir() {
        missing.push(from.display().to_string());
    }
    Ok(missing)
}

/// Removes the trees.
pub(crate) fn clear(layers: &Path) -> io::Result<()> {
    files::remove(&layers.join("sbom"))
}

/// Whether a tree has anything in it.
pub(crate) fn has(layers: &Path, tree: &str) -> bool {
    fs::read_dir(layers.join("sbom").join(tree)).is_ok_and(|mut entries| entries.next().is_some())
}
