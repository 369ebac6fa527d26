//! What layers are made of: directories, applications and their slices, generated files.

mod app;
mod directory;
mod files;
mod glob;
mod repacked;
mod retimed;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, openat};
use rustix::io::Errno;

pub use self::app::AppLayer;
pub use self::directory::{DirectoryLayer, Parents};
pub use self::files::FilesLayer;
pub use self::glob::Glob;
pub use self::repacked::{RepackedLayer, open_tar};
pub use self::retimed::RetimedLayer;

use crate::descent::{DIRECTORY, Identity};
use crate::entry::show;
use crate::walk::{self, Found, WalkError};
use crate::{Entry, Kind, Owners, PackError, Style, TarWriter, xattrs};

/// How much of a file is read at a time.
const PIECE: usize = 256 << 10;
/// On a directory: what is made in it gets its group, and new directories this bit.
const SET_GROUP_ID: u32 = 0o2000;

/// Writes what a walk finds as the entries of a layer.
pub(crate) struct LayerWriter<'a> {
    tar: TarWriter<&'a mut dyn Write>,
    style: Style,
    owners: &'a Owners,
    /// Where the tree lies on disk, for messages.
    disk: &'a Path,
    /// Whether directories inherited their set-group-ID bit.
    shared: bool,
    /// Whether extended attributes are written.
    xattrs: bool,
    /// The files with several names, and the first of them.
    links: HashMap<Identity, Vec<u8>>,
    buffer: Vec<u8>,
}

impl<'a> LayerWriter<'a> {
    pub(crate) fn new(out: &'a mut dyn Write, style: Style, owners: &'a Owners, disk: &'a Path) -> Self {
        Self {
            tar: TarWriter::new(out, style),
            style,
            owners,
            disk,
            shared: false,
            xattrs: style != Style::Reference,
            links: HashMap::new(),
            buffer: vec![0; PIECE],
        }
    }

    /// Leaves out the set-group-ID bit of directories, which they inherited.
    pub(crate) fn shared(self, shared: bool) -> Self {
        Self { shared, ..self }
    }

    /// Leaves out extended attributes, as a plain tar does.
    pub(crate) fn without_xattrs(self) -> Self {
        Self {
            xattrs: false,
            ..self
        }
    }

    /// Writes an entry without data.
    pub(crate) fn entry(&mut self, entry: &Entry<'_>) -> Result<(), PackError> {
        self.tar.entry(entry)
    }

    /// Writes what was found, at `path` in the image. Sockets are left out.
    pub(crate) fn found(&mut self, path: &[u8], found: &Found<'_>) -> Result<(), PackError> {
        match FileType::from_raw_mode(found.stat.st_mode) {
            FileType::RegularFile => return self.file(path, found),
            FileType::Directory => return self.directory(path, found),
            _ => {}
        }
        let Some(kind) = walk::kind(found).map_err(|error| self.failed(found.path, error))? else {
            return Ok(());
        };
        let mut entry = self.describe(path, kind, &found.stat);
        if self.xattrs {
            entry.xattrs = xattrs::read_at(found.directory, found.name)
                .map_err(|error| self.failed(found.path, error))?;
        }
        self.tar.entry(&entry)
    }

    /// Writes the directory that the tree begins with, which no walk finds, as it is or with another mode.
    pub(crate) fn root(
        &mut self,
        path: &[u8],
        root: BorrowedFd<'_>,
        mode: Option<u32>,
    ) -> Result<(), PackError> {
        let fail = |error: io::Error| io_error(self.disk, b"", error);
        let stat = fstat(root).map_err(|error| fail(error.into()))?;
        let mut entry = self.describe(path, Kind::Directory, &stat);
        entry.mode = mode.unwrap_or(entry.mode);
        if self.xattrs {
            entry.xattrs = xattrs::read(root).map_err(fail)?;
        }
        self.tar.entry(&entry)
    }

    /// Ends the tar.
    pub(crate) fn finish(self) -> Result<(), PackError> {
        self.tar.finish().map(|_| ())
    }

    fn directory(&mut self, path: &[u8], found: &Found<'_>) -> Result<(), PackError> {
        let mut entry = self.describe(path, Kind::Directory, &found.stat);
        if self.xattrs {
            let fail = |error| self.failed(found.path, error);
            let handle = openat(found.directory, found.name, DIRECTORY, Mode::empty())
                .map_err(|error| fail(error.into()))?;
            entry.xattrs = xattrs::read(handle.as_fd()).map_err(fail)?;
        }
        self.tar.entry(&entry)
    }

    fn file(&mut self, path: &[u8], found: &Found<'_>) -> Result<(), PackError> {
        let links = self.style != Style::Reference && found.stat.st_nlink > 1;
        if links {
            let identity = Identity::of(&found.stat);
            if let Some(first) = self.links.get(&identity) {
                let kind = Kind::HardLink(Cow::Owned(first.clone()));
                let entry = self.describe(path, kind, &found.stat);
                return self.tar.entry(&entry);
            }
            self.links.insert(identity, path.to_vec());
        }
        let (file, stat) = open_file(found).map_err(|error| self.failed(found.path, error))?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let mut entry = self.describe(path, Kind::File { size }, &stat);
        if self.xattrs {
            entry.xattrs = xattrs::read(file.as_fd()).map_err(|error| self.failed(found.path, error))?;
        }
        self.tar.entry(&entry)?;
        let name = || on_disk(self.disk, found.path);
        copy_data(&mut self.tar, &mut self.buffer, &file, size, name)
    }

    fn describe<'e>(&self, path: &'e [u8], kind: Kind<'e>, stat: &Stat) -> Entry<'e> {
        let inherited = if self.shared && kind == Kind::Directory {
            SET_GROUP_ID
        } else {
            0
        };
        Entry {
            path: path.into(),
            kind,
            mode: walk::mode(stat) & !inherited,
            owner: self.owners.of(path, walk::owner(stat)),
            mtime: mtime(stat),
            xattrs: Vec::new(),
        }
    }

    fn failed(&self, path: &[u8], error: io::Error) -> PackError {
        io_error(self.disk, path, error)
    }
}

/// Copies a file's bytes, and makes sure that they are as many as its header said.
fn copy_data<W: Write>(
    tar: &mut TarWriter<W>,
    buffer: &mut [u8],
    file: &OwnedFd,
    size: u64,
    name: impl Fn() -> String,
) -> Result<(), PackError> {
    let changed = |actual| PackError::Changed {
        path: name(),
        expected: size,
        actual,
    };
    let mut left = size;
    loop {
        // One byte more than there should be: a read that comes back short of it has seen the end.
        let most =
            usize::try_from(left.saturating_add(1)).map_or(buffer.len(), |most| most.min(buffer.len()));
        let read =
            rustix::io::retry_on_intr(|| rustix::io::read(file, &mut buffer[..most])).map_err(|error| {
                PackError::Io {
                    path: name(),
                    cause: error.into(),
                }
            })?;
        if read as u64 > left {
            return Err(changed(size + 1));
        }
        if read == 0 && left > 0 {
            return Err(changed(size - left));
        }
        tar.data(&buffer[..read])?;
        left -= read as u64;
        if left == 0 && read < most {
            return Ok(());
        }
    }
}

/// Opens a regular file that was found, without waiting for a pipe or following a link that took its place.
pub(crate) fn open_file(found: &Found<'_>) -> io::Result<(OwnedFd, Stat)> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(found.directory, found.name, flags, Mode::empty()) {
        // A link took the file's place.
        Err(Errno::LOOP) => return Err(io::ErrorKind::NotFound.into()),
        other => other?,
    };
    let stat = fstat(&file)?;
    if Identity::of(&stat) != Identity::of(&found.stat) {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok((file, stat))
}

/// The modification time in whole seconds.
pub(crate) fn mtime(stat: &Stat) -> i64 {
    #[allow(
        clippy::useless_conversion,
        clippy::unnecessary_cast,
        reason = "the field's type differs between processors"
    )]
    {
        stat.st_mtime as i64
    }
}

/// An error about a path below a directory on disk.
pub(crate) fn io_error(disk: &Path, path: &[u8], cause: io::Error) -> PackError {
    let path = on_disk(disk, path);
    if cause.kind() == io::ErrorKind::NotFound {
        PackError::Vanished { path }
    } else {
        PackError::Io { path, cause }
    }
}

pub(crate) fn walk_error(disk: &Path, error: WalkError) -> PackError {
    io_error(disk, &error.path, error.cause)
}

fn on_disk(disk: &Path, path: &[u8]) -> String {
    if path.is_empty() {
        disk.display().to_string()
    } else {
        format!("{}/{}", disk.display(), show(path))
    }
}

/// Opens the directory on disk that contents come from. It is named by who runs the build, so links in its
/// path are followed.
pub(crate) fn open_directory(path: &Path) -> Result<OwnedFd, PackError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|error| PackError::Io {
        path: path.display().to_string(),
        cause: error.into(),
    })
}

/// A path in the image as entries have it: no slashes at the ends, no empty names and no `.`. A `..` takes
/// the name before it away.
pub(crate) fn image_path(path: impl AsRef<Path>) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt as _;
    use std::path::Component;

    let mut names: Vec<&[u8]> = Vec::new();
    for component in path.as_ref().components() {
        match component {
            Component::Normal(name) => names.push(name.as_bytes()),
            Component::ParentDir => drop(names.pop()),
            _ => {}
        }
    }
    names.join(&b'/')
}

/// Puts `below` under `at`.
pub(crate) fn place(out: &mut Vec<u8>, at: &[u8], below: &[u8]) {
    out.clear();
    out.extend_from_slice(at);
    if !at.is_empty() && !below.is_empty() {
        out.push(b'/');
    }
    out.extend_from_slice(below);
}

/// A single name as the system calls want it.
pub(crate) fn c_name(name: &[u8]) -> io::Result<std::ffi::CString> {
    Ok(std::ffi::CString::new(name)?)
}

/// Where the ancestors of a directory lie on disk, as many as `count`, shallowest first.
fn ancestors_on_disk(directory: &Path, count: usize) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = directory
        .ancestors()
        .skip(1)
        .take(count)
        .map(Path::to_path_buf)
        .collect();
    all.reverse();
    all
}
