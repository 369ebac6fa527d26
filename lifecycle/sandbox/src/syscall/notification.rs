//! System calls that are answered by this program in the kernel's place (seccomp user notification).

use std::ffi::{CStr, c_int, c_long};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use rustix::fs::AtFlags;
use rustix::io::Errno;
use seccompiler::sock_filter;

use super::{FilterProgram, Result, check};

/// A system call that waits for its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    id: u64,
    /// The calling thread, as this process sees it.
    pub(crate) thread: u32,
    pub(crate) call: i64,
    pub(crate) arguments: [u64; 6],
}

/// What the caller gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The call succeeded with this result.
    Done(u32),
    /// It failed.
    Failed(Errno),
    /// The kernel carries it out as if nobody had asked.
    Kernel,
}

/// Installs a filter for this thread whose notifications are read from the descriptor it returns.
///
/// # Errors
/// EBUSY beneath another listener, EINVAL where the kernel has no notification.
pub(crate) fn install_listener(filter: &[sock_filter]) -> Result<OwnedFd> {
    let program = FilterProgram::new(filter)?;
    // SAFETY: as in `install_seccomp`; the result is a new descriptor that nobody else owns.
    unsafe {
        let fd = check(libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const program,
        ))?;
        Ok(OwnedFd::from_raw_fd(
            RawFd::try_from(fd).map_err(|_| Errno::BADF)?,
        ))
    }
}

/// The next call that waits. Blocks.
///
/// # Errors
/// ENOENT when the caller was killed meanwhile, EINTR; both are no reason to stop.
pub(crate) fn next_question(listener: impl AsFd) -> Result<Question> {
    // SAFETY: all-zero bytes are a valid `seccomp_notif`, and what the call demands; the kernel fills it in.
    let asked = unsafe {
        let mut asked: libc::seccomp_notif = std::mem::zeroed();
        check(c_long::from(libc::ioctl(
            listener.as_fd().as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_RECV,
            &raw mut asked,
        )))?;
        asked
    };
    Ok(Question {
        id: asked.id,
        thread: asked.pid,
        call: i64::from(asked.data.nr),
        arguments: asked.data.args,
    })
}

/// Whether the caller still waits. If so, its thread id meant that very thread until now.
pub(crate) fn is_waiting(listener: impl AsFd, question: &Question) -> bool {
    // SAFETY: the kernel reads one u64 that outlives the call.
    unsafe {
        libc::ioctl(
            listener.as_fd().as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_ID_VALID,
            &raw const question.id,
        ) == 0
    }
}

/// Answers. A caller that is gone is no error.
pub(crate) fn answer(listener: impl AsFd, question: &Question, answer: Answer) -> Result<()> {
    let response = libc::seccomp_notif_resp {
        id: question.id,
        val: match answer {
            Answer::Done(value) => i64::from(value),
            Answer::Failed(_) | Answer::Kernel => 0,
        },
        error: match answer {
            Answer::Failed(errno) => -errno.raw_os_error(),
            Answer::Done(_) | Answer::Kernel => 0,
        },
        flags: match answer {
            Answer::Kernel => 1, // SECCOMP_USER_NOTIF_FLAG_CONTINUE
            Answer::Done(_) | Answer::Failed(_) => 0,
        },
    };
    // SAFETY: the kernel reads one `seccomp_notif_resp` that outlives the call.
    let sent = check(c_long::from(unsafe {
        libc::ioctl(
            listener.as_fd().as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_SEND,
            &raw const response,
        )
    }));
    match sent {
        Ok(_) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The bytes that `fstat` gives a program for the file behind a descriptor, with these owners.
pub(crate) fn stat_bytes(file: impl AsFd, uid: u32, gid: u32) -> Result<[u8; size_of::<libc::stat>()]> {
    const EMPTY: &CStr = c"";
    let mut bytes = [0; size_of::<libc::stat>()];
    // SAFETY: the path is an empty C string; the kernel fills in one `stat`, which is what `bytes` has room for.
    check(unsafe {
        libc::syscall(
            libc::SYS_newfstatat,
            file.as_fd().as_raw_fd(),
            EMPTY.as_ptr(),
            bytes.as_mut_ptr(),
            libc::AT_EMPTY_PATH,
        )
    })?;
    put(&mut bytes, std::mem::offset_of!(libc::stat, st_uid), uid);
    put(&mut bytes, std::mem::offset_of!(libc::stat, st_gid), gid);
    Ok(bytes)
}

/// The bytes that `statx` gives a program for the file behind a descriptor, with these owners.
pub(crate) fn statx_bytes(
    file: impl AsFd,
    flags: AtFlags,
    mask: u32,
    uid: u32,
    gid: u32,
) -> Result<[u8; size_of::<libc::statx>()]> {
    const EMPTY: &CStr = c"";
    let flags = c_int::try_from(flags.bits()).map_err(|_| Errno::INVAL)? | libc::AT_EMPTY_PATH;
    let mut bytes = [0; size_of::<libc::statx>()];
    // SAFETY: the path is an empty C string; the kernel fills in one `statx`, which is what `bytes` has room for.
    check(unsafe {
        libc::syscall(
            libc::SYS_statx,
            file.as_fd().as_raw_fd(),
            EMPTY.as_ptr(),
            flags,
            mask,
            bytes.as_mut_ptr(),
        )
    })?;
    put(&mut bytes, std::mem::offset_of!(libc::statx, stx_uid), uid);
    put(&mut bytes, std::mem::offset_of!(libc::statx, stx_gid), gid);
    Ok(bytes)
}

fn put(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + size_of::<u32>()].copy_from_slice(&value.to_ne_bytes());
}
