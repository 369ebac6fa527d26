//! From stored bytes to blocks of tar.

use std::fmt;
use std::io::{self, BufRead, Read};
use std::sync::Arc;

use crossbeam_channel::Sender;
use flate2::bufread::MultiGzDecoder;
use lifecycle_image::{Compression, Meter};

use super::ExtractError;
use crate::FormatError;
use crate::blocks::{Block, Pool};

/// A block, or why there is none.
pub(super) type Piece = Result<Arc<Block>, io::Error>;

/// The blocks of the tar in what is stored.
pub(super) struct Blocks<'a> {
    plain: Box<dyn Read + 'a>,
    pool: Pool,
}

impl<'a> Blocks<'a> {
    pub(super) fn new(
        stored: impl Read + 'a,
        compression: Option<Compression>,
        pool: Pool,
        meter: &'a dyn Meter,
    ) -> io::Result<Self> {
        let plain = decoder(Metered { stored, meter }, compression)?;
        Ok(Self { plain, pool })
    }
}

impl Iterator for Blocks<'_> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        let mut bytes = self.pool.take();
        match fill(&mut *self.plain, &mut bytes) {
            Ok(0) => None,
            Ok(length) => Some(Ok(self.pool.fill(bytes, length))),
            Err(error) => Some(Err(error)),
        }
    }
}

/// Hands blocks to the parser, and to a hasher if there is one, until the end or until the parser wants no more.
pub(super) fn hand_out(
    blocks: io::Result<Blocks<'_>>,
    to_parser: &Sender<Piece>,
    to_hash: Option<&Sender<Arc<Block>>>,
) {
    let blocks = match blocks {
        Ok(blocks) => blocks,
        Err(error) => return drop(to_parser.send(Err(error))),
    };
    for piece in blocks {
        let is_last = piece.is_err();
        let is_hashed = match (to_hash, &piece) {
            (Some(to_hash), Ok(block)) => to_hash.send(Arc::clone(block)).is_ok(),
            _ => true,
        };
        if !is_hashed || to_parser.send(piece).is_err() || is_last {
            return;
        }
    }
}

/// Reads until `bytes` are full or there are no more. Asking for all that fits lets a plain tar go past every buffer.
fn fill(plain: &mut dyn Read, bytes: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < bytes.len() {
        match plain.read(&mut bytes[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// The tar in `stored`. Without `compression`, it is told from the first bytes.
pub fn decoder<'a>(
    stored: impl Read + 'a,
    compression: Option<Compression>,
) -> io::Result<Box<dyn Read + 'a>> {
    let mut stored = io::BufReader::with_capacity(128 << 10, stored);
    let mut first = Vec::new();
    let compression = if let Some(compression) = compression {
        compression
    } else {
        stored.by_ref().take(MAGIC).read_to_end(&mut first)?;
        detect(&first)?
    };
    let stored = io::Cursor::new(first).chain(stored);
    Ok(match compression {
        Compression::None => Box::new(stored),
        // All members: a decoder of one would stop after the first block that this crate packs.
        Compression::Gzip => Box::new(MultiGzDecoder::new(stored)),
        Compression::Zstd => Box::new(zstd::Decoder::with_buffer(stored)?),
    })
}

/// The length of the longest magic number.
const MAGIC: u64 = 6;

/// Tells the compression from the first bytes, as media types are not always true.
fn detect(first: &[u8]) -> io::Result<Compression> {
    let unsupported = |name| Err(io::Error::new(io::ErrorKind::Unsupported, Unsupported(name)));
    match first {
        [0x1f, 0x8b, ..] => Ok(Compression::Gzip),
        // A Zstandard stream may also begin with a frame of foreign data (RFC 8878, 3.1.2).
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Compression::Zstd),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => unsupported("xz"),
        [b'B', b'Z', b'h', ..] => unsupported("bzip2"),
        _ => Ok(Compression::None),
    }
}

/// A compression that is known, but not for layers; it travels inside an `io::Error`.
#[derive(Debug)]
struct Unsupported(&'static str);

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "compressed with {}", self.0)
    }
}

impl std::error::Error for Unsupported {}

/// The archive grew over its bound; it travels inside an `io::Error`.
#[derive(Debug)]
struct TooLarge(u64);

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "more than {} bytes", self.0)
    }
}

impl std::error::Error for TooLarge {}

/// An error of the archive, with what travelled inside an `io::Error` taken out.
pub(super) fn error(error: FormatError) -> ExtractError {
    if let FormatError::Read(error) = &error {
        let inner = error.get_ref();
        if let Some(Unsupported(name)) = inner.and_then(|inner| inner.downcast_ref()) {
            return ExtractError::Compression(name);
        }
        if let Some(TooLarge(limit)) = inner.and_then(|inner| inner.downcast_ref()) {
            return ExtractError::Limit {
                what: "bytes",
                limit: *limit,
            };
        }
    }
    error.into()
}

struct Metered<'a, R> {
    stored: R,
    meter: &'a dyn Meter,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stored.read(buffer)?;
        self.meter.advance(read as u64);
        Ok(read)
    }
}

/// Reads blocks one after the other.
#[derive(Debug)]
pub(super) struct BlockReader<I> {
    blocks: I,
    current: Option<Arc<Block>>,
    position: usize,
    left: Option<u64>,
    limit: u64,
}

impl<I: Iterator<Item = Piece>> BlockReader<I> {
    /// Reads at most `limit` bytes; more are an error.
    pub(super) fn new(blocks: I, limit: Option<u64>) -> Self {
        Self {
            blocks,
            current: None,
            position: 0,
            left: limit,
            limit: limit.unwrap_or(0),
        }
    }
}

impl<I: Iterator<Item = Piece>> BufRead for BlockReader<I> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let spent = self
            .current
            .as_ref()
            .is_none_or(|block| self.position == block.len());
        if spent {
            // The memory goes back before the next block is waited for.
            self.current = None;
            self.position = 0;
            let Some(next) = self.blocks.next().transpose()? else {
                return Ok(&[]);
            };
            if let Some(left) = &mut self.left {
                *left = left
                    .checked_sub(next.len() as u64)
                    .ok_or_else(|| io::Error::other(TooLarge(self.limit)))?;
            }
            self.current = Some(next);
        }
        Ok(self.current.as_ref().map_or(&[], |block| &block[self.position..]))
    }

    fn consume(&mut self, count: usize) {
        self.position += count;
    }
}

impl<I: Iterator<Item = Piece>> Read for BlockReader<I> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        self.consume(count);
        Ok(count)
    }
}
