//! Gives a tree away.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, Gid, Uid, chownat};
use rustix::process::geteuid;

use crate::Owner;
use crate::walk::{Order, Walk};

/// Gives everything below `root` that belongs to this process's user to `owner`. What is somebody else's is left alone, a
/// directory with all it holds. Links are given away themselves, never what they lead to.
pub fn give_away(root: BorrowedFd<'_>, owner: Owner) -> io::Result<()> {
    let own = geteuid().as_raw();
    let mut walk = Walk::new(root, Order::DepthFirst)?;
    while let Some(found) = walk.next() {
        let found = found.map_err(|error| error.cause)?;
        if found.stat.st_uid != own {
            walk.skip();
            continue;
        }
        let (user, group) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
        chownat(
            found.directory,
            found.name,
            Some(user),
            Some(group),
            AtFlags::SYMLINK_NOFOLLOW,
        )?;
    }
    Ok(())
}
