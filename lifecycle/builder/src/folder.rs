//! Folders of definitions, on disk or in the program.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use include_dir::{Dir, include_dir};
use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::BuilderError;

static BUILDPACKS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../buildpacks");
static STACKS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../stacks");
static BUILDERS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../builders");

/// The most that is read of a document in an archive.
const LARGEST_DOCUMENT: u64 = 16 << 20;

/// A folder with a definition: of a stack, a buildpack, or a builder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Folder {
    /// In the program, with the path that it has in this project's repository.
    Embedded(PathBuf),
    /// On disk.
    Disk(PathBuf),
    /// In an archive that somebody else made and that was unpacked: no link leads out of it.
    Unpacked {
        /// The directory that it was unpacked into.
        root: PathBuf,
        /// The folder's path in the archive.
        below: PathBuf,
        /// What the archive is called.
        archive: PathBuf,
    },
}

/// One file of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// In the program.
    Embedded(&'static [u8]),
    /// On disk.
    Disk(PathBuf),
    /// A symbolic link.
    Link(Vec<u8>),
    /// A directory.
    Directory,
}

/// A file and whether it is a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) content: Content,
    pub(crate) executable: bool,
}

impl File {
    fn directory() -> Self {
        Self {
            content: Content::Directory,
            executable: true,
        }
    }
}

impl Folder {
    /// The folder that a user means: a directory that holds `file` (or the path of that file), else the embedded
    /// folder of that name below `kind`s.
    pub fn find(kind: &'static str, name: &str, file: &'static str) -> Result<Self, BuilderError> {
        let path = Path::new(name);
        if path.join(file).is_file() {
            return Ok(Self::Disk(path.to_owned()));
        }
        if path.file_name().is_some_and(|own| own == file) && path.is_file() {
            return Ok(Self::Disk(path.parent().unwrap_or(Path::new("")).to_owned()));
        }
        let embedded = Self::embedded(kind)
            .into_iter()
            .find(|folder| folder.name() == name);
        embedded.ok_or_else(|| BuilderError::Unknown {
            kind,
            name: name.to_owned(),
            file,
            known: Self::embedded(kind)
                .iter()
                .map(Self::name)
                .collect::<Vec<_>>()
                .join(", "),
        })
    }

    /// The embedded folders below `kind`s: `stack`, `buildpack` or `builder`.
    pub fn embedded(kind: &str) -> Vec<Self> {
        let root = PathBuf::from(format!("{kind}s"));
        let Some(folder) = embedded_root(&root) else {
            return Vec::new();
        };
        folder
            .dirs()
            .map(|folder| Self::Embedded(root.join(folder.path())))
            .collect()
    }

    /// The last part of the path.
    pub fn name(&self) -> Cow<'_, str> {
        let path = self.path();
        path.file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
            .into()
    }

    /// The path for messages: on disk, in the repository, or in the archive.
    pub fn path(&self) -> Cow<'_, Path> {
        match self {
            Self::Embedded(path) | Self::Disk(path) => path.into(),
            Self::Unpacked { below, archive, .. } => archive.join(below).into(),
        }
    }

    /// A folder by its path from here. Embedded folders can only reach embedded ones.
    #[must_use]
    pub fn join(&self, relative: &str) -> Self {
        match self {
            Self::Disk(path) => Self::Disk(path.join(relative)),
            Self::Embedded(path) => Self::Embedded(joined(path, relative)),
            Self::Unpacked { root, below, archive } => Self::Unpacked {
                root: root.clone(),
                below: joined(below, relative),
                archive: archive.clone(),
            },
        }
    }

    /// Whether there is such a folder. In an archive, a link to one is none.
    pub fn is_there(&self) -> bool {
        match self {
            Self::Disk(path) => path.is_dir(),
            Self::Embedded(path) => embedded_folder(path).is_some(),
            Self::Unpacked { root, below, .. } => open_beneath(root, below)
                .and_then(|file| file.metadata())
                .is_ok_and(|metadata| metadata.is_dir()),
        }
    }

    /// Whether a path from here leads to a file or folder.
    pub fn has(&self, relative: &str) -> bool {
        match self {
            Self::Disk(path) => !relative.is_empty() && path.join(relative).exists(),
            Self::Embedded(path) => {
                embedded_file(&joined(path, relative)).is_some() || self.join(relative).is_there()
            }
            Self::Unpacked { root, below, .. } => open_beneath(root, &joined(below, relative)).is_ok(),
        }
    }

    /// The bytes of a file in the folder.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, BuilderError> {
        let path = self.path().join(name);
        let missing = || std::io::Error::from(std::io::ErrorKind::NotFound);
        let bytes = match self {
            Self::Disk(_) => fs_err::read(&path),
            Self::Embedded(_) => embedded_file(&path).map(<[u8]>::to_vec).ok_or_else(missing),
            Self::Unpacked { root, below, .. } => open_beneath(root, &below.join(name)).and_then(|file| {
                let mut bytes = Vec::new();
                file.take(LARGEST_DOCUMENT).read_to_end(&mut bytes)?;
                Ok(bytes)
            }),
        };
        bytes.map_err(|cause| BuilderError::Read { path, cause })
    }

    /// Every file below the folder by its path from here, sorted.
    pub(crate) fn files(&self) -> Result<BTreeMap<PathBuf, File>, BuilderError> {
        let mut files = BTreeMap::new();
        match self {
            Self::Disk(root) => collect_disk(root, root, &mut files)?,
            Self::Unpacked { root, below, .. } => {
                let missing = |cause| BuilderError::Read {
                    path: self.path().into_owned(),
                    cause,
                };
                // No part of the path is a link, so what is below it lies in the archive.
                open_beneath(root, below).map_err(missing)?;
                let directory = root.join(below);
                collect_disk(&directory, &directory, &mut files)?;
            }
            Self::Embedded(path) => {
                let missing = || BuilderError::Read {
                    path: path.clone(),
                    cause: std::io::ErrorKind::NotFound.into(),
                };
                let folder = embedded_folder(path).ok_or_else(missing)?;
                collect_embedded(folder, folder.path(), &mut files);
            }
        }
        Ok(files)
    }
}

/// The embedded tree that the first part of a path names.
/// `relative` from `path` as text, without ever leaving what `path` is in.
fn joined(path: &Path, relative: &str) -> PathBuf {
    let mut joined = PathBuf::new();
    for part in path.join(relative).components() {
        match part {
            Component::Normal(name) => joined.push(name),
            Component::ParentDir => drop(joined.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    joined
}

/// Opens what lies below `root`, through no link at all.
fn open_beneath(root: &Path, path: &Path) -> std::io::Result<std::fs::File> {
    let root = std::fs::File::open(root)?;
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    Ok(rustix::fs::openat2(&root, path, flags, Mode::empty(), resolve)?.into())
}

fn embedded_root(path: &Path) -> Option<&'static Dir<'static>> {
    match path.components().next()?.as_os_str().to_str()? {
        "buildpacks" => Some(&BUILDPACKS),
        "stacks" => Some(&STACKS),
        "builders" => Some(&BUILDERS),
        _ => None,
    }
}

fn below_root(path: &Path) -> PathBuf {
    path.components().skip(1).collect()
}

fn embedded_folder(path: &Path) -> Option<&'static Dir<'static>> {
    embedded_root(path)?.get_dir(below_root(path))
}

fn embedded_file(path: &Path) -> Option<&'static [u8]> {
    Some(embedded_root(path)?.get_file(below_root(path))?.contents())
}

fn collect_embedded(folder: &'static Dir<'static>, root: &Path, files: &mut BTreeMap<PathBuf, File>) {
    for file in folder.files() {
        let path = file.path().strip_prefix(root).unwrap_or(file.path()).to_owned();
        // Embedding loses permissions; in these folders every script is a program.
        let executable = file.contents().starts_with(b"#!");
        files.insert(
            path,
            File {
                content: Content::Embedded(file.contents()),
                executable,
            },
        );
    }
    for folder in folder.dirs() {
        let path = folder.path().strip_prefix(root).unwrap_or(folder.path());
        files.insert(path.to_owned(), File::directory());
        collect_embedded(folder, root, files);
    }
}

fn collect_disk(folder: &Path, root: &Path, files: &mut BTreeMap<PathBuf, File>) -> Result<(), BuilderError> {
    let failed = |cause| BuilderError::Read {
        path: folder.to_owned(),
        cause,
    };
    for entry in fs_err::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        let metadata = fs_err::symlink_metadata(&path).map_err(failed)?;
        if metadata.is_dir() {
            // The history of a checkout is no part of it, and never the same twice.
            if path != root.join(".git") {
                files.insert(
                    path.strip_prefix(root).unwrap_or(&path).to_owned(),
                    File::directory(),
                );
                collect_disk(&path, root, files)?;
            }
            continue;
        }
        let content = if metadata.is_symlink() {
            let target = fs_err::read_link(&path).map_err(failed)?;
            Content::Link(target.as_os_str().as_bytes().to_vec())
        } else if metadata.is_file() {
            Content::Disk(path.clone())
        } else {
            // Sockets, pipes and devices have no place in a buildpack.
            continue;
        };
        let executable = metadata.permissions().mode() & 0o111 != 0;
        let path = path.strip_prefix(root).unwrap_or(&path).to_owned();
        files.insert(path, File { content, executable });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_definitions_are_there() {
        let builder = Folder::find("builder", "debian-12", "builder.toml").unwrap();
        assert_eq!(builder, Folder::Embedded("builders/debian-12".into()));
        assert!(!builder.read("builder.toml").unwrap().is_empty());
        let python = builder.join("../../buildpacks/python");
        let files = python.files().unwrap();
        assert!(files[Path::new("bin/build")].executable);
        assert!(!files[Path::new("buildpack.toml")].executable);
    }

    #[test]
    fn an_embedded_folder_does_not_reach_the_disk() {
        let folder = Folder::Embedded("builders/debian-12".into()).join("../../../../etc");
        assert_eq!(folder, Folder::Embedded("etc".into()));
        assert!(folder.files().is_err());
        assert!(folder.read("passwd").is_err());
    }

    #[test]
    fn a_folder_on_disk_wins() {
        let directory = tempfile::tempdir().unwrap();
        fs_err::write(directory.path().join("stack.toml"), "").unwrap();
        let name = directory.path().to_str().unwrap();
        assert_eq!(
            Folder::find("stack", name, "stack.toml").unwrap(),
            Folder::Disk(directory.path().into())
        );
        let file = directory.path().join("stack.toml");
        let found = Folder::find("stack", file.to_str().unwrap(), "stack.toml").unwrap();
        assert_eq!(found, Folder::Disk(directory.path().into()));
        let error = Folder::find("stack", "nope", "stack.toml")
            .unwrap_err()
            .to_string();
        assert!(error.contains("debian-12"), "{error}");
    }
}
