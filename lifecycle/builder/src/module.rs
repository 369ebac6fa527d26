//! A buildpack as a layer of a builder.

use std::path::{Path, PathBuf};

use lifecycle_layers::{FilesLayer, Style};
use lifecycle_spec::BuildpackToml;

use crate::BuilderError;
use crate::folder::{Content, Folder};

/// A buildpack that goes into a builder.
#[derive(Debug, Clone)]
pub struct Module {
    /// Its description.
    pub descriptor: BuildpackToml,
    folder: Folder,
}

impl Module {
    /// Reads a buildpack's description, and checks that the lifecycle speaks its API (BU-02).
    pub fn read(folder: Folder) -> Result<Self, BuilderError> {
        let bytes = folder.read("buildpack.toml")?;
        let descriptor = BuildpackToml::parse(&folder.path().join("buildpack.toml"), &bytes)?;
        descriptor.negotiate()?;
        Ok(Self { descriptor, folder })
    }

    /// `id@version`.
    pub fn label(&self) -> String {
        self.descriptor.buildpack.label()
    }

    /// Where its files lie in a builder (DIR-01, DIR-02).
    pub fn directory(&self) -> PathBuf {
        let info = &self.descriptor.buildpack;
        Path::new("/cnb/buildpacks")
            .join(info.id.directory())
            .join(info.version.to_string())
    }

    /// Its layer: modes 0755 and 0644, owned by root (platforms.md 1.8).
    pub fn layer(&self) -> Result<FilesLayer, BuilderError> {
        let directory = self.directory();
        let mut layer = FilesLayer::new(self.label(), Style::Reference).directory(&directory, 0o755);
        for (path, file) in self.folder.files()? {
            let path = directory.join(path);
            let mode = if file.executable { 0o755 } else { 0o644 };
            layer = match file.content {
                Content::Embedded(bytes) => layer.file(path, mode, bytes),
                Content::Disk(source) => layer.copy(path, mode, source),
                Content::Link(target) => layer.symlink(path, target, 0o777),
            };
        }
        Ok(layer)
    }
}
