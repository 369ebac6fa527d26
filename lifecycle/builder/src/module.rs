//! A buildpack or extension as a layer of a builder or package.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lifecycle_image::Layer;
use lifecycle_layers::{FilesLayer, Style};
use lifecycle_spec::{Flaw, Target};

use crate::folder::{Content, Folder};
use crate::{BuilderError, Descriptor};

/// A buildpack or extension that goes into a builder or package.
#[derive(Clone)]
pub struct Module {
    /// What it says of itself.
    pub descriptor: Descriptor,
    /// What is odd about its description, without being wrong.
    pub warnings: Vec<Flaw>,
    pub(crate) content: ModuleContent,
}

/// Where a module's files are.
#[derive(Clone)]
pub(crate) enum ModuleContent {
    /// In a folder; a multi-arch source has the description elsewhere.
    Files {
        folder: Folder,
        description: Option<Vec<u8>>,
    },
    /// In a layer that a package brought, alone or with others.
    Layer(Arc<dyn Layer>),
}

impl Module {
    /// Reads the module in a folder.
    ///
    /// A source for several targets has the files of each in `OS/ARCH[/VARIANT][/DISTRO@VERSION]`, or where a target's
    /// `path` says (PKG-08). The deepest folder that there is for `target` counts, with the description that lies at
    /// the top unless it has its own.
    pub fn read(folder: Folder, target: &Target) -> Result<Self, BuilderError> {
        let (descriptor, warnings) = Descriptor::read(&folder)?;
        let file = descriptor.kind.file();
        let own = folder_of_target(&folder, &descriptor, target);
        let content = match own {
            Some(own) if own.has(file) => {
                let (descriptor, warnings) = Descriptor::read(&own)?;
                return Self::new(descriptor, warnings, own, None);
            }
            Some(own) => {
                let description = folder.read(file)?;
                (own, Some(description))
            }
            None => (folder, None),
        };
        Self::new(descriptor, warnings, content.0, content.1)
    }

    fn new(
        descriptor: Descriptor,
        warnings: Vec<Flaw>,
        folder: Folder,
        description: Option<Vec<u8>>,
    ) -> Result<Self, BuilderError> {
        if descriptor.kind == crate::Kind::Buildpack
            && !descriptor.is_composite()
            && !["bin/build", "bin/build.bat", "bin/build.exe"]
                .iter()
                .any(|program| folder.has(program))
        {
            return Err(BuilderError::NoPrograms {
                module: descriptor.label(),
                folder: folder.path().into_owned(),
            });
        }
        Ok(Self {
            descriptor,
            warnings,
            content: ModuleContent::Files { folder, description },
        })
    }

    /// `id@version`.
    pub fn label(&self) -> String {
        self.descriptor.label()
    }

    /// Where its files lie in a builder (DIR-01, DIR-02).
    pub fn directory(&self) -> PathBuf {
        directory(&self.descriptor)
    }

    /// Its files as a layer: modes 0755 and 0644, owned by root (platforms.md 1.8). It has pack's bytes: the directory of
    /// all modules is not in it.
    pub(crate) fn files(
        &self,
        folder: &Folder,
        description: Option<&[u8]>,
    ) -> Result<FilesLayer, BuilderError> {
        let directory = self.directory();
        let mut layer = FilesLayer::new(self.label(), Style::Reference)
            .below(self.descriptor.kind.directory())
            .directory(&directory, 0o755);
        if let Some(description) = description {
            layer = layer.file(directory.join(self.descriptor.kind.file()), 0o644, description);
        }
        for (path, file) in folder.files()? {
            let is_program = self
                .descriptor
                .kind
                .programs()
                .iter()
                .any(|program| Path::new(program) == path);
            let path = directory.join(path);
            let mode = if file.executable || is_program {
                0o755
            } else {
                0o644
            };
            layer = match file.content {
                Content::Embedded(bytes) => layer.file(path, mode, bytes),
                Content::Disk(source) => layer.copy(path, mode, source),
                Content::Link(target) => layer.symlink(path, target, 0o777),
                Content::Directory => layer.directory(path, 0o755),
            };
        }
        Ok(layer)
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Module({} {})", self.descriptor.kind.word(), self.label())
    }
}

/// Where the files of a module lie in a builder (DIR-01, DIR-02).
pub(crate) fn directory(descriptor: &Descriptor) -> PathBuf {
    Path::new(descriptor.kind.directory())
        .join(descriptor.info.id.directory())
        .join(descriptor.info.version.to_string())
}

/// The folder that a multi-arch source has for a target, if it has one.
fn folder_of_target(folder: &Folder, descriptor: &Descriptor, target: &Target) -> Option<Folder> {
    let same = |own: &str, wanted: &str| own.is_empty() || wanted.is_empty() || own == wanted;
    let named = descriptor.targets.iter().find_map(|own| {
        let fits =
            same(&own.os, &target.os) && same(&own.arch, &target.arch) && same(&own.variant, &target.variant);
        own.path.as_ref().filter(|_| fits)
    });
    if let Some(path) = named {
        return Some(folder.join(path));
    }
    let parts = [target.os.as_str(), target.arch.as_str()];
    if parts.contains(&"") {
        return None;
    }
    let mut deepest = folder.join(&parts.join("/"));
    if !deepest.is_there() {
        return None;
    }
    let distro = match target.distros.as_slice() {
        [distro] => format!("{}@{}", distro.name, distro.version),
        _ => String::new(),
    };
    for part in [target.variant.as_str(), &distro] {
        if !part.is_empty() && deepest.join(part).is_there() {
            deepest = deepest.join(part);
        }
    }
    Some(deepest)
}
