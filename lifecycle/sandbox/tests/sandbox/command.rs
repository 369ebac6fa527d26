//! How a command is found, run, limited, and ended, and which user it is.

use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use lifecycle_sandbox::{
    Capabilities, Exit, Forwarding, Identity, Resource, Rlimit, SandboxError, Stdio, Streams,
};

use crate::support::{Fixture, collect};

#[test]
fn exit_codes_and_signals_come_through() {
    let Some(f) = Fixture::of_root() else { return };
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
fn what_is_unwanted_is_asked_to_end_and_then_made_to() {
    let Some(f) = Fixture::of_root() else { return };
    let long = Duration::from_hours(1);
    let wait = |script: &str, grace, unwanted: bool| {
        let (mut heard, says) = std::io::pipe().unwrap();
        let mut run = f.shell(&format!("{script}; echo ready; while :; do sleep 0.05; done"));
        run.streams = Streams::Separate {
            stdin: Stdio::Pipe,
            stdout: Stdio::Fd(says.into()),
            stderr: Stdio::Inherit,
        };
        let mut process = run.spawn().unwrap();
        let mut ready = [0; 6];
        let is_ready = heard.read_exact(&mut ready).is_ok();
        let exit = process.wait_or_end(grace, || unwanted && is_ready).unwrap();
        assert!(process.ends_within(Duration::ZERO).unwrap());
        assert_eq!(process.wait_or_end(grace, || true).unwrap(), exit, "asked again");
        exit
    };
    assert_eq!(wait("trap 'exit 3' TERM", long, true), Exit::Code(3));
    assert_eq!(wait("trap '' TERM", Duration::ZERO, true).code(), 137);
    assert_eq!(wait("echo ready; cat; exit 7", long, false), Exit::Code(7));
}

/// A program may speak before the start of it has returned. Whoever hears it can signal it.
#[test]
fn a_signal_of_the_first_moment_is_the_commands() {
    let Some(f) = Fixture::of_root() else { return };
    let forwarding = Forwarding::default();
    assert!(!forwarding.signal(15), "nothing runs yet");
    for _ in 0..20 {
        let (mut heard, says) = std::io::pipe().unwrap();
        let forwarding = Forwarding::default();
        let mut run = f.shell("trap 'exit 3' TERM; echo ready; while :; do sleep 0.01; done");
        run.forwarding = forwarding.clone();
        run.streams = Streams::Separate {
            stdin: Stdio::Null,
            stdout: Stdio::Fd(says.into()),
            stderr: Stdio::Inherit,
        };
        let signal = std::thread::spawn(move || {
            heard.read_exact(&mut [0; 6]).unwrap();
            forwarding.signal(15)
        });
        assert_eq!(run.spawn().unwrap().wait().unwrap(), Exit::Code(3));
        assert!(signal.join().unwrap());
    }
}

#[test]
fn kill_and_drop_end_everything() {
    let Some(f) = Fixture::of_root() else { return };
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
    let Some(f) = Fixture::of_root() else { return };
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
    let Some(f) = Fixture::of_root() else { return };
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
    let Some(f) = Fixture::of_root() else { return };
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
    let Some(f) = Fixture::of_root() else { return };
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
    let Some(f) = Fixture::of_root() else { return };
    let mut run = f.run(&["pwd"]);
    run.directory = "/work/new".into();
    assert_eq!(collect(run).unwrap().stdout, "/work/new\n");
    assert_eq!(f.root.join("work/new").metadata().unwrap().mode() & 0o7777, 0o755);
    let mut run = f.run(&["pwd"]);
    run.directory = "/etc/passwd".into();
    assert!(matches!(collect(run), Err(SandboxError::MountPoint { .. })));
}

#[test]
fn limits_hold() {
    let Some(f) = Fixture::of_root() else { return };
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
