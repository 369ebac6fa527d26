//! A source on its way to a cluster: which files it is, and one archive of them.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lifecycle_dockerfile::Ignore;
use lifecycle_image::{Digest, History, Image, Platform, Reference, Sink, TransferErrorKind, mutate};
use lifecycle_kubernetes::SourceArchive;
use lifecycle_layers::{Contents, Entry, Kind, Owner, PackError, Packing, Style, TarWriter, pack};
use lifecycle_platform::Selection;
use lifecycle_registry::Registry;
use lifecycle_store::Expected;

use super::context;
use super::unfinished::Unfinished;
use super::wishes::Wishes;
use crate::arguments::BuildArguments;
use crate::commands::build::Project;
use crate::console::{Console, human_size};
use crate::failure::Failure;
use crate::session::{Destination, Session};
use crate::transfer;

/// Which files of a directory are sent.
#[derive(Debug)]
pub(super) struct Files {
    directory: PathBuf,
    /// `include` and `exclude` of project.toml.
    selection: Selection,
    /// `.dockerignore`. The Dockerfile and the file itself go along all the same: the build asks for them.
    ignore: Ignore,
    /// What is needed whatever the patterns say.
    kept: Vec<PathBuf>,
    /// Directories that are needed whatever the patterns say, with all in them.
    contexts: Vec<PathBuf>,
}

impl Files {
    /// Those that a build of a directory needs.
    pub(super) fn of(
        arguments: &BuildArguments,
        directory: &Path,
        is_dockerfile: bool,
        session: &Session,
    ) -> Result<Self, Failure> {
        let mut kept = Vec::new();
        let (mut selection, mut ignore) = (Selection::All, Ignore::default());
        if is_dockerfile {
            let file = arguments
                .dockerfile
                .file
                .clone()
                .filter(|file| !file.as_os_str().is_empty());
            let file = file.unwrap_or_else(|| PathBuf::from("Dockerfile"));
            let own = PathBuf::from(format!("{}.dockerignore", file.display()));
            let general = PathBuf::from(".dockerignore");
            let chosen = [&own, &general]
                .into_iter()
                .find(|path| directory.join(path).is_file());
            if let Some(path) = chosen {
                let bytes = fs_err::read(directory.join(path))?;
                ignore = Ignore::parse(path.display().to_string(), bytes).map_err(|diagnostics| {
                    for diagnostic in &diagnostics {
                        session.console.diagnostic(diagnostic);
                    }
                    Failure::new("ignore", format!("{} has errors", path.display()))
                })?;
            }
            kept.extend([file, own, general]);
        } else {
            let project = Project::read(directory, arguments.descriptor.as_deref(), &session.console)?;
            selection = project.selection(directory)?;
            kept.push(PathBuf::from("project.toml"));
        }
        if arguments.kubernetes.gitignore {
            let Selection::All = selection else {
                return Err(Failure::new(
                    "gitignore",
                    "--gitignore and include or exclude in project.toml exclude each other",
                ));
            };
            let text = fs_err::read_to_string(directory.join(".gitignore"))?;
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            selection = Selection::new(directory, &[], &lines)?;
        }
        Ok(Self {
            contexts: context::directories(&arguments.dockerfile.contexts, directory)?,
            directory: directory.to_owned(),
            selection,
            ignore,
            kept,
        })
    }

    /// Whether a path is sent. `.git` never is: the history of a project is no part of its image.
    fn takes(&self, path: &Path, is_directory: bool) -> bool {
        if path.starts_with(".git") {
            return false;
        }
        self.kept.iter().any(|kept| kept == path)
            || self.contexts.iter().any(|context| path.starts_with(context))
            || (self.selection.takes(path, is_directory) && !self.ignore.matches(path.as_os_str().as_bytes()))
    }

    /// Everything that is sent, sorted; directories only with something in them that is, or when they are taken
    /// themselves.
    fn find(&self, below: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
        let mut names: Vec<_> = fs_err::read_dir(self.directory.join(below))?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<Result<_, _>>()?;
        names.sort();
        for name in names {
            let path = below.join(name);
            let metadata = fs_err::symlink_metadata(self.directory.join(&path))?;
            let takes = self.takes(&path, metadata.is_dir());
            if !metadata.is_dir() {
                if takes {
                    found.push(path);
                }
                continue;
            }
            if path == Path::new(".git") {
                continue;
            }
            let before = found.len();
            found.push(path.clone());
            self.find(&path, found)?;
            if found.len() == before + 1 && !takes {
                found.pop();
            }
        }
        Ok(())
    }
}

impl Contents for Files {
    fn name(&self) -> String {
        self.directory.display().to_string()
    }

    fn write(&self, out: &mut dyn Write) -> Result<(), PackError> {
        let mut found = Vec::new();
        let failed = |path: &Path, cause| PackError::Io {
            path: path.display().to_string(),
            cause,
        };
        self.find(Path::new(""), &mut found)
            .map_err(|cause| failed(&self.directory, cause))?;
        let mut tar = TarWriter::new(out, Style::Oci { latest: None });
        for path in found {
            let disk = self.directory.join(&path);
            write_entry(&mut tar, &path, &disk).map_err(|error| match error {
                Failed::Here(cause) => failed(&disk, cause),
                Failed::There(error) => error,
            })?;
        }
        tar.finish().map(drop)
    }
}

/// Which side of a copy failed.
enum Failed {
    Here(std::io::Error),
    There(PackError),
}

impl From<std::io::Error> for Failed {
    fn from(cause: std::io::Error) -> Self {
        Self::Here(cause)
    }
}

impl From<PackError> for Failed {
    fn from(error: PackError) -> Self {
        Self::There(error)
    }
}

fn write_entry(tar: &mut TarWriter<&mut dyn Write>, path: &Path, disk: &Path) -> Result<(), Failed> {
    let metadata = fs_err::symlink_metadata(disk)?;
    let target;
    let kind = if metadata.is_dir() {
        Kind::Directory
    } else if metadata.is_symlink() {
        target = fs_err::read_link(disk)?;
        Kind::Symlink(target.as_os_str().as_bytes().into())
    } else if metadata.is_file() {
        Kind::File { size: metadata.len() }
    } else {
        // Sockets, pipes and devices are no source.
        return Ok(());
    };
    tar.entry(&Entry {
        path: path.as_os_str().as_bytes().into(),
        kind,
        mode: metadata.mode() & 0o7777,
        owner: Owner::ROOT,
        mtime: metadata.mtime(),
        xattrs: Vec::new(),
    })?;
    if !metadata.is_file() {
        return Ok(());
    }
    let mut file = fs_err::File::open(disk)?;
    let mut buffer = vec![0; 256 << 10];
    let mut left = metadata.len();
    while left > 0 {
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        match file.read(&mut buffer[..length])? {
            0 => return Err(std::io::Error::other("it has become shorter").into()),
            read => {
                tar.data(&buffer[..read])?;
                left -= read as u64;
            }
        }
    }
    Ok(())
}

/// Packs a source into a file, and refuses one that is larger than what the user thinks it is (JC-01).
pub(super) fn archive(
    files: Files,
    limit: u64,
    wishes: &Wishes,
    session: &Session,
) -> Result<SourceArchive, Failure> {
    let mut file: File = tempfile::tempfile_in(session.scratch()?)?;
    let archive = wishes.leaving(move || {
        let packed = pack(
            &files,
            &Packing::default(),
            &mut file,
            &lifecycle_image::NoProgress,
        )?;
        Ok(SourceArchive {
            file,
            size: packed.size,
            digest: packed.digest,
        })
    })?;
    check(archive.size, limit, session)?;
    Ok(archive)
}

fn check(size: u64, limit: u64, session: &Session) -> Result<(), Failure> {
    session.console.info(format!("Source: {}", human_size(size)));
    if size > limit << 20 {
        return Err(Failure::new(
            "source-limit",
            format!("the source has {}, more than {limit} MiB", human_size(size)),
        )
        .help("leave files out with `exclude` in project.toml, .dockerignore or --gitignore, or raise --source-limit"));
    }
    Ok(())
}

/// Puts the source of the builds `ids` into the repository of `image`, once for each: its layer is content-addressed, so
/// that it is sent once, and an unchanged one not again; its manifest is the build's own, so that no other build loses it
/// when this one is through. Returns where each build finds its own.
pub(super) fn upload(
    files: Files,
    ids: &[&str],
    image: &Reference,
    limit: u64,
    unfinished: &mut Unfinished<'_>,
    wishes: &Wishes,
    session: &Session,
) -> Result<Vec<Reference>, Failure> {
    let layer = session.store()?.pack(
        Arc::new(files),
        Packing::default(),
        Expected::here(),
        session.progress(),
    );
    let size = wishes.leaving({
        let layer = Arc::clone(&layer);
        move || Ok(layer.descriptor()?.size)
    })?;
    check(size, limit, session)?;
    let registry = session.registry()?;
    let sent = wishes.leaving({
        let (registry, layer, image) = (registry.clone(), Arc::clone(&layer), image.clone());
        move || Ok(registry.send_layer(layer, &image)?)
    })?;
    session.console.info(format!(
        "Sent {} of it to {}",
        human_size(sent),
        image.repository().familiar()
    ));
    let artifact = mutate::append(Image::empty(&Platform::host()), layer, History::default());
    let name_own = |id: &&str| {
        let own = mutate::configure(artifact.clone(), |config| {
            config.set_label("lifecycle.build/id", *id);
        });
        let digest: Digest = own.digest()?;
        let source = image.repository().at(&digest);
        // Registries collect what has no tag.
        let tagged = image
            .repository()
            .tagged(&format!("source-{}", &digest.hex()[..16]))?;
        unfinished.has_source(id, &source);
        let registry = registry.clone();
        wishes.finishing(move || {
            let sink: Box<dyn Sink> = Box::new(registry);
            transfer::write(
                &own,
                &Destination {
                    sink,
                    names: vec![tagged],
                },
            )
        })?;
        Ok(source)
    };
    ids.iter().map(name_own).collect()
}

/// Removes an uploaded source. A registry that does not let us is only told of: the build is through.
pub(super) fn remove(source: &Reference, registry: &Registry, console: &Console) {
    match registry.delete(source) {
        Err(error) if error.kind != TransferErrorKind::NotFound => console.warning(format!(
            "the uploaded source {source} is left in the registry: {}",
            Failure::from(error).reason()
        )),
        _ => {}
    }
}
