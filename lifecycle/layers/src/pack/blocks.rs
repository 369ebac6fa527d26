//! Fixed blocks of tar, shared between threads and recycled.

use std::io::{self, Write};
use std::ops::Deref;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TryRecvError};
use lifecycle_image::{DiffId, Hasher};

use super::PackError;

/// The size of a block: large enough that a gzip member of its own costs no ratio worth speaking of.
pub(super) const BLOCK: usize = 1 << 20;

/// A piece of the tar: [`BLOCK`] bytes, fewer at the end. Its memory goes back to the pool when the last
/// thread has done with it.
#[derive(Debug)]
pub(super) struct Block {
    bytes: Vec<u8>,
    home: Sender<Vec<u8>>,
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // When nobody takes buffers any more, the memory is simply freed.
        drop(self.home.send(std::mem::take(&mut self.bytes)));
    }
}

/// Where blocks come from: at most `limit` exist at a time, and memory is only taken once they are needed.
#[derive(Debug)]
pub(super) struct Pool {
    home: Sender<Vec<u8>>,
    unborn: usize,
}

impl Pool {
    pub(super) fn new(limit: usize) -> (Self, Receiver<Vec<u8>>) {
        let (home, free) = crossbeam_channel::unbounded();
        (Self { home, unborn: limit }, free)
    }

    fn take(&mut self, free: &Receiver<Vec<u8>>) -> Vec<u8> {
        let recycled = match free.try_recv() {
            Ok(bytes) => Some(bytes),
            Err(TryRecvError::Empty) if self.unborn == 0 => free.recv().ok(),
            Err(_) => None,
        };
        let Some(mut bytes) = recycled else {
            self.unborn = self.unborn.saturating_sub(1);
            return Vec::with_capacity(BLOCK);
        };
        bytes.clear();
        bytes
    }
}

/// Cuts what is written to it into blocks and hands them on.
pub(super) struct BlockWriter<F> {
    pool: Pool,
    free: Receiver<Vec<u8>>,
    current: Vec<u8>,
    emitted: bool,
    emit: F,
}

impl<F: FnMut(Arc<Block>) -> bool> BlockWriter<F> {
    /// `emit` gets each block in order and says whether anybody still wants more.
    pub(super) fn new(mut pool: Pool, free: Receiver<Vec<u8>>, emit: F) -> Self {
        let current = pool.take(&free);
        Self {
            pool,
            free,
            current,
            emitted: false,
            emit,
        }
    }

    /// Hands on the last, shorter block. There is always at least one block, even of nothing.
    pub(super) fn finish(mut self) -> Result<(), PackError> {
        if !self.current.is_empty() || !self.emitted {
            self.hand_on(Vec::new()).map_err(PackError::Output)?;
        }
        Ok(())
    }

    fn hand_on(&mut self, next: Vec<u8>) -> io::Result<()> {
        let block = Arc::new(Block {
            bytes: std::mem::replace(&mut self.current, next),
            home: self.pool.home.clone(),
        });
        self.emitted = true;
        if (self.emit)(block) {
            Ok(())
        } else {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }
}

impl<F: FnMut(Arc<Block>) -> bool> Write for BlockWriter<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.current.len() == BLOCK {
            self.hand_on(Vec::new())?;
            self.current = self.pool.take(&self.free);
        }
        let taken = bytes.len().min(BLOCK - self.current.len());
        self.current.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Hashes blocks as they come: the diff ID, and the number of bytes.
pub(super) fn hash_blocks(blocks: &Receiver<Arc<Block>>) -> (DiffId, u64) {
    let mut hasher = Hasher::default();
    let mut size = 0;
    for block in blocks {
        hasher.update(&block);
        size += block.len() as u64;
    }
    (DiffId(hasher.finish()), size)
}
