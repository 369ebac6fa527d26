//! Extracted layers.
//!
//! One directory for each layer, not for each chain of layers: in the form that overlay mounts want, a layer's
//! files do not depend on what lies below, so images that share a layer share its directory in whatever order. What
//! a layer's archive leaves out does depend on that: who mounts an overlay lays a [`CoverTree`] on top.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use fs_err::{self as fs, File};
use lifecycle_image::{DiffId, Digest, Image, Layer, Outcome, Progress, Step};
use lifecycle_layers::{
    Cover, ExtractOptions, Extracted, Limits, OpaqueXattr, OverlayLayer, Owner, OwnerTable, Ownership,
    Refused, Whiteouts,
};
use serde::{Deserialize, Serialize};

use crate::directory::{Directory, file_name, read_json};
use crate::{Scratch, Store, StoreError};

/// The file that says what a tree is. It is written last.
pub(crate) const RECORD: &str = "tree.json";
/// The directory with the layer's files.
pub(crate) const FILES: &str = "diff";

/// Layers extracted at the same time; each uses three threads.
const THREADS: usize = 2;

/// How layers are extracted. Each form of a layer has a directory of its own.
#[derive(Debug, Clone, Copy, Default)]
pub struct TreeForm<'a> {
    /// What becomes of whiteouts.
    pub whiteouts: Whiteouts,
    /// Who owns the files.
    pub ownership: Ownership<'a>,
    /// What happens when the system refuses a device or an extended attribute.
    pub refused: Refused,
    /// Bounds. They do not make another form: a layer that kept to them once is taken as it is.
    pub limits: Limits,
}

impl TreeForm<'_> {
    /// The form as a part of a file name.
    fn name(&self) -> String {
        let whiteouts = match self.whiteouts {
            Whiteouts::Apply => "applied",
            Whiteouts::Overlay(OpaqueXattr::Trusted) => "overlay",
            Whiteouts::Overlay(OpaqueXattr::User) => "overlay-user",
            Whiteouts::Literal => "literal",
        };
        let owners = match self.ownership {
            Ownership::Keep => "keep".to_owned(),
            Ownership::Squash => "squash".to_owned(),
            Ownership::Map(map) => {
                let ranges = map.users.iter().chain(&map.groups);
                let ranges: Vec<_> = ranges
                    .map(|range| format!("{} {} {}", range.inside, range.outside, range.count))
                    .collect();
                let text = format!("{} users of {}", map.users.len(), ranges.join(", "));
                format!("map-{}", &Digest::of(text.as_bytes()).hex()[..16])
            }
        };
        let refused = match self.refused {
            Refused::Fail => "",
            Refused::Skip => ".lenient",
        };
        format!("{whiteouts}.{owners}{refused}")
    }
}

/// An extracted layer. Its files are for reading only: other builds use them too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// The directory with the layer's files, an overlay's lower directory.
    pub path: PathBuf,
    /// Owners that the files do not have themselves, with [`Ownership::Squash`].
    pub owners: OwnerTable,
    /// Directories that the layer's archive does not describe; an empty path is the root.
    pub implied: BTreeSet<Vec<u8>>,
    /// What was left out, with [`Refused::Skip`]: path, what about it, and why.
    pub skipped: Vec<(String, String, String)>,
}

impl Tree {
    /// The tree as a layer of an overlay.
    pub fn overlay_layer(&self) -> OverlayLayer<'_> {
        OverlayLayer {
            path: &self.path,
            implied: &self.implied,
            owners: &self.owners,
        }
    }
}

/// Empty directories to lay over an overlay's other layers, which leave out what these are. They go when this is
/// dropped.
#[derive(Debug)]
pub struct CoverTree {
    /// The overlay's topmost lower directory.
    pub tree: Tree,
    /// What keeps it.
    pub scratch: Scratch,
}

/// The document [`RECORD`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TreeRecord {
    pub(crate) diff_id: DiffId,
    /// Nanoseconds since 1970. A file that was changed later was changed by somebody else.
    pub(crate) finished: u128,
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    owners: Vec<(Vec<u8>, u32, u32)>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    implied: BTreeSet<Vec<u8>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    skipped: Vec<(String, String, String)>,
}

impl Store {
    /// The directory that `layer` is extracted to, in the given form. It is extracted once, whoever asks at
    /// the same time, in this process or another; its blob is fetched when it is not here.
    ///
    /// # Errors
    /// When the layer cannot be had, is not the one its diff ID names, or does not unpack.
    pub fn tree(
        &self,
        layer: &dyn Layer,
        form: TreeForm<'_>,
        progress: &dyn Progress,
    ) -> Result<Tree, StoreError> {
        let directory = self.directory();
        let diff_id = layer.diff_id()?;
        let name = format!("{}.{}", file_name(&diff_id.0), form.name());
        let path = directory.path("trees").join(&name);
        if let Some(tree) = directory.found_tree(&path)? {
            return Ok(tree);
        }
        let _alone = directory.lock(&format!("tree-{name}"))?;
        if let Some(tree) = directory.found_tree(&path)? {
            return Ok(tree);
        }
        let stored = self.fetch(layer, progress)?;
        let unfinished = directory.temporary_directory()?;
        let record = extract(&stored, &diff_id, form, unfinished.path(), progress)?;
        record.write(unfinished.path())?;
        directory.sync_tree(unfinished.path())?;
        fs::rename(unfinished.path(), &path).map_err(|cause| StoreError::io("write", &path, cause))?;
        unfinished.keep();
        // Now the diff ID is known to be true, not just claimed.
        directory.remember(&diff_id, &stored.descriptor()?, None)?;
        Ok(record.tree(&path))
    }

    /// The directories of all layers of `image`, lowest first. An overlay of them needs their [`Store::cover`].
    pub fn root(
        &self,
        image: &Image,
        form: TreeForm<'_>,
        progress: &dyn Progress,
    ) -> Result<Vec<Tree>, StoreError> {
        let layers = image.layers();
        let next = AtomicUsize::new(0);
        let trees = Mutex::new(Vec::new());
        let work = || {
            while let Some((number, layer)) = {
                let number = next.fetch_add(1, Ordering::Relaxed);
                layers.get(number).map(|layer| (number, layer))
            } {
                let tree = self.tree(&**layer, form, progress);
                let failed = tree.is_err();
                trees
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push((number, tree));
                if failed {
                    // Nobody needs the others.
                    next.store(layers.len(), Ordering::Relaxed);
                }
            }
        };
        thread::scope(|scope| {
            for _ in 1..THREADS.min(layers.len()) {
                scope.spawn(work);
            }
            work();
        });
        let mut trees = trees.into_inner().unwrap_or_else(PoisonError::into_inner);
        trees.sort_by_key(|(number, _)| *number);
        trees.into_iter().map(|(_, tree)| tree).collect()
    }

    /// What has to be laid over these layers, lowest first, so that directories that an archive leaves out show as
    /// lower layers describe them. Mostly nothing: archives seldom leave out what is not as it would be made anyway.
    ///
    /// # Errors
    /// When a layer cannot be read or there is no space.
    pub fn cover(&self, layers: &[OverlayLayer<'_>]) -> Result<Option<CoverTree>, StoreError> {
        let failed = |cause| StoreError::io("look at directories of layers in", self.path(), cause);
        let Some(cover) = Cover::of(layers).map_err(failed)? else {
            return Ok(None);
        };
        let scratch = self.scratch()?;
        let path = scratch.path().join(FILES);
        let failed = |cause| StoreError::io("write", &path, cause);
        fs::create_dir(&path).map_err(failed)?;
        let owners = cover.make(layers, &path).map_err(failed)?;
        let tree = Tree {
            path,
            owners,
            implied: BTreeSet::new(),
            skipped: Vec::new(),
        };
        Ok(Some(CoverTree { tree, scratch }))
    }
}

impl Directory {
    fn found_tree(&self, path: &Path) -> Result<Option<Tree>, StoreError> {
        let record = path.join(RECORD);
        if !self.pin(&record)? {
            return Ok(None);
        }
        Ok(read_json::<TreeRecord>(&record)?.map(|record| record.tree(path)))
    }
}

fn extract(
    layer: &dyn Layer,
    diff_id: &DiffId,
    form: TreeForm<'_>,
    into: &Path,
    progress: &dyn Progress,
) -> Result<TreeRecord, StoreError> {
    let descriptor = layer.descriptor()?;
    let files = into.join(FILES);
    let failed = |cause| StoreError::io("write", &files, cause);
    fs::create_dir(&files).map_err(failed)?;
    // The tree's root becomes the root of images whose layers say nothing about it.
    fs::set_permissions(&files, std::os::unix::fs::PermissionsExt::from_mode(0o755)).map_err(failed)?;
    let root = File::open(&files).map_err(failed)?;
    let meter = progress.begin(Step::Extract, descriptor.digest.as_str(), Some(descriptor.size));
    let options = ExtractOptions {
        whiteouts: form.whiteouts,
        ownership: form.ownership,
        refused: form.refused,
        limits: form.limits,
        expected: Some(diff_id),
        ..ExtractOptions::default()
    };
    let stored = layer.open(0)?;
    let compression = descriptor.media_type.compression();
    let extracted = lifecycle_layers::extract(stored, compression, root.file().as_fd(), &options, &*meter)
        .map_err(|cause| StoreError::extract(&descriptor.digest, &files, cause))?;
    meter.finish(Outcome::Done);
    Ok(TreeRecord::new(diff_id.clone(), extracted))
}

impl TreeRecord {
    fn new(diff_id: DiffId, extracted: Extracted) -> Self {
        let finished = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let owners = extracted.owners.iter();
        let skipped = extracted.skipped.into_iter();
        Self {
            diff_id,
            finished: finished.as_nanos(),
            entries: extracted.entries,
            bytes: extracted.bytes,
            owners: owners
                .map(|(path, owner)| (path.to_vec(), owner.uid, owner.gid))
                .collect(),
            implied: extracted.implied,
            skipped: skipped
                .map(|skipped| (skipped.path, skipped.what, skipped.reason))
                .collect(),
        }
    }

    /// Writes the record into a tree that is not in its place yet. Fails when that is gone, because the process is ending.
    fn write(&self, unfinished: &Path) -> Result<(), StoreError> {
        let path = unfinished.join(RECORD);
        let failed = |cause| StoreError::io("write", &path, cause);
        let bytes = serde_json::to_vec(self).map_err(|cause| failed(cause.into()))?;
        fs::write(&path, bytes).map_err(failed)
    }

    fn tree(&self, path: &Path) -> Tree {
        let mut owners = OwnerTable::default();
        for (path, uid, gid) in &self.owners {
            owners.set(path, Owner::new(*uid, *gid));
        }
        Tree {
            path: path.join(FILES),
            owners,
            implied: self.implied.clone(),
            skipped: self.skipped.clone(),
        }
    }
}
