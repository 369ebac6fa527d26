//! The layers of the image: what they put into the environment, and which programs and scripts they hold.

use std::io;
use std::path::{Path, PathBuf};

use lifecycle_spec::{EnvDirectory, Environment, MetadataToml, Moment};

use crate::LaunchError;

/// The layer directories of one buildpack, by name.
#[derive(Debug)]
pub(crate) struct Buildpack {
    layers: Vec<PathBuf>,
}

/// The buildpacks of the image in their order; one without a directory has no layers.
pub(crate) fn buildpacks(layers_dir: &Path, metadata: &MetadataToml) -> Result<Vec<Buildpack>, LaunchError> {
    // A link in the place of a layer is none.
    let is_layer = |path: &Path| path.symlink_metadata().is_ok_and(|found| found.is_dir());
    let layers = |id: &lifecycle_spec::BuildpackId| list(&layers_dir.join(id.directory()), is_layer);
    metadata
        .buildpacks
        .iter()
        .map(|buildpack| {
            Ok(Buildpack {
                layers: layers(&buildpack.id)?,
            })
        })
        .collect()
}

/// For each buildpack: the paths of all its layers, then the variables of all its layers (EMR-04).
pub(crate) fn apply(
    environment: &mut Environment,
    buildpacks: &[Buildpack],
    process_type: Option<&str>,
) -> Result<(), LaunchError> {
    for buildpack in buildpacks {
        for layer in &buildpack.layers {
            environment.add_layer_paths(layer, Moment::Launch);
        }
        for layer in &buildpack.layers {
            let mut directories = vec![layer.join("env"), layer.join("env.launch")];
            directories.extend(process_type.map(|process| layer.join("env.launch").join(process)));
            let directories: Result<Vec<_>, _> =
                directories.iter().map(|path| EnvDirectory::read(path)).collect();
            environment.apply_layer(&directories.map_err(LaunchError::Environment)?);
        }
    }
    Ok(())
}

/// The `exec.d` programs in the order in which they run.
pub(crate) fn programs(
    buildpacks: &[Buildpack],
    process_type: Option<&str>,
) -> Result<Vec<PathBuf>, LaunchError> {
    files(buildpacks, "exec.d", process_type)
}

/// The `profile.d` scripts in the order in which they are sourced (LAU-09).
pub(crate) fn profiles(
    buildpacks: &[Buildpack],
    process_type: Option<&str>,
) -> Result<Vec<PathBuf>, LaunchError> {
    files(buildpacks, "profile.d", process_type)
}

/// All files of `<layer>/<directory>`, then all of `<layer>/<directory>/<process>`, each by buildpack, layer and name.
///
/// The reference takes both directories of a layer before it goes to the next layer. That differs only where several
/// layers have files for one process, and the text is clear (LAU-08, X-09).
fn files(
    buildpacks: &[Buildpack],
    directory: &str,
    process_type: Option<&str>,
) -> Result<Vec<PathBuf>, LaunchError> {
    let layers = || buildpacks.iter().flat_map(|buildpack| &buildpack.layers);
    let for_all = layers().map(|layer| layer.join(directory));
    let for_process = layers().filter_map(|layer| Some(layer.join(directory).join(process_type?)));
    let mut files = Vec::new();
    for directory in for_all.chain(for_process) {
        files.extend(list(&directory, |path| !path.is_dir())?);
    }
    Ok(files)
}

/// The members of a directory that are wanted, by name. One that does not exist has none.
fn list(directory: &Path, wanted: impl Fn(&Path) -> bool) -> Result<Vec<PathBuf>, LaunchError> {
    let failed = |error| LaunchError::io("list", directory, error);
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(Vec::new());
        }
        Err(error) => return Err(failed(error)),
    };
    let mut members = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if wanted(&path) {
            members.push(path);
        }
    }
    members.sort();
    Ok(members)
}
