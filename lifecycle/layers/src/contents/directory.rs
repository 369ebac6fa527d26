//! A directory as a layer.

use std::ffi::CString;
use std::io::{self, Write};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, Stat, openat, statat};
use rustix::io::Errno;

use super::{
    LayerWriter, ancestors_on_disk, c_name, image_path, io_error, open_directory, place, walk_error,
};
use crate::descent::{DIRECTORY, parent_and_name};
use crate::entry::{ancestors, show};
use crate::walk::{Found, Order, Walk};
use crate::{Contents, Entry, Owner, Owners, PackError, Style};

/// What the directories above the layer's own directory look like in the layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parents {
    /// As the directories above it on disk do (cnb.md OWN-01).
    OnDisk,
    /// Like this.
    Fixed {
        /// Permission bits.
        mode: u32,
        /// The owner.
        owner: Owner,
    },
    /// The first so many as on disk, and those below like this.
    FixedBelow {
        /// How many are as on disk.
        depth: usize,
        /// Permission bits.
        mode: u32,
        /// The owner.
        owner: Owner,
    },
    /// They are not in the layer.
    Absent,
}

/// A directory on disk, everything below it, and where it lies in the image.
///
/// Entries come depth first, siblings sorted by bytes. A buildpack layer, the configuration layer and the SBOM
/// layer are such directories in [`Style::Reference`].
#[derive(Debug, Clone)]
pub struct DirectoryLayer {
    directory: PathBuf,
    at: Vec<u8>,
    owners: Owners,
    parents: Parents,
    style: Style,
    shared: bool,
    xattrs: bool,
    follow: bool,
}

/// What a layer begins with.
enum Top {
    Directory(OwnedFd),
    /// A link, a file or anything else that took the directory's place.
    Other {
        parent: OwnedFd,
        name: CString,
        stat: Stat,
    },
}

impl DirectoryLayer {
    /// `directory` on disk becomes `at` in the image, in the reference's style; owners and parents stay as on
    /// disk.
    ///
    /// A link or a file in the directory's place is all that the layer has then, as in the reference: who makes layers
    /// is not who packs them, so where a link leads is not looked at.
    pub fn new(directory: impl Into<PathBuf>, at: impl AsRef<Path>) -> Self {
        Self {
            directory: directory.into(),
            at: image_path(at),
            owners: Owners::Keep,
            parents: Parents::OnDisk,
            style: Style::Reference,
            shared: false,
            xattrs: true,
            follow: false,
        }
    }

    /// `directory` on disk as the root of an archive whose names begin with `./`, without extended attributes, as
    /// `tar c .` writes it. That is how slugs are written (platforms.md SL-01, SL-07); layers are not. The directory is
    /// named by who runs the build, who may name a link to it.
    pub fn archive(directory: impl Into<PathBuf>) -> Self {
        Self {
            at: b".".to_vec(),
            parents: Parents::Absent,
            xattrs: false,
            follow: true,
            ..Self::new(directory, "")
        }
    }

    /// Sets the owners of the directory and of everything below.
    #[must_use]
    pub fn owners(self, owners: Owners) -> Self {
        Self { owners, ..self }
    }

    /// Sets what the directories above look like.
    #[must_use]
    pub fn parents(self, parents: Parents) -> Self {
        Self { parents, ..self }
    }

    /// Sets the style.
    #[must_use]
    pub fn style(self, style: Style) -> Self {
        Self { style, ..self }
    }

    /// Says whether the directory lies where every new directory inherits the set-group-ID bit, as on volumes that a group
    /// shares. The bit says nothing about the layer then, and directories do not have it there (platforms.md PS-05).
    #[must_use]
    pub fn shared(self, shared: bool) -> Self {
        Self { shared, ..self }
    }
}

impl Contents for DirectoryLayer {
    fn name(&self) -> String {
        format!("/{}", show(&self.at))
    }

    fn write(&self, tar: &mut dyn Write) -> Result<(), PackError> {
        let top = self.top()?;
        let mut layer = LayerWriter::new(tar, self.style, &self.owners, &self.directory).shared(self.shared);
        if !self.xattrs {
            layer = layer.without_xattrs();
        }
        write_parents(&mut layer, &self.directory, &self.at, self.parents)?;
        match top {
            Top::Directory(root) => self.write_tree(&mut layer, root.as_fd())?,
            Top::Other { parent, name, stat } => {
                let found = Found {
                    path: b"",
                    name: &name,
                    directory: parent.as_fd(),
                    stat,
                };
                layer.found(&self.at, &found)?;
            }
        }
        layer.finish()
    }
}

impl DirectoryLayer {
    fn top(&self) -> Result<Top, PackError> {
        let (false, Some((parent, name))) = (self.follow, parent_and_name(&self.directory)) else {
            return open_directory(&self.directory).map(Top::Directory);
        };
        let fail = |error: io::Error| io_error(&self.directory, b"", error);
        let parent = open_directory(parent)?;
        let name = c_name(name.as_bytes()).map_err(fail)?;
        match openat(&parent, name.as_c_str(), DIRECTORY, Mode::empty()) {
            Ok(root) => Ok(Top::Directory(root)),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                let stat = statat(&parent, name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(|error| fail(error.into()))?;
                Ok(Top::Other { parent, name, stat })
            }
            Err(error) => Err(fail(error.into())),
        }
    }

    fn write_tree(&self, layer: &mut LayerWriter<'_>, root: BorrowedFd<'_>) -> Result<(), PackError> {
        if !self.at.is_empty() {
            layer.root(&self.at, root, None)?;
        }
        let mut walk =
            Walk::new(root, Order::DepthFirst).map_err(|error| io_error(&self.directory, b"", error))?;
        let mut path = Vec::new();
        while let Some(found) = walk.next() {
            let found = found.map_err(|error| walk_error(&self.directory, error))?;
            place(&mut path, &self.at, found.path);
            layer.found(&path, &found)?;
        }
        Ok(())
    }
}

/// Writes the directories above `at`, but never the root.
pub(super) fn write_parents(
    layer: &mut LayerWriter<'_>,
    directory: &Path,
    at: &[u8],
    parents: Parents,
) -> Result<(), PackError> {
    let on_disk = |path: &Path| {
        let metadata = std::fs::metadata(path).map_err(|error| io_error(path, b"", error))?;
        Ok((
            metadata.mode() & 0o7777,
            Owner::new(metadata.uid(), metadata.gid()),
            metadata.mtime(),
        ))
    };
    let paths: Vec<&[u8]> = ancestors(at).collect();
    let disk = ancestors_on_disk(directory, paths.len());
    for (at, path) in paths.iter().enumerate() {
        let (mode, owner, mtime) = match parents {
            Parents::Absent => return Ok(()),
            Parents::Fixed { mode, owner } => (mode, owner, 0),
            Parents::FixedBelow { depth, mode, owner } if at >= depth => (mode, owner, 0),
            Parents::OnDisk | Parents::FixedBelow { .. } => match disk.get(at) {
                Some(path) => on_disk(path)?,
                None => (0o755, Owner::ROOT, 0),
            },
        };
        layer.entry(&Entry {
            mode,
            owner,
            mtime,
            ..Entry::directory(*path)
        })?;
    }
    Ok(())
}
