//! Where an extension's Dockerfile, its arguments and its context lie (DET-11, DKF-02, DKF-03).

use std::path::PathBuf;

use lifecycle_spec::{BuildArg, BuildpackApi, ExtendConfigToml, GroupModule};

use super::{ExtendKind, ExtendOptions};
use crate::{FileError, files};

/// A Dockerfile of an extension.
#[derive(Debug)]
pub(super) struct ExtensionDockerfile {
    /// The extension's id.
    pub(super) extension: String,
    pub(super) path: PathBuf,
    pub(super) context: PathBuf,
    pub(super) arguments: Vec<BuildArg>,
}

impl ExtensionDockerfile {
    /// What an extension generated for this kind of image, if anything.
    pub(super) fn find(
        options: &ExtendOptions,
        extension: &GroupModule,
        api: BuildpackApi,
    ) -> Result<Option<Self>, FileError> {
        let kind = options.kind.word();
        let own = extension.id.directory();
        let (path, config, contexts) = if options.api.has_generated_contexts() {
            let directory = options.generated.join(own);
            let contexts = vec![
                directory.join(format!("context.{kind}")),
                directory.join("context"),
            ];
            let path = directory.join(format!("{kind}.Dockerfile"));
            (path, directory.join("extend-config.toml"), contexts)
        } else {
            let directory = options.generated.join(kind).join(own);
            let path = directory.join("Dockerfile");
            (path, directory.join("extend-config.toml"), Vec::new())
        };
        if !path.is_file() {
            return Ok(None);
        }
        let config = files::read_if_there(&config, ExtendConfigToml::parse)?.unwrap_or_default();
        let arguments = match options.kind {
            ExtendKind::Build => config.build,
            ExtendKind::Run if api.extends_run_image() => config.run,
            ExtendKind::Run => Vec::new(),
        };
        let context = contexts.into_iter().find(|context| context.is_dir());
        Ok(Some(Self {
            extension: extension.id.to_string(),
            path,
            context: context.unwrap_or_else(|| options.app.clone()),
            arguments,
        }))
    }
}
