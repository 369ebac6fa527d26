//! RUN (section I).

use std::fs;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use lifecycle_executor::{ExecutorError, IsolationMode, NetworkMode, Secret};
use lifecycle_sandbox::Rung;

use crate::support::{Bench, contains, everything, holds};

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
fn leftovers_of_mounts_are_removed_i5() {
    let bench = Bench::new();
    bench.file("a", "A");
    let mut options = bench.options(
        "FROM busybox\nRUN --mount=target=/new/deep/m --mount=type=tmpfs,target=/t --mount=type=cache,target=/c \
         --mount=type=secret,id=s,target=/sec/ret true\nRUN echo 1 > /run-file\n",
    );
    options.secrets.insert("s".into(), Secret::new("x").unwrap());
    options.hosts = Some(b"h\n".to_vec());
    let built = bench.build_with(&options);
    assert!(built.layer(1).is_empty(), "{:?}", built.order(1));
    // Roots without them get /dev, /proc and /sys.
    let base = bench.build("FROM scratch\nCOPY --from=busybox /bin /bin\n");
    bench.put("bare", base.image);
    assert_eq!(
        bench.build("FROM bare\nRUN true\n").order(0),
        ["dev", "proc", "sys"]
    );
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
fn bind_mounts_i8() {
    let bench = Bench::new();
    bench.file("d/f", "F");
    bench.file("d/ignored", "I");
    bench.file(".dockerignore", "d/ignored\n");
    for (lines, expected) in [
        ("RUN --mount=target=/m cat /m/d/f; ls /m/d", "Ff\n"),
        (
            "RUN --mount=type=bind,source=d,target=/m cat /m/f; touch /m/x 2>/dev/null || echo ro",
            "Fro\n",
        ),
        (
            "RUN --mount=source=d,target=/m,rw echo changed > /m/f; cat /m/f",
            "changed\n",
        ),
        ("WORKDIR /w\nRUN --mount=source=d/f,target=rel cat /w/rel", "F"),
        (
            "RUN --mount=from=busybox,source=/etc/group,target=/g head -n1 /g",
            "root:x:0:\n",
        ),
        (
            "ARG T=/m\nRUN --mount=source=d,target=$T ls -ln /m/f | tr -s ' ' | grep -c '1 0 0'",
            "1\n",
        ),
        (
            "RUN --mount=source=d,target=/m --mount=from=busybox,source=/etc,target=/m test -f /m/passwd && echo last",
            "last\n",
        ),
    ] {
        assert_eq!(output(&bench, lines), expected, "{lines}");
    }
    let stage = "FROM busybox AS one\nRUN echo 1 > /one && chown 3:4 /one\nFROM busybox\nRUN --mount=from=one,target=/m stat -c '%u %g' /m/one\n";
    assert_eq!(bench.build(stage).output, "3 4\n");
    assert_eq!(
        fs::read_to_string(bench.context().join("d/f")).unwrap(),
        "F",
        "writes never reach the context"
    );
    for (lines, text) in [
        ("RUN --mount=source=nope,target=/m true", "\"/nope\": not found"),
        ("RUN --mount=source=d/ignored,target=/m true", "ignore file"),
        (
            "RUN --mount=from=busybox,source=/nope,target=/m true",
            "\"/nope\": not found",
        ),
    ] {
        let message = bench.fail(&format!("FROM busybox\n{lines}\n"));
        assert!(
            message.contains(text) && message.contains("Dockerfile:2:1"),
            "{lines}: {message}"
        );
    }
}

#[test]
fn cache_mounts_i9() {
    let bench = Bench::new();
    bench.file("seed/s", "seeded");
    for (lines, expected) in [
        ("RUN --mount=type=cache,target=/c echo 1 > /c/f", ""),
        ("RUN --mount=type=cache,target=/c cat /c/f", "1\n"),
        ("RUN --mount=type=cache,target=/other,id=/c cat /other/f", "1\n"),
        (
            "RUN --mount=type=cache,target=/c,uid=5,gid=6,mode=0700 stat -c '%u %g %a' /c; ls /c",
            "5 6 700\n",
        ),
        (
            "RUN --mount=type=cache,target=/d stat -c '%u %g %a' /d",
            "0 0 755\n",
        ),
        (
            "RUN --mount=type=cache,target=/c,ro touch /c/x 2>/dev/null || echo ro",
            "ro\n",
        ),
        (
            "COPY seed /seed\nRUN --mount=type=cache,target=/c,from=busybox,source=/etc/conf.d stat -c %a /c",
            "750\n",
        ),
        (
            "RUN --mount=type=cache,target=/c,sharing=private cat /c/f && true",
            "1\n",
        ),
        (
            "RUN --mount=type=cache,target=/a,id=x --mount=type=cache,target=/b,id=x,sharing=locked echo 1 > /a/f; cat /b/f",
            "1\n",
        ),
    ] {
        assert_eq!(output(&bench, lines), expected, "{lines}");
    }
    let built = bench.build("FROM busybox\nRUN --mount=type=cache,target=/c ls /c\n");
    assert!(built.layer(0).is_empty(), "content is never part of the layer");
    let mut options = bench.options("FROM busybox\nRUN --mount=type=cache,target=/c ls /c; echo other\n");
    options.build_args = [("BUILDKIT_CACHE_MOUNT_NS", "other")].into_iter().collect();
    assert_eq!(bench.build_with(&options).output, "other\n");
}

#[test]
fn cache_names_are_only_names_cve_2024_9675() {
    let bench = Bench::new();
    let long = "x".repeat(300);
    for id in ["../../x", "/etc", long.as_str()] {
        let lines = format!(
            "RUN --mount=type=cache,id={id},target=/c echo CANARY > /c/canary && ls /c && echo {}",
            id.len()
        );
        assert_eq!(output(&bench, &lines), format!("canary\n{}\n", id.len()), "{id}");
    }
    let strays: Vec<_> = fs::read_dir(bench.directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(strays.len(), 2, "{strays:?}");
}

#[test]
fn locked_caches_take_turns_i9() {
    let bench = Bench::new();
    let step = "RUN --mount=type=cache,id=c,target=/c,sharing=locked test ! -e /c/in && touch /c/in && sleep 0.3 && rm /c/in";
    let built = bench.build(&format!(
        "FROM busybox AS a\n{step}\nFROM busybox AS b\n{step} && true\nFROM scratch\nCOPY --from=a /etc /a\nCOPY --from=b /etc /b\n"
    ));
    assert!(built.files().contains_key("b/passwd"));
}

#[test]
fn tmpfs_mounts_i10() {
    let bench = Bench::new();
    let lines = "RUN --mount=type=tmpfs,target=/t,size=1m stat -c %a /t; echo x > /t/f; dd if=/dev/zero of=/t/big bs=1k count=2000 2>/dev/null || echo full";
    let built = bench.build(&format!("FROM busybox\n{lines}\n"));
    assert_eq!(built.output, "1777\nfull\n");
    assert!(built.layer(0).is_empty());
}

#[test]
fn secrets_i11() {
    let bench = Bench::new();
    for (mount, command, expected) in [
        (
            "id=s",
            "cat /run/secrets/s; stat -c %a /run/secrets/s",
            "CANARY400\n",
        ),
        ("target=/x/s", "cat /x/s", "CANARY"),
        ("id=s,target=/etc/passwd", "cat /etc/passwd", "CANARY"),
        ("id=s,env=S", "echo $S; ls /run/secrets 2>/dev/null", "CANARY\n"),
        ("id=s,env=S,target=/x", "echo $S$(cat /x)", "CANARYCANARY\n"),
        (
            "id=s,uid=1000,gid=5,mode=0440",
            "stat -c '%u %g %a' /run/secrets/s",
            "1000 5 440\n",
        ),
        ("id=other", "ls /run/secrets 2>/dev/null || echo none", "none\n"),
    ] {
        let mut options = bench.options(&format!(
            "FROM busybox\nRUN --mount=type=secret,{mount} {command}; true\n"
        ));
        options.secrets.insert("s".into(), Secret::new("CANARY").unwrap());
        let built = bench.build_with(&options);
        assert_eq!(built.output, expected, "{mount}");
        assert!(!contains(&everything(&built), b"CANARY"), "{mount}");
        assert!(
            built.content("etc/passwd").starts_with("root:"),
            "what was there is there again"
        );
        assert!(!format!("{options:?}").contains("CANARY"));
    }
    assert!(!holds(bench.store.path(), "CANARY"), "nothing of a secret stays");
    let message = bench.fail("FROM busybox\nRUN --mount=type=secret,id=s,required true\n");
    assert!(
        message.contains("Dockerfile:2:1: secret s: not found"),
        "{message}"
    );
    assert!(Secret::new(vec![0; (500 << 10) + 1]).is_none());
}

#[test]
fn later_steps_do_not_see_secrets_kaniko_5_3() {
    let bench = Bench::new();
    let mut options = bench.options(
        "FROM busybox\nRUN --mount=type=secret,id=s,env=S --mount=type=secret,id=s,target=/s cat /s > /dev/null\n\
         RUN ls /s /run/secrets; cat /proc/*/environ | tr '\\0' '\\n' | grep -c CANARY; true\n",
    );
    options.secrets.insert("s".into(), Secret::new("CANARY").unwrap());
    let output = bench.build_with(&options).output;
    assert!(output.ends_with("0\n"), "{output}");
}

#[test]
fn ssh_agents_i12() {
    let bench = Bench::new();
    let socket = bench.directory.path().join("agent");
    let _listener = UnixListener::bind(&socket).unwrap();
    let mut options = bench.options(
        "FROM busybox\nRUN --mount=type=ssh,uid=1000,mode=0606 echo $SSH_AUTH_SOCK; stat -c '%u %a' $SSH_AUTH_SOCK\n",
    );
    options.ssh.insert("default".into(), socket);
    let output = bench.build_with(&options).output;
    assert!(
        output.starts_with("/run/buildkit/ssh_agent.0\n1000 606\n"),
        "{output}"
    );
    let without = bench.options("FROM busybox\nRUN --mount=type=ssh echo $SSH_AUTH_SOCK\n");
    assert_eq!(bench.build_with(&without).output, "/run/buildkit/ssh_agent.0\n");
    let message = bench.fail("FROM busybox\nRUN --mount=type=ssh,required true\n");
    assert!(message.contains("ssh agent default: not forwarded"), "{message}");
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
    let message = bench.fail("FROM busybox\nRUN --device=vendor.com/gpu=0 true\n");
    assert!(message.contains("Dockerfile:2"), "{message}");
}

#[test]
fn processes_do_not_outlive_their_step_kaniko_5_3() {
    let bench = Bench::new();
    let start = Instant::now();
    let built = bench.build("FROM busybox\nRUN setsid sh -c 'sleep 20; touch /late' & true\n");
    assert!(start.elapsed() < Duration::from_secs(10));
    assert!(!built.files().contains_key("late"));
}

#[test]
fn mount_points_cannot_be_led_away_cve_2024_23652() {
    let bench = Bench::new();
    let canary = bench.directory.path().join("canary");
    fs::create_dir(&canary).unwrap();
    fs::create_dir(canary.join("m")).unwrap();
    let outside = canary.to_str().unwrap();
    bench.build(&format!(
        "FROM busybox\nRUN --mount=type=tmpfs,target=/p/m rm -rf /p 2>/dev/null; mv /p /q; ln -s {outside} /p; true\n"
    ));
    bench.build(&format!(
        "FROM busybox\nRUN ln -s {outside} /out\nRUN --mount=type=tmpfs,target=/out/m touch /out/m/x; true\n"
    ));
    assert_eq!(fs::read_dir(&canary).unwrap().count(), 1);
    assert!(canary.join("m").exists());
}

#[test]
fn stages_run_at_the_same_time_s1() {
    let bench = Bench::new();
    let start = Instant::now();
    bench.build(
        "FROM busybox AS a\nRUN sleep 1\nFROM busybox AS b\nRUN sleep 1 && true\nFROM busybox AS c\nRUN sleep 1; true\n\
         FROM scratch\nCOPY --from=a /etc /a\nCOPY --from=b /etc /b\nCOPY --from=c /etc /c\n",
    );
    assert!(
        start.elapsed() < Duration::from_millis(2900),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn a_failure_ends_the_other_stages() {
    let bench = Bench::new();
    let start = Instant::now();
    let message = bench.fail("FROM busybox AS a\nRUN sleep 30\nFROM busybox AS b\nRUN sleep 0.2; exit 3\nFROM scratch\nCOPY --from=a / /a\nCOPY --from=b / /b\n");
    assert!(message.contains("exit code: 3"), "{message}");
    assert!(start.elapsed() < Duration::from_secs(15));
}

#[test]
fn a_build_can_be_cancelled() {
    let bench = Bench::new();
    let options = bench.options("FROM busybox\nRUN sleep 30\n");
    let cancellation = options.cancellation.clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(500));
        cancellation.cancel();
    });
    let start = Instant::now();
    assert!(matches!(bench.try_build(&options), Err(ExecutorError::Cancelled)));
    assert!(start.elapsed() < Duration::from_secs(15));
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
fn a_mount_in_a_chroot_is_an_error_with_its_line() {
    let bench = Bench::new();
    let mut options = bench.options("FROM busybox\nRUN --mount=type=tmpfs,target=/t true\n");
    options.isolation = IsolationMode::Forced(Rung::Chroot);
    let message = bench.fail_with(&options);
    assert!(message.contains("Dockerfile:2:1"), "{message}");
}

#[test]
fn images_files_of_accounts_are_bounded_cve_2024_9676() {
    let bench = Bench::new();
    for command in [
        "rm /etc/passwd && mkfifo /etc/passwd",
        "rm /etc/passwd && ln -s /../../../../etc/shadow /etc/passwd",
        "rm /etc/passwd && dd if=/dev/zero of=/etc/passwd bs=1 count=1 seek=30000000 2>/dev/null",
    ] {
        let start = Instant::now();
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
        assert!(start.elapsed() < Duration::from_secs(10), "{command}");
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
