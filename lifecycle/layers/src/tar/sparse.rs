//! Sparse files: the old GNU header, and the three ways of GNU tar to tell holes in PAX records.

use std::io::BufRead;

use super::header::{self, Header};
use super::pax::decimal;
use super::{BLOCK, FormatError};

/// A piece of a sparse file that has data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Where it lies in the file.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
}

/// More pieces than any honest file has; a bound on the memory that an archive can ask for.
const MOST_SEGMENTS: usize = 1 << 20;

const OLD_SEGMENTS: std::ops::Range<usize> = 386..482;
const OLD_EXTENDED: usize = 482;
const OLD_REAL_SIZE: std::ops::Range<usize> = 483..495;
const NEXT_SEGMENTS: std::ops::Range<usize> = 0..504;
const NEXT_EXTENDED: usize = 504;

/// What PAX records said about holes.
#[derive(Debug, Default)]
pub(super) struct SparseRecords {
    pub(super) major: Option<u64>,
    pub(super) minor: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    pub(super) real_size: Option<u64>,
    /// Version 0.1: the whole map; version 0.0: the same, gathered from repeated records.
    pub(super) map: Option<Vec<u64>>,
}

impl SparseRecords {
    /// Takes in the record `GNU.sparse.<key>`.
    pub(super) fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        let number = || decimal(value).ok_or("a sparse record is no number");
        match key {
            b"major" => self.major = Some(number()?),
            b"minor" => self.minor = Some(number()?),
            b"name" => self.name = Some(value.to_vec()),
            b"size" | b"realsize" => self.real_size = Some(number()?),
            b"numblocks" => self.map = Some(Vec::new()),
            b"offset" | b"numbytes" => {
                let map = self.map.get_or_insert_default();
                // Offsets and lengths take turns.
                if map.len().is_multiple_of(2) != (key == b"offset") || map.len() >= 2 * MOST_SEGMENTS {
                    return Err("the sparse map is malformed");
                }
                map.push(number()?);
            }
            b"map" => {
                let numbers: Option<Vec<u64>> = value
                    .split(|&byte| byte == b',')
                    .filter(|_| !value.is_empty())
                    .map(decimal)
                    .collect();
                self.map = Some(numbers.ok_or("the sparse map is malformed")?);
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether the records make the file a sparse one, and whether its map begins its data (version 1.0).
    pub(super) fn map_in_data(&self) -> bool {
        self.major == Some(1) && self.minor == Some(0)
    }
}

/// The map of an old GNU header (type `S`), which may go on in blocks that follow it. Returns it with the
/// size of the whole file.
pub(super) fn read_old(
    header: &Header,
    input: &mut impl BufRead,
) -> Result<(Vec<Segment>, u64), FormatError> {
    const MALFORMED: FormatError = FormatError::Malformed("the sparse header is malformed");
    let real_size = unsigned(&header[OLD_REAL_SIZE]).ok_or(MALFORMED)?;
    let mut segments = Vec::new();
    read_fields(&header[OLD_SEGMENTS], &mut segments).ok_or(MALFORMED)?;
    let mut more = header[OLD_EXTENDED] != 0;
    while more {
        let mut block = [0; BLOCK];
        input.read_exact(&mut block).map_err(FormatError::from_read)?;
        read_fields(&block[NEXT_SEGMENTS], &mut segments).ok_or(MALFORMED)?;
        if segments.len() > MOST_SEGMENTS {
            return Err(MALFORMED);
        }
        more = block[NEXT_EXTENDED] != 0;
    }
    Ok((segments, real_size))
}

/// Pairs of 12-byte numbers, up to the first empty pair.
fn read_fields(fields: &[u8], segments: &mut Vec<Segment>) -> Option<()> {
    for pair in fields.chunks_exact(24) {
        if pair[0] == 0 || pair[12] == 0 {
            break;
        }
        segments.push(Segment {
            offset: unsigned(&pair[..12])?,
            length: unsigned(&pair[12..])?,
        });
    }
    Some(())
}

fn unsigned(field: &[u8]) -> Option<u64> {
    header::number(field).and_then(|value| u64::try_from(value).ok())
}

/// The map of version 1.0: lines of decimal numbers at the beginning of the data, padded to a whole block.
/// Returns it with the number of bytes it took.
pub(super) fn read_from_data(
    input: &mut impl BufRead,
    stored: u64,
) -> Result<(Vec<Segment>, u64), FormatError> {
    const MALFORMED: FormatError = FormatError::Malformed("the sparse map is malformed");
    let mut taken = 0;
    let mut block = [0; BLOCK];
    let mut at = BLOCK;
    let mut next = || -> Result<u64, FormatError> {
        let mut line = Vec::new();
        loop {
            if at == BLOCK {
                if taken + BLOCK as u64 > stored {
                    return Err(MALFORMED);
                }
                input.read_exact(&mut block).map_err(FormatError::from_read)?;
                taken += BLOCK as u64;
                at = 0;
            }
            let byte = block[at];
            at += 1;
            if byte == b'\n' {
                return decimal(&line).ok_or(MALFORMED);
            }
            if line.len() > 20 {
                return Err(MALFORMED);
            }
            line.push(byte);
        }
    };
    let count = next()?;
    if count > MOST_SEGMENTS as u64 {
        return Err(MALFORMED);
    }
    let mut segments = Vec::new();
    for _ in 0..count {
        segments.push(Segment {
            offset: next()?,
            length: next()?,
        });
    }
    Ok((segments, taken))
}

/// Pairs of offset and length.
pub(super) fn from_numbers(numbers: &[u64]) -> Result<Vec<Segment>, FormatError> {
    if !numbers.len().is_multiple_of(2) || numbers.len() > 2 * MOST_SEGMENTS {
        return Err(FormatError::Malformed("the sparse map is malformed"));
    }
    Ok(numbers
        .chunks_exact(2)
        .map(|pair| Segment {
            offset: pair[0],
            length: pair[1],
        })
        .collect())
}

/// Pieces must lie one after the other inside the file and make up exactly the stored bytes. Returns them
/// without empty ones.
pub(super) fn check(
    mut segments: Vec<Segment>,
    real_size: u64,
    stored: u64,
) -> Result<Vec<Segment>, FormatError> {
    const MALFORMED: FormatError = FormatError::Malformed("the sparse map does not fit the file");
    let mut end = 0;
    let mut sum = 0_u64;
    for segment in &segments {
        if segment.offset < end {
            return Err(MALFORMED);
        }
        end = segment.offset.checked_add(segment.length).ok_or(MALFORMED)?;
        sum = sum.checked_add(segment.length).ok_or(MALFORMED)?;
    }
    if end > real_size || sum != stored || i64::try_from(real_size).is_err() {
        return Err(MALFORMED);
    }
    segments.retain(|segment| segment.length > 0);
    Ok(segments)
}
