//! Tries system calls that a build step has no use for and prints what the kernel answers; with the argument
//! `identities`, those that become another user.
#![expect(clippy::print_stdout, reason = "the result is for the test that starts this")]
#![expect(unsafe_code, reason = "system calls without a safe wrapper are the point")]

use std::io::Error;

#[expect(clippy::wildcard_imports, reason = "a table of constants")]
use libc::*;

fn main() {
    if std::env::args().nth(1).as_deref() == Some("identities") {
        return identities();
    }
    let calls: [(&str, c_long, [c_long; 5]); 26] = [
        ("mount", SYS_mount, [0; 5]),
        ("umount2", SYS_umount2, [0; 5]),
        ("pivot_root", SYS_pivot_root, [0; 5]),
        ("open_tree", SYS_open_tree, [0; 5]),
        ("fsopen", SYS_fsopen, [0; 5]),
        ("mount_setattr", SYS_mount_setattr, [0; 5]),
        (
            "unshare_user",
            SYS_unshare,
            [c_long::from(CLONE_NEWUSER), 0, 0, 0, 0],
        ),
        ("setns", SYS_setns, [0; 5]),
        (
            "clone_newuser",
            SYS_clone,
            [c_long::from(CLONE_NEWUSER | SIGCHLD), 0, 0, 0, 0],
        ),
        ("clone3", SYS_clone3, [0; 5]),
        ("keyctl", SYS_keyctl, [0; 5]),
        ("add_key", SYS_add_key, [0; 5]),
        ("request_key", SYS_request_key, [0; 5]),
        ("bpf", SYS_bpf, [0; 5]),
        ("perf_event_open", SYS_perf_event_open, [0; 5]),
        ("io_uring_setup", SYS_io_uring_setup, [1, 0, 0, 0, 0]),
        ("userfaultfd", SYS_userfaultfd, [0; 5]),
        ("kexec_load", SYS_kexec_load, [0; 5]),
        ("open_by_handle_at", SYS_open_by_handle_at, [0; 5]),
        ("init_module", SYS_init_module, [0; 5]),
        ("reboot", SYS_reboot, [0; 5]),
        (
            "ptrace_init",
            SYS_ptrace,
            [c_long::from(PTRACE_ATTACH), 1, 0, 0, 0],
        ),
        ("personality_exec", SYS_personality, [0x0040_0000, 0, 0, 0, 0]),
        ("personality_query", SYS_personality, [0xffff_ffff, 0, 0, 0, 0]),
        (
            "socket_vsock",
            SYS_socket,
            [c_long::from(AF_VSOCK), c_long::from(SOCK_STREAM), 0, 0, 0],
        ),
        ("unknown", 9999, [0; 5]),
    ];
    for (name, number, a) in calls {
        // SAFETY: every call is refused before it looks at its arguments, or harmless with them.
        let result = unsafe { syscall(number, a[0], a[1], a[2], a[3], a[4]) };
        println!("{name} {}", answer(result));
    }
}

fn identities() {
    let groups: [gid_t; 1] = [33];
    // SAFETY: the list has the length that is told; the other calls take numbers only. The bare calls are meant,
    // not libc's, which would pass them on to other threads.
    let results = unsafe {
        [
            ("setgroups", syscall(SYS_setgroups, 1, groups.as_ptr())),
            ("setresgid", syscall(SYS_setresgid, 33, 33, 33)),
            ("setresuid", syscall(SYS_setresuid, 33, 33, 33)),
            ("uid", syscall(SYS_getuid)),
            ("back", syscall(SYS_setuid, 0)),
        ]
    };
    for (name, result) in results {
        println!("{name} {result}");
    }
}

fn answer(result: i64) -> String {
    if result >= 0 {
        return "ok".to_owned();
    }
    match Error::last_os_error().raw_os_error() {
        Some(libc::EPERM) => "EPERM".to_owned(),
        Some(libc::ENOSYS) => "ENOSYS".to_owned(),
        other => format!("{other:?}"),
    }
}
