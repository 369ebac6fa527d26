//! Measures a tree.

use std::collections::HashSet;
use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::FileType;

use crate::descent::Identity;
use crate::walk::{Order, Walk};

/// How large a tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Size {
    /// The bytes of its regular files; a file with several names counts once.
    pub bytes: u64,
    /// The bytes it takes on disk.
    pub disk: u64,
    /// The number of entries below the root.
    pub entries: u64,
}

/// Adds up the sizes of everything below `root`.
pub fn size(root: BorrowedFd<'_>) -> io::Result<Size> {
    let mut walk = Walk::new(root, Order::DepthFirst)?;
    let mut seen = HashSet::new();
    let mut sum = Size::default();
    while let Some(found) = walk.next() {
        let stat = match found {
            Ok(found) => found.stat,
            Err(error) => return Err(error.cause),
        };
        sum.entries += 1;
        if stat.st_nlink > 1
            && FileType::from_raw_mode(stat.st_mode) != FileType::Directory
            && !seen.insert(Identity::of(&stat))
        {
            continue;
        }
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
            sum.bytes += u64::try_from(stat.st_size).unwrap_or(0);
        }
        sum.disk += u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
    }
    Ok(sum)
}
