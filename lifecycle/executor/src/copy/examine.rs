//! Reads what is copied once: contents for the cache key, extended attributes for the layer (K2).

use std::io::{self, Read as _};
use std::os::fd::AsFd as _;

use lifecycle_layers::{Stamp, Xattr};
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use super::item::{Data, Item, Selection};
use super::known::{self, KnownFiles, Sum};
use crate::error::StepError;
use crate::files::{NodeKind, join};
use crate::key::{KeyMaker, hex};

const PIECE: usize = 128 << 10;

/// How many entries are looked at before they go into the key, in order.
const BATCH: usize = 16 << 10;

/// Reads everything on all cores, and adds to a cache key what stands for the content of sources: paths, modes, owners,
/// sizes, types, links, devices, extended attributes and bytes, but no times (K2). Files that an earlier build knew are
/// not opened. Fills in the extended attributes.
pub(crate) fn examine(
    selections: &mut [Selection],
    known: &KnownFiles,
    key: &mut KeyMaker,
) -> Result<(), StepError> {
    key.number(selections.len() as u64);
    for selection in selections {
        let Selection { name, items, .. } = selection;
        key.add(&*name).number(selection.shape as u64);
        key.optional(selection.last_modified.map(i64::to_le_bytes));
        key.number(items.len() as u64);
        for start in (0..items.len()).step_by(BATCH) {
            let mut batch = items.range(start, (start + BATCH).min(items.len()));
            let looks = batch.par_iter_mut().with_min_len(16).map(|item| {
                look(item, known).map_err(|cause| StepError::Io {
                    action: format!("read {}", String::from_utf8_lossy(&join(name, &item.path))),
                    cause,
                })
            });
            let sums: Vec<Option<Sum>> = looks.collect::<Result<_, _>>()?;
            for (at, (item, sum)) in batch.into_iter().zip(sums).enumerate() {
                add_item(key, &item, sum.as_ref());
                if !item.node.xattrs.is_empty() {
                    items.replace(start + at, item);
                }
            }
            items.forget_marks(start + BATCH);
        }
    }
    Ok(())
}

/// Reads an entry's extended attributes and what its content hashes to.
fn look(item: &mut Item, known: &KnownFiles) -> io::Result<Option<Sum>> {
    let handle = match &item.data {
        Data::Nothing => return Ok(None),
        Data::Memory(bytes) => return Ok(Some(Sha256::digest(bytes).into())),
        Data::File(handle) => handle,
    };
    if let Some(sum) = item.node.mark.as_ref().and_then(|mark| known.get(mark)) {
        return Ok(Some(sum));
    }
    let mut file = handle.open()?;
    item.node.xattrs = lifecycle_layers::read_xattrs(file.as_fd())?;
    if !matches!(item.node.kind, NodeKind::File { .. }) {
        return Ok(None);
    }
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
    let sum: Sum = hasher.finalize().into();
    // A file with attributes is opened for them anyhow.
    if let Some(before) = item.node.mark
        && item.node.xattrs.is_empty()
    {
        let stamp = Stamp::of(&rustix::fs::fstat(&file)?);
        if known::mark(&stamp) == before {
            known.put(stamp, sum);
        }
    }
    Ok(Some(sum))
}

fn add_item(key: &mut KeyMaker, item: &Item, sum: Option<&Sum>) {
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
    key.optional(sum.map(|sum| format!("sha256:{}", hex(sum))));
}
