//! A stage's root file system where the kernel has no overlay for us: one directory that every layer is unpacked
//! into, and whose metadata is compared before and after a command (rungs 2 to 4). A live root is such a directory
//! that has the base's layers already.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::Arc;

use lifecycle_image::{Layer, NoProgress};
use lifecycle_layers::{
    ChangeSet, ExtractOptions, Owner, OwnerTable, Owners, Refused, Snapshot, Whiteouts, extract,
};
use lifecycle_store::Scratch;

use super::owners::KeptOwners;
use crate::copy::contents::Keep;
use crate::error::StepError;
use crate::files::{DiskFiles, DiskOwners, View};
use crate::live_root::LiveRoot;
use crate::stack::{Roots, Stack, StackLayer, set_mode, write_through};

/// The directory, and how far it is.
#[derive(Debug)]
pub(crate) struct WorkingRoot {
    place: Place,
    /// How many layers of the stack are in it.
    applied: usize,
    /// Owners that the files do not have themselves.
    owners: OwnerTable,
    /// A layer that is still read from this directory.
    packing: Option<Arc<dyn Layer>>,
    /// How everything was after the last command, unless something may have changed since.
    last: Option<Snapshot>,
}

/// Where it is.
#[derive(Debug)]
enum Place {
    /// In a directory that goes away with the build.
    Scratch(Arc<Scratch>),
    /// Where it was before.
    Live(LiveRoot),
}

impl WorkingRoot {
    /// A root that is there, with the files of the lowest `applied` layers.
    pub(crate) fn live(root: LiveRoot, applied: usize) -> Self {
        Self {
            place: Place::Live(root),
            applied,
            owners: OwnerTable::default(),
            packing: None,
            last: None,
        }
    }

    pub(crate) fn new(roots: &Roots<'_>) -> Result<Self, StepError> {
        let scratch = Arc::new(roots.store.scratch()?);
        let root = Self {
            place: Place::Scratch(scratch),
            applied: 0,
            owners: OwnerTable::default(),
            packing: None,
            last: None,
        };
        let path = root.path();
        std::fs::create_dir(&path).map_err(StepError::io(format!("create {}", path.display())))?;
        set_mode(&path, 0o755)?;
        Ok(root)
    }

    /// The root.
    pub(crate) fn path(&self) -> PathBuf {
        match &self.place {
            Place::Scratch(scratch) => scratch.path().join("root"),
            Place::Live(root) => root.path.clone(),
        }
    }

    /// What has to stay while the directory is read.
    pub(crate) fn keeps(&self) -> Vec<Keep> {
        match &self.place {
            Place::Scratch(scratch) => vec![Arc::clone(scratch) as Keep],
            Place::Live(_) => Vec::new(),
        }
    }

    /// Everything that is in it.
    pub(crate) fn view(&self, roots: &Roots<'_>) -> Result<View, StepError> {
        let path = self.path();
        let owners = if roots.powers.gives_files_away {
            DiskOwners::Keep
        } else {
            DiskOwners::Table(self.owners.clone())
        };
        let files =
            DiskFiles::open(&path, owners).map_err(StepError::io(format!("open {}", path.display())))?;
        Ok(View::of_disk(files))
    }

    /// Unpacks the layers of `stack` that are not in it yet.
    pub(crate) fn catch_up(&mut self, stack: &Stack, roots: &Roots<'_>) -> Result<(), StepError> {
        if let Some(packing) = self.packing.take() {
            packing.descriptor()?;
        }
        for layer in &stack.layers[self.applied.min(stack.layers.len())..] {
            self.last = None;
            let owners = self.apply(layer, roots)?;
            if !roots.powers.gives_files_away {
                // What a layer gives to root belongs to nobody else any more.
                for path in layer.given_to_root()? {
                    self.owners.set(&path, Owner::ROOT);
                }
                self.owners.extend(&owners);
            }
        }
        self.applied = stack.layers.len();
        Ok(())
    }

    fn apply(&self, layer: &StackLayer, roots: &Roots<'_>) -> Result<OwnerTable, StepError> {
        let mut form = roots.powers.tree_form();
        form.whiteouts = Whiteouts::Apply;
        let path = self.path();
        if let Some(contents) = layer.contents() {
            return write_through(&**contents, &path, &form).map(|extracted| extracted.owners);
        }
        let descriptor = layer.layer.descriptor()?;
        let directory = File::open(&path).map_err(StepError::io(format!("open {}", path.display())))?;
        let options = ExtractOptions {
            whiteouts: form.whiteouts,
            ownership: form.ownership,
            refused: Refused::Skip,
            ..ExtractOptions::default()
        };
        let extracted = extract(
            layer.layer.open(0)?,
            descriptor.media_type.compression(),
            directory.as_fd(),
            &options,
            &NoProgress,
        );
        extracted
            .map(|extracted| extracted.owners)
            .map_err(|cause| StepError::Extract {
                what: format!("the layer {}", descriptor.digest),
                cause,
            })
    }

    /// Remembers how everything is now, but for these paths. After a command that is known already.
    pub(crate) fn snapshot(&mut self, ignored: &[PathBuf]) -> Result<Snapshot, StepError> {
        let mut exclude = match &self.place {
            Place::Scratch(_) => Vec::new(),
            Place::Live(root) => root.excluded(),
        };
        exclude.extend_from_slice(ignored);
        if let Some(last) = self.last.take_if(|last| last.leaves_out(&exclude)) {
            last.settle();
            return Ok(last);
        }
        Ok(Snapshot::take(&self.path(), &exclude)?)
    }

    /// Owners that the files do not have themselves.
    pub(crate) fn owners(&self) -> &OwnerTable {
        &self.owners
    }

    /// What has changed since. `kept` knows the owners where the files do not.
    pub(crate) fn changes(
        &mut self,
        before: &Snapshot,
        kept: Option<&KeptOwners>,
    ) -> Result<ChangeSet, StepError> {
        let path = self.path();
        let after = before.again(&path)?;
        let changes = ChangeSet::between(before, &after, &path);
        // Others may write to a live root between two commands, which is no change of the next one.
        self.last = matches!(self.place, Place::Scratch(_)).then_some(after);
        let Some(kept) = kept else { return Ok(changes) };
        kept.record(&changes, &mut self.owners)?;
        Ok(changes.owners(Owners::Table(Arc::new(self.owners.clone()))))
    }

    /// The change set becomes this layer of the stack, and is read from the directory until it is packed.
    pub(crate) fn take_over(&mut self, layer: &Arc<dyn Layer>) {
        self.applied += 1;
        self.packing = Some(Arc::clone(layer));
    }
}
