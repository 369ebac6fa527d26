//! The root file system of an image, for one command after the other.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lifecycle_image::{Compression, Image, Progress, Step};
use lifecycle_layers::{ExtractOptions, Refused, Whiteouts, extract};
use lifecycle_sandbox::{Changes, Overlay, Root, Users};
use lifecycle_store::{CoverTree, Scratch, Store, Tree};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat};

use crate::{Isolation, PlatformError};

/// An image's root file system. Every command gets it fresh; what a command changes in it is thrown away.
#[derive(Debug)]
pub struct ImageRoot {
    /// The layers, uppermost first; empty where roots are unpacked.
    lower: Vec<PathBuf>,
    /// The uppermost of them, if it is none of the image's.
    cover: Option<Arc<CoverTree>>,
    image: Image,
    isolation: Isolation,
}

/// The root of one command, and what goes with it when the command has ended.
#[derive(Debug)]
pub struct CommandRoot {
    /// The root.
    pub root: Root,
    /// The users and groups of the root.
    pub users: Users,
    scratch: Scratch,
    /// Part of the root.
    _cover: Option<Arc<CoverTree>>,
}

impl CommandRoot {
    /// Removes what the command changed.
    pub(crate) fn discard(self) {
        drop(self.root);
        drop(self.scratch);
    }
}

impl ImageRoot {
    /// Gets the layers of `image` ready: fetched and, where roots are overlays, extracted, each once in the life of
    /// the store.
    pub fn prepare(
        image: &Image,
        store: &Store,
        isolation: &Isolation,
        progress: &dyn Progress,
    ) -> Result<Self, PlatformError> {
        Isolation::check_platform(image)?;
        let mut lower = Vec::new();
        let mut cover = None;
        if isolation.has_overlay() {
            let trees = store.root(image, isolation.tree_form(), progress)?;
            let layers: Vec<_> = trees.iter().map(Tree::overlay_layer).collect();
            cover = store.cover(&layers)?.map(Arc::new);
            lower.extend(cover.as_ref().map(|cover| cover.tree.path.clone()));
            // The kernel takes no directory twice. What an image has twice shows where it is topmost.
            for tree in trees.into_iter().rev() {
                if !lower.contains(&tree.path) {
                    lower.push(tree.path);
                }
            }
        } else {
            for layer in image.layers() {
                store.fetch(&**layer, progress)?;
            }
        }
        Ok(Self {
            lower,
            cover,
            image: image.clone(),
            isolation: isolation.clone(),
        })
    }

    /// The image.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// A root for the next command.
    pub fn fresh(&self, store: &Store, progress: &dyn Progress) -> Result<CommandRoot, PlatformError> {
        let scratch = store.scratch()?;
        if !self.isolation.has_overlay() {
            let directory = make(scratch.path(), "root", 0o755)?;
            let users = self.unpack(store, &directory, progress)?;
            return Ok(CommandRoot {
                root: Root::Directory(directory),
                users,
                scratch,
                _cover: None,
            });
        }
        let overlay = Overlay {
            lower: self.lower.clone(),
            changes: Some(Changes {
                upper: make(scratch.path(), "changes", 0o755)?,
                work: make(scratch.path(), "work", 0o700)?,
            }),
            user_xattr: self.isolation.user_xattr(),
            volatile: true,
        };
        let tree = overlay.mount()?;
        let users = Users::read(tree.as_fd())?;
        Ok(CommandRoot {
            root: Root::Tree(tree),
            users,
            scratch,
            _cover: self.cover.clone(),
        })
    }

    /// Unpacks all layers into one directory, for where overlays are not allowed.
    fn unpack(&self, store: &Store, into: &Path, progress: &dyn Progress) -> Result<Users, PlatformError> {
        let directory = open(into)?;
        let options = ExtractOptions {
            whiteouts: Whiteouts::Apply,
            ownership: self.isolation.ownership(),
            refused: Refused::Skip,
            ..ExtractOptions::default()
        };
        for layer in self.image.layers() {
            let stored = store.fetch(&**layer, progress)?;
            let layer: &dyn lifecycle_image::Layer = &stored;
            let descriptor = layer.descriptor()?;
            let meter = progress.begin(
                Step::Extract,
                &layer.diff_id()?.to_string(),
                Some(descriptor.size),
            );
            let compression: Option<Compression> = descriptor.media_type.compression();
            extract(layer.open(0)?, compression, directory.as_fd(), &options, &*meter)?;
            meter.finish(lifecycle_image::Outcome::Done);
        }
        Ok(Users::read(&directory)?)
    }
}

fn make(parent: &Path, name: &str, mode: u32) -> Result<PathBuf, PlatformError> {
    let path = parent.join(name);
    let mode = Mode::from_raw_mode(mode);
    let made = rustix::fs::mkdirat(CWD, &path, mode)
        // Whatever the umask says: the root's own user enters it.
        .and_then(|()| rustix::fs::chmodat(CWD, &path, mode, AtFlags::empty()))
        .map_err(std::io::Error::from);
    made.map_err(|cause| PlatformError::io("create", &path, cause))?;
    Ok(path)
}

fn open(path: &Path) -> Result<OwnedFd, PlatformError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = openat(CWD, path, flags, Mode::empty()).map_err(std::io::Error::from);
    opened.map_err(|cause| PlatformError::io("open", path, cause))
}
