//! What a command sees and can do, on every rung. As root the namespace rungs are driven directly; the others
//! through the example program, started with fewer privileges by setpriv.
#![expect(clippy::unwrap_used, reason = "a test may")]

mod owners;
mod security;
mod streams;
mod support;

use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lifecycle_sandbox::{
    BindSource, Capabilities, Content, Exit, Identity, Isolation, Mount, Network, Resource, Rlimit, Root,
    Run, SandboxError, Seccomp, Stdio, Streams, UserNamespace,
};
use support::{Fixture, as_ordinary_user, collect, example};

fn mount(target: &str, content: Content) -> Mount {
    Mount {
        target: target.into(),
        content,
    }
}

fn bind(source: &Path, read_only: bool) -> Content {
    Content::Bind {
        source: BindSource::path(source).unwrap(),
        read_only,
        devices: false,
    }
}

#[test]
fn sandbox_is_as_observed_i3() {
    let f = Fixture::new();
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
fn exit_codes_and_signals_come_through() {
    let f = Fixture::new();
    assert_eq!(collect(f.shell("exit 7")).unwrap().exit, Exit::Code(7));
    let killed = collect(f.shell("kill -9 $$")).unwrap().exit;
    assert_eq!(
        killed,
        Exit::Signal {
            number: 9,
            out_of_memory: false
        }
    );
    assert_eq!(killed.code(), 137);

    let mut run = f.shell("trap 'echo got; exit 3' TERM; echo ready; while :; do sleep 0.05; done");
    run.streams = Streams::Separate {
        stdin: Stdio::Null,
        stdout: Stdio::Pipe,
        stderr: Stdio::Inherit,
    };
    let mut process = run.spawn().unwrap();
    let mut stdout = process.stdout.take().unwrap();
    let mut ready = [0; 6];
    stdout.read_exact(&mut ready).unwrap();
    let remote = process.remote();
    std::thread::spawn(move || remote.signal(15).unwrap());
    assert_eq!(process.wait().unwrap(), Exit::Code(3));
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "got\n");
}

#[test]
fn kill_and_drop_end_everything() {
    let f = Fixture::new();
    let mut process = f
        .shell("sleep 1000 & setsid sleep 1000 & sleep 1000")
        .spawn()
        .unwrap();
    process.kill().unwrap();
    assert_eq!(process.wait().unwrap().code(), 137);
    let process = f.run(&["sleep", "1000"]).spawn().unwrap();
    let init = PathBuf::from(format!("/proc/{}", process.id()));
    assert!(init.exists());
    drop(process);
    assert!(!init.exists());
}

#[test]
fn standard_streams_are_pipes_or_a_terminal() {
    let f = Fixture::new();
    let mut run = f.run(&["cat"]);
    run.streams = Streams::Separate {
        stdin: Stdio::Pipe,
        stdout: Stdio::Pipe,
        stderr: Stdio::Null,
    };
    let mut process = run.spawn().unwrap();
    process.stdin.take().unwrap().write_all(b"through").unwrap();
    let mut text = String::new();
    process.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(
        (text.as_str(), process.wait().unwrap()),
        ("through", Exit::Code(0))
    );

    let mut run = f.shell("tty; read line; echo \"read $line\"; echo > /dev/tty");
    run.streams = Streams::Terminal;
    let mut process = run.spawn().unwrap();
    let mut terminal = process.terminal.take().unwrap();
    terminal.write_all(b"word\n").unwrap();
    let mut seen = Vec::new();
    let mut buffer = [0; 256];
    // The last reader of a terminal whose other side closed gets EIO.
    while let Ok(length @ 1..) = terminal.read(&mut buffer) {
        seen.extend_from_slice(&buffer[..length]);
    }
    let seen = String::from_utf8_lossy(&seen).into_owned();
    assert!(
        seen.contains("/dev/pts/0") && seen.contains("read word"),
        "{seen}"
    );
    assert!(process.wait().unwrap().success());
}

#[test]
fn programs_are_looked_up_in_the_steps_path_i1() {
    let f = Fixture::new();
    assert!(collect(f.run(&["true"])).unwrap().exit.success());
    let missing = collect(f.run(&["no-such-program"])).unwrap_err();
    assert_eq!(missing.to_string(), "cannot execute `no-such-program`");
    let SandboxError::Execute { source, .. } = missing else {
        panic!("{missing:?}")
    };
    assert_eq!(source.kind(), std::io::ErrorKind::NotFound);
    std::fs::write(f.root.join("bin/forbidden"), "").unwrap();
    let SandboxError::Execute { source, .. } = collect(f.run(&["forbidden"])).unwrap_err() else {
        panic!()
    };
    assert_eq!(source.kind(), std::io::ErrorKind::PermissionDenied);
    assert!(matches!(collect(f.run(&[])), Err(SandboxError::EmptyCommand)));
    assert!(matches!(
        collect(f.run(&["a\0b"])),
        Err(SandboxError::NullByte { .. })
    ));
}

#[test]
fn users_have_their_ids_and_no_capability() {
    let f = Fixture::new();
    let mut run = f.shell("id -u; id -g; id -G; grep CapEff /proc/self/status; grep CapPrm /proc/self/status; touch /etc/x || echo refused");
    run.identity = Some(Identity {
        uid: 1000,
        gid: 1000,
        groups: vec![29, 44],
    });
    let out = collect(run).unwrap().stdout;
    assert_eq!(
        out,
        "1000\n1000\n1000 29 44\nCapEff:\t0000000000000000\nCapPrm:\t0000000000000000\nrefused\n"
    );
}

#[test]
fn capabilities_can_be_none_or_all() {
    let f = Fixture::new();
    let with = |capabilities| {
        let mut run = f.shell("grep CapEff /proc/self/status");
        run.capabilities = capabilities;
        collect(run).unwrap().stdout
    };
    assert_eq!(with(Capabilities::None), "CapEff:\t0000000000000000\n");
    assert!(with(Capabilities::All).starts_with("CapEff:\t000001ff"));
}

#[test]
fn working_directory_is_made_and_stays_i6() {
    let f = Fixture::new();
    let mut run = f.run(&["pwd"]);
    run.directory = "/work/new".into();
    assert_eq!(collect(run).unwrap().stdout, "/work/new\n");
    assert_eq!(f.root.join("work/new").metadata().unwrap().mode() & 0o7777, 0o755);
    let mut run = f.run(&["pwd"]);
    run.directory = "/etc/passwd".into();
    assert!(matches!(collect(run), Err(SandboxError::MountPoint { .. })));
}

#[test]
fn mounts_show_what_they_should_and_leave_no_trace_i5() {
    let f = Fixture::new();
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
    let f = Fixture::new();
    let mut run = f.shell("ip -o link | wc -l; ip -o addr show lo | grep -c 127.0.0.1");
    run.network = Network::None;
    assert_eq!(collect(run).unwrap().stdout, "1\n1\n");
}

#[test]
fn limits_hold() {
    let f = Fixture::new();
    let mut run = f.shell("ulimit -n");
    run.rlimits = vec![(
        Resource::Nofile,
        Rlimit {
            current: Some(64),
            maximum: Some(64),
        },
    )];
    assert_eq!(collect(run).unwrap().stdout, "64\n");
    let mut run = f.shell("grep NoNewPrivs /proc/self/status");
    run.no_new_privileges = true;
    assert_eq!(collect(run).unwrap().stdout, "NoNewPrivs:\t1\n");
    let mut run = f.run(&["true"]);
    run.limits = Some(lifecycle_sandbox::Limits {
        parent: f.outside("no-cgroup"),
        memory: Some(1 << 20),
        ..Default::default()
    });
    let error = collect(run).unwrap_err();
    assert!(error.to_string().contains("memory.max"), "{error}");
}

#[test]
fn without_a_user_namespace_devices_can_be_made() {
    let f = Fixture::new();
    let mut run = f.shell("mknod /tmp/null c 1 3 && stat -c %F /tmp/null");
    run.isolation = Isolation::Namespaces(UserNamespace::Shared);
    let outcome = collect(run).unwrap();
    assert_eq!(outcome.stdout, "character special file\n", "{outcome:?}");
    assert_eq!(f.output("mknod /tmp/other c 1 3 || echo refused"), "refused\n");
}

#[test]
fn chroot_and_in_place_refuse_what_they_cannot_do() {
    let f = Fixture::new();
    for isolation in [Isolation::Chroot, Isolation::InPlace] {
        let mut run = f.run(&["true"]);
        run.isolation = isolation;
        if isolation == Isolation::InPlace {
            run.root = Root::Host;
        }
        run.mounts = vec![mount(
            "/x",
            Content::Tmpfs {
                size: None,
                mode: 0o755,
            },
        )];
        assert!(matches!(
            collect(run),
            Err(SandboxError::Unsupported {
                feature: "a mount",
                ..
            })
        ));
    }
    let mut run = Run::new(Isolation::InPlace, ["true"]);
    run.identity = Some(Identity::new(4242, 4242));
    assert!(matches!(
        collect(run),
        Err(SandboxError::Unsupported {
            feature: "another user",
            ..
        })
    ));
}

#[test]
fn chroot_changes_root_and_user_and_ends_every_process() {
    let f = Fixture::new();
    let mut run = f.shell(
        "id -u; id -G; pwd; ls /; grep x /proc/self/status || echo none; setsid sleep 60 & sleep 0.1; exit 4",
    );
    run.isolation = Isolation::Chroot;
    run.seccomp = Seccomp::Off;
    run.directory = "/work".into();
    run.identity = Some(Identity::new(1000, 1000));
    let start = Instant::now();
    let outcome = collect(run).unwrap();
    assert_eq!(outcome.exit, Exit::Code(4));
    assert!(
        outcome.stdout.starts_with("1000\n1000\n/work\nbin\n") && outcome.stdout.ends_with("none\n"),
        "{outcome:?}"
    );
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "the orphan was not ended"
    );
}

#[test]
fn chroot_has_the_usual_devices_for_the_time_of_the_run() {
    let f = Fixture::new();
    std::fs::write(f.root.join("dev/full"), "the image's own").unwrap();
    let before = std::fs::metadata(f.root.join("dev")).unwrap().modified().unwrap();
    let mut run =
        f.shell("echo x > /dev/null; head -c 2 /dev/zero | wc -c; stat -c '%F %a' /dev/null; cat /dev/full");
    run.isolation = Isolation::Chroot;
    run.identity = Some(Identity::new(1000, 1000));
    let outcome = collect(run).unwrap();
    assert_eq!(
        outcome.stdout, "2\ncharacter special file 666\nthe image's own",
        "{outcome:?}"
    );
    assert_eq!(std::fs::read_dir(f.root.join("dev")).unwrap().count(), 1);
    assert_eq!(
        std::fs::metadata(f.root.join("dev")).unwrap().modified().unwrap(),
        before
    );
}

#[test]
fn in_place_runs_as_the_present_user() {
    let directory = tempfile::tempdir().unwrap();
    let mut run = Run::new(
        Isolation::InPlace,
        ["/bin/busybox", "sh", "-c", "pwd; exec /bin/busybox env"],
    );
    run.directory = directory.path().to_owned();
    run.env.push(("ONLY".into(), "this".into()));
    let out = collect(run).unwrap().stdout;
    assert!(out.starts_with(directory.path().to_str().unwrap()), "{out}");
    assert!(
        out.contains("ONLY=this\n") && !out.contains("HOME=") && !out.contains("CARGO"),
        "{out}"
    );
}

#[test]
fn rung_3_one_mapped_id() {
    let f = Fixture::new();
    f.give_to(4321);
    let out = as_ordinary_user(
        4321,
        &[
            "run",
            f.path(),
            "0:0",
            "/bin/sh",
            "-c",
            "id -u; touch /made; echo $$; grep CapEff /proc/self/status",
        ],
    );
    assert_eq!(out.stdout, "0\n2\nCapEff:\t00000000a80425fb\n", "{out:?}");
    assert!(out.stderr.contains("SingleId"), "{out:?}");
    assert_eq!(std::fs::metadata(f.root.join("made")).unwrap().uid(), 4321);
    // Another user than root borrows the one id.
    let out = as_ordinary_user(
        4321,
        &[
            "run",
            f.path(),
            "1000:1000",
            "/bin/sh",
            "-c",
            "id -u; id -g; exit 5",
        ],
    );
    assert_eq!(
        (out.stdout.as_str(), out.exit.code()),
        ("1000\n1000\n", 5),
        "{out:?}"
    );
}

#[test]
fn rung_1_full_map_for_a_user_with_subordinate_ids() {
    let f = Fixture::new();
    f.give_to(4321);
    let command = "id -u; id -G; touch /tmp/x; chown 7:8 /tmp/x; stat -c '%u %g' /tmp/x";
    let out = f.with_subordinate_ids(
        4321,
        &["run", f.path(), "1000:1000", "/bin/sh", "-c", "id -u; id -g"],
    );
    assert!(out.stderr.contains("FullMap"), "{out:?}");
    assert_eq!(out.stdout, "1000\n1000\n", "{out:?}");
    let out = f.with_subordinate_ids(4321, &["run", f.path(), "0:0", "/bin/sh", "-c", command]);
    assert_eq!(out.stdout, "0\n0\n7 8\n", "{out:?}");
    let made = std::fs::metadata(f.root.join("tmp/x")).unwrap();
    assert_eq!((made.uid(), made.gid()), (200_006, 300_007));
    let scratch = f.outside("scratch");
    chown(&scratch, Some(4321), Some(4321)).unwrap();
    let out = f.with_subordinate_ids(4321, &["probe", scratch.to_str().unwrap()]);
    assert!(out.stdout.starts_with("rung 1:"), "{out:?}");
}

#[test]
fn forbidden_user_namespaces_are_named_with_a_remedy() {
    let f = Fixture::new();
    let scratch = f.outside("scratch");
    // The limit holds for the namespace it is set in: forbidden there, untouched outside.
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && \
                  exec setpriv --bounding-set=-all --inh-caps=-all \"$0\" \"$@\"";
    let run = |arguments: &[&str]| {
        let example = example();
        let mut all = vec![
            "--user",
            "--map-root-user",
            "sh",
            "-c",
            script,
            example.to_str().unwrap(),
        ];
        all.extend(arguments);
        support::run_program("unshare", &all)
    };
    let out = run(&["probe", scratch.to_str().unwrap()]);
    assert!(out.stdout.starts_with("rung 5:"), "{out:?}");
    assert!(
        out.stdout
            .contains("user.max_user_namespaces is 0 -> set it higher"),
        "{out:?}"
    );
    assert!(
        out.stdout
            .contains("4 missing: this process lacks CAP_SYS_CHROOT, CAP_SETUID, CAP_SETGID"),
        "{out:?}"
    );
    let out = run(&["run", f.path(), "0:0", "true"]);
    assert_eq!(out.exit.code(), 99);
    assert!(
        out.stderr
            .contains("user namespaces are not allowed here: user.max_user_namespaces is 0"),
        "{out:?}"
    );
    let out = run(&["inplace", "/bin/busybox", "id", "-u"]);
    assert_eq!((out.stdout.as_str(), out.exit.code()), ("0\n", 0), "{out:?}");
}

#[test]
fn overlay_in_a_user_namespace_collects_the_changes() {
    let f = Fixture::new();
    let scratch = f.outside("scratch");
    for name in ["upper", "work"] {
        std::fs::create_dir(scratch.join(name)).unwrap();
    }
    f.give_to(4321);
    let scratch_text = scratch.to_str().unwrap();
    let out = as_ordinary_user(
        4321,
        &[
            "overlay",
            f.path(),
            scratch_text,
            "/bin/sh",
            "-c",
            "echo new > /tmp/new; rm /etc/group; cat /etc/passwd | wc -l",
        ],
    );
    assert_eq!(out.stdout, "2\n", "{out:?}");
    assert_eq!(
        std::fs::read_to_string(scratch.join("upper/tmp/new")).unwrap(),
        "new\n"
    );
    assert!(
        scratch.join("upper/etc/group").symlink_metadata().is_ok(),
        "a whiteout"
    );
    assert!(f.root.join("etc/group").exists() && !f.root.join("tmp/new").exists());
}

#[test]
fn probe_names_the_rung_and_what_is_missing() {
    let f = Fixture::new();
    let scratch = f.outside("scratch");
    let host = lifecycle_sandbox::Host::probe(&scratch).unwrap();
    assert_eq!(host.rung().number(), 1, "{host:?}");
    assert_eq!(std::fs::read_dir(&scratch).unwrap().count(), 0);
    f.give_to(4321);
    let scratch = scratch.to_str().unwrap();
    let ordinary = as_ordinary_user(4321, &["probe", scratch]).stdout;
    assert!(
        ordinary.starts_with("rung 3:") && ordinary.contains("/etc/subuid grants no ids to 4321"),
        "{ordinary}"
    );
    // Root without CAP_SYS_ADMIN.
    let bounded = support::run_program(
        "setpriv",
        &[
            "--bounding-set=-sys_admin",
            "--inh-caps=-all",
            example().to_str().unwrap(),
            "chroot",
            f.path(),
            "1000:1000",
            "/bin/id",
            "-u",
        ],
    );
    assert_eq!(bounded.stdout, "1000\n", "{bounded:?}");
}

#[test]
fn owners_and_modes_are_seen_as_they_are() {
    let f = Fixture::new();
    chown(f.root.join("etc/passwd"), Some(7), Some(8)).unwrap();
    std::fs::set_permissions(f.root.join("etc/passwd"), PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(f.output("stat -c '%u %g %a' /etc/passwd"), "7 8 600\n");
    symlink("/etc/passwd", f.root.join("link")).unwrap();
    assert_eq!(f.output("readlink /link"), "/etc/passwd\n");
}
