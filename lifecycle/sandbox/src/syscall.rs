//! The fence around every `unsafe` line of the project.
//!
//! What `rustix` offers safely is called where it is needed. This module holds the rest: making processes,
//! signal state, seccomp, ptrace, and the few calls no safe wrapper exists for. Each function is small enough
//! to be checked on its own and none allocates, so all of them may be called between fork and exec.
#![expect(unsafe_code, reason = "the one module of the project that may")]

use std::ffi::{CStr, CString, c_char, c_int, c_long};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::process::Pid;
use rustix::thread::UnshareFlags;
use seccompiler::sock_filter;

mod notification;

pub(crate) use notification::{
    Answer, Question, answer, install_listener, is_waiting, next_question, stat_bytes, statx_bytes,
};

pub(crate) type Result<T> = std::result::Result<T, Errno>;

/// Namespaces of a new process, as `clone` takes them.
pub(crate) const NEW_USER: c_int = libc::CLONE_NEWUSER;
pub(crate) const NEW_NETWORK: c_int = libc::CLONE_NEWNET;
/// PID, mount, UTS and IPC: what every step gets on the namespace rungs.
pub(crate) const NEW_STEP: c_int =
    libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC;

fn check(result: c_long) -> Result<c_long> {
    if result < 0 { Err(last_error()) } else { Ok(result) }
}

fn last_error() -> Errno {
    // SAFETY: `__errno_location` returns the calling thread's own errno, valid for the thread's life.
    Errno::from_raw_os_error(unsafe { *libc::__errno_location() })
}

/// Ends the process at once: no destructors, no exit handlers, no flushing of inherited buffers.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` has no preconditions and does not return.
    unsafe { libc::_exit(code) }
}

/// Ends a forked process even if its body unwinds: it must never return into the parent's frames.
struct NeverReturn;

impl Drop for NeverReturn {
    fn drop(&mut self) {
        exit_now(101);
    }
}

/// Forks a process into `namespaces` that runs `body` and exits with its result; the parent gets its pid and
/// pidfd. `body` runs in a copy of a possibly threaded process: it must not allocate, lock or panic.
///
/// The legacy `clone` serves here, because container runtimes answer `clone3` with ENOSYS.
pub(crate) fn clone_process(namespaces: c_int, body: impl FnOnce() -> i32) -> Result<(Pid, OwnedFd)> {
    let mut pidfd: c_int = -1;
    let flags = c_long::from(namespaces | libc::CLONE_PIDFD | libc::SIGCHLD);
    // SAFETY: without CLONE_VM and with a null stack the call behaves as fork: the child continues on a copy
    // of this stack. `pidfd` outlives the call. Arguments 1 to 3 have the same order on every supported
    // architecture, 4 and 5 are unused here.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone,
            flags,
            std::ptr::null_mut::<libc::c_void>(),
            &raw mut pidfd,
            std::ptr::null_mut::<libc::c_void>(),
            0 as c_long,
        )
    };
    if pid == 0 {
        let guard = NeverReturn;
        let code = body();
        std::mem::forget(guard);
        exit_now(code);
    }
    let pid = check(pid)?;
    // SAFETY: on success the kernel stored a new descriptor that nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    let pid = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or(Errno::SRCH)?;
    Ok((pid, pidfd))
}

/// A forked copy of this process.
#[derive(Debug)]
pub(crate) struct Forked(Pid);

/// Runs `body` in a forked copy of this process.
///
/// Through libc's own `fork`, whose allocator stays usable in the child, so `body` may allocate. It must not
/// take locks that another thread can hold.
pub(crate) fn fork(body: impl FnOnce() -> i32) -> Result<Forked> {
    // SAFETY: the child runs `body` and leaves by `_exit`; glibc and musl keep malloc consistent across fork.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let guard = NeverReturn;
        let code = body();
        std::mem::forget(guard);
        exit_now(code);
    }
    let pid = check(c_long::from(pid))?;
    i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .map(Forked)
        .ok_or(Errno::SRCH)
}

/// Waits for a process and returns its exit code, 128 + n when signal n ended it.
pub(crate) fn await_exit(pid: Pid) -> Result<i32> {
    loop {
        match rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty()) {
            Ok(Some((_, status))) => {
                return Ok(status
                    .exit_status()
                    .or(status.terminating_signal().map(|s| 128 + s))
                    .unwrap_or(255));
            }
            Err(Errno::INTR) | Ok(None) => {}
            Err(error) => return Err(error),
        }
    }
}

impl Forked {
    pub(crate) fn wait(self) -> Result<i32> {
        await_exit(self.0)
    }
}

/// Moves this thread (this process, when it has one thread) into new namespaces.
pub(crate) fn unshare(flags: UnshareFlags) -> Result<()> {
    // SAFETY: only namespaces and the thread's own file-system state (CLONE_FS) are unshared, never the
    // descriptor table, so no descriptor owned by this thread becomes invalid elsewhere.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// All signals held back from this thread while the value lives, so that a process forked in the meantime
/// never runs one of this program's handlers.
#[derive(Debug)]
pub(crate) struct SignalsBlocked(libc::sigset_t);

impl SignalsBlocked {
    pub(crate) fn new() -> Self {
        let all = all_signals();
        let mut before = all;
        // SAFETY: both sets are initialised and outlive the call.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before) };
        Self(before)
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        // SAFETY: the stored set came from the kernel.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut()) };
    }
}

fn all_signals() -> libc::sigset_t {
    // SAFETY: sigfillset initialises the whole set.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigfillset(&raw mut set);
        set
    }
}

/// Gives every signal its default action, without changing the mask: handlers and ignored signals (SIGPIPE,
/// nohup) of this program are none of a step's business.
pub(crate) fn default_signal_actions() {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: SIG_DFL with an empty mask is valid for every signal; SIGKILL, SIGSTOP and libc's own are
        // refused by the call, which is as good.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Gives all threads of this process other ids, for good: real, effective and saved. The group first, because
/// afterwards nobody may change it.
pub(crate) fn set_ids(uid: u32, gid: u32) -> Result<()> {
    // SAFETY: neither call takes memory. The C library passes the change on to every thread, which the bare system
    // calls do not.
    unsafe {
        check(c_long::from(libc::setresgid(gid, gid, gid)))?;
        check(c_long::from(libc::setresuid(uid, uid, uid)))?;
    }
    Ok(())
}

/// Lets every signal through.
pub(crate) fn unblock_signals() {
    // SAFETY: sigemptyset initialises the set; the mask is this thread's own.
    unsafe {
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// A descriptor that becomes readable when any signal arrives. The signals must be blocked.
pub(crate) fn signal_fd() -> Result<OwnedFd> {
    let all = all_signals();
    // SAFETY: the set is initialised; the result is a new descriptor.
    unsafe {
        let fd = check(c_long::from(libc::signalfd(
            -1,
            &raw const all,
            libc::SFD_CLOEXEC | libc::SFD_NONBLOCK,
        )))?;
        Ok(OwnedFd::from_raw_fd(
            RawFd::try_from(fd).map_err(|_| Errno::BADF)?,
        ))
    }
}

/// The next signal waiting in a [`signal_fd`], if there is one.
pub(crate) fn next_signal(fd: impl AsFd) -> Option<c_int> {
    let mut record = [0u8; size_of::<libc::signalfd_siginfo>()];
    let read = rustix::io::read(fd, &mut record[..]).ok()?;
    // `ssi_signo` is the first field, a u32 in native order.
    (read == record.len()).then(|| c_int::from_ne_bytes([record[0], record[1], record[2], record[3]]))
}

/// Sends a signal by number, real-time ones included. A process that is gone is no error.
pub(crate) fn send_signal(pid: Pid, signal: c_int) {
    // SAFETY: kill has no memory arguments.
    unsafe { libc::kill(pid.as_raw_nonzero().get(), signal) };
}

/// The same through a pidfd, which can never hit a recycled pid.
pub(crate) fn send_signal_by_pidfd(pidfd: impl AsFd, signal: c_int) -> Result<()> {
    // SAFETY: a null siginfo asks for the default one; no other memory argument.
    check(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_fd().as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    })
    .map(drop)
}

/// Closes every descriptor that is not in `keep`, which must be sorted.
pub(crate) fn close_all_except(keep: &[RawFd]) -> Result<()> {
    let mut next: libc::c_uint = 0;
    for &fd in keep {
        let fd = libc::c_uint::try_from(fd).map_err(|_| Errno::BADF)?;
        if fd > next {
            close_range(next, fd - 1, 0)?;
        }
        next = fd + 1;
    }
    close_range(next, libc::c_uint::MAX, 0)
}

/// Marks every descriptor above standard error close-on-exec.
pub(crate) fn close_on_exec_above_stderr() -> Result<()> {
    close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC)
}

fn close_range(first: libc::c_uint, last: libc::c_uint, flags: libc::c_uint) -> Result<()> {
    // SAFETY: called only in a forked child, whose Rust owners of these descriptors never run again: the
    // child leaves by exec or `_exit`.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) }).map(drop)
}

/// What changes on a mount tree: flags to add, and propagation always private.
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// Adds mount flags to the (whole, if `recursive`) tree at `mount` and cuts its propagation.
pub(crate) fn mount_setattr(mount: impl AsFd, recursive: bool, set: u64) -> Result<()> {
    let attr = MountAttr {
        set,
        clear: 0,
        propagation: libc::MS_PRIVATE,
        user_namespace: 0,
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string, `attr` has the layout of `struct mount_attr` and outlives the
    // call, its size is passed along.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    })
    .map(drop)
}

/// A filter as the kernel takes it.
#[repr(C)]
struct FilterProgram<'f> {
    length: u16,
    filter: *const sock_filter,
    borrowed: std::marker::PhantomData<&'f sock_filter>,
}

impl<'f> FilterProgram<'f> {
    fn new(filter: &'f [sock_filter]) -> Result<Self> {
        Ok(Self {
            length: u16::try_from(filter.len()).map_err(|_| Errno::TOOBIG)?,
            filter: filter.as_ptr(),
            borrowed: std::marker::PhantomData,
        })
    }
}

/// Installs a seccomp filter for this thread. Needs CAP_SYS_ADMIN in the user namespace or no_new_privs.
pub(crate) fn install_seccomp(filter: &[sock_filter]) -> Result<()> {
    let program = FilterProgram::new(filter)?;
    // SAFETY: `program` has the layout of `struct sock_fprog`, points to `length` instructions and outlives
    // the call; the kernel copies and verifies them.
    check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0 as c_long,
            &raw const program,
        )
    })
    .map(drop)
}

/// Whether the kernel knows seccomp filters that answer with an error number.
pub(crate) fn seccomp_available() -> bool {
    let action: u32 = libc::SECCOMP_RET_ERRNO;
    // SAFETY: the kernel reads one u32 that outlives the call.
    unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_GET_ACTION_AVAIL,
            0 as c_long,
            &raw const action,
        ) == 0
    }
}

/// Makes the parent this process's tracer: it stops when its next exec has succeeded.
pub(crate) fn trace_me() -> Result<()> {
    // SAFETY: PTRACE_TRACEME ignores its other arguments.
    check(unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) }).map(drop)
}

/// Lets a stopped tracee go for good.
pub(crate) fn trace_detach(pid: Pid) -> Result<()> {
    // SAFETY: PTRACE_DETACH takes a pid and a signal number (none), no memory.
    check(unsafe { libc::ptrace(libc::PTRACE_DETACH, pid.as_raw_nonzero().get(), 0, 0) }).map(drop)
}

/// Brings the loopback interface of this network namespace up.
pub(crate) fn loopback_up() -> Result<()> {
    // SAFETY: `request` is a fully initialised `ifreq` that outlives both calls; the descriptor is closed once.
    unsafe {
        let socket = check(c_long::from(libc::socket(
            libc::AF_INET,
            libc::SOCK_DGRAM | libc::SOCK_CLOEXEC,
            0,
        )))?;
        let socket = OwnedFd::from_raw_fd(RawFd::try_from(socket).map_err(|_| Errno::BADF)?);
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l'.cast_signed();
        request.ifr_name[1] = b'o'.cast_signed();
        check(c_long::from(libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCGIFFLAGS,
            &raw mut request,
        )))?;
        request.ifr_ifru.ifru_flags |= libc::c_short::try_from(libc::IFF_UP).unwrap_or(1);
        check(c_long::from(libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS,
            &raw const request,
        )))?;
    }
    Ok(())
}

/// C strings with the null-terminated pointer array that `execve` wants, built before the fork.
pub(crate) struct StringArray {
    strings: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl StringArray {
    pub(crate) fn new(strings: Vec<CString>) -> Self {
        let pointers = strings
            .iter()
            .map(|s| s.as_ptr())
            .chain([std::ptr::null()])
            .collect();
        Self { strings, pointers }
    }
}

impl std::fmt::Debug for StringArray {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self.strings).finish()
    }
}

/// Replaces the program of this process; returns only to say why it could not.
pub(crate) fn execute(path: &CStr, arguments: &StringArray, environment: &StringArray) -> Errno {
    // SAFETY: both arrays end with a null pointer and point into strings owned by the same values.
    unsafe {
        libc::execve(
            path.as_ptr(),
            arguments.pointers.as_ptr(),
            environment.pointers.as_ptr(),
        )
    };
    last_error()
}

/// Lets a stopped tracee go on with the signal that stopped it.
pub(crate) fn trace_continue(pid: Pid, signal: c_int) -> Result<()> {
    // SAFETY: PTRACE_CONT takes a pid and a signal number, no memory.
    check(unsafe { libc::ptrace(libc::PTRACE_CONT, pid.as_raw_nonzero().get(), 0, signal) }).map(drop)
}

/// Where this process's command line lies in memory, as /proc shows it to everybody.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CommandLine {
    start: usize,
    end: usize,
}

impl CommandLine {
    /// Asks the kernel. To be called before the fork; a fork has its copy at the same place.
    pub(crate) fn locate() -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // Fields are counted after the name, which may hold blanks and parentheses: 48 and 49 of the whole.
        let (_, fields) = stat.rsplit_once(") ")?;
        let mut fields = fields.split(' ').skip(45).map(str::parse);
        let (start, end) = (fields.next()?.ok()?, fields.next()?.ok()?);
        (start != 0 && start < end).then_some(Self { start, end })
    }

    /// Wipes this process's own copy: a step reads its init's command line, and the caller's arguments may
    /// name what is none of its business. Only in a forked child that never looks at its arguments.
    pub(crate) fn wipe(self) {
        // SAFETY: the range is the argument area of this process's stack, writable and, in a fork that runs
        // nothing but `init`, referred to by nobody; the caller's memory is another copy.
        unsafe {
            std::ptr::write_bytes(
                std::ptr::with_exposed_provenance_mut::<u8>(self.start),
                0,
                self.end - self.start,
            );
        };
    }
}
