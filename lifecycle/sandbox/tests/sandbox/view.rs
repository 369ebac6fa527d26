//! What a command sees of the machine: its file system, devices, network.

use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use lifecycle_sandbox::{BindSource, Content, Isolation, Network, SandboxError, UserNamespace};

use crate::support::{Fixture, collect, mount};

fn bind(source: &Path, read_only: bool) -> Content {
    Content::Bind {
        source: BindSource::path(source).unwrap(),
        read_only,
        devices: false,
    }
}

#[test]
fn sandbox_is_as_observed_i3() {
    let Some(f) = Fixture::of_root() else { return };
    let rows = [
        ("hostname", "sandbox\n"),
        ("umask", "0022\n"),
        ("echo $$", "2\n"),
        ("id", "uid=0(root) gid=0(root)\n"),
        ("grep CapBnd /proc/self/status", "CapBnd:\t00000000a80425fb\n"),
        ("grep CapEff /proc/self/status", "CapEff:\t00000000a80425fb\n"),
        ("grep CapInh /proc/self/status", "CapInh:\t0000000000000000\n"),
        ("grep CapAmb /proc/self/status", "CapAmb:\t0000000000000000\n"),
        ("grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t0\n"),
        ("grep '^Seccomp:' /proc/self/status", "Seccomp:\t2\n"),
        ("grep SigBlk /proc/self/status", "SigBlk:\t0000000000000000\n"),
        (
            "ls /dev | tr '\n' ' '",
            "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero ",
        ),
        ("echo x > /dev/null && echo ok", "ok\n"),
        ("echo x > /dev/full || echo full", "full\n"),
        (
            "test -c /dev/random && test -c /dev/urandom && test -c /dev/tty && echo ok",
            "ok\n",
        ),
        ("grep -c ' /dev/pts devpts' /proc/mounts", "1\n"),
        ("grep -c ' /dev/mqueue mqueue' /proc/mounts", "1\n"),
        ("grep -c ' /dev/shm tmpfs rw.*size=65536k' /proc/mounts", "1\n"),
        ("touch /sys/x || echo refused", "refused\n"),
        ("touch /sys/fs/cgroup/x || echo refused", "refused\n"),
        (
            "echo 1 > /proc/sys/kernel/domainname || echo refused",
            "refused\n",
        ),
        ("wc -c < /proc/keys", "0\n"),
        ("ls /sys/firmware | wc -l", "0\n"),
        ("setsid true; echo $?", "0\n"),
    ];
    for (script, expected) in rows {
        let outcome = collect(f.shell(script)).unwrap();
        assert_eq!(outcome.stdout, expected, "{script}: {outcome:?}");
    }
}

#[test]
fn mounts_show_what_they_should_and_leave_no_trace_i5() {
    let Some(f) = Fixture::of_root() else { return };
    let source = f.outside("source");
    std::fs::write(source.join("file"), "host").unwrap();
    let before = std::fs::metadata(f.root.join("etc")).unwrap().modified().unwrap();
    let mut run = f.shell(
        "cat /mnt/deep/ro/file; echo x > /mnt/deep/ro/file || echo refused; echo rw > /rw/new; cat /one; \
         grep -c ' /scratch tmpfs rw,nosuid,nodev.*size=1024k' /proc/mounts; stat -c %a /scratch; cat /scratch/in/file; \
         cat /etc/resolv.conf; stat -c '%a %u %g' /run/secrets/key; cat /run/secrets/key; echo x > /run/secrets/key || echo refused",
    );
    run.mounts = vec![
        mount("/scratch/in", bind(&source, true)),
        mount("/mnt/deep/ro", bind(&source, true)),
        mount("/rw", bind(&f.outside("shadowed"), false)),
        mount("/rw", bind(&source, false)),
        mount("/one", bind(&source.join("file"), true)),
        mount(
            "/scratch",
            Content::Tmpfs {
                size: Some(1 << 20),
                mode: 0o1777,
            },
        ),
        mount(
            "/etc/resolv.conf",
            Content::File {
                bytes: b"nameserver\n".to_vec(),
                mode: 0o644,
                uid: 0,
                gid: 0,
            },
        ),
        mount(
            "/run/secrets/key",
            Content::File {
                bytes: b"secret\n".to_vec(),
                mode: 0o400,
                uid: 7,
                gid: 8,
            },
        ),
    ];
    let outcome = collect(run).unwrap();
    assert_eq!(
        outcome.stdout, "hostrefused\nhost1\n1777\nhostnameserver\n400 7 8\nsecret\nrefused\n",
        "{}",
        outcome.stderr
    );
    assert_eq!(std::fs::read_to_string(source.join("new")).unwrap(), "rw\n");
    for gone in ["mnt", "rw", "one", "scratch", "run", "etc/resolv.conf"] {
        assert!(!f.root.join(gone).exists(), "{gone}");
    }
    assert_eq!(
        std::fs::metadata(f.root.join("etc")).unwrap().modified().unwrap(),
        before
    );
    let mut run = f.run(&["true"]);
    run.mounts = vec![mount(
        "/",
        Content::Tmpfs {
            size: None,
            mode: 0o755,
        },
    )];
    assert!(matches!(collect(run), Err(SandboxError::MountPoint { .. })));
}

#[test]
fn network_none_keeps_only_loopback_i14() {
    let Some(f) = Fixture::of_root() else { return };
    let mut run = f.shell("ip -o link | wc -l; ip -o addr show lo | grep -c 127.0.0.1");
    run.network = Network::None;
    assert_eq!(collect(run).unwrap().stdout, "1\n1\n");
}

#[test]
fn without_a_user_namespace_devices_can_be_made() {
    let Some(f) = Fixture::of_root() else { return };
    let mut run = f.shell("mknod /tmp/null c 1 3 && stat -c %F /tmp/null");
    run.isolation = Isolation::Namespaces(UserNamespace::Shared);
    let outcome = collect(run).unwrap();
    assert_eq!(outcome.stdout, "character special file\n", "{outcome:?}");
    assert_eq!(f.output("mknod /tmp/other c 1 3 || echo refused"), "refused\n");
}

#[test]
fn owners_and_modes_are_seen_as_they_are() {
    let Some(f) = Fixture::of_root() else { return };
    chown(f.root.join("etc/passwd"), Some(7), Some(8)).unwrap();
    std::fs::set_permissions(f.root.join("etc/passwd"), PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(f.output("stat -c '%u %g %a' /etc/passwd"), "7 8 600\n");
    symlink("/etc/passwd", f.root.join("link")).unwrap();
    assert_eq!(f.output("readlink /link"), "/etc/passwd\n");
}
