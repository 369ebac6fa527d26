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
    use rustix::process::{getresgid, getresuid};

    use super::*;

    #[test]
    fn to_become_oneself_is_always_allowed() {
        let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
        assume_user(uid, gid).unwrap();
        assert_eq!((geteuid().as_raw(), getegid().as_raw()), (uid, gid));
    }

    #[test]
    fn every_thread_changes_and_there_is_no_way_back() {
        if !geteuid().is_root() {
            return;
        }
        // In a process of its own: what is given up does not come back.
        let (_, child) = syscall::clone_process(0, || {
            let changed = std::thread::spawn(|| assume_user(65_534, 65_533)).join().is_ok_and(|done| done.is_ok());
            let is_other = geteuid().as_raw() == 65_534 && getegid().as_raw() == 65_533;
            i32::from(!(changed && is_other && assume_user(0, 0).is_err()))
        })
        .unwrap();
        let status = rustix::process::waitid(
            rustix::process::WaitId::PidFd(std::os::fd::AsFd::as_fd(&child)),
            rustix::process::WaitIdOptions::EXITED,
        );
        assert_eq!(status.unwrap().and_then(|status| status.exit_status()), Some(0));
    }
}
