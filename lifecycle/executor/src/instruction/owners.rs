//! Who owns the files of a root that has one id (rung 3).
//!
//! On disk everything belongs to that id. Before a command runs, the files that belong to others are written down
//! in a [`FileOwners`]; the command may change that ([`lifecycle_sandbox::Run::owners`]); afterwards every changed
//! path is asked for its owner.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lifecycle_layers::{Change, ChangeSet, Owner, OwnerTable};
use lifecycle_sandbox::{Birth, FileOwners, Identity};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, StatxFlags, lgetxattr, openat2, statx};
use rustix::io::Errno;

use crate::error::StepError;
use crate::stack::LayerTree;

/// A root's owners while a command runs in it.
#[derive(Debug)]
pub(crate) struct KeptOwners {
    root: OwnedFd,
    pub(crate) files: FileOwners,
    /// Who owns what the command makes.
    maker: Owner,
    base: Base,
}

/// What the root stands on, which decides what a file that nobody wrote down is.
#[derive(Debug)]
enum Base {
    /// An overlay: the trees, lowest first, and the directory of its changes.
    Overlay {
        trees: Vec<Arc<LayerTree>>,
        upper: PathBuf,
    },
    /// A directory that was complete at this time.
    Directory(Duration),
}

/// Shorter than a snapshot is older than what comes after it, longer than a tick of the file system's clock.
const DOUBT: Duration = Duration::from_millis(10);

impl KeptOwners {
    /// For an overlay: who had a path in the topmost layer that has it.
    pub(crate) fn of_overlay(
        root: impl AsFd,
        trees: &[Arc<LayerTree>],
        upper: &Path,
        identity: &Identity,
    ) -> Result<Self, StepError> {
        let base = Base::Overlay {
            trees: trees.to_vec(),
            upper: upper.to_owned(),
        };
        let kept = Self::new(root, identity, base)?;
        for (at, tree) in trees.iter().enumerate() {
            let above = &trees[at + 1..];
            for (path, owner) in tree.owners().iter() {
                let hidden = above.iter().any(|tree| tree.has(path));
                if !hidden {
                    kept.insert(path, owner, Birth::Changing)?;
                }
            }
        }
        Ok(kept)
    }

    /// For a directory whose owners are in a table, right after a snapshot of it was taken.
    pub(crate) fn of_directory(
        root: impl AsFd,
        table: &OwnerTable,
        identity: &Identity,
    ) -> Result<Self, StepError> {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let kept = Self::new(root, identity, Base::Directory(now.saturating_sub(DOUBT)))?;
        for (path, owner) in table.iter() {
            kept.insert(path, owner, Birth::Kept)?;
        }
        Ok(kept)
    }

    fn new(root: impl AsFd, identity: &Identity, base: Base) -> Result<Self, StepError> {
        let root = root
            .as_fd()
            .try_clone_to_owned()
            .map_err(StepError::io("open the root file system"))?;
        Ok(Self {
            root,
            files: FileOwners::new(),
            maker: Owner::new(identity.uid, identity.gid),
            base,
        })
    }

    /// A path that a higher layer took away has no owner to keep.
    fn insert(&self, path: &[u8], owner: Owner, birth: Birth) -> Result<(), StepError> {
        let Some(file) = self.open(path)? else {
            return Ok(());
        };
        self.files
            .insert(file, owner.uid, owner.gid, birth)
            .map_err(StepError::io("read the owners of the root file system"))
    }

    fn open(&self, path: &[u8]) -> Result<Option<OwnedFd>, StepError> {
        let opened = openat2(
            &self.root,
            OsStr::from_bytes(path),
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
        );
        match opened {
            Ok(file) => Ok(Some(file)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(error) => Err(StepError::io(format!("open /{}", String::from_utf8_lossy(path)))(
                error.into(),
            )),
        }
    }

    /// Whether a path of an overlay that was there before belongs to somebody else now.
    pub(crate) fn is_given(&self, path: &[u8]) -> bool {
        let Base::Overlay { trees, .. } = &self.base else {
            return false;
        };
        let before = trees.iter().rev().find(|tree| tree.has(path));
        // An owner that cannot be read is an error when the changes are recorded.
        before.is_some_and(|tree| {
            self.owner(path)
                .map_or(true, |owner| owner != tree.owners().get(path))
        })
    }

    /// Writes the owners of what was changed into a table, and forgets those of what is gone.
    pub(crate) fn record(&self, changes: &ChangeSet, table: &mut OwnerTable) -> Result<(), StepError> {
        for (path, change) in changes.iter() {
            match change {
                Change::Deleted => table.remove(&path),
                Change::Present => {
                    let owner = self.owner(&path)?;
                    table.set(&path, owner);
                }
            }
        }
        Ok(())
    }

    fn owner(&self, path: &[u8]) -> Result<Owner, StepError> {
        let Some(file) = self.open(path)? else {
            return Ok(self.maker);
        };
        let known = self
            .files
            .get(&file)
            .map_err(StepError::io("read the owners of the root file system"))?;
        if let Some((uid, gid)) = known {
            return Ok(Owner::new(uid, gid));
        }
        Ok(match &self.base {
            Base::Overlay { trees, upper } => match trees.iter().rev().find(|tree| tree.has(path)) {
                Some(tree) if came_up(&upper.join(OsStr::from_bytes(path))) => tree.owners().get(path),
                _ => self.maker,
            },
            Base::Directory(complete) if is_older(file.as_fd(), *complete) => Owner::ROOT,
            Base::Directory(_) => self.maker,
        })
    }
}

/// Whether what is in an overlay's upper directory was copied there from below. Overlay marks files and directories
/// so; the others are taken to be what was there under their name.
fn came_up(path: &Path) -> bool {
    match lgetxattr(path, c"user.overlay.origin", &mut [0; 256]) {
        Err(Errno::NODATA) => path
            .symlink_metadata()
            .is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()),
        _ => true,
    }
}

fn is_older(file: BorrowedFd<'_>, than: Duration) -> bool {
    let status = statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::BTIME);
    status.is_ok_and(|status| {
        let born = Duration::new(
            u64::try_from(status.stx_btime.tv_sec).unwrap_or(0),
            status.stx_btime.tv_nsec,
        );
        status.stx_mask & StatxFlags::BTIME.bits() != 0 && born < than
    })
}
