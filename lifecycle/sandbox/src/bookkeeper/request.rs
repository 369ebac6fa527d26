//! What a step asks about files, as it lies in the registers.

use rustix::fs::AtFlags;

/// What is asked, read from the registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Change {
        file: Named,
        uid: Option<u32>,
        gid: Option<u32>,
    },
    /// `stat`, into this address.
    Look { file: Named, into: u64 },
    /// `statx`, with its flags and mask.
    LookMore {
        file: Named,
        flags: AtFlags,
        mask: u32,
        into: u64,
    },
}

/// A file as system calls name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    Descriptor(i32),
    Path {
        /// A descriptor or `AT_FDCWD`.
        at: i32,
        address: u64,
        follow: bool,
        /// An empty path means the descriptor itself.
        may_be_empty: bool,
    },
}

impl Request {
    pub(super) fn read(call: i64, arguments: [u64; 6]) -> Option<Self> {
        let [first, second, third, fourth, fifth, _] = arguments;
        let path = |at: i32, address: u64, follow: bool, may_be_empty: bool| Named::Path {
            at,
            address,
            follow,
            may_be_empty,
        };
        let change = |file, uid: u64, gid: u64| {
            Some(Self::Change {
                file,
                uid: changed(uid),
                gid: changed(gid),
            })
        };
        let look = |file, into| Some(Self::Look { file, into });
        let flagged = |at: u64, address: u64, flags: AtFlags| {
            path(
                number(at),
                address,
                !flags.contains(AtFlags::SYMLINK_NOFOLLOW),
                flags.contains(AtFlags::EMPTY_PATH),
            )
        };
        match call {
            libc::SYS_fchown => change(Named::Descriptor(number(first)), second, third),
            libc::SYS_fchownat => change(flagged(first, second, flags(fifth)), third, fourth),
            libc::SYS_fstat => look(Named::Descriptor(number(first)), second),
            libc::SYS_newfstatat => look(flagged(first, second, flags(fourth)), third),
            libc::SYS_statx => Some(Self::LookMore {
                file: flagged(first, second, flags(third)),
                flags: flags(third) - AtFlags::SYMLINK_NOFOLLOW,
                mask: low(fourth),
                into: fifth,
            }),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_chown => change(path(libc::AT_FDCWD, first, true, false), second, third),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_lchown => change(path(libc::AT_FDCWD, first, false, false), second, third),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_stat => look(path(libc::AT_FDCWD, first, true, false), second),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_lstat => look(path(libc::AT_FDCWD, first, false, false), second),
            _ => None,
        }
    }
}

/// The lower half of a register, which is all that the kernel reads of an int.
pub(super) fn low(register: u64) -> u32 {
    u32::try_from(register & u64::from(u32::MAX)).unwrap_or_default()
}

fn number(register: u64) -> i32 {
    low(register).cast_signed()
}

fn flags(register: u64) -> AtFlags {
    AtFlags::from_bits_retain(low(register))
}

/// An id to set; -1 leaves it as it is.
fn changed(register: u64) -> Option<u32> {
    Some(low(register)).filter(|id| *id != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_from_registers() {
        let minus_one = u64::from(u32::MAX);
        let at_cwd = u64::from(libc::AT_FDCWD.cast_unsigned());
        let request = Request::read(libc::SYS_fchownat, [at_cwd, 77, 5, minus_one, 0x100, 9]);
        let file = Named::Path {
            at: libc::AT_FDCWD,
            address: 77,
            follow: false,
            may_be_empty: false,
        };
        assert_eq!(
            request,
            Some(Request::Change {
                file,
                uid: Some(5),
                gid: None
            })
        );
        assert_eq!(
            Request::read(libc::SYS_fstat, [3, 4, 0, 0, 0, 0]),
            Some(Request::Look {
                file: Named::Descriptor(3),
                into: 4
            })
        );
        assert_eq!(Request::read(libc::SYS_read, [0; 6]), None);
    }
}
