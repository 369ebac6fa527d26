//! Fixed blocks of tar, shared between threads and recycled.

use std::io::{self, Write};
use std::ops::Deref;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TryRecvError};
use lifecycle_image::{DiffId, Hasher};

use crate::PackError;

/// A piece of the tar: as many bytes as the pool's blocks have, fewer at the end. Its memory goes back to the pool when the last
/// thread has done with it.
#[derive(Debug)]
pub(crate) struct Block {
    bytes: Vec<u8>,
    length: usize,
    home: Sender<Vec<u8>>,
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // When nobody takes buffers any more, the memory is simply freed.
        drop(self.home.send(std::mem::take(&mut self.bytes)));
    }
}

/// Where blocks come from: only so many exist at a time, and memory is only taken once they are needed.
#[derive(Debug)]
pub(crate) struct Pool {
    home: Sender<Vec<u8>>,
    free: Receiver<Vec<u8>>,
    unborn: usize,
    size: usize,
}

impl Pool {
    /// A pool of `limit` blocks of `size` bytes.
    pub(crate) fn new(limit: usize, size: usize) -> Self {
        let (home, free) = crossbeam_channel::unbounded();
        Self {
            home,
            free,
            unborn: limit,
            size,
        }
    }

    /// Memory for a block, to be written over: what is in it means nothing. Waits until there is some.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let recycled = match self.free.try_recv() {
            Ok(bytes) => Some(bytes),
            Err(TryRecvError::Empty) if self.unborn == 0 => self.free.recv().ok(),
            Err(_) => None,
        };
        recycled.unwrap_or_else(|| {
            self.unborn = self.unborn.saturating_sub(1);
            vec![0; self.size]
        })
    }

    /// Makes a block of the first bytes of memory that came from the pool.
    pub(crate) fn fill(&self, bytes: Vec<u8>, length: usize) -> Arc<Block> {
        Arc::new(Block {
            bytes,
            length,
            home: self.home.clone(),
        })
    }
}

/// Cuts what is written to it into blocks and hands them on.
pub(crate) struct BlockWriter<F> {
    pool: Pool,
    current: Vec<u8>,
    filled: usize,
    emitted: bool,
    emit: F,
}

impl<F: FnMut(Arc<Block>) -> bool> BlockWriter<F> {
    /// `emit` gets each block in order and says whether anybody still wants more.
    pub(crate) fn new(mut pool: Pool, emit: F) -> Self {
        let current = pool.take();
        Self {
            pool,
            current,
            filled: 0,
            emitted: false,
            emit,
        }
    }

    /// Hands on the last, shorter block. There is always at least one block, even of nothing.
    pub(crate) fn finish(mut self) -> Result<(), PackError> {
        if self.filled > 0 || !self.emitted {
            self.hand_on().map_err(PackError::Output)?;
        }
        Ok(())
    }

    fn hand_on(&mut self) -> io::Result<()> {
        let length = std::mem::take(&mut self.filled);
        let block = self.pool.fill(std::mem::take(&mut self.current), length);
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
        if self.filled == self.current.len() {
            self.hand_on()?;
            self.current = self.pool.take();
        }
        let room = &mut self.current[self.filled..];
        let taken = bytes.len().min(room.len());
        room[..taken].copy_from_slice(&bytes[..taken]);
        self.filled += taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Hashes blocks as they come: the diff ID, and the number of bytes.
pub(crate) fn hash_blocks(blocks: &Receiver<Arc<Block>>) -> (DiffId, u64) {
    let mut hasher = Hasher::default();
    let mut size = 0;
    for block in blocks {
        hasher.update(&block);
        size += block.len() as u64;
    }
    (DiffId(hasher.finish()), size)
}
