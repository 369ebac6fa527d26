//! The process launcher that lies in every app image.
//!
//! A container starts as `/cnb/process/<type>` (a link to the launcher) or as the launcher with a command. From there
//! to the running process it is four steps, one module each, and no process is left in between:
//!
//! 1. [`Invocation`]: what the container says, as plain data; read the build's `config/metadata.toml`.
//! 2. `process`: which command is meant, with which arguments, by the rules of the Platform API and of the Buildpack
//!    API of its author.
//! 3. `layers` and `exec_d`: the environment, from layer directories, their `env` files, and `exec.d` programs.
//! 4. `start`: become the process, directly or through bash and the buildpacks' profile scripts.
//!
//! [`launch`] returns only when something went wrong, with a [`LaunchError`] that knows its exit code. The facts are
//! those of `cnb.md` 1.9 (`LAU-…`) and 2.15 to 2.17.
//!
//! The program is copied into every image, so it is small before all else: the standard library, a TOML parser, and
//! rustix for one descriptor. It has no threads and makes no child processes but those of `exec.d`.

mod error;
mod exec_d;
mod invocation;
mod layers;
mod process;
mod shell;
mod start;

use std::convert::Infallible;
use std::path::Path;

use lifecycle_spec::{BuildpackApi, Environment, MetadataToml, PlatformApi};

pub use error::LaunchError;
pub use invocation::Invocation;

/// Becomes the process that `invocation` asks for.
pub fn launch(invocation: &Invocation) -> Result<Infallible, LaunchError> {
    // Before anything else is read: its shape depends on this (GEN-01).
    let api = PlatformApi::negotiate(invocation.platform_api())?;
    let metadata = read_metadata(&invocation.layers_dir)?;
    let buildpacks = layers::buildpacks(&invocation.layers_dir, &metadata)?;
    let command = process::choose(invocation, &metadata, api)?;
    let process_type = command.process_type.as_deref();

    let mut environment = Environment::for_process(invocation.variables.iter().cloned());
    layers::apply(&mut environment, &buildpacks, process_type)?;
    for program in layers::programs(&buildpacks, process_type)? {
        exec_d::run(&program, &invocation.app_dir, &mut environment)?;
    }
    if command.direct {
        start::directly(&command, &environment)
    } else {
        let profiles = layers::profiles(&buildpacks, process_type)?;
        start::in_shell(&command, &profiles, invocation, &environment)
    }
}

fn read_metadata(layers_dir: &Path) -> Result<MetadataToml, LaunchError> {
    let path = layers_dir.join("config/metadata.toml");
    let bytes = std::fs::read(&path).map_err(|error| LaunchError::io("read", &path, error))?;
    let metadata = MetadataToml::parse(&path, &bytes)?;
    for buildpack in &metadata.buildpacks {
        let _supported: BuildpackApi = buildpack.negotiate("buildpack")?;
    }
    Ok(metadata)
}
