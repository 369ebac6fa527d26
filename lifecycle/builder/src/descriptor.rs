//! What a module says of itself.

use std::path::Path;

use lifecycle_spec::label::{self, OrderLabelEntry, OrderLabelGroup};
use lifecycle_spec::{
    ApiList, BuildpackToml, ExtensionToml, Flaw, ModuleInfo, OrderEntry, OrderGroup, Stack, Target,
};

use crate::{BuilderError, Folder, ModuleName};

/// A buildpack, or an extension of the images that buildpacks work on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A buildpack.
    Buildpack,
    /// An image extension.
    Extension,
}

impl Kind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Buildpack, Self::Extension];

    /// The word for people.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Buildpack => "buildpack",
            Self::Extension => "extension",
        }
    }

    /// The file in which a module says what it is.
    pub const fn file(self) -> &'static str {
        match self {
            Self::Buildpack => "buildpack.toml",
            Self::Extension => "extension.toml",
        }
    }

    /// The label that says where modules lie in an image.
    pub(crate) const fn layers_label(self) -> &'static str {
        match self {
            Self::Buildpack => label::BUILDPACK_LAYERS,
            Self::Extension => label::EXTENSION_LAYERS,
        }
    }

    /// Where modules lie in a builder (DIR-01).
    pub const fn directory(self) -> &'static str {
        match self {
            Self::Buildpack => "/cnb/buildpacks",
            Self::Extension => "/cnb/extensions",
        }
    }

    /// The programs that platforms start.
    pub(crate) const fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Buildpack => &["bin/build", "bin/detect"],
            Self::Extension => &["bin/detect", "bin/generate"],
        }
    }
}

/// `buildpack.toml` or `extension.toml`.
#[derive(Debug, Clone, PartialEq)]
pub struct Descriptor {
    /// Which of the two.
    pub kind: Kind,
    /// The Buildpack API that it declares, as written.
    pub api: String,
    /// Who it is.
    pub info: ModuleInfo,
    /// For a composite buildpack: the groups that it stands for.
    pub order: Vec<OrderLabelGroup>,
    /// What it runs on.
    pub targets: Vec<Target>,
    /// What it ran on before there were targets.
    pub stacks: Vec<Stack>,
}

impl Descriptor {
    /// Reads the file of a folder, with warnings about keys that nobody knows.
    pub fn read(folder: &Folder) -> Result<(Self, Vec<Flaw>), BuilderError> {
        let has = |kind: &Kind| folder.has(kind.file());
        let Some(kind) = Kind::ALL.into_iter().find(has) else {
            return Err(BuilderError::NoModule {
                place: folder.path().display().to_string(),
            });
        };
        let bytes = folder.read(kind.file())?;
        Ok(Self::parse(kind, &folder.path().join(kind.file()), &bytes)?)
    }

    /// Reads the file's bytes.
    pub fn parse(kind: Kind, path: &Path, bytes: &[u8]) -> Result<(Self, Vec<Flaw>), Flaw> {
        match kind {
            Kind::Buildpack => {
                let (toml, flaws) = BuildpackToml::parse_with_warnings(path, bytes)?;
                let descriptor = Self {
                    kind,
                    api: toml.api,
                    info: toml.buildpack,
                    order: toml.order.iter().map(label_group).collect(),
                    targets: toml.targets,
                    stacks: toml.stacks,
                };
                Ok((descriptor, flaws))
            }
            Kind::Extension => {
                let (toml, flaws) = ExtensionToml::parse_with_warnings(path, bytes)?;
                let descriptor = Self {
                    kind,
                    api: toml.api,
                    info: toml.extension,
                    order: Vec::new(),
                    targets: toml.targets,
                    stacks: Vec::new(),
                };
                Ok((descriptor, flaws))
            }
        }
    }

    /// `id@version`.
    pub fn label(&self) -> String {
        self.info.label()
    }

    /// The same, to look it up by.
    pub fn name(&self) -> ModuleName {
        ModuleName {
            id: self.info.id.clone(),
            version: Some(self.info.version.clone()),
        }
    }

    /// Whether it stands for other buildpacks and has no programs of its own.
    pub fn is_composite(&self) -> bool {
        !self.order.is_empty()
    }

    /// Whether a lifecycle speaks its API (BU-02).
    pub(crate) fn is_spoken(&self, apis: &ApiList) -> bool {
        apis.supported
            .iter()
            .chain(&apis.deprecated)
            .any(|api| *api == self.api)
    }
}

pub(crate) fn label_group(group: &OrderGroup) -> OrderLabelGroup {
    OrderLabelGroup {
        group: group.group.iter().map(label_entry).collect(),
    }
}

pub(crate) fn label_entry(entry: &OrderEntry) -> OrderLabelEntry {
    OrderLabelEntry {
        id: entry.id.clone(),
        version: Some(entry.version.clone()),
        optional: entry.optional,
        exec_env: entry.exec_env.clone(),
    }
}
