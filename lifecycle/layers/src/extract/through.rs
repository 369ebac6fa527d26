//! From contents to files, with no layer between them.

use std::os::fd::BorrowedFd;
use std::thread;

use super::place::Placer;
use super::{BLOCK, BLOCKS, ExtractError, ExtractOptions, Extracted, place_all};
use crate::blocks::{BlockWriter, Pool};
use crate::pack::join;
use crate::{Contents, PackError};

/// Contents could not be written through to files.
#[derive(Debug, thiserror::Error)]
pub enum ThroughError {
    /// They could not be read.
    #[error(transparent)]
    Read(#[from] PackError),
    /// The files could not be made.
    #[error(transparent)]
    Write(#[from] ExtractError),
}

/// Unpacks into the directory `into` the layer that `contents` would make, which nobody packs or hashes for that.
pub fn write_through(
    contents: &dyn Contents,
    into: BorrowedFd<'_>,
    options: &ExtractOptions<'_>,
) -> Result<Extracted, ThroughError> {
    let mut placer = Placer::new(into, options)?;
    let (to_parser, blocks) = crossbeam_channel::unbounded();
    let (read, placed) = thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let pool = Pool::new(BLOCKS, BLOCK);
            let mut tar = BlockWriter::new(pool, |block| to_parser.send(Ok(block)).is_ok());
            contents.write(&mut tar)?;
            tar.finish()
        });
        let placed = place_all(blocks, &mut placer);
        (join(reader), placed)
    });
    match (read, placed) {
        // A reader whose blocks nobody wants any more only says so.
        (Ok(()) | Err(PackError::Output(_)), Err(error)) => Err(error.into()),
        // What was read until then is the beginning of an archive at best.
        (Err(error), _) => Err(error.into()),
        (Ok(()), Ok(())) => Ok(placer.finish()?),
    }
}
