//! What one buildpack left in its directory.

use std::collections::BTreeSet;
use std::io;

use fs_err as fs;
use lifecycle_spec::{BuildToml, EnvDirectory, Environment, LaunchToml, Moment, Requirement, StoreToml};

use super::{BuildError, BuildOptions};
use crate::contributed::{self, ContributedLayer};
use crate::modules::Module;
use crate::{FileError, Reporter, files, sboms};

/// What one buildpack left.
#[derive(Debug)]
pub(crate) struct Contribution {
    pub(crate) layers: Vec<ContributedLayer>,
    pub(crate) launch: LaunchToml,
    pub(crate) build: BuildToml,
    /// The names of the plan that it met.
    pub(crate) met: BTreeSet<String>,
}

impl Contribution {
    /// Reads what a buildpack left, sets layers aside that are for nothing, and copies its SBOM files.
    pub(crate) fn take(
        options: &BuildOptions,
        module: &Module,
        given: &[Requirement],
        reporter: &dyn Reporter,
    ) -> Result<Self, BuildError> {
        let directory = options.layers.join(module.info.id.directory());
        let failed = |cause: FileError| BuildError::Contribution {
            module: module.label(),
            cause,
        };
        let layers = contributed::layers(&directory).map_err(failed)?;
        for layer in layers.iter().filter(|layer| layer.toml.types.is_none()) {
            set_aside(layer).map_err(FileError::from).map_err(failed)?;
        }
        let build = files::read_if_there(&directory.join("build.toml"), BuildToml::parse).map_err(failed)?;
        let build = build.unwrap_or_default();
        let launch = files::read_if_there(&directory.join("launch.toml"), |path, bytes| {
            LaunchToml::parse(path, bytes, module.api)
        });
        let (launch, flaws) = launch.map_err(failed)?.unwrap_or_default();
        for flaw in flaws {
            reporter.warning(&flaw.to_string());
        }
        let met = met(module, given, &build)?;
        // It is the exporter that needs it; here it is known who wrote it.
        files::read_if_there(&directory.join("store.toml"), StoreToml::parse).map_err(failed)?;
        if options.surroundings.api.has_sbom_layers() {
            sboms::collect(module, &directory, &options.layers, &layers).map_err(|cause| {
                BuildError::Sbom {
                    module: module.label(),
                    cause,
                }
            })?;
        }
        Ok(Self {
            layers,
            launch,
            build,
            met,
        })
    }

    /// Shows the layers that are for the build to the buildpacks that follow, layer by layer: first its directories,
    /// then its files of variables (EMR-02, EMR-04).
    pub(crate) fn extend(&self, environment: &mut Environment) -> io::Result<()> {
        for layer in self.layers.iter().filter(|layer| layer.toml.types.build) {
            environment.add_layer_paths(&layer.directory, Moment::Build);
            environment.apply_layer(&[
                EnvDirectory::read(&layer.directory.join("env"))?,
                EnvDirectory::read(&layer.directory.join("env.build"))?,
            ]);
        }
        Ok(())
    }
}

/// A layer that is for nothing keeps its contents under another name, where nobody takes them for a layer (BPB-02).
fn set_aside(layer: &ContributedLayer) -> io::Result<()> {
    if !layer.has_contents() {
        return Ok(());
    }
    let mut aside = layer.directory.clone().into_os_string();
    aside.push(".ignore");
    files::remove(aside.as_ref())?;
    fs::rename(&layer.directory, aside)
}

/// What was asked for and is not listed as unmet (UNM-02).
fn met(module: &Module, given: &[Requirement], build: &BuildToml) -> Result<BTreeSet<String>, BuildError> {
    let mut met: BTreeSet<String> = given.iter().map(|require| require.name.clone()).collect();
    for name in &build.unmet {
        if !given.iter().any(|require| require.name == *name) {
            return Err(BuildError::Unmet {
                module: module.label(),
                name: name.clone(),
            });
        }
        met.remove(name);
    }
    Ok(met)
}
