//! The file system of a stage: layers, and what is known about their files.
//!
//! A layer is looked at as late and as little as possible. Its index answers what exists where; its extracted tree is
//! made only when a RUN needs a root or a COPY needs contents. A RUN's own change set is its tree already.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lifecycle_image::{DiffId, Layer, Progress};
use lifecycle_layers::{Contents, ExtractOptions, Extracted, OwnerTable, ThroughError};
use lifecycle_store::{CoverTree, Scratch, Store, Tree, TreeForm};
use rayon::prelude::*;

use crate::cache::Import;
use crate::copy::contents::PlacedFiles;
use crate::copy::owner::Accounts;
use crate::error::StepError;
use crate::files::{DiskFiles, DiskOwners, Files, LayerIndex, View};
use crate::powers::Powers;

/// A layer of a stage.
#[derive(Debug)]
pub(crate) struct StackLayer {
    pub(crate) layer: Arc<dyn Layer>,
    /// Where its bytes come from, if it is made in this build: faster to read than what was packed.
    contents: Option<Arc<PlacedFiles>>,
    /// The cache that it comes from and that answers for it.
    import: Option<Arc<Import>>,
    index: Mutex<Option<Arc<LayerIndex>>>,
    tree: Mutex<Option<Arc<LayerTree>>>,
}

/// A layer's files in a directory, in the form that overlay mounts want.
#[derive(Debug)]
pub(crate) struct LayerTree {
    pub(crate) tree: Tree,
    files: Arc<DiskFiles>,
    /// What was left out of it was told.
    told: AtomicBool,
    /// Keeps the directory as long as it is used.
    _scratch: Option<Arc<Scratch>>,
}

impl StackLayer {
    /// A layer that was there before.
    pub(crate) fn found(layer: Arc<dyn Layer>) -> Arc<Self> {
        Self::with(layer, None, None)
    }

    /// A layer that a cache elsewhere gave.
    pub(crate) fn imported(layer: Arc<dyn Layer>, import: Arc<Import>) -> Arc<Self> {
        Arc::new(Self {
            layer,
            contents: None,
            import: Some(import),
            index: Mutex::default(),
            tree: Mutex::default(),
        })
    }

    /// A layer of copied files.
    pub(crate) fn copied(layer: Arc<dyn Layer>, contents: Arc<PlacedFiles>) -> Arc<Self> {
        Self::with(layer, Some(contents), None)
    }

    /// A layer that is the change set of a RUN.
    pub(crate) fn changed(layer: Arc<dyn Layer>, tree: LayerTree) -> Arc<Self> {
        Self::with(layer, None, Some(Arc::new(tree)))
    }

    fn with(
        layer: Arc<dyn Layer>,
        contents: Option<Arc<PlacedFiles>>,
        tree: Option<Arc<LayerTree>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            layer,
            contents,
            import: None,
            index: Mutex::default(),
            tree: Mutex::new(tree),
        })
    }

    /// The contents, or the packed layer as it becomes readable.
    pub(crate) fn contents(&self) -> Option<&Arc<PlacedFiles>> {
        self.contents.as_ref()
    }

    /// The paths of the layer that belong to root.
    pub(crate) fn given_to_root(&self) -> Result<Vec<Vec<u8>>, StepError> {
        Ok(match self.names()? {
            Files::Copied(files) => files.given_to_root(),
            Files::Index(index) => index.given_to_root(),
            Files::Disk(_) => {
                let index = LayerIndex::read(&*self.layer).map_err(StepError::Index)?;
                index.given_to_root()
            }
        })
    }

    /// Whatever is wrong with an imported layer is wrong with its cache.
    fn blame(&self, error: StepError) -> StepError {
        if let Some(import) = &self.import {
            import.spoil(&error);
        }
        error
    }

    /// Reads the layer's tar; one that was only promised to be this layer is held to it.
    fn read_index(&self) -> Result<LayerIndex, StepError> {
        let index = match &self.import {
            None => LayerIndex::read(&*self.layer),
            Some(_) => LayerIndex::read_verified(&*self.layer),
        };
        index.map_err(|error| self.blame(StepError::Index(error)))
    }

    fn tree(&self, roots: &Roots<'_>) -> Result<Arc<LayerTree>, StepError> {
        let mut known = self.tree.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tree) = &*known {
            return Ok(Arc::clone(tree));
        }
        let tree = Arc::new(if let Some(contents) = &self.contents {
            roots.unpack(&**contents)?
        } else {
            let form = roots.powers.tree_form();
            let tree = roots.store.tree(&*self.layer, form, roots.progress);
            let tree = tree.map_err(|error| self.blame(error.into()))?;
            LayerTree::new(tree, None, roots.powers)?
        });
        *known = Some(Arc::clone(&tree));
        Ok(tree)
    }

    /// The cheapest way to know names and metadata.
    fn names(&self) -> Result<Files, StepError> {
        if let Some(tree) = &*self.tree.lock().unwrap_or_else(PoisonError::into_inner) {
            return Ok(Files::Disk(Arc::clone(&tree.files)));
        }
        if let Some(contents) = &self.contents {
            return Ok(Files::Copied(Arc::clone(contents)));
        }
        let mut known = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let index = match &*known {
            Some(index) => Arc::clone(index),
            None => Arc::new(self.read_index()?),
        };
        *known = Some(Arc::clone(&index));
        Ok(Files::Index(index))
    }
}

impl LayerTree {
    pub(crate) fn new(tree: Tree, scratch: Option<Arc<Scratch>>, powers: Powers) -> Result<Self, StepError> {
        let known = if powers.gives_files_away {
            DiskOwners::Keep
        } else {
            DiskOwners::Table(tree.owners.clone())
        };
        let path = &tree.path;
        let files =
            DiskFiles::open(path, known).map_err(StepError::io(format!("open {}", path.display())))?;
        Ok(Self {
            files: Arc::new(files.implying(tree.implied.clone())),
            tree,
            told: AtomicBool::new(false),
            _scratch: scratch,
        })
    }

    /// Whether nobody has asked this before.
    pub(crate) fn is_first_look(&self) -> bool {
        !self.told.swap(true, Ordering::Relaxed)
    }

    /// Owners that the files do not have themselves.
    pub(crate) fn owners(&self) -> &OwnerTable {
        &self.tree.owners
    }

    /// Whether the layer says something about a path.
    pub(crate) fn has(&self, path: &[u8]) -> bool {
        self.tree
            .path
            .join(OsStr::from_bytes(path))
            .symlink_metadata()
            .is_ok()
    }
}

/// What unpacking layers needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Roots<'a> {
    pub(crate) store: &'a Store,
    pub(crate) powers: Powers,
    pub(crate) progress: &'a dyn Progress,
}

impl Roots<'_> {
    /// Unpacks contents to a directory that goes away with the build.
    fn unpack(&self, contents: &dyn Contents) -> Result<LayerTree, StepError> {
        let scratch = Arc::new(self.store.scratch()?);
        let path = scratch.path().join("diff");
        std::fs::create_dir(&path).map_err(StepError::io(format!("create {}", path.display())))?;
        set_mode(&path, 0o755)?;
        let extracted = write_through(contents, &path, &self.powers.tree_form())?;
        let tree = Tree {
            path,
            owners: extracted.owners,
            implied: extracted.implied,
            skipped: Vec::new(),
        };
        LayerTree::new(tree, Some(scratch), self.powers)
    }
}

/// Writes contents through to files, in one pass and without packing them.
pub(crate) fn write_through(
    contents: &dyn Contents,
    into: &Path,
    form: &TreeForm<'_>,
) -> Result<Extracted, StepError> {
    let directory = File::open(into).map_err(StepError::io(format!("open {}", into.display())))?;
    let options = ExtractOptions {
        whiteouts: form.whiteouts,
        ownership: form.ownership,
        refused: form.refused,
        ..ExtractOptions::default()
    };
    lifecycle_layers::write_through(contents, directory.as_fd(), &options).map_err(|error| match error {
        ThroughError::Read(error) => error.into(),
        ThroughError::Write(cause) => StepError::Extract {
            what: contents.name(),
            cause,
        },
    })
}

/// Layers on top of each other, lowest first. Cheap to clone: layers are shared.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stack {
    pub(crate) layers: Vec<Arc<StackLayer>>,
}

impl Stack {
    pub(crate) fn new(layers: impl IntoIterator<Item = Arc<dyn Layer>>) -> Self {
        Self {
            layers: layers.into_iter().map(StackLayer::found).collect(),
        }
    }

    pub(crate) fn push(&mut self, layer: Arc<StackLayer>) {
        self.layers.push(layer);
    }

    /// The diff IDs, lowest first. Waits for layers in the making.
    pub(crate) fn diff_ids(&self) -> Result<Vec<DiffId>, StepError> {
        self.layers
            .iter()
            .map(|layer| layer.layer.diff_id().map_err(StepError::from))
            .collect()
    }

    /// Names and metadata: what a COPY has to know of where it writes.
    pub(crate) fn names(&self) -> Result<View, StepError> {
        let files: Vec<Files> = self
            .layers
            .par_iter()
            .map(|layer| layer.names())
            .collect::<Result<_, _>>()?;
        Ok(View::new(files))
    }

    /// Everything: layers that were not unpacked yet are.
    pub(crate) fn files(&self, roots: &Roots<'_>) -> Result<View, StepError> {
        let trees = self.trees(roots)?;
        Ok(View::new(
            trees.iter().map(|tree| Files::Disk(Arc::clone(&tree.files))),
        ))
    }

    /// The extracted layers, lowest first.
    pub(crate) fn trees(&self, roots: &Roots<'_>) -> Result<Vec<Arc<LayerTree>>, StepError> {
        self.layers.par_iter().map(|layer| layer.tree(roots)).collect()
    }

    /// The extracted layers as an overlay shows them rightly, lowest first: with directories on top that a layer leaves
    /// out and that it would hide.
    pub(crate) fn overlay(&self, roots: &Roots<'_>) -> Result<Vec<Arc<LayerTree>>, StepError> {
        let mut trees = self.trees(roots)?;
        // The kernel takes no directory twice. What a stack has twice shows where it is topmost.
        let mut seen = HashSet::new();
        trees.reverse();
        trees.retain(|tree| seen.insert(tree.tree.path.clone()));
        trees.reverse();
        let layers: Vec<_> = trees.iter().map(|tree| tree.tree.overlay_layer()).collect();
        if let Some(CoverTree { tree, scratch }) = roots.store.cover(&layers)? {
            let top = LayerTree::new(tree, Some(Arc::new(scratch)), roots.powers)?;
            trees.push(Arc::new(top));
        }
        Ok(trees)
    }

    /// `/etc/passwd` and `/etc/group` by these names. From indexes where they have them, else from the unpacked files.
    pub(crate) fn accounts(&self, names: &View, roots: &Roots<'_>) -> Result<Accounts, StepError> {
        Ok(Accounts {
            passwd: self.account_file(names, "etc/passwd", roots)?,
            group: self.account_file(names, "etc/group", roots)?,
        })
    }

    fn account_file(&self, names: &View, path: &str, roots: &Roots<'_>) -> Result<Vec<u8>, StepError> {
        let resolved = names.resolve(path.as_bytes(), true)?;
        let Some((node, layer)) = resolved.found else {
            return Ok(Vec::new());
        };
        if !node.is_file() {
            return Err(StepError::Unsupported {
                what: format!("reading /{path} of this stage"),
                reason: "it is not a regular file".to_owned(),
            });
        }
        if let Some(content) = names.account_file(layer, &resolved.path)? {
            return Ok(content);
        }
        let files = self.files(roots)?;
        let resolved = files.resolve(path.as_bytes(), true)?;
        match resolved.found {
            Some((_, layer)) => Ok(files.account_file(layer, &resolved.path)?.unwrap_or_default()),
            None => Ok(Vec::new()),
        }
    }
}

pub(crate) fn set_mode(path: &Path, mode: u32) -> Result<(), StepError> {
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
    std::fs::set_permissions(path, permissions)
        .map_err(StepError::io(format!("set the mode of {}", path.display())))
}
