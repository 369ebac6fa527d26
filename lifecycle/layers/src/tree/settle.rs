//! Gives a tree the shape that unpacking its layer would give it.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, FileType, Timespec, Timestamps, UTIME_OMIT, futimens, utimensat};

use crate::Owner;
use crate::tar::REFERENCE_MTIME;
use crate::walk::{self, Order, Walk};

/// Gives everything in a tree the one time that a layer of [`Style::Reference`](crate::Style::Reference) has, so that
/// the tree can stand for the layer unpacked.
///
/// Says whether it can: not when something in it is not `owner`'s, has several names, or is neither file, directory nor
/// link, because such a layer would not unpack to the same tree.
pub fn settle(root: BorrowedFd<'_>, owner: Owner) -> io::Result<bool> {
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: REFERENCE_MTIME,
            tv_nsec: 0,
        },
    };
    if walk::owner(&rustix::fs::fstat(root)?) != owner {
        return Ok(false);
    }
    let mut walk = Walk::new(root, Order::DepthFirst)?;
    while let Some(found) = walk.next() {
        let found = found.map_err(|error| error.cause)?;
        let fits = match FileType::from_raw_mode(found.stat.st_mode) {
            FileType::RegularFile | FileType::Symlink => found.stat.st_nlink == 1,
            FileType::Directory => true,
            _ => false,
        };
        if !fits || walk::owner(&found.stat) != owner {
            return Ok(false);
        }
        utimensat(found.directory, found.name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    futimens(root, &times)?;
    Ok(true)
}
