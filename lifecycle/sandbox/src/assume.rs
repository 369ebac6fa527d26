//! Becoming another user for good.

use std::io;

use rustix::process::{getegid, geteuid};

use crate::syscall;

/// Makes this process, with all its threads, run as `uid` and `gid`; there is no way back. Supplementary groups stay:
/// on a cluster they are how a pod may write to its volumes.
///
/// # Errors
/// Only root may become somebody else.
pub fn assume_user(uid: u32, gid: u32) -> io::Result<()> {
    syscall::set_ids(uid, gid)?;
    // Whoever goes on believes to have given up its powers.
    if geteuid().as_raw() == uid && getegid().as_raw() == gid {
        Ok(())
    } else {
        Err(io::ErrorKind::PermissionDenied.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // That another user is final, and holds for all threads, is shown by `tests/cli/creator.rs`, where a creator gives up
    // root: this process is shared by all tests.
    #[test]
    fn to_become_oneself_is_always_allowed() {
        let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
        assume_user(uid, gid).unwrap();
        assert_eq!((geteuid().as_raw(), getegid().as_raw()), (uid, gid));
    }
}
