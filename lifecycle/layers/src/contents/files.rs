//! Layers of generated files: the launcher, the process types, small files from memory.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{PIECE, copy_data, image_path};
use crate::entry::{ancestors, show};
use crate::{Contents, Entry, Kind, Owner, PackError, Style, TarWriter};

/// Files that are made rather than found, in the order in which they are added.
///
/// Directories above them are added when they are missing, with mode 0755. Everything belongs to root unless
/// [`FilesLayer::owner`] says otherwise.
#[derive(Clone)]
pub struct FilesLayer {
    name: String,
    style: Style,
    owner: Owner,
    mtime: i64,
    base: PathBuf,
    files: Vec<(Entry<'static>, Data)>,
}

#[derive(Clone)]
enum Data {
    Nothing,
    Memory(Arc<[u8]>),
    Disk(PathBuf),
}

impl FilesLayer {
    /// A layer without files, called `name` in messages.
    pub fn new(name: impl Into<String>, style: Style) -> Self {
        Self {
            name: name.into(),
            style,
            owner: Owner::ROOT,
            mtime: 0,
            base: PathBuf::new(),
            files: Vec::new(),
        }
    }

    /// Sets who owns what is added from now on.
    #[must_use]
    pub fn owner(self, owner: Owner) -> Self {
        Self { owner, ..self }
    }

    /// Sets the time of what is added from now on, in seconds since the epoch. The reference's style has one
    /// time for everything and takes no notice.
    #[must_use]
    pub fn mtime(self, mtime: i64) -> Self {
        Self { mtime, ..self }
    }

    /// Takes a directory and those above it as given: what lies below does not add them.
    #[must_use]
    pub fn below(self, base: impl Into<PathBuf>) -> Self {
        Self {
            base: base.into(),
            ..self
        }
    }

    /// Adds a directory.
    #[must_use]
    pub fn directory(self, path: impl AsRef<Path>, mode: u32) -> Self {
        self.add(path.as_ref(), Kind::Directory, mode, Data::Nothing)
    }

    /// Adds a file with these bytes.
    #[must_use]
    pub fn file(self, path: impl AsRef<Path>, mode: u32, bytes: impl Into<Arc<[u8]>>) -> Self {
        let bytes = bytes.into();
        let size = bytes.len() as u64;
        self.add(path.as_ref(), Kind::File { size }, mode, Data::Memory(bytes))
    }

    /// Adds a file with the bytes of a file on disk, which is read when the layer is written.
    #[must_use]
    pub fn copy(self, path: impl AsRef<Path>, mode: u32, from: impl Into<PathBuf>) -> Self {
        let kind = Kind::File { size: 0 };
        self.add(path.as_ref(), kind, mode, Data::Disk(from.into()))
    }

    /// Adds a symbolic link. The reference gives its process links mode 0755, file systems say 0777.
    #[must_use]
    pub fn symlink(self, path: impl AsRef<Path>, target: impl Into<Vec<u8>>, mode: u32) -> Self {
        let kind = Kind::Symlink(target.into().into());
        self.add(path.as_ref(), kind, mode, Data::Nothing)
    }

    fn add(mut self, path: &Path, kind: Kind<'static>, mode: u32, data: Data) -> Self {
        let path = image_path(path);
        let given = image_path(&self.base);
        let given = Path::new(OsStr::from_bytes(&given));
        let base = |path: &[u8]| Entry {
            owner: self.owner,
            mtime: self.mtime,
            ..Entry::directory(path.to_vec())
        };
        let missing: Vec<_> = ancestors(&path)
            .filter(|parent| !self.files.iter().any(|(entry, _)| *entry.path == **parent))
            .filter(|parent| !given.starts_with(OsStr::from_bytes(parent)))
            .map(|parent| (base(parent), Data::Nothing))
            .collect();
        let entry = Entry {
            kind,
            mode,
            ..base(&path)
        };
        self.files.extend(missing);
        self.files.push((entry, data));
        self
    }
}

impl fmt::Debug for FilesLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths = self.files.iter().map(|(entry, _)| show(&entry.path));
        f.debug_struct("FilesLayer")
            .field("name", &self.name)
            .field("paths", &paths.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl Contents for FilesLayer {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn write(&self, tar: &mut dyn Write) -> Result<(), PackError> {
        let mut writer = TarWriter::new(&mut *tar, self.style);
        for (entry, data) in &self.files {
            match data {
                Data::Nothing => writer.entry(entry)?,
                Data::Memory(bytes) => {
                    writer.entry(entry)?;
                    writer.data(bytes)?;
                }
                Data::Disk(from) => copy_from_disk(&mut writer, entry, from)?,
            }
        }
        writer.finish().map(|_| ())
    }
}

/// Writes a file of the machine that builds, whose path may go through links.
fn copy_from_disk<W: Write>(
    writer: &mut TarWriter<W>,
    entry: &Entry<'_>,
    from: &Path,
) -> Result<(), PackError> {
    let name = || from.display().to_string();
    let fail = |cause| PackError::Io { path: name(), cause };
    let file = File::open(from).map_err(fail)?;
    let size = file.metadata().map_err(fail)?.len();
    writer.entry(&Entry {
        kind: Kind::File { size },
        ..entry.clone()
    })?;
    copy_data(writer, &mut vec![0; PIECE], &file.into(), size, name)
}
