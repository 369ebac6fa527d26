//! The application directory as one layer, or cut into slices.

use std::collections::HashSet;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FileType;

use super::directory::write_parents;
use super::{Glob, LayerWriter, Parents, image_path, io_error, open_directory, place, walk_error};
use crate::entry::{ancestors, parent, show};
use crate::walk::{Order, Walk};
use crate::{Contents, Owners, PackError, Style};

/// The application directory, or a slice of it, in the reference's style: whole paths sorted as strings.
///
/// What is no directory, and every empty directory, lies in the slice of the first pattern that matches it or a
/// directory above it, else in the rest. Each slice also has the directories above what it holds. A slice
/// without anything is an empty tar.
#[derive(Debug, Clone)]
pub struct AppLayer {
    directory: PathBuf,
    at: Vec<u8>,
    owners: Owners,
    parents: Parents,
    shared: bool,
    slices: Arc<[Vec<Glob>]>,
    /// Which slice this is; the number of slices stands for the rest.
    index: usize,
}

impl AppLayer {
    /// `directory` on disk as `at` in the image, in one layer.
    pub fn new(directory: impl Into<PathBuf>, at: impl AsRef<Path>) -> Self {
        Self {
            directory: directory.into(),
            at: image_path(at),
            owners: Owners::Keep,
            parents: Parents::OnDisk,
            shared: false,
            slices: Arc::from([]),
            index: 0,
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

    /// Says whether the directory lies on a volume that a group shares, as [`DirectoryLayer::shared`] does. The mode of
    /// the application's own directory is that of the volume then, and the layer has 0755.
    ///
    /// [`DirectoryLayer::shared`]: crate::DirectoryLayer::shared
    #[must_use]
    pub fn shared(self, shared: bool) -> Self {
        Self { shared, ..self }
    }

    /// Cuts the application by lists of patterns: one layer for each list, and a last one for the rest
    /// (cnb.md SLC-02, SLC-04).
    pub fn slice(self, slices: Vec<Vec<Glob>>) -> Vec<Self> {
        let slices: Arc<[Vec<Glob>]> = slices.into();
        (0..=slices.len())
            .map(|index| Self {
                slices: Arc::clone(&slices),
                index,
                ..self.clone()
            })
            .collect()
    }

    /// The first slice that a path belongs to, by its own name or that of a directory above it.
    fn slice_of(&self, path: &[u8]) -> usize {
        let hit = |globs: &Vec<Glob>| {
            globs.iter().any(|glob| {
                glob.matches(b"") || ancestors(path).any(|above| glob.matches(above)) || glob.matches(path)
            })
        };
        self.slices.iter().position(hit).unwrap_or(self.slices.len())
    }

    /// The directories that hold something of this slice, if there is anything at all.
    fn directories(&self) -> Result<Option<HashSet<Vec<u8>>>, PackError> {
        let fail = |error| walk_error(&self.directory, error);
        let root = open_directory(&self.directory)?;
        let mut walk = Walk::new(root.as_fd(), Order::DepthFirst)
            .map_err(|error| io_error(&self.directory, b"", error))?;
        let mut directories = HashSet::new();
        let mut anything = false;
        // A directory counts by what is in it, so it is judged when the walk has moved on.
        let mut last: Option<(Vec<u8>, bool)> = None;
        let mut judge = |path: &[u8], is_directory: bool| {
            if self.slice_of(path) != self.index {
                return;
            }
            anything = true;
            if is_directory {
                directories.insert(path.to_vec());
            }
            // What is above a known directory is known too.
            for above in ancestors(path).rev() {
                if directories.contains(above) {
                    break;
                }
                directories.insert(above.to_vec());
            }
        };
        while let Some(found) = walk.next() {
            let found = found.map_err(fail)?;
            if let Some((path, is_directory)) = last.take()
                && !(is_directory && parent(found.path) == path)
            {
                judge(&path, is_directory);
            }
            let is_directory = FileType::from_raw_mode(found.stat.st_mode) == FileType::Directory;
            last = Some((found.path.to_vec(), is_directory));
        }
        match last {
            Some((path, is_directory)) => judge(&path, is_directory),
            // The application directory itself is empty.
            None => judge(b"", false),
        }
        Ok(anything.then_some(directories))
    }
}

impl Contents for AppLayer {
    fn name(&self) -> String {
        if self.slices.is_empty() {
            format!("/{}", show(&self.at))
        } else {
            format!("slice {} of /{}", self.index + 1, show(&self.at))
        }
    }

    fn write(&self, tar: &mut dyn Write) -> Result<(), PackError> {
        let sliced = !self.slices.is_empty();
        let directories = if sliced { self.directories()? } else { None };
        let mut layer =
            LayerWriter::new(tar, Style::Reference, &self.owners, &self.directory).shared(self.shared);
        if sliced && directories.is_none() {
            return layer.finish();
        }
        let root = open_directory(&self.directory)?;
        write_parents(&mut layer, &self.directory, &self.at, self.parents)?;
        layer.root(&self.at, root.as_fd(), self.shared.then_some(0o755))?;
        let mut walk = Walk::new(root.as_fd(), Order::WholePath)
            .map_err(|error| io_error(&self.directory, b"", error))?;
        let mut path = Vec::new();
        while let Some(found) = walk.next() {
            let found = found.map_err(|error| walk_error(&self.directory, error))?;
            let here = match &directories {
                Some(directories) if FileType::from_raw_mode(found.stat.st_mode) == FileType::Directory => {
                    directories.contains(found.path)
                }
                Some(_) => self.slice_of(found.path) == self.index,
                None => true,
            };
            if here {
                place(&mut path, &self.at, found.path);
                layer.found(&path, &found)?;
            }
        }
        layer.finish()
    }
}
