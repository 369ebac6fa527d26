//! Layers as Zstandard.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;
use std::thread;

use crossbeam_channel::unbounded;
use lifecycle_image::{Compression, Hashing, Meter};
use zstd::stream::raw::CParameter;

use super::{BLOCK, Contents, PackError, Packed, join};
use crate::blocks::{BlockWriter, Pool, hash_blocks};

/// How much input one of zstd's workers takes at a time. Fixed, because the bytes depend on it, and small,
/// because the memory of each worker does too.
const JOB: u32 = 2 << 20;

pub(super) fn pack(
    contents: &dyn Contents,
    level: i32,
    threads: usize,
    out: &mut dyn Write,
    meter: &dyn Meter,
) -> Result<Packed, PackError> {
    if !(1..=22).contains(&level) {
        return Err(PackError::Level {
            compression: Compression::Zstd,
            level,
            lowest: 1,
            highest: 22,
        });
    }
    let pool = Pool::new(4, BLOCK);
    let (to_hash, hashed) = unbounded();
    let (to_out, blocks) = unbounded::<Arc<_>>();
    let mut out = Hashing::new(out);
    thread::scope(|scope| {
        let hasher = scope.spawn(move || hash_blocks(&hashed));
        let reader = scope.spawn(move || {
            let mut writer = BlockWriter::new(pool, |block| {
                to_hash.send(Arc::clone(&block)).is_ok() && to_out.send(block).is_ok()
            });
            contents.write(&mut writer)?;
            writer.finish()
        });
        let written = encoder(level, threads, &mut out).and_then(|mut encoder| {
            for block in &blocks {
                meter.advance(block.len() as u64);
                encoder.write_all(&block)?;
            }
            Ok(encoder)
        });
        drop(blocks);
        let read = join(reader);
        let (diff_id, tar_size) = join(hasher);
        // The reader only sees that nobody listens any more; the writer knows why.
        let encoder = written.map_err(PackError::Output)?;
        read?;
        encoder.finish().map_err(PackError::Output)?;
        let (_, digest, size) = out.finish();
        Ok(Packed {
            diff_id,
            tar_size,
            digest,
            size,
            annotations: BTreeMap::new(),
        })
    })
}

/// An encoder in worker mode, always: its bytes are the same for any number of workers, but differ from those
/// of an encoder without workers.
fn encoder<W: Write>(level: i32, threads: usize, out: W) -> io::Result<zstd::Encoder<'static, W>> {
    let mut encoder = zstd::Encoder::new(out, level)?;
    encoder.multithread(u32::try_from(threads).unwrap_or(u32::MAX))?;
    encoder.set_parameter(CParameter::JobSize(JOB))?;
    encoder.include_checksum(true)?;
    Ok(encoder)
}
