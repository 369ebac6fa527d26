//! RUN (section I).

use std::fs;
use std::time::Duration;

use lifecycle_executor::{DeviceEntitlement, ExecutorError, IsolationMode, NetworkMode};
use lifecycle_sandbox::Rung;

use crate::support::Bench;

/// What `FROM busybox` and these lines print.
fn output(bench: &Bench, lines: &str) -> String {
    bench.build(&format!("FROM busybox\n{lines}\n")).output
}

#[test]
fn a_command_changes_the_image_i1_m2() {
    let bench = Bench::new();
    let built = bench.build(
        "FROM busybox\nENV A=b\nLABEL l=1\nRUN echo $A > /out && rm /bin/nc && mkdir -p /d/e\nRUN [\"cat\", \"/out\"]\n",
    );
    assert_eq!(built.content("out"), "b\n");
    assert_eq!(built.output, "b\n");
    assert!(!built.files().contains_key("bin/nc"));
    assert_eq!(built.order(1), ["bin", "bin/.wh.nc", "d", "d/e", "out"]);
    assert_eq!(built.layer(1)["bin/.wh.nc"].mode, 0);
}

/// An overlay takes no directory twice.
#[test]
fn a_layer_that_is_there_twice_shows_where_it_is_topmost() {
    let bench = Bench::new();
    bench.file("f", "F");
    let built = bench.build("FROM busybox\nCOPY f /f\nRUN rm /f\nCOPY f /f\nRUN cat /f && echo more >> /f\nCOPY f /f\nRUN cat /f\n");
    assert_eq!(built.output, "FF");
}

#[test]
fn shells_and_forms_i1_c7_to_c10() {
    let bench = Bench::new();
    for (lines, expected) in [
        ("RUN echo a \\\n  b", "a b\n"),
        ("RUN [\"echo\", \"$HOME\"]", "$HOME\n"),
        ("SHELL [\"/bin/sh\", \"-xc\"]\nRUN echo a", "+ echo a\na\n"),
        ("RUN <<x\necho 1\nfalse\necho 2\nx", "1\n2\n"),
        ("RUN <<x\n#!/bin/cat\nline\nx", "#!/bin/cat\nline\n"),
        ("ENV A=v\nRUN <<x cat\n$A\nx", "v\n"),
        ("RUN cat <<one <<two\n1\none\n2\ntwo", "2\n"),
    ] {
        assert_eq!(output(&bench, lines), expected, "{lines}");
    }
}

#[test]
fn failures_carry_the_code_i2() {
    let bench = Bench::new();
    for (command, expected_code, text) in [
        (
            "exit 7",
            7,
            "process \"/bin/sh -c exit 7\" did not complete successfully: exit code: 7",
        ),
        ("kill -9 $$", 137, "signal 9"),
        ("/nowhere", 127, "exit code: 127"),
    ] {
        let error = bench.try_build(&bench.options(&format!("FROM busybox\nENV a=b\nRUN {command}\n")));
        match error {
            Err(ExecutorError::Command { diagnostic, code }) => {
                assert_eq!(code, expected_code);
                assert!(
                    diagnostic.to_string().starts_with("Dockerfile:3:1: "),
                    "{diagnostic}"
                );
                assert!(diagnostic.message.contains(text), "{diagnostic}");
            }
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("it builds"),
        }
    }
    let message = bench.fail("FROM scratch\nRUN [\"/nothing\"]\n");
    assert!(
        message.contains("Dockerfile:2:1: cannot execute `/nothing`"),
        "{message}"
    );
}

#[test]
fn the_environment_is_the_documented_one_i4() {
    let bench = Bench::new();
    let mut options = bench.options("FROM busybox\nARG A=1\nARG B\nENV E=2\nUSER alice\nRUN env\n");
    options.build_args = [("http_proxy", "p"), ("UNDECLARED", "x")].into_iter().collect();
    let output = bench.build_with(&options).output;
    let mut lines: Vec<&str> = output
        .lines()
        .filter(|line| !line.starts_with("PWD=") && !line.starts_with("SHLVL="))
        .collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "A=1",
            "E=2",
            "HOME=/home/alice",
            "HTTP_PROXY=p",
            "PATH=/bin",
            "http_proxy=p"
        ]
    );
    assert_eq!(crate::run::output(&bench, "ENV HOME=/x\nRUN echo $HOME"), "/x\n");
}

#[test]
fn users_are_those_of_the_stage_g8_g9() {
    let bench = Bench::new();
    for (user, ids) in [
        ("alice", "1000 1001 1001 10 50"),
        ("alice:staff", "1000 50 50"),
        ("1000", "1000 1001 1001 10 50"),
        ("4000", "4000 0 0"),
        ("5:6", "5 6 6"),
        (":staff", "0 50 50"),
        ("alice:", "1000 1001 1001 10 50"),
    ] {
        let lines = format!("USER {user}\nRUN echo $(id -u) $(id -g) $(id -G)");
        assert_eq!(output(&bench, &lines).trim(), ids, "{user}");
    }
    for (user, text) in [
        (
            "nobody",
            "unable to find user nobody: no matching entries in passwd file",
        ),
        ("alice:none", "unable to find group none"),
    ] {
        let message = bench.fail(&format!("FROM busybox\nUSER {user}\nRUN true\n"));
        assert!(
            message.contains(text) && message.starts_with("Dockerfile:3:1"),
            "{message}"
        );
    }
}

#[test]
fn the_sandbox_is_the_observed_one_i3() {
    let bench = Bench::new();
    let mut options = bench.options(
        "FROM busybox\nRUN hostname; echo $$ >/dev/null; ls /proc/self/fd | wc -l; cat /etc/hosts; grep CapBnd /proc/self/status; umask; touch /etc/hosts 2>/dev/null || echo read-only\n",
    );
    options.hosts = Some(b"127.0.0.1 localhost\n".to_vec());
    options.resolv_conf = Some(b"nameserver 1.2.3.4\n".to_vec());
    let built = bench.build_with(&options);
    let lines: Vec<&str> = built.output.lines().collect();
    assert_eq!(lines[0], "buildkitsandbox");
    // Standard input, output, error, and the directory that is listed.
    assert_eq!(lines[1], "4", "no descriptor leaks (CVE-2024-21626)");
    assert_eq!(lines[2], "127.0.0.1 localhost");
    assert!(lines[3].ends_with("a80425fb"), "{lines:?}");
    assert_eq!(lines[4], "0022");
    assert_eq!(lines[5], "read-only");
    assert!(built.layer(0).is_empty(), "{:?}", built.order(0));
}

#[test]
fn a_missing_directory_is_made_i6() {
    let bench = Bench::new();
    let built = bench.build("FROM busybox\nWORKDIR /w\nRUN rmdir /w\nRUN pwd\n");
    assert_eq!(built.output, "/w\n");
}

#[test]
fn nothing_done_is_an_empty_layer_i7_m3() {
    let bench = Bench::new();
    let built = bench
        .build("FROM busybox\nRUN true\nRUN touch -r /bin/busybox /bin/busybox\nRUN chown 0:0 /etc/passwd\n");
    assert_eq!(built.image.layers().len(), 4);
    for layer in 0..3 {
        assert!(built.layer(layer).is_empty(), "{layer}: {:?}", built.order(layer));
    }
}

#[test]
fn networks_i14() {
    let bench = Bench::new();
    let count = "grep -c : /proc/net/dev";
    let shared = output(&bench, &format!("RUN {count}"));
    assert_eq!(output(&bench, &format!("RUN --network=none {count}")), "1\n");
    let mut options = bench.options(&format!("FROM busybox\nRUN {count}; true\n"));
    options.network = NetworkMode::None;
    assert_eq!(bench.build_with(&options).output, "1\n");
    let dockerfile = format!("FROM busybox\nRUN --network=host {count}\n");
    let message = bench.fail(&dockerfile);
    assert!(message.contains("network.host is not allowed"), "{message}");
    let mut options = bench.options(&dockerfile);
    options.allow.network_host = true;
    assert_eq!(bench.build_with(&options).output, shared);
}

#[test]
fn privileges_need_permission_i15_cve_2024_23653() {
    let bench = Bench::new();
    let dockerfile = "FROM busybox\nRUN --security=insecure grep CapEff /proc/self/status\n";
    let message = bench.fail(dockerfile);
    assert!(message.contains("security.insecure is not allowed"), "{message}");
    let mut options = bench.options(dockerfile);
    options.allow.security_insecure = true;
    assert!(!bench.build_with(&options).output.contains("a80425fb"));
    // Not from the cache either.
    assert!(bench.fail(dockerfile).contains("not allowed"));
}

#[test]
fn devices_are_those_that_the_machine_describes_i16() {
    let bench = Bench::new();
    let described = tempfile::tempdir().unwrap();
    let driver = described.path().join("driver");
    fs::write(&driver, "version 7\n").unwrap();
    let specification = format!(
        r#"{{"cdiVersion": "0.6.0", "kind": "vendor.example/sink",
            "containerEdits": {{"mounts": [{{"hostPath": {driver:?}, "containerPath": "/opt/driver", "options": ["ro"]}}]}},
            "devices": [{{"name": "0", "containerEdits": {{
                "env": ["SINK=/dev/sinks/0"], "additionalGids": [44],
                "deviceNodes": [{{"path": "/dev/sinks/0", "hostPath": "/dev/full"}}]}}}}]}}"#
    );
    fs::write(described.path().join("sink.json"), specification).unwrap();
    let options = |name: &str, command: &str| {
        let mut options = bench.options(&format!("FROM busybox\nRUN --device={name} {command}\n"));
        options.device_specifications = vec![described.path().to_owned()];
        options
    };
    let use_it = "ls -l $SINK | cut -c 1; cat /opt/driver; id -G; echo x > $SINK; touch /opt/driver";
    let mut allowed = options("vendor.example/sink=0", use_it);
    // Not without permission, and then not from the cache either.
    assert!(
        bench
            .fail_with(&allowed)
            .contains("device vendor.example/sink=0 is not allowed")
    );
    allowed.allow.devices = DeviceEntitlement::These(["vendor.example/sink".to_owned()].into());
    let message = bench.fail_with(&allowed);
    assert!(message.contains("exit code: 1"), "{message}");
    for rung in [Rung::Overlay, Rung::Copy] {
        let mut allowed = options(
            "vendor.example/sink=0",
            &format!("{use_it} 2>/dev/null; true # {rung}"),
        );
        allowed.allow.devices = DeviceEntitlement::All;
        allowed.isolation = IsolationMode::Forced(rung);
        let built = bench.build_with(&allowed);
        assert!(
            built.output.contains("c\nversion 7\n0 44\n"),
            "{rung}: {}",
            built.output
        );
        assert!(
            built.output.contains("No space left on device"),
            "{rung}: {}",
            built.output
        );
        // Nothing of it is in the image.
        assert!(built.layer(0).is_empty(), "{rung}: {:?}", built.order(0));
    }
    let mut in_chroot = options("vendor.example/sink=0", "true # in a chroot");
    in_chroot.allow.devices = DeviceEntitlement::All;
    in_chroot.isolation = IsolationMode::Forced(Rung::Chroot);
    assert!(bench.fail_with(&in_chroot).contains("nothing can be mounted"));
    let message = bench.fail_with(&options("vendor.example/none,required", "true"));
    assert!(
        message.contains("Dockerfile:2:1") && message.contains("describes it"),
        "{message}"
    );
    bench.build_with(&options("vendor.example/none", "true"));
}

#[test]
fn processes_do_not_outlive_their_step_kaniko_5_3() {
    let bench = Bench::new();
    // A build that waited for it would not end today.
    let built = bench.build("FROM busybox\nRUN setsid sh -c 'sleep 86400; touch /late' & true\n");
    assert!(!built.files().contains_key("late"));
}

#[test]
fn stages_run_at_the_same_time_s1() {
    let bench = Bench::new();
    // Each stage says that it is there, and waits for the other two.
    let stage = |name: &str| {
        let meet = format!("touch /meet/{name}; i=0; until [ -e /meet/a -a -e /meet/b -a -e /meet/c ]");
        let wait = "do i=$((i+1)); [ $i -lt 1200 ]; sleep 0.1; done";
        format!(
            "FROM busybox AS {name}\nRUN --mount=type=cache,id=meet,target=/meet set -e; {meet}; {wait}\n"
        )
    };
    let stages = stage("a") + &stage("b") + &stage("c");
    bench.build(&format!(
        "{stages}FROM scratch\nCOPY --from=a /etc /a\nCOPY --from=b /etc /b\nCOPY --from=c /etc /c\n"
    ));
}

#[test]
fn a_failure_ends_the_other_stages() {
    let bench = Bench::new();
    // The other one has begun and would not end today.
    let meet = "RUN --mount=type=cache,id=meet,target=/meet";
    let message = bench.fail(&format!(
        "FROM busybox AS a\n{meet} touch /meet/a; sleep 86400\n\
         FROM busybox AS b\n{meet} until [ -e /meet/a ]; do sleep 0.1; done; exit 3\n\
         FROM scratch\nCOPY --from=a / /a\nCOPY --from=b / /b\n"
    ));
    assert!(message.contains("exit code: 3"), "{message}");
}

#[test]
fn a_build_can_be_cancelled() {
    let bench = Bench::new();
    let options = bench.options("FROM busybox\nRUN sleep 86400\n");
    let cancellation = options.cancellation.clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(500));
        cancellation.cancel();
    });
    assert!(matches!(bench.try_build(&options), Err(ExecutorError::Cancelled)));
}

const LADDER: &str = "FROM busybox AS one\nRUN echo 1 > /one && chown 5:6 /one && rm /bin/nc\nCOPY d /d/\nRUN cat /one /d/f && echo 2 > /d/g\n\
                      FROM one\nRUN rm -r /d && mkdir /d && echo 3 > /d/h\nCOPY --from=one /one /d/g /copied/\n";

#[test]
fn every_rung_gives_the_same_files() {
    let bench = Bench::new();
    bench.file("d/f", "F");
    let mut results = Vec::new();
    for rung in [Rung::Overlay, Rung::Copy, Rung::Chroot] {
        let mut options = bench.options(LADDER);
        options.isolation = IsolationMode::Forced(rung);
        options.no_cache = lifecycle_executor::NoCache::All;
        let built = bench.build_with(&options);
        assert_eq!(built.output, "1\nF", "{rung}");
        let files: Vec<_> = built
            .files()
            .into_iter()
            .filter(|(path, _)| !matches!(path.as_str(), "dev" | "proc" | "sys"))
            .map(|(path, found)| {
                (
                    path,
                    found.kind,
                    found.mode,
                    found.owner,
                    found.content.len(),
                    found.target,
                )
            })
            .collect();
        results.push((rung, files));
    }
    for (rung, files) in &results[1..] {
        assert_eq!(*files, results[0].1, "{rung}");
    }
}

#[test]
fn without_isolation_everything_but_run_builds_t16() {
    let bench = Bench::new();
    bench.file("a", "A");
    let mut options = bench.options(
        "FROM busybox AS one\nCOPY --chown=alice a /x/\nFROM busybox\nCOPY --from=one /x /y\nWORKDIR /w\n",
    );
    options.isolation = IsolationMode::NoRun;
    assert_eq!(bench.build_with(&options).content("y/a"), "A");
    let mut options = bench.options("FROM busybox\nRUN true\n");
    options.isolation = IsolationMode::NoRun;
    let message = bench.fail_with(&options);
    assert!(
        message.contains("Dockerfile:2:1: running a command is not possible"),
        "{message}"
    );
}

#[test]
fn images_files_of_accounts_are_bounded_cve_2024_9676() {
    let bench = Bench::new();
    for command in [
        "rm /etc/passwd && mkfifo /etc/passwd",
        "rm /etc/passwd && ln -s /../../../../etc/shadow /etc/passwd",
        "rm /etc/passwd && dd if=/dev/zero of=/etc/passwd bs=1 count=1 seek=30000000 2>/dev/null",
    ] {
        for user in ["RUN true", "WORKDIR /alices"] {
            let failed = bench
                .try_build(&bench.options(&format!("FROM busybox\nRUN {command}\nUSER alice\n{user}\n")))
                .is_err();
            assert!(failed, "{command} {user}");
        }
        let copy = bench.fail(&format!(
            "FROM busybox\nRUN {command}\nCOPY --chown=alice <<x /x\nx\n"
        ));
        assert!(copy.contains("Dockerfile:3:1"), "{copy}");
    }
}

#[test]
fn limits_of_the_build_reach_commands_and_no_key_i17() {
    let bench = Bench::new();
    let dockerfile = "FROM busybox\nRUN ulimit -n; grep ' /dev/shm ' /proc/mounts; cat /etc/hosts\n";
    let mut options = bench.options(dockerfile);
    options.hosts = Some(b"10.1.2.3\tdb\n".to_vec());
    options.shm_size = Some(1 << 20);
    let files = lifecycle_sandbox::Rlimit {
        current: Some(77),
        maximum: Some(77),
    };
    options.ulimits = vec![(lifecycle_sandbox::Resource::Nofile, files)];
    let built = bench.build_with(&options);
    for text in ["77\n", "size=1024k", "10.1.2.3\tdb\n"] {
        assert!(built.output.contains(text), "{text} in {}", built.output);
    }
    assert_eq!(bench.build(dockerfile).executed, 0);
    // A limit that cannot be had is an error, never left out.
    options.no_cache = lifecycle_executor::NoCache::All;
    options.limits = Some(lifecycle_sandbox::Limits {
        parent: bench.directory.path().to_owned(),
        memory: Some(1 << 20),
        ..lifecycle_sandbox::Limits::default()
    });
    let message = bench.fail_with(&options);
    assert!(
        message.contains("memory.max") && message.contains("Dockerfile:2:1"),
        "{message}"
    );
}
