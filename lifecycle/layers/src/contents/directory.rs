//! A directory as a layer.

use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::{LayerWriter, ancestors_on_disk, image_path, io_error, open_directory, place, walk_error};
use crate::entry::{ancestors, show};
use crate::walk::{Order, Walk};
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
}

impl DirectoryLayer {
    /// `directory` on disk becomes `at` in the image, in the reference's style; owners and parents stay as on
    /// disk.
    pub fn new(directory: impl Into<PathBuf>, at: impl AsRef<Path>) -> Self {
        Self {
            directory: directory.into(),
            at: image_path(at),
            owners: Owners::Keep,
            parents: Parents::OnDisk,
            style: Style::Reference,
            shared: false,
            xattrs: true,
        }
    }

    /// `directory` on disk as the root of an archive whose names begin with `./`, without extended attributes, as
    /// `tar c .` writes it. That is how slugs are written (platforms.md SL-01, SL-07); layers are not.
    pub fn archive(directory: impl Into<PathBuf>) -> Self {
        Self {
            at: b".".to_vec(),
            parents: Parents::Absent,
            xattrs: false,
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
        let root = open_directory(&self.directory)?;
        let mut layer = LayerWriter::new(tar, self.style, &self.owners, &self.directory).shared(self.shared);
        if !self.xattrs {
            layer = layer.without_xattrs();
        }
        write_parents(&mut layer, &self.directory, &self.at, self.parents)?;
        if !self.at.is_empty() {
            layer.root(&self.at, root.as_fd(), None)?;
        }
        let mut walk = Walk::new(root.as_fd(), Order::DepthFirst)
            .map_err(|error| io_error(&self.directory, b"", error))?;
        let mut path = Vec::new();
        while let Some(found) = walk.next() {
            let found = found.map_err(|error| walk_error(&self.directory, error))?;
            place(&mut path, &self.at, found.path);
            layer.found(&path, &found)?;
        }
        layer.finish()
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
