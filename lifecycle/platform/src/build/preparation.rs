//! What lies ready before the first phase begins.

use std::path::PathBuf;

use super::workspace::{PLATFORM, Workspace};
use super::{BuildOptions, RunImages};
use crate::PlatformError;
use crate::source::copy_source;

/// The certificates that downloads of buildpacks are checked with, below the platform directory.
const CERTIFICATES: &str = "ca-certificates.crt";
/// The variable that names them; the buildpacks of this repository derive those of their tools from it.
const CERTIFICATES_VARIABLE: &str = "SSL_CERT_FILE";

/// Fills the directories that the phases start from.
pub(super) fn prepare(options: &BuildOptions<'_>, workspace: &Workspace) -> Result<(), PlatformError> {
    let copied = copy_source(
        &options.source,
        &options.selection,
        &workspace.app().here,
        workspace.owner(),
    )?;
    if copied == 0 {
        let reason = "there is no file in it, or project.toml leaves none".to_owned();
        return Err(PlatformError::Source {
            path: options.source.clone(),
            reason,
        });
    }
    workspace.give_away_app()?;
    for (name, value) in &options.env {
        workspace.set_variable(name, value)?;
    }
    if let Some(certificates) = &options.certificates {
        let bytes = fs_err::read(certificates);
        let bytes =
            bytes.map_err(|cause| PlatformError::io("read certificates from", certificates, cause))?;
        workspace.write(&workspace.platform().join(CERTIFICATES), &bytes)?;
        if options.env.iter().all(|(name, _)| name != CERTIFICATES_VARIABLE) {
            let path = format!("{PLATFORM}/{CERTIFICATES}");
            workspace.set_variable(CERTIFICATES_VARIABLE, path.as_ref())?;
        }
    }
    let layers = workspace.layers().here;
    if let Some(order) = &options.order {
        workspace.write(&layers.join("order.toml"), order.to_toml().as_bytes())?;
    }
    if let RunImages::OfBuilder(run) = &options.run_images {
        workspace.write_document("run.toml", &run.to_toml())?;
        workspace.show("run.toml")?;
    }
    workspace.write_document("project-metadata.toml", &options.project.to_toml())?;
    workspace.show("project-metadata.toml")?;
    for sbom in &options.program.launcher_sboms {
        let name = format!("sbom.{}", sbom.format.extension());
        workspace.write(&workspace.launcher_sboms().join(name), sbom.text.as_bytes())?;
    }
    workspace.write(&workspace.launcher(), &options.program.launcher)
}

/// Makes the directory for results of extensions: one for each builder, because its extensions run as root where they are
/// kept, and what they left is not believed under another one. Of other builders, and when all is to be forgotten,
/// nothing stays.
pub(super) fn prepare_extended(options: &BuildOptions<'_>) -> Result<Option<PathBuf>, PlatformError> {
    let Some(directory) = &options.extended else {
        return Ok(None);
    };
    let failed = |cause| PlatformError::io("prepare", directory, cause);
    let builder = options.builder.digest();
    let builder = builder.map_err(|error| PlatformError::Image(error.to_string()))?;
    let own = directory.join(builder.hex());
    fs_err::create_dir_all(directory).map_err(failed)?;
    for entry in fs_err::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if options.clear_cache || path != own {
            lifecycle_layers::tree::remove_path(&path).map_err(failed)?;
        }
    }
    fs_err::create_dir_all(&own).map_err(failed)?;
    Ok(Some(own))
}
