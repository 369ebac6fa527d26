//! What lies in a buildpack's directory below the layers directory.

use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use lifecycle_spec::{BomEntry, BuildpackId, LayerName, LayerToml, Version};

use crate::{FileError, files};

/// A layer that a buildpack described, with or without contents.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ContributedLayer {
    pub(crate) name: LayerName,
    pub(crate) toml: LayerToml,
    /// Where its contents lie, or would.
    pub(crate) directory: PathBuf,
}

impl ContributedLayer {
    /// Whether there are contents. A link or a file is what there is, too.
    pub(crate) fn has_contents(&self) -> bool {
        self.directory.symlink_metadata().is_ok()
    }
}

/// The layers that are described in a buildpack's directory, by name. A directory without a description is none
/// (BPB-04).
pub(crate) fn layers(directory: &Path) -> Result<Vec<ContributedLayer>, FileError> {
    let mut layers = Vec::new();
    for file in names(directory)? {
        let Some(name) = file
            .strip_suffix(".toml")
            .and_then(|stem| LayerName::new(stem).ok())
        else {
            continue;
        };
        let toml = files::read(&directory.join(&file), LayerToml::parse)?;
        layers.push(ContributedLayer {
            directory: directory.join(name.as_str()),
            name,
            toml,
        });
    }
    layers.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(layers)
}

/// The names of the files and directories in a directory, sorted. That it is not there means there are none.
pub(crate) fn names(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        names.push(entry.file_name().into_string().map_err(|_| {
            let text = format!(
                "the name of {} is not UTF-8, which no layer can be called",
                entry.path().display()
            );
            io::Error::new(io::ErrorKind::InvalidData, text)
        })?);
    }
    names.sort();
    Ok(names)
}

/// An entry of the legacy bill of materials, with the buildpack that said so.
pub(crate) fn signed(entry: BomEntry, id: &BuildpackId, version: &Version) -> BomEntry {
    let mut entry = entry;
    entry.buildpack.id = id.to_string();
    entry.buildpack.version = version.to_string();
    entry
}
