//! Builders and packages made from small modules, and what hostile ones try.

mod builders;
mod hostile;
mod packages;
mod sources;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lifecycle_image::archive::{ArchiveKind, ArchiveSink};
use lifecycle_image::layout::Layout;
use lifecycle_image::{Image, NoProgress, Platform, Progress, Sink, Source, mutate};
use lifecycle_layers::{Kind as EntryKind, TarReader, decoder};
use lifecycle_spec::{BuilderToml, Target};
use lifecycle_store::Store;

use crate::*;

/// A directory with a store and a shelf of images, and the modules that a test writes.
#[derive(Debug)]
pub(crate) struct Bench {
    directory: tempfile::TempDir,
    store: Store,
    progress: Arc<dyn Progress>,
    images: Layout,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            store: Store::open(&directory.path().join("store")).unwrap(),
            progress: Arc::new(NoProgress),
            images: Layout::create(directory.path().join("images")).unwrap(),
            directory,
        }
    }

    pub(crate) fn bench(&self) -> Workbench<'_> {
        Workbench {
            store: &self.store,
            progress: &self.progress,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn folder(&self) -> Folder {
        Folder::Disk(self.directory.path().to_owned())
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }

    /// A buildpack in a folder of its own, which is named like the part of its id behind the slash.
    pub(crate) fn buildpack(&self, id: &str, version: &str, more: &str) {
        let folder = id.rsplit('/').next().unwrap();
        let toml = format!("api = '0.10'\n[buildpack]\nid = '{id}'\nversion = '{version}'\n{more}");
        self.write(&format!("{folder}/buildpack.toml"), toml);
        if !more.contains("[[order]]") {
            self.write(&format!("{folder}/bin/build"), format!("#!/bin/sh\necho {id}\n"));
            self.write(&format!("{folder}/bin/detect"), "#!/bin/sh\n");
        }
    }

    pub(crate) fn address(&self, text: &str) -> Result<Address, InvalidAddress> {
        Address::parse(text, &self.folder(), &|_| false)
    }

    pub(crate) fn fetch(&self, text: &str) -> Result<Package, BuilderError> {
        self.fetch_for(text, &target("amd64"))
    }

    pub(crate) fn fetch_for(&self, text: &str, target: &Target) -> Result<Package, BuilderError> {
        fetch(&self.address(text)?, &self.folder(), target, self, &self.bench())
    }

    /// The package of a folder and of what it depends on.
    pub(crate) fn package(&self, text: &str, dependencies: &[&str]) -> Result<Image, BuilderError> {
        self.package_with(text, dependencies, &PackageOptions::default())
    }

    pub(crate) fn package_with(
        &self,
        text: &str,
        dependencies: &[&str],
        options: &PackageOptions,
    ) -> Result<Image, BuilderError> {
        let mut made = self.fetch(text)?;
        for dependency in dependencies {
            made.dependencies.extend(self.fetch(dependency)?.into_modules());
        }
        let image = package(&made, &Platform::linux("amd64"), options, &self.bench())?;
        image.digest()?;
        Ok(image)
    }

    /// Writes an image into a `.cnb` file.
    pub(crate) fn save(&self, image: &Image, file: &str) {
        write(
            &ArchiveSink::create(ArchiveKind::Oci, self.path(file)),
            &[],
            image,
        );
    }

    /// Puts an image onto the shelf.
    pub(crate) fn push(&self, image: &Image, name: &str) {
        write(&self.images, &[name], image);
    }

    /// The builder of a `builder.toml`.
    pub(crate) fn builder(&self, toml: &str, base: Image) -> Result<Image, BuilderError> {
        self.builder_with(toml, base, &Flatten::Nothing, None)
    }

    pub(crate) fn builder_with(
        &self,
        toml: &str,
        base: Image,
        flatten: &Flatten,
        lifecycle: Option<Lifecycle>,
    ) -> Result<Image, BuilderError> {
        let text = format!(
            "{toml}\n[build]\nimage = 'base'\n[[run.images]]\nimage = 'r.test/run'\nmirrors = ['m.test/run']\n"
        );
        let (toml, _) = BuilderToml::parse(Path::new("builder.toml"), text.as_bytes())?;
        let mut modules = Vec::new();
        for entry in toml.buildpacks.iter().chain(&toml.extensions) {
            modules.extend(self.fetch(&entry.uri)?.into_modules());
        }
        let mut definition = Definition::new(toml, modules)?;
        definition.flatten = flatten.clone();
        let image = create(
            &definition,
            base,
            &lifecycle.unwrap_or_else(|| self.lifecycle()),
            &self.bench(),
        )?;
        // Layers live as long as their store works on them.
        image.digest()?;
        Ok(image)
    }

    pub(crate) fn lifecycle(&self) -> Lifecycle {
        self.write("program", "program");
        Lifecycle::own("1.2.3", self.path("program"), b"launcher"[..].into())
    }
}

impl Origins for Bench {
    fn images(&self) -> &dyn Source {
        &self.images
    }

    fn download(&self, address: &str) -> Result<PathBuf, OriginError> {
        Ok(self.path(address.rsplit('/').next().unwrap()))
    }

    fn registered(&self, name: &ModuleName) -> Result<String, OriginError> {
        Ok(RegistryIndex::new(self.path("index")).find(name)?.addr)
    }

    fn scratch(&self) -> Result<PathBuf, OriginError> {
        Ok(tempfile::tempdir_in(self.directory.path())?.keep())
    }
}

/// A build image.
pub(crate) fn base() -> Image {
    mutate::configure(Image::empty(&Platform::linux("amd64")), |config| {
        config.config.set_env("CNB_USER_ID", "1000");
        config.config.set_env("CNB_GROUP_ID", "1001");
        config.config.cmd = Some(vec!["sh".to_owned()]);
        config.set_label("io.buildpacks.base.distro.name", "debian");
        config.set_label("io.buildpacks.base.distro.version", "12");
    })
}

pub(crate) fn target(arch: &str) -> Target {
    Target {
        os: "linux".to_owned(),
        arch: arch.to_owned(),
        ..Target::default()
    }
}

fn write(sink: &dyn Sink, names: &[&str], image: &Image) {
    let names: Vec<_> = names.iter().map(|name| name.parse().unwrap()).collect();
    let mut upload = sink.begin(&names).unwrap();
    for layer in image.layers() {
        upload.layer(Arc::clone(layer));
    }
    upload.finish(image).unwrap();
}

/// What is in each layer: paths with mode and owner, directories with a slash at the end, links with an arrow.
pub(crate) fn contents(image: &Image) -> Vec<Vec<String>> {
    let lines = |layer: &Arc<dyn lifecycle_image::Layer>| {
        let tar = decoder(layer.open(0).unwrap(), None).unwrap();
        let mut reader = TarReader::new(std::io::BufReader::new(tar));
        let mut lines = Vec::new();
        while let Some(entry) = reader.next_entry().unwrap() {
            let path = String::from_utf8(entry.path).unwrap();
            let owner = format!("{}:{}", entry.owner.uid, entry.owner.gid);
            assert_eq!(entry.mtime, 315_532_801, "{path}");
            let end = match entry.kind {
                EntryKind::Directory => "/".to_owned(),
                EntryKind::Symlink(target) => {
                    format!(" -> {}", String::from_utf8(target.into_owned()).unwrap())
                }
                _ => String::new(),
            };
            lines.push(format!(
                "{:o} {owner} {}{end}",
                entry.mode,
                path.trim_end_matches('/')
            ));
        }
        lines
    };
    image.layers().iter().map(lines).collect()
}
