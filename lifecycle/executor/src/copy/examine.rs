//! Reads what is copied once: contents for the cache key, extended attributes for the layer (K2).

use std::io::{self, Read as _};
use std::os::fd::AsFd as _;

use lifecycle_image::Digest;
use lifecycle_layers::Xattr;
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use super::item::{Data, Item, Selection};
use super::known::KnownFiles;
use crate::error::StepError;
use crate::files::{NodeKind, join};
use crate::key::{KeyMaker, hex};

const PIECE: usize = 128 << 10;

/// Fills in digests and extended attributes, on all cores. Files that an earlier build knew are not opened.
pub(crate) fn examine(selections: &mut [Selection], known: &KnownFiles) -> Result<(), StepError> {
    known.load()?;
    for selection in selections {
        let name = &selection.name;
        selection
            .items
            .par_iter_mut()
            .with_min_len(16)
            .try_for_each(|item| {
                look(item, known).map_err(|cause| StepError::Io {
                    action: format!("read {}", String::from_utf8_lossy(&join(name, &item.path))),
                    cause,
                })
            })?;
    }
    Ok(())
}

fn look(item: &mut Item, known: &KnownFiles) -> io::Result<()> {
    match &item.data {
        Data::Nothing => Ok(()),
        Data::Memory(bytes) => {
            item.digest = Some(Digest::of(bytes));
            Ok(())
        }
        Data::File(handle) => {
            if let Some(stamp) = &item.node.stamp
                && let Some(digest) = known.get(stamp)
            {
                item.digest = Some(digest);
                return Ok(());
            }
            let mut file = handle.open()?;
            item.node.xattrs = lifecycle_layers::read_xattrs(file.as_fd())?;
            if matches!(item.node.kind, NodeKind::File { .. }) {
                let mut hasher = Sha256::new();
                let mut piece = vec![0; PIECE];
                loop {
                    let count = match file.read(&mut piece) {
                        Ok(0) => break,
                        Ok(count) => count,
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                        Err(error) => return Err(error),
                    };
                    hasher.update(&piece[..count]);
                }
                let digest: Digest = format!("sha256:{}", hex(hasher))
                    .parse()
                    .map_err(io::Error::other)?;
                // A file with attributes is opened for them anyhow.
                if let Some(stamp) = item.node.stamp
                    && item.node.xattrs.is_empty()
                    && stamp == crate::files::stamp(&rustix::fs::fstat(&file)?)
                {
                    known.put(stamp, digest.clone());
                }
                item.digest = Some(digest);
            }
            Ok(())
        }
    }
}

/// The part of a cache key that stands for the content of sources: paths, modes, owners, sizes, types, links,
/// devices, extended attributes and bytes, but no times (K2).
pub(crate) fn add_content(key: &mut KeyMaker, selections: &[Selection]) {
    key.number(selections.len() as u64);
    for selection in selections {
        key.add(&selection.name).number(selection.shape as u64);
        key.optional(selection.last_modified.map(i64::to_le_bytes));
        key.number(selection.items.len() as u64);
        for item in &selection.items {
            add_item(key, item);
        }
    }
}

fn add_item(key: &mut KeyMaker, item: &Item) {
    let node = &item.node;
    key.add(&item.path)
        .number(node.mode.into())
        .number(node.owner.uid.into())
        .number(node.owner.gid.into());
    match &node.kind {
        NodeKind::File { size } => key.number(1).number(*size),
        NodeKind::Directory => key.number(2),
        NodeKind::Symlink(target) => key.number(3).add(target),
        NodeKind::Fifo => key.number(4),
        NodeKind::CharDevice(device) => key
            .number(5)
            .number(device.major.into())
            .number(device.minor.into()),
        NodeKind::BlockDevice(device) => key
            .number(6)
            .number(device.major.into())
            .number(device.minor.into()),
        NodeKind::Socket => key.number(7),
    };
    let xattrs: Vec<&Xattr> = node.xattrs.iter().collect();
    key.number(xattrs.len() as u64);
    for xattr in xattrs {
        key.add(&xattr.name).add(&xattr.value);
    }
    key.optional(item.digest.as_ref().map(Digest::as_str));
}
