//! The tar format as layers use it: POSIX ustar with PAX records to write, and everything that GNU tar, Go,
//! BSD tar and star write to read.

mod header;
mod pax;
mod read;
mod sparse;
mod write;

#[cfg(test)]
mod tests;

pub use read::{FormatError, ReadEntry, TarReader};
pub use sparse::Segment;
pub(crate) use write::REFERENCE_MTIME;
pub use write::{Style, TarWriter};

/// The size of a header and the unit that everything is padded to.
pub(crate) const BLOCK: usize = 512;

/// The bytes that pad `size` to whole blocks.
pub(crate) fn padding(size: u64) -> usize {
    // The remainder is below 512.
    usize::try_from(size.next_multiple_of(BLOCK as u64) - size).unwrap_or(0)
}
