//! Cached layers that stay unpacked from one build to the next.
//!
//! A cache holds each layer as a tar, which is what counts. Beside it a platform may keep the directory that the
//! layer was made from, or was unpacked to: restoring then moves the directory to where buildpacks want it, and after the
//! export it is moved back. Nothing is copied, nothing is deleted, and a layer that nobody touched meanwhile is known
//! without reading it.
//!
//! A directory is only believed when every inode in it is as it was when it was put away, the times that programs cannot
//! set included, and the machine has not been started anew since: what was written then may have been lost. In any
//! other case, and whenever moving fails, the layer comes from its tar.

use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use fs_err as fs;
use lifecycle_image::{DiffId, Digest};
use lifecycle_layers::{Owner, Snapshot, tree};
use lifecycle_spec::BuildpackId;
use lifecycle_spec::label::CacheLabel;

use crate::Place;

/// Where cached layers stay unpacked. It belongs to one build at a time.
#[derive(Debug, Clone)]
pub struct UnpackedLayers {
    directory: PathBuf,
    owner: Owner,
    /// Changes when the machine is started.
    boot: String,
}

impl UnpackedLayers {
    /// Layers in `directory`, which lies on the file system of the layers directory, for builds that run as `owner`.
    ///
    /// Nobody else may write to `directory`: what is in it is not hashed.
    pub fn open(directory: impl Into<PathBuf>, owner: Owner) -> io::Result<Self> {
        let directory = directory.into();
        fs::create_dir_all(&directory)?;
        Ok(Self {
            directory,
            owner,
            boot: fs::read_to_string("/proc/sys/kernel/random/boot_id")?,
        })
    }

    /// Moves the layer to `place`, where nothing is. Says whether it was here.
    pub(crate) fn take(&self, diff_id: &DiffId, place: &Place) -> io::Result<bool> {
        let tree = self.tree(diff_id);
        if !tree.is_dir() {
            return Ok(false);
        }
        if !self.is_as_recorded(diff_id, &tree) {
            self.remove(diff_id)?;
            return Ok(false);
        }
        if let Some(parent) = place.here.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::rename(&tree, &place.here)?;
        Ok(true)
    }

    /// Whether the directory at `place` is the one that was taken from here, and nothing in it was changed.
    pub(crate) fn is_intact(&self, diff_id: &DiffId, place: &Place) -> bool {
        self.is_as_recorded(diff_id, &place.here)
    }

    /// Moves all layers back that a build took and left as they were: for builds that end before their export.
    pub fn put_back(&self, layers: &Place) -> io::Result<()> {
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let Some(diff_id) = path
                .file_name()
                .and_then(|name| diff_id_of_record(name.to_str()?))
            else {
                continue;
            };
            let (Ok(text), tree) = (fs::read_to_string(&path), self.tree(&diff_id)) else {
                continue;
            };
            // The place is below the layers directory, because `keep` wrote it.
            let taken = text.lines().nth(1).map(|place| layers.here.join(place));
            if let Some(taken) = taken.filter(|taken| !tree.exists() && self.is_as_recorded(&diff_id, taken))
            {
                fs::rename(taken, tree)?;
            }
        }
        Ok(())
    }

    /// Takes the layers that the cache holds now from the layers directory, when nobody needs them there any more, and
    /// forgets all others. Those that `is_intact` knows are still as recorded; whoever takes one makes sure of it.
    pub(crate) fn keep(
        &self,
        label: &CacheLabel,
        layers: &Place,
        is_intact: &dyn Fn(&BuildpackId, &str) -> bool,
    ) -> io::Result<()> {
        let mut kept = Vec::new();
        for buildpack in &label.buildpacks {
            for (name, layer) in &buildpack.layers {
                let Ok(diff_id) = layer.sha.parse::<DiffId>() else {
                    continue;
                };
                let below = Path::new(&buildpack.key.directory()).join(name);
                self.put_away(&diff_id, layers, &below, is_intact(&buildpack.key, name))?;
                kept.push(diff_id);
            }
        }
        for entry in fs::read_dir(&self.directory)? {
            let name = entry?.file_name();
            let diff_id = name.to_str().and_then(|name| {
                let tree = name.parse().ok();
                tree.or_else(|| diff_id_of_record(name))
            });
            match diff_id {
                Some(diff_id) if kept.contains(&diff_id) => {}
                Some(diff_id) => self.remove(&diff_id)?,
                None => {}
            }
        }
        Ok(())
    }

    fn put_away(&self, diff_id: &DiffId, layers: &Place, below: &Path, is_intact: bool) -> io::Result<()> {
        let (from, tree) = (layers.here.join(below), self.tree(diff_id));
        // A link is nothing to put away, and least of all what it leads to.
        if tree.exists() || !from.symlink_metadata().is_ok_and(|found| found.is_dir()) {
            return Ok(());
        }
        if !is_intact {
            let handle = fs::File::open(&from)?;
            if !tree::settle(handle.file().as_fd(), self.owner)? {
                return self.remove(diff_id);
            }
            let record = format!("{}\n{}\n", self.state(&from)?, below.display());
            fs::write(self.record(diff_id), record)?;
        }
        fs::rename(from, tree)
    }

    fn is_as_recorded(&self, diff_id: &DiffId, tree: &Path) -> bool {
        let recorded = fs::read_to_string(self.record(diff_id));
        let recorded = recorded.as_deref().ok().and_then(|text| text.lines().next());
        recorded.is_some_and(|recorded| self.state(tree).is_ok_and(|state| state.as_str() == recorded))
    }

    /// A name for the state of a tree. Moving a directory changes its inode, so of its own it only has what layers keep.
    fn state(&self, tree: &Path) -> io::Result<Digest> {
        let root = fs::symlink_metadata(tree)?;
        let below = Snapshot::take(tree, &[]).map_err(io::Error::other)?.digest();
        let own = (root.mode(), root.uid(), root.gid(), root.ino(), root.dev());
        let text = format!("{below} {own:?} {:?} {}", self.owner, self.boot);
        Ok(Digest::of(text.as_bytes()))
    }

    fn remove(&self, diff_id: &DiffId) -> io::Result<()> {
        crate::files::remove(&self.record(diff_id))?;
        let directory = fs::File::open(&self.directory)?;
        tree::remove(directory.file().as_fd(), diff_id.as_str().as_ref())
    }

    fn tree(&self, diff_id: &DiffId) -> PathBuf {
        self.directory.join(diff_id.as_str())
    }

    fn record(&self, diff_id: &DiffId) -> PathBuf {
        self.directory.join(format!("{diff_id}.state"))
    }
}

fn diff_id_of_record(name: &str) -> Option<DiffId> {
    name.strip_suffix(".state")?.parse().ok()
}

#[cfg(test)]
mod tests;
