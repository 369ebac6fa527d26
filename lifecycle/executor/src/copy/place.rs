//! Where copied files go, on top of what the stage already has (H8 to H13, H16 to H19, H24).

use std::collections::HashSet;

use lifecycle_dockerfile::Chmod;
use lifecycle_layers::Owner;

use super::contents::Placed;
use super::item::{Data, Item, Selection, Shape};
use crate::error::StepError;
use crate::files::{Directory, Node, NodeKind, View, clean, join};

/// How entries change on their way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner<'a> {
    /// `--chown`
    pub(crate) owner: Option<Owner>,
    /// `--chmod`
    pub(crate) chmod: Option<&'a Chmod>,
    /// The time of directories that are made.
    pub(crate) now: i64,
}

/// A layer in the making, above the file system it is for.
#[derive(Debug)]
pub(crate) struct Canvas<'a> {
    below: &'a View,
    manner: Manner<'a>,
    placed: Placed,
    /// Directories of which nothing, and nothing below them, was there before.
    new: HashSet<Vec<u8>>,
    /// The way down to the directory looked at last; nothing where the file system has no such directory.
    trail: Vec<(Vec<u8>, Option<Directory>)>,
}

impl<'a> Canvas<'a> {
    pub(crate) fn new(below: &'a View, manner: Manner<'a>) -> Self {
        Self {
            below,
            manner,
            placed: Placed::default(),
            new: HashSet::new(),
            trail: Vec::new(),
        }
    }

    /// The entries of the layer.
    pub(crate) fn finish(self) -> Placed {
        self.placed
    }

    /// Makes a directory, with everything above it; nothing at all if it is there (G10).
    pub(crate) fn make(&mut self, directory: &str) -> Result<(), StepError> {
        let resolved = self.below.resolve(&clean(directory.as_bytes()), true)?;
        if resolved.circular {
            return Err(StepError::Circular(show(&resolved.path)));
        }
        if let Some(file) = resolved.blocked {
            return Err(StepError::NotADirectory(show(&file)));
        }
        if resolved
            .found
            .as_ref()
            .is_some_and(|(node, _)| node.is_directory())
        {
            return Ok(());
        }
        self.make_directories(&resolved.path)
    }

    /// Puts a selection where `destination` says: absolute, with a trailing `/` or `/.` for a directory.
    pub(crate) fn put(&mut self, destination: &str, selection: Selection) -> Result<(), StepError> {
        let is_directory = destination.ends_with('/') || destination.ends_with("/.");
        let resolved = self.below.resolve(&clean(destination.as_bytes()), true)?;
        if resolved.circular {
            return Err(StepError::Circular(show(&resolved.path)));
        }
        if let Some(file) = resolved.blocked {
            return Err(StepError::NotADirectory(show(&file)));
        }
        let path = resolved.path;
        match selection.shape {
            Shape::Tree => self.put_tree(&path, selection),
            Shape::Archive => {
                // Nothing of it, and nothing that is made for it, takes the mode (H18).
                let chmod = self.manner.chmod.take();
                let put = self.put_tree(&path, selection);
                self.manner.chmod = chmod;
                put
            }
            Shape::WithParents => self.put_with_parents(&path, selection),
            Shape::File => {
                let inside = is_directory || self.existing(&path)?.is_some_and(|node| node.is_directory());
                let Some(mut item) = selection.items.first() else {
                    return Ok(());
                };
                // Names are one file within a tree that is copied, not across sources (H6).
                item.node.identity = None;
                if inside {
                    self.make_directories(&path)?;
                    self.put_entry(join(&path, &selection.name), item, false)
                } else {
                    self.make_directories(above(&path))?;
                    self.put_entry(path, item, false)
                }
            }
        }
    }

    /// The contents of a directory go into the destination (H2), which becomes a directory (H13).
    fn put_tree(&mut self, path: &[u8], selection: Selection) -> Result<(), StepError> {
        let is_archive = selection.shape == Shape::Archive;
        let mut items = selection.items.into_items();
        let Some(top) = items.next() else {
            return Ok(());
        };
        self.make_directories(above(path))?;
        if !path.is_empty() {
            match self.existing(path)? {
                Some(node) if !node.is_directory() => {
                    return Err(if is_archive {
                        StepError::NotADirectory(show(path))
                    } else {
                        StepError::ToNonDirectory(show(path))
                    });
                }
                Some(mut node) => {
                    node.mtime = top.node.mtime;
                    self.keep_directory(path, node);
                }
                None => self.new_directory(path, self.made_mode(), top.node.mtime),
            }
        }
        for item in items {
            self.put_entry(join(path, &item.path), item, is_archive)?;
        }
        Ok(())
    }

    /// The destination is a directory, and paths are kept below it (H23).
    fn put_with_parents(&mut self, path: &[u8], selection: Selection) -> Result<(), StepError> {
        self.make_directories(path)?;
        for mut item in selection.items.into_items() {
            if item.implied {
                // Mode and owner of the source, but not its time (H24).
                item.node.mtime = self.manner.now;
                item.data = Data::Nothing;
            }
            self.put_entry(join(path, &item.path), item, false)?;
        }
        Ok(())
    }

    /// What is in an archive `replaces` what is in its way; only what another archive of the same step has put there
    /// it cannot, because more of that may be below (H11, H25).
    fn put_entry(&mut self, path: Vec<u8>, item: Item, replaces: bool) -> Result<(), StepError> {
        if path.is_empty() {
            return Ok(());
        }
        let mut node = item.node;
        let existing = self.existing(&path)?;
        match &existing {
            Some(old) if node.is_directory() && !old.is_directory() && !replaces => {
                return Err(StepError::ToNonDirectory(show(&path)));
            }
            Some(old)
                if old.is_directory()
                    && !node.is_directory()
                    && (!replaces || self.placed.get(&path).is_some()) =>
            {
                return Err(StepError::ReplaceDirectory(show(&path)));
            }
            Some(old) if old.is_directory() => {}
            _ if node.is_directory() => drop(self.new.insert(path.clone())),
            _ => {}
        }
        if !matches!(node.kind, NodeKind::Symlink(_))
            && let Some(chmod) = self.manner.chmod
        {
            node.mode = chmod.apply(node.mode, node.is_directory());
        }
        node.owner = self.manner.owner.unwrap_or(node.owner);
        // A socket becomes an empty file (H6).
        if node.kind == NodeKind::Socket {
            node.kind = NodeKind::File { size: 0 };
        }
        node.mark = None;
        self.placed.insert(Item::new(path, node, item.data));
        Ok(())
    }

    /// Sees to it that `path` and everything above it is a directory: as it is, or new (H12).
    fn make_directories(&mut self, path: &[u8]) -> Result<(), StepError> {
        for end in ends(path) {
            let path = &path[..end];
            if let Some(placed) = self.placed.get(path) {
                if !placed.node.is_directory() {
                    return Err(StepError::NotADirectory(show(path)));
                }
                continue;
            }
            match self.existing(path)? {
                Some(node) if node.is_directory() => self.keep_directory(path, node),
                Some(_) => return Err(StepError::NotADirectory(show(path))),
                None => {
                    self.new_directory(path, self.made_mode(), self.manner.now);
                }
            }
        }
        Ok(())
    }

    /// The mode of a directory that is made for what is copied: octal modes reach it, without special bits, and symbolic
    /// ones do not (H17).
    fn made_mode(&self) -> u32 {
        match self.manner.chmod {
            Some(Chmod::Octal(mode)) => mode & 0o777,
            _ => 0o755,
        }
    }

    /// A directory that is there goes into the layer as it is (M1).
    fn keep_directory(&mut self, path: &[u8], node: Node) {
        self.placed.insert(Item::new(path.to_vec(), node, Data::Nothing));
    }

    fn new_directory(&mut self, path: &[u8], mode: u32, mtime: i64) {
        let node = Node {
            mode,
            owner: self.manner.owner.unwrap_or(Owner::ROOT),
            mtime,
            ..Node::implied_directory()
        };
        self.new.insert(path.to_vec());
        self.keep_directory(path, node);
    }

    /// What is at a real path now: placed by this layer, or there before.
    fn existing(&mut self, path: &[u8]) -> Result<Option<Node>, StepError> {
        if path.is_empty() {
            return Ok(Some(self.below.root_node()?));
        }
        if let Some(placed) = self.placed.get(path) {
            return Ok(Some(placed.node));
        }
        let parent = above(path);
        if self.new.contains(parent) {
            return Ok(None);
        }
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        let below = self.below;
        match self.directory(parent)? {
            Some(directory) => Ok(below.node(directory, name)?),
            None => Ok(None),
        }
    }

    /// The directory that was at a path before. Entries come in order, so the way down is kept.
    fn directory(&mut self, path: &[u8]) -> Result<Option<&Directory>, StepError> {
        self.trail.retain(|(step, _)| {
            step.is_empty() || step == path || (path.starts_with(step) && path.get(step.len()) == Some(&b'/'))
        });
        if self.trail.is_empty() {
            self.trail.push((Vec::new(), Some(self.below.root()?)));
        }
        for end in ends(path) {
            let step = &path[..end];
            if self.trail.iter().any(|(known, _)| known == step) {
                continue;
            }
            let name = step.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
            let next = match self.trail.last() {
                Some((_, Some(here))) => self.below.enter(here, name)?,
                _ => None,
            };
            self.trail.push((step.to_vec(), next));
        }
        Ok(self.trail.last().and_then(|(_, directory)| directory.as_ref()))
    }
}

/// Where the parts of a path end: `a`, `a/b`, `a/b/c`.
fn ends(path: &[u8]) -> Vec<usize> {
    if path.is_empty() {
        return Vec::new();
    }
    let slashes = path
        .iter()
        .enumerate()
        .filter(|&(_, &byte)| byte == b'/')
        .map(|(at, _)| at);
    slashes.chain([path.len()]).collect()
}

fn above(path: &[u8]) -> &[u8] {
    path.iter()
        .rposition(|&byte| byte == b'/')
        .map_or(b"", |at| &path[..at])
}

fn show(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}
