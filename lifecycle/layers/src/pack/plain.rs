//! Layers without compression.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::unbounded;
use lifecycle_image::Meter;

use super::{BLOCK, Contents, PackError, Packed, join};
use crate::blocks::{BlockWriter, Pool, hash_blocks};

/// Writes the tar as it is; the digest and the diff ID are the same.
pub(super) fn pack(
    contents: &dyn Contents,
    out: &mut dyn Write,
    meter: &dyn Meter,
) -> Result<Packed, PackError> {
    let pool = Pool::new(4, BLOCK);
    let (to_hash, hashed) = unbounded();
    let (to_out, blocks) = unbounded();
    thread::scope(|scope| {
        let hasher = scope.spawn(move || hash_blocks(&hashed));
        let reader = scope.spawn(move || {
            let mut writer = BlockWriter::new(pool, |block| {
                to_hash.send(Arc::clone(&block)).is_ok() && to_out.send(block).is_ok()
            });
            contents.write(&mut writer)?;
            writer.finish()
        });
        let written = blocks.iter().try_for_each(|block| {
            meter.advance(block.len() as u64);
            out.write_all(&block)
        });
        drop(blocks);
        let read = join(reader);
        let (diff_id, tar_size) = join(hasher);
        // The reader only sees that nobody listens any more; the writer knows why.
        written.map_err(PackError::Output)?;
        read?;
        Ok(Packed {
            digest: diff_id.0.clone(),
            size: tar_size,
            diff_id,
            tar_size,
            annotations: BTreeMap::new(),
        })
    })
}
