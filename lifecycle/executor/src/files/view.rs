//! Layers seen as one file system.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use super::disk::{self, DiskFiles, Said};
use super::index::LayerIndex;
use super::node::Node;
use super::open::FileHandle;
use super::resolve::join;
use crate::copy::contents::PlacedFiles;

/// Where the files of one layer are told.
#[derive(Debug, Clone)]
pub(crate) enum Files {
    /// In a directory of this machine.
    Disk(Arc<DiskFiles>),
    /// In an index: names and metadata, but no contents.
    Index(Arc<LayerIndex>),
    /// In what was copied in this build: names and metadata as well.
    Copied(Arc<PlacedFiles>),
}

/// Layers on top of each other, seen as one file system.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    /// Topmost first.
    layers: Vec<Files>,
}

/// A directory of a view.
#[derive(Debug)]
pub(crate) struct Directory {
    /// Without a leading slash; empty for the root.
    pub(crate) path: Vec<u8>,
    /// The layers that show through here, topmost first.
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    layer: usize,
    /// Nothing for a layer that is not on disk.
    handle: Option<OwnedFd>,
}

/// A file system could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read /{}", String::from_utf8_lossy(path))]
pub(crate) struct FilesError {
    pub(crate) path: Vec<u8>,
    #[source]
    pub(crate) cause: io::Error,
}

impl View {
    /// These layers, lowest first.
    pub(crate) fn new(layers: impl IntoIterator<Item = Files>) -> Self {
        let mut layers: Vec<Files> = layers.into_iter().collect();
        layers.reverse();
        Self { layers }
    }

    /// A single directory.
    pub(crate) fn of_disk(files: DiskFiles) -> Self {
        Self {
            layers: vec![Files::Disk(Arc::new(files))],
        }
    }

    /// The root.
    pub(crate) fn root(&self) -> Result<Directory, FilesError> {
        let mut parts = Vec::new();
        let last = self.layers.len().saturating_sub(1);
        for (layer, files) in self.layers.iter().enumerate() {
            let handle = match files {
                Files::Index(_) | Files::Copied(_) => None,
                Files::Disk(files) => Some(files.top().map_err(|cause| failed(b"", cause))?),
            };
            let part = Part { layer, handle };
            let opaque = layer < last && self.is_opaque(&part, b"");
            parts.push(part);
            if opaque {
                break;
            }
        }
        Ok(Directory {
            path: Vec::new(),
            parts,
        })
    }

    /// The root as an entry: as the topmost layer that describes it says, else a plain one.
    pub(crate) fn root_node(&self) -> Result<Node, FilesError> {
        let mut implied = None;
        for files in &self.layers {
            let said = match files {
                Files::Disk(files) => files.say_root().map_err(|cause| failed(b"", cause))?,
                Files::Index(index) => index.say(b""),
                Files::Copied(files) => files.say(b""),
            };
            match said {
                Said::Node(node) => return Ok(node),
                Said::Implied(node) => implied = implied.or(Some(node)),
                Said::Nothing | Said::Gone => {}
            }
        }
        Ok(implied.unwrap_or_else(Node::implied_directory))
    }

    /// What shows under a name, and the layer that describes it.
    pub(crate) fn find(
        &self,
        directory: &Directory,
        name: &[u8],
    ) -> Result<Option<(Node, usize)>, FilesError> {
        let path = join(&directory.path, name);
        let mut implied = None;
        for part in &directory.parts {
            match self.say(part, &path, name)? {
                Said::Nothing => {}
                Said::Gone => break,
                Said::Node(node) if implied.is_some() && !node.is_directory() => break,
                Said::Node(node) => return Ok(Some((node, part.layer))),
                Said::Implied(node) => implied = implied.or(Some((node, part.layer))),
            }
        }
        Ok(implied)
    }

    /// What shows under a name.
    pub(crate) fn node(&self, directory: &Directory, name: &[u8]) -> Result<Option<Node>, FilesError> {
        Ok(self.find(directory, name)?.map(|(node, _)| node))
    }

    /// The directory of a name; nothing if it is something else.
    pub(crate) fn enter(&self, directory: &Directory, name: &[u8]) -> Result<Option<Directory>, FilesError> {
        let path = join(&directory.path, name);
        let mut parts = Vec::new();
        let last = self.layers.len().saturating_sub(1);
        for part in &directory.parts {
            match self.say(part, &path, name)? {
                Said::Nothing => continue,
                Said::Node(node) | Said::Implied(node) if node.is_directory() => {}
                Said::Gone | Said::Node(_) | Said::Implied(_) => break,
            }
            let handle = match &part.handle {
                None => None,
                Some(above) => Some(disk::enter(above.as_fd(), name).map_err(|cause| failed(&path, cause))?),
            };
            let part = Part {
                layer: part.layer,
                handle,
            };
            let opaque = part.layer < last && self.is_opaque(&part, &path);
            parts.push(part);
            if opaque {
                break;
            }
        }
        Ok((!parts.is_empty()).then_some(Directory { path, parts }))
    }

    /// The names in a directory, sorted. Only where all layers are on disk.
    pub(crate) fn names(directory: &Directory) -> Result<Vec<Vec<u8>>, FilesError> {
        let fail = |cause| failed(&directory.path, cause);
        let mut names = Vec::new();
        for part in &directory.parts {
            let handle = part.handle.as_ref().ok_or_else(|| fail(no_contents()))?;
            names.extend(disk::names(handle.as_fd()).map_err(fail)?);
        }
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// A file of the layer that has it.
    pub(crate) fn handle(&self, layer: usize, path: &[u8]) -> Option<FileHandle> {
        match self.layers.get(layer)? {
            Files::Disk(files) => Some(files.handle(path)),
            Files::Index(_) | Files::Copied(_) => None,
        }
    }

    /// The content of an account file, where it can be had: not from an index that does not hold it.
    pub(crate) fn account_file(&self, layer: usize, path: &[u8]) -> Result<Option<Vec<u8>>, FilesError> {
        let fail = |cause| failed(path, cause);
        match self.layers.get(layer) {
            Some(Files::Index(index)) => Ok(index.account_file(path).map(<[u8]>::to_vec)),
            Some(Files::Disk(files)) => {
                let file = files.handle(path).open().map_err(fail)?;
                let limit = lifecycle_sandbox::MAX_FILE_SIZE;
                let content = super::read_bounded(file, limit).map_err(fail)?;
                content
                    .map(Some)
                    .ok_or_else(|| fail(io::ErrorKind::FileTooLarge.into()))
            }
            // Who needs the content of what is copied has to look at the files.
            Some(Files::Copied(_)) | None => Ok(None),
        }
    }

    fn say(&self, part: &Part, path: &[u8], name: &[u8]) -> Result<Said, FilesError> {
        match (&self.layers[part.layer], &part.handle) {
            (Files::Disk(files), Some(handle)) => files
                .say(handle.as_fd(), path, name)
                .map_err(|cause| failed(path, cause)),
            (Files::Disk(_), None) => Ok(Said::Nothing),
            (Files::Index(index), _) => Ok(index.say(path)),
            (Files::Copied(files), _) => Ok(files.say(path)),
        }
    }

    fn is_opaque(&self, part: &Part, path: &[u8]) -> bool {
        match (&self.layers[part.layer], &part.handle) {
            (Files::Disk(_), Some(handle)) => disk::is_opaque(handle.as_fd()),
            (Files::Disk(_), None) => false,
            (Files::Index(index), _) => index.is_opaque(path),
            (Files::Copied(files), _) => files.is_opaque(path),
        }
    }
}

fn failed(path: &[u8], cause: io::Error) -> FilesError {
    FilesError {
        path: path.to_vec(),
        cause,
    }
}

fn no_contents() -> io::Error {
    io::Error::other("the layer was not unpacked")
}
