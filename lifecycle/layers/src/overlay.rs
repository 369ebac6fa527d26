//! Directories that a layer's archive leaves out, seen in an overlay.
//!
//! An archive may hold `tmp/file` and no `tmp`. Unpacked on top of the layers below, `tmp` keeps the mode it has
//! there. Unpacked alone, as overlays want it, `tmp` has to be made up, and an overlay takes the mode, owner, time
//! and attributes of a directory from the topmost layer that has it. A [`Cover`] puts them right: empty directories
//! that are laid on top of all layers and look as the topmost layer says that describes them.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, Stat, Timespec, Uid, fchmod, fchown, fstat, futimens, mkdirat, openat,
    statat,
};
use rustix::io::Errno;

use crate::changes::show_through;
use crate::descent::DIRECTORY;
use crate::entry::{ancestors, split};
use crate::extract::times;
use crate::root::Root;
use crate::walk::{is_whiteout, mode, owner};
use crate::{Owner, OwnerTable, xattrs};

/// A layer's files in a directory, with [`Whiteouts::Overlay`](crate::Whiteouts::Overlay).
#[derive(Debug, Clone, Copy)]
pub struct OverlayLayer<'a> {
    /// The directory.
    pub path: &'a Path,
    /// Directories that the archive does not describe ([`Extracted::implied`](crate::Extracted::implied)).
    pub implied: &'a BTreeSet<Vec<u8>>,
    /// Owners that the files do not have themselves.
    pub owners: &'a OwnerTable,
}

/// The directories to lay on top, with the layer that describes each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cover(BTreeMap<Vec<u8>, usize>);

impl Cover {
    /// What has to be laid over these layers, lowest first; nothing when everything shows as it should.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn of(layers: &[OverlayLayer<'_>]) -> io::Result<Option<Self>> {
        let above_lowest = layers.iter().skip(1);
        let candidates: BTreeSet<_> = above_lowest.flat_map(|layer| layer.implied).collect();
        let mut view = Merged::new(layers)?;
        let mut wrong: BTreeSet<&[u8]> = BTreeSet::new();
        for path in candidates {
            if let Some(look) = view.look(path)?
                && view.is_hidden(path, look)?
            {
                // A directory cannot be laid over another one without those above it.
                wrong.extend(ancestors(path).chain([&b""[..], path]));
            }
        }
        let mut directories = BTreeMap::new();
        for path in wrong {
            if let Some(look) = view.look(path)? {
                directories.insert(path.to_vec(), look.described);
            }
        }
        Ok((!directories.is_empty()).then_some(Self(directories)))
    }

    /// Makes the directories in `into`, which is empty and becomes the topmost of `layers`. Returns the owners that
    /// they do not have themselves.
    ///
    /// # Errors
    /// When a directory cannot be read or made.
    pub fn make(&self, layers: &[OverlayLayer<'_>], into: &Path) -> io::Result<OwnerTable> {
        let into = Root::new(open(into)?.as_fd())?;
        let mut owners = OwnerTable::default();
        for (path, &layer) in &self.0 {
            if !path.is_empty() {
                let (above, name) = split(path);
                mkdirat(into.exact(above)?, CString::new(name)?.as_c_str(), Mode::RWXU)?;
            }
            owners.set(path, layers[layer].owners.get(path));
        }
        // What is above comes last: what is made in a directory needs its mode and changes its time.
        for (path, &layer) in self.0.iter().rev() {
            let original = Root::new(open(layers[layer].path)?.as_fd())?.exact(path)?;
            describe(into.exact(path)?.as_fd(), original.as_fd())?;
        }
        Ok(owners)
    }
}

/// Makes a new directory look like another one.
fn describe(made: BorrowedFd<'_>, original: BorrowedFd<'_>) -> io::Result<()> {
    let (old, new) = (fstat(original)?, fstat(made)?);
    if owner(&old) != owner(&new) {
        let ids = (Uid::from_raw(old.st_uid), Gid::from_raw(old.st_gid));
        fchown(made, Some(ids.0), Some(ids.1))?;
    }
    fchmod(made, Mode::from_raw_mode(mode(&old)))?;
    for xattr in xattrs::read(original)? {
        xattrs::set(made, &xattr.name, &xattr.value)?;
    }
    Ok(futimens(made, &times(time(&old)))?)
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    // The caller's own path, whose links are followed.
    Ok(openat(
        CWD,
        path,
        DIRECTORY.difference(rustix::fs::OFlags::NOFOLLOW),
        Mode::empty(),
    )?)
}

fn time(stat: &Stat) -> Timespec {
    #[allow(
        clippy::useless_conversion,
        reason = "the fields' types differ between processors"
    )]
    Timespec {
        tv_sec: stat.st_mtime.into(),
        tv_nsec: stat.st_mtime_nsec.try_into().unwrap_or(0),
    }
}

/// The merged view of layers.
struct Merged<'a> {
    layers: &'a [OverlayLayer<'a>],
    /// Topmost first.
    root: Vec<Part>,
    /// The directory that was looked into last, and what shows through there.
    last: Option<(Vec<u8>, Vec<Part>)>,
}

/// A directory of one layer.
struct Part {
    layer: usize,
    handle: OwnedFd,
}

/// What is known of a directory: by number, the topmost layer that has it, and the topmost one that describes it.
#[derive(Clone, Copy)]
struct Look {
    shown: usize,
    described: usize,
}

impl<'a> Merged<'a> {
    fn new(layers: &'a [OverlayLayer<'a>]) -> io::Result<Self> {
        let mut root = Vec::new();
        for (layer, tree) in layers.iter().enumerate().rev() {
            let handle = open(tree.path)?;
            root.push(Part { layer, handle });
        }
        Ok(Self {
            layers,
            root,
            last: None,
        })
    }

    /// Looks for a directory. Nothing if none shows under this path.
    fn look(&mut self, path: &[u8]) -> io::Result<Option<Look>> {
        let layers = self.layers;
        let mut look: Option<Look> = None;
        let mut see = |layer: usize| {
            let is_implied = layers[layer].implied.contains(path);
            let shown = look.map_or(layer, |look| look.shown);
            if !is_implied || look.is_none() {
                look = Some(Look {
                    shown,
                    described: layer,
                });
            }
            !is_implied
        };
        if path.is_empty() {
            let _described = (0..layers.len()).rev().any(see);
            return Ok(look);
        }
        let (above, name) = split(path);
        let name = CString::new(name)?;
        for part in self.parts(above)? {
            match statat(&part.handle, name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
                // What is there hides the layers below.
                Ok(stat)
                    if is_whiteout(&stat) || FileType::from_raw_mode(stat.st_mode) != FileType::Directory =>
                {
                    break;
                }
                Ok(_) if see(part.layer) => break,
                Ok(_) => {}
            }
        }
        Ok(look)
    }

    /// Whether a directory shows otherwise than it is described. The root has no time that anybody tells.
    fn is_hidden(&self, path: &[u8], look: Look) -> io::Result<bool> {
        if look.shown == look.described {
            return Ok(false);
        }
        let of = |layer: usize| {
            let tree = &self.layers[layer];
            let handle = Root::new(open(tree.path)?.as_fd())?.exact(path)?;
            let stat = fstat(&handle)?;
            let time = (!path.is_empty()).then(|| time(&stat));
            let table: Owner = tree.owners.get(path);
            let xattrs = xattrs::read(handle.as_fd())?;
            Ok::<_, io::Error>((mode(&stat), owner(&stat), table, time, xattrs))
        };
        Ok(of(look.shown)? != of(look.described)?)
    }

    /// What shows through at a directory, topmost first.
    fn parts(&mut self, path: &[u8]) -> io::Result<&[Part]> {
        if self.last.as_ref().is_none_or(|(last, _)| last != path) {
            // The roots themselves may hide others.
            let mut here = below(&self.root, b".")?;
            for name in path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
                here = below(&here, name)?;
            }
            self.last = Some((path.to_vec(), here));
        }
        Ok(self.last.as_ref().map_or(&[], |(_, parts)| parts))
    }
}

/// The directories that show under a name.
fn below(above: &[Part], name: &[u8]) -> io::Result<Vec<Part>> {
    let handles = above.iter().map(|part| &part.handle);
    let shown = show_through(handles, &CString::new(name)?)?;
    let parts = shown.into_iter().map(|(at, handle)| Part {
        layer: above[at].layer,
        handle,
    });
    Ok(parts.collect())
}
