//! Buildpacks and extensions as they lie on disk.

use std::path::{Path, PathBuf};

use lifecycle_spec::{
    ApiError, BuildpackApi, BuildpackId, BuildpackToml, ExecEnv, ExitCode, ExtensionToml, GroupModule,
    ModuleInfo, OrderGroup, Target, Version,
};

use crate::{FileError, files, targets};

/// A buildpack or extension cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// It is named by an order or group, but is not there (ORD-06).
    #[error("{kind} '{module}' is not in {}; its order names it, so the builder is incomplete", directory.display())]
    Missing {
        /// `Buildpack` or `Extension`.
        kind: &'static str,
        /// The module as `id@version`.
        module: String,
        /// Where it should be.
        directory: PathBuf,
    },
    /// Its description cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its Buildpack API is not supported.
    #[error(transparent)]
    Api(#[from] ApiError),
}

impl ModuleError {
    /// 12 for an API, 22 in detection for the rest; other phases have numbers of their own.
    pub(crate) fn exit_code(&self, otherwise: ExitCode) -> ExitCode {
        match self {
            Self::Api(error) => error.exit_code(),
            Self::Missing { .. } | Self::File(_) => otherwise,
        }
    }
}

/// What sort of module it is. Ids of one kind say nothing about those of the other (ORD-04).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Buildpack,
    Extension,
}

impl Kind {
    /// The word in messages that clients know (lifecycle.md 1.2).
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Buildpack => "Buildpack",
            Self::Extension => "Extension",
        }
    }
}

/// A buildpack or extension that lies on disk and speaks an API that we know.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Module {
    pub(crate) kind: Kind,
    /// Its directory, absolute.
    pub(crate) root: PathBuf,
    pub(crate) api: BuildpackApi,
    /// The API as it is written, for group.toml.
    pub(crate) declared_api: String,
    pub(crate) info: ModuleInfo,
    /// For a composite: what it stands for.
    pub(crate) order: Vec<OrderGroup>,
    /// What it runs on; inferred where it does not say so.
    pub(crate) targets: Vec<Target>,
}

impl Module {
    /// `id@version`
    pub(crate) fn label(&self) -> String {
        self.info.label()
    }

    pub(crate) fn is_extension(&self) -> bool {
        self.kind == Kind::Extension
    }

    /// A program of the module, if it has it.
    pub(crate) fn program(&self, name: &str) -> Option<PathBuf> {
        let file = self.root.join("bin").join(name);
        file.exists().then_some(file)
    }

    /// Whether it takes part in an execution environment; only modules that know of these say so (X-04, XEN-03).
    pub(crate) fn supports(&self, env: &ExecEnv) -> bool {
        !self.api.has_exec_env() || self.info.exec_env.include(env.as_str())
    }

    /// As group.toml and metadata.toml name it (DTA-03).
    pub(crate) fn to_group(&self) -> GroupModule {
        GroupModule {
            id: self.info.id.clone(),
            version: self.info.version.clone(),
            homepage: self.info.homepage.clone(),
            api: self.declared_api.clone(),
        }
    }
}

/// A module has the names under which orders and groups know it, as its directory has: its layers and labels are
/// found by them again, whatever its description says.
fn named(info: ModuleInfo, id: &BuildpackId, version: &Version) -> ModuleInfo {
    ModuleInfo {
        id: id.clone(),
        version: version.clone(),
        ..info
    }
}

/// The directories that hold modules (DIR-01).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Modules<'a> {
    pub(crate) buildpacks: &'a Path,
    pub(crate) extensions: &'a Path,
}

impl Modules<'_> {
    /// Reads a module's description and negotiates its API.
    pub(crate) fn find(self, kind: Kind, id: &BuildpackId, version: &Version) -> Result<Module, ModuleError> {
        let parent = match kind {
            Kind::Buildpack => self.buildpacks,
            Kind::Extension => self.extensions,
        };
        let root = parent.join(id.directory()).join(version.as_str());
        let missing = || ModuleError::Missing {
            kind: kind.word(),
            module: format!("{id}@{version}"),
            directory: parent.to_owned(),
        };
        match kind {
            Kind::Buildpack => {
                let path = root.join("buildpack.toml");
                let file = files::read_if_there(&path, BuildpackToml::parse)?.ok_or_else(missing)?;
                let api = file.negotiate()?;
                Ok(Module {
                    kind,
                    api,
                    targets: targets::effective(file.targets, &file.stacks, api, &root),
                    declared_api: file.api,
                    info: named(file.buildpack, id, version),
                    order: file.order,
                    root,
                })
            }
            Kind::Extension => {
                let path = root.join("extension.toml");
                let file = files::read_if_there(&path, ExtensionToml::parse)?.ok_or_else(missing)?;
                let api = file.negotiate()?;
                Ok(Module {
                    kind,
                    api,
                    // Extensions need no programs, so nothing follows from those that they have (TGT-08).
                    targets: file.targets,
                    declared_api: file.api,
                    info: named(file.extension, id, version),
                    order: Vec::new(),
                    root,
                })
            }
        }
    }
}
