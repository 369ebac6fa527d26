//! Becoming the build's user (lifecycle.md 1.12).
//!
//! Some phases start as root because directories may not yet belong to the build's user. They give these away, then
//! become that user for good, before anything of the app or of a buildpack is touched.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use lifecycle_phases::Reporter;
use lifecycle_spec::ExitCode;
use rustix::fs::{AtFlags, CWD, Gid, Uid, chownat};
use rustix::process::{DumpableBehavior, getegid, geteuid, set_dumpable_behavior};

use super::PhaseError;
use super::log::Log;

/// The user and group that a phase runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl User {
    /// The present one.
    pub(super) fn present() -> Self {
        Self {
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
        }
    }

    /// The one that was asked for; what nobody named stays as it is.
    pub(super) fn wanted(uid: Option<u32>, gid: Option<u32>) -> Self {
        let present = Self::present();
        Self {
            uid: uid.unwrap_or(present.uid),
            gid: gid.unwrap_or(present.gid),
        }
    }
}

/// Gives `directories` to `user` where that is needed, and becomes that user. Nothing is attempted when it is the
/// present one (KB-08).
pub(super) fn assume(user: User, directories: &[PathBuf], log: Log) -> Result<(), PhaseError> {
    let present = User::present();
    if present != user && present.uid == 0 {
        for directory in directories.iter().filter(|directory| directory.exists()) {
            give(directory, user, log).map_err(|cause| {
                let text = format!("{}: {cause}", directory.display());
                PhaseError::new("chown volumes", text, ExitCode::Generic)
            })?;
        }
        lifecycle_sandbox::assume_user(user.uid, user.gid).map_err(|cause| {
            let action = format!("exec as user {}:{}", user.uid, user.gid);
            PhaseError::new(action, cause.to_string(), ExitCode::Generic)
        })?;
    } else if present != user {
        // Clusters give pods users of their own. Nobody but root may become another, and need not: what is exported
        // belongs to the user that was asked for (PS-02).
        log.debug(&format!(
            "running as {}:{} in place of {}:{}",
            present.uid, present.gid, user.uid, user.gid
        ));
    }
    // Buildpacks run as the same user; what registries are told is in this process's environment.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|errno| PhaseError::new("hide the environment", errno.to_string(), ExitCode::Generic))
}

/// Gives a tree away, unless its top belongs to the user already: then an earlier build has done it.
fn give(directory: &Path, user: User, log: Log) -> io::Result<()> {
    let found = fs_err::metadata(directory)?;
    if can_write(&found, user) {
        return Ok(());
    }
    log.debug(&format!(
        "giving {} to {}:{}",
        directory.display(),
        user.uid,
        user.gid
    ));
    let mut open = vec![directory.to_owned()];
    while let Some(path) = open.pop() {
        // Links are given away themselves, never what they point at.
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        chownat(
            CWD,
            &path,
            Some(Uid::from_raw(user.uid)),
            Some(Gid::from_raw(user.gid)),
            flags,
        )?;
        if fs_err::symlink_metadata(&path)?.is_dir() {
            for entry in fs_err::read_dir(&path)? {
                open.push(entry?.path());
            }
        }
    }
    Ok(())
}

/// Whether the user may make files in a directory, by its mode.
fn can_write(found: &std::fs::Metadata, user: User) -> bool {
    let needed = if found.uid() == user.uid {
        0o300
    } else if found.gid() == user.gid {
        0o030
    } else {
        0o003
    };
    found.mode() & needed == needed
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn who_may_write_goes_by_the_mode() {
        let directory = tempfile::tempdir().unwrap();
        let own = fs_err::metadata(directory.path()).unwrap();
        let (uid, gid) = (own.uid(), own.gid());
        for (mode, uid, gid, expected) in [
            (0o700, uid, gid, true),
            (0o500, uid, gid, false),
            (0o730, uid + 1, gid, true),
            (0o700, uid + 1, gid, false),
            (0o703, uid + 1, gid + 1, true),
            (0o777, uid + 1, gid + 1, true),
            (0o770, uid + 1, gid + 1, false),
        ] {
            fs_err::set_permissions(directory.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            let found = fs_err::metadata(directory.path()).unwrap();
            assert_eq!(
                can_write(&found, User { uid, gid }),
                expected,
                "{mode:o} {uid} {gid}"
            );
        }
    }

    #[test]
    fn the_present_user_needs_no_change_kb_08() {
        let present = User::present();
        assert_eq!(User::wanted(None, None), present);
        assert_eq!(User::wanted(Some(present.uid), None), present);
        assert_eq!(User::wanted(Some(7), Some(8)), User { uid: 7, gid: 8 });
    }
}
