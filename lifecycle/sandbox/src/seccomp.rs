//! The system calls a step may make.
//!
//! Two filters share the work. The first knows every call an ordinary program needs and answers ENOSYS to all
//! others, so that a program built for a newer kernel takes its fallback. The second answers EPERM to the
//! calls that reach for the kernel or the host; installed last, its answer wins where both refuse.
//! A call of a foreign architecture (i386 or x32 on x86-64) ends the process.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use rustix::io::Errno;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use crate::syscall;

/// Not in libc: selection and input injection on a virtual console.
const TIOCLINUX: u64 = 0x541c;

/// What the kernel answers when a filter wants somebody else to. The compiler knows no such action, so it is given
/// another one that no program here uses, which is exchanged afterwards.
const PLACEHOLDER: SeccompAction = SeccompAction::Trace(0);

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// The compiled default filters.
#[derive(Debug)]
pub(crate) struct Filters {
    allowed: BpfProgram,
    refused: BpfProgram,
}

/// Compiled once, used by every step.
static DEFAULT: LazyLock<Result<Filters, BackendError>> = LazyLock::new(Filters::compile);

impl Filters {
    /// The default filters.
    ///
    /// # Errors
    /// The architecture is none the compiler knows.
    pub(crate) fn default_profile() -> Result<&'static Self, &'static BackendError> {
        DEFAULT.as_ref()
    }

    fn compile() -> Result<Self, BackendError> {
        let arch = std::env::consts::ARCH.try_into()?;
        let errno = |errno: i32| SeccompAction::Errno(errno.unsigned_abs());
        let allowed =
            SeccompFilter::new(allowed(), errno(libc::ENOSYS), SeccompAction::Allow, arch)?.try_into()?;
        let refused =
            SeccompFilter::new(refused()?, SeccompAction::Allow, errno(libc::EPERM), arch)?.try_into()?;
        Ok(Self { allowed, refused })
    }

    /// Installs both for this thread.
    pub(crate) fn install(&self) -> Result<(), Errno> {
        // `seccomp` itself is refused by neither, `prctl` neither: the order is free, but see the module text.
        syscall::install_seccomp(&self.allowed)?;
        syscall::install_seccomp(&self.refused)
    }
}

/// The filter for a step that is root where there is only one id: calls about owners and identities are for a
/// [`crate::bookkeeper`] to answer. Compiled once, used by every step.
static ASKING: LazyLock<Result<BpfProgram, BackendError>> = LazyLock::new(compile_asking);

/// That filter.
///
/// # Errors
/// The architecture is none the compiler knows.
pub(crate) fn asking_filter() -> Result<&'static BpfProgram, &'static BackendError> {
    ASKING.as_ref()
}

fn compile_asking() -> Result<BpfProgram, BackendError> {
    let arch = std::env::consts::ARCH.try_into()?;
    let rules = ASKED
        .iter()
        .chain(ASKED_HERE)
        .map(|call| (*call, Vec::new()))
        .collect();
    let mut program: BpfProgram =
        SeccompFilter::new(rules, SeccompAction::Allow, PLACEHOLDER, arch)?.try_into()?;
    let placeholder = u32::from(PLACEHOLDER);
    for instruction in &mut program {
        // A return of a constant.
        if instruction.code == 0x06 && instruction.k == placeholder {
            instruction.k = libc::SECCOMP_RET_USER_NOTIF;
        }
    }
    Ok(program)
}

fn allowed() -> Rules {
    ALLOWED
        .iter()
        .chain(ALLOWED_HERE)
        .chain(REFUSED)
        .map(|call| (*call, Vec::new()))
        .collect()
}

/// Everything in the table, plus the calls whose arguments decide.
fn refused() -> Result<Rules, BackendError> {
    let mut rules: Rules = REFUSED.iter().map(|call| (*call, Vec::new())).collect();

    // New namespaces come from the sandbox, not from the step. `clone3` hides its flags in memory, where no
    // filter can see them: the first filter leaves it out, and ENOSYS makes libc use `clone`.
    let namespaces = [
        libc::CLONE_NEWNS,
        libc::CLONE_NEWCGROUP,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNET,
    ];
    let namespaces: Result<Vec<_>, BackendError> = namespaces
        .into_iter()
        .map(|flag| has_bit(0, u64::from(flag.unsigned_abs())))
        .collect();
    rules.insert(libc::SYS_clone, any(namespaces?)?);

    // Address families that reach past the network namespace, to the hypervisor, or into the kernel's crypto
    // code, a frequent source of holes.
    let families = [libc::AF_VSOCK, libc::AF_ALG].map(|family| equals(0, u64::from(family.unsigned_abs())));
    rules.insert(
        libc::SYS_socket,
        any(families.into_iter().collect::<Result<Vec<_>, _>>()?)?,
    );

    // Pushing input into a terminal shared with the caller (CVE-2017-5226).
    rules.insert(
        libc::SYS_ioctl,
        any([equals(1, libc::TIOCSTI)?, equals(1, TIOCLINUX)?])?,
    );

    // Personalities that only change reported names, and asking for the present one, are fine.
    let others = [0, 0x0008, 0x0002_0000, 0x0002_0008, 0xffff_ffff].map(|value| differs(0, value));
    rules.insert(
        libc::SYS_personality,
        vec![SeccompRule::new(
            others.into_iter().collect::<Result<Vec<_>, _>>()?,
        )?],
    );
    Ok(rules)
}

/// One rule for each condition: any of them is enough.
fn any(conditions: impl IntoIterator<Item = SeccompCondition>) -> Result<Vec<SeccompRule>, BackendError> {
    conditions
        .into_iter()
        .map(|condition| SeccompRule::new(vec![condition]))
        .collect()
}

fn differs(argument: u8, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, value)
}

fn equals(argument: u8, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
}

fn has_bit(argument: u8, bit: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(
        argument,
        SeccompCmpArgLen::Qword,
        SeccompCmpOp::MaskedEq(bit),
        bit,
    )
}

macro_rules! calls {
    ($($name:ident)*) => { &[$(libc::$name),*] };
}

/// Calls that administer the kernel, other processes' namespaces, mounts, keys, clocks or devices, and those
/// whose past has shown them to be doors: io_uring, userfaultfd, bpf, perf, keyrings.
#[rustfmt::skip]
const REFUSED: &[i64] = calls![
    SYS_mount SYS_umount2 SYS_pivot_root SYS_mount_setattr SYS_fsopen SYS_fsconfig SYS_fsmount SYS_fspick
    SYS_open_tree SYS_move_mount SYS_unshare SYS_setns SYS_sethostname SYS_setdomainname SYS_swapon SYS_swapoff
    SYS_quotactl SYS_acct SYS_open_by_handle_at SYS_fanotify_init
    SYS_bpf SYS_perf_event_open SYS_userfaultfd SYS_io_uring_setup SYS_io_uring_enter SYS_io_uring_register
    SYS_add_key SYS_request_key SYS_keyctl
    SYS_init_module SYS_finit_module SYS_delete_module SYS_kexec_load SYS_kexec_file_load SYS_reboot SYS_syslog SYS_vhangup
    SYS_settimeofday SYS_clock_settime SYS_clock_adjtime SYS_adjtimex
    SYS_mbind SYS_set_mempolicy SYS_get_mempolicy SYS_move_pages SYS_migrate_pages SYS_nfsservctl
    SYS_lookup_dcookie SYS_kcmp SYS_pidfd_getfd SYS_process_madvise
];

/// Calls every architecture has and ordinary programs make.
#[rustfmt::skip]
const ALLOWED: &[i64] = calls![
    // Files by descriptor.
    SYS_read SYS_write SYS_readv SYS_writev SYS_pread64 SYS_pwrite64 SYS_preadv SYS_pwritev SYS_preadv2 SYS_pwritev2
    SYS_lseek SYS_close SYS_ioctl SYS_close_range SYS_dup SYS_dup3 SYS_fcntl SYS_flock SYS_fsync SYS_fdatasync SYS_sync SYS_syncfs
    SYS_sync_file_range SYS_ftruncate SYS_fallocate SYS_fadvise64 SYS_readahead SYS_copy_file_range SYS_sendfile
    SYS_splice SYS_tee SYS_vmsplice SYS_pipe2 SYS_memfd_create SYS_getdents64 SYS_fstat SYS_fstatfs SYS_fchmod
    SYS_fchown SYS_fchdir SYS_fgetxattr SYS_fsetxattr SYS_flistxattr SYS_fremovexattr
    // Files by path.
    SYS_openat SYS_openat2 SYS_statx SYS_newfstatat SYS_faccessat SYS_faccessat2 SYS_readlinkat SYS_mkdirat SYS_mknodat
    SYS_unlinkat SYS_renameat2 SYS_linkat SYS_symlinkat SYS_fchmodat SYS_fchmodat2 SYS_fchownat SYS_utimensat
    SYS_truncate SYS_statfs SYS_getcwd SYS_chdir SYS_chroot SYS_umask SYS_getxattr SYS_lgetxattr SYS_setxattr
    SYS_lsetxattr SYS_listxattr SYS_llistxattr SYS_removexattr SYS_lremovexattr SYS_name_to_handle_at
    SYS_inotify_init1 SYS_inotify_add_watch SYS_inotify_rm_watch SYS_fanotify_mark
    // Waiting.
    SYS_ppoll SYS_pselect6 SYS_epoll_create1 SYS_epoll_ctl SYS_epoll_pwait SYS_epoll_pwait2 SYS_eventfd2 SYS_signalfd4
    SYS_timerfd_create SYS_timerfd_settime SYS_timerfd_gettime
    // Asynchronous input and output of the old kind.
    SYS_io_setup SYS_io_destroy SYS_io_submit SYS_io_cancel SYS_io_getevents
    // Memory.
    SYS_mmap SYS_munmap SYS_mremap SYS_mprotect SYS_madvise SYS_brk SYS_msync SYS_mincore SYS_mlock SYS_mlock2 SYS_munlock
    SYS_mlockall SYS_munlockall SYS_membarrier SYS_remap_file_pages SYS_pkey_alloc SYS_pkey_free SYS_pkey_mprotect
    SYS_mseal SYS_process_mrelease SYS_memfd_secret
    // Processes and threads.
    SYS_clone SYS_execve SYS_execveat SYS_exit SYS_exit_group SYS_wait4 SYS_waitid SYS_getpid SYS_getppid SYS_gettid SYS_getpgid
    SYS_setpgid SYS_getsid SYS_setsid SYS_kill SYS_tkill SYS_tgkill SYS_pidfd_open SYS_pidfd_send_signal SYS_prctl
    SYS_ptrace SYS_process_vm_readv SYS_process_vm_writev SYS_set_tid_address SYS_set_robust_list
    SYS_get_robust_list SYS_futex SYS_futex_waitv SYS_rseq
    SYS_restart_syscall SYS_seccomp SYS_landlock_create_ruleset SYS_landlock_add_rule SYS_landlock_restrict_self
    // Signals.
    SYS_rt_sigaction SYS_rt_sigprocmask SYS_rt_sigreturn SYS_rt_sigpending SYS_rt_sigsuspend SYS_rt_sigtimedwait
    SYS_rt_sigqueueinfo SYS_rt_tgsigqueueinfo SYS_sigaltstack
    // Credentials.
    SYS_getuid SYS_geteuid SYS_getgid SYS_getegid SYS_getresuid SYS_getresgid SYS_getgroups SYS_setuid SYS_setgid
    SYS_setreuid SYS_setregid SYS_setresuid SYS_setresgid SYS_setgroups SYS_setfsuid SYS_setfsgid SYS_capget SYS_capset
    // Time.
    SYS_clock_gettime SYS_clock_getres SYS_clock_nanosleep SYS_nanosleep SYS_gettimeofday SYS_getitimer SYS_setitimer
    SYS_timer_create SYS_timer_settime SYS_timer_gettime SYS_timer_getoverrun SYS_timer_delete SYS_times
    // Limits and scheduling.
    SYS_getrlimit SYS_setrlimit SYS_prlimit64 SYS_getrusage SYS_getpriority SYS_setpriority SYS_sched_yield
    SYS_sched_getaffinity SYS_sched_setaffinity SYS_sched_getscheduler SYS_sched_setscheduler SYS_sched_getparam
    SYS_sched_setparam SYS_sched_getattr SYS_sched_setattr SYS_sched_get_priority_max SYS_sched_get_priority_min
    SYS_sched_rr_get_interval SYS_ioprio_get SYS_ioprio_set
    // Sockets.
    SYS_socket SYS_socketpair SYS_bind SYS_listen SYS_accept SYS_accept4 SYS_connect SYS_getsockname SYS_getpeername SYS_sendto
    SYS_recvfrom SYS_sendmsg SYS_recvmsg SYS_sendmmsg SYS_recvmmsg SYS_setsockopt SYS_getsockopt SYS_shutdown
    // System V and POSIX interprocess communication.
    SYS_shmget SYS_shmat SYS_shmdt SYS_shmctl SYS_semget SYS_semop SYS_semtimedop SYS_semctl SYS_msgget SYS_msgsnd
    SYS_msgrcv SYS_msgctl SYS_mq_open SYS_mq_unlink SYS_mq_timedsend SYS_mq_timedreceive SYS_mq_notify SYS_mq_getsetattr
    // About the system.
    SYS_uname SYS_personality SYS_sysinfo SYS_getcpu SYS_getrandom
];

/// The older spellings that only x86-64 still has.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const ALLOWED_HERE: &[i64] = calls![
    SYS_open SYS_creat SYS_stat SYS_lstat SYS_access SYS_readlink SYS_mkdir SYS_rmdir SYS_mknod SYS_unlink SYS_rename
    SYS_renameat SYS_link SYS_symlink SYS_chmod SYS_chown SYS_lchown SYS_utime SYS_utimes SYS_futimesat SYS_getdents
    SYS_dup2 SYS_pipe SYS_poll SYS_select SYS_epoll_create SYS_epoll_wait SYS_epoll_ctl_old SYS_epoll_wait_old
    SYS_eventfd SYS_signalfd SYS_inotify_init SYS_fork SYS_vfork SYS_getpgrp SYS_pause SYS_alarm SYS_time SYS_ustat
    SYS_sysfs SYS_arch_prctl SYS_modify_ldt SYS_get_thread_area SYS_set_thread_area
];

/// The older spellings that this architecture still has.
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_HERE: &[i64] = &[];

/// Calls that set or tell owners, and who one is.
#[rustfmt::skip]
const ASKED: &[i64] = calls![
    SYS_fchown SYS_fchownat SYS_fstat SYS_newfstatat SYS_statx
    SYS_setuid SYS_setgid SYS_setreuid SYS_setregid SYS_setresuid SYS_setresgid SYS_setgroups
    SYS_getuid SYS_geteuid SYS_getgid SYS_getegid SYS_getresuid SYS_getresgid SYS_getgroups
];

#[cfg(target_arch = "x86_64")]
const ASKED_HERE: &[i64] = calls![SYS_chown SYS_lchown SYS_stat SYS_lstat];

#[cfg(not(target_arch = "x86_64"))]
const ASKED_HERE: &[i64] = &[];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_about_owners_are_asked_and_nothing_else() {
        let returned: Vec<u32> = asking_filter()
            .unwrap()
            .iter()
            .filter(|instruction| instruction.code == 0x06)
            .map(|instruction| instruction.k)
            .collect();
        assert!(returned.contains(&libc::SECCOMP_RET_USER_NOTIF));
        assert!(!returned.contains(&u32::from(PLACEHOLDER)));
        for call in ASKED.iter().chain(ASKED_HERE) {
            assert!(ALLOWED.contains(call) || ALLOWED_HERE.contains(call), "{call}");
        }
    }

    #[test]
    fn default_profile_compiles_within_the_kernels_limit() {
        let filters = Filters::default_profile().unwrap();
        assert!(filters.allowed.len() < 4096 && filters.refused.len() < 4096);
    }

    #[test]
    fn no_call_is_in_both_tables() {
        for call in REFUSED {
            assert!(!ALLOWED.contains(call) && !ALLOWED_HERE.contains(call), "{call}");
        }
        assert!(!ALLOWED.contains(&libc::SYS_clone3));
    }
}
