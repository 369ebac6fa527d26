//! What is attached to a command (I8 to I13): mounted, and on rung 4, where nothing can be, in the root itself.

use std::fs;
use std::os::unix::net::UnixListener;

use lifecycle_executor::{IsolationMode, Options, Secret};
use lifecycle_sandbox::Rung;

use crate::support::{Bench, Built, contains, everything, holds};

fn output(bench: &Bench, lines: &str) -> String {
    bench.build(&format!("FROM busybox\n{lines}\n")).output
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
fn a_tmpfs_has_the_mode_of_the_directory_that_it_covers_i10() {
    let bench = Bench::new();
    let lines = "RUN mkdir -m 750 /p && chown 5:6 /p && ln -s p /l\n\
                 RUN --mount=type=tmpfs,target=/p stat -c '%a %u' /p\n\
                 RUN --mount=type=tmpfs,target=/l stat -c '%a %u' /p\n\
                 RUN stat -c '%a %u' /p";
    assert_eq!(output(&bench, lines), "750 0\n750 0\n750 5\n");
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

/// A build on rung 4.
fn in_a_chroot(bench: &Bench, lines: &str) -> Options {
    let mut options = bench.options(&format!("FROM busybox\n{lines}\n"));
    options.isolation = IsolationMode::Forced(Rung::Chroot);
    options
}

fn built_in_a_chroot(bench: &Bench, lines: &str) -> Built {
    bench.build_with(&in_a_chroot(bench, lines))
}

/// The paths of the layer of a step, the devices and their directory apart.
fn layer(built: &Built) -> Vec<String> {
    let layer = built.layer(0);
    layer
        .into_keys()
        .filter(|path| !path.starts_with("dev"))
        .collect()
}

#[test]
fn bind_mounts_in_a_chroot_i8_t15() {
    let bench = Bench::new();
    bench.file("d/f", "F");
    bench.link("away", "/etc");
    for (lines, expected, files) in [
        ("RUN --mount=source=d,target=/m cat /m/f", "F", &[][..]),
        (
            "RUN --mount=source=d,target=/m/deep/er cat /m/deep/er/f; touch /m/kept",
            "F",
            &["m", "m/kept"],
        ),
        (
            "RUN --mount=source=d,target=/m,rw echo changed > /m/f; cat /m/f",
            "changed\n",
            &[],
        ),
        (
            "RUN --mount=source=d,target=/m rm -r /m && mkdir /m && touch /m/other; ls /m",
            "other\n",
            &[],
        ),
        (
            "WORKDIR /w\nRUN --mount=source=d/f,target=rel cat /w/rel",
            "F",
            &[],
        ),
        ("RUN --mount=source=d,target=/etc ls /etc", "f\n", &[]),
        ("RUN --mount=source=d,target=/sl/m ls /etc/conf.d/m", "f\n", &[]),
        (
            "RUN --mount=from=busybox,source=/etc/group,target=/g head -n1 /g; echo more >> /etc/group",
            "root:x:0:\n",
            &["etc", "etc/group"],
        ),
        (
            "RUN --mount=source=d,target=/m --mount=from=busybox,source=/etc,target=/m test -f /m/passwd && ls /m",
            "conf.d\ngroup\npasswd\n",
            &[],
        ),
        (
            "RUN --mount=source=d,target=/m --mount=from=busybox,source=/etc,target=/m/etc ls /m",
            "etc\nf\n",
            &[],
        ),
    ] {
        let built = built_in_a_chroot(&bench, lines);
        assert_eq!(built.output, expected, "{lines}");
        assert_eq!(layer(&built), files, "{lines}");
        assert!(built.content("etc/passwd").starts_with("root:"), "{lines}");
    }
    assert_eq!(fs::read_to_string(bench.context().join("d/f")).unwrap(), "F");
}

#[test]
fn cache_mounts_in_a_chroot_i9_t15() {
    let bench = Bench::new();
    for (lines, expected) in [
        ("RUN --mount=type=cache,target=/c echo 1 > /c/f", ""),
        ("RUN --mount=type=cache,target=/c cat /c/f", "1\n"),
        (
            "RUN --mount=type=cache,target=/other,id=/c,sharing=locked cat /other/f",
            "1\n",
        ),
        (
            "RUN --mount=type=cache,target=/c,uid=5,gid=6,mode=0700 stat -c '%u %g %a' /c",
            "5 6 700\n",
        ),
        (
            "RUN --mount=type=cache,target=/c,from=busybox,source=/etc/conf.d stat -c %a /c",
            "750\n",
        ),
        // What is put in its place is the cache from then on, but never a link.
        (
            "RUN --mount=type=cache,target=/l rm -r /l && ln -s /etc /l && echo linked",
            "linked\n",
        ),
        ("RUN --mount=type=cache,target=/l ls /l; echo empty", "empty\n"),
        (
            "RUN --mount=type=cache,target=/l rm -r /l; echo removed",
            "removed\n",
        ),
        ("RUN --mount=type=cache,target=/l ls -d /l", "/l\n"),
    ] {
        let built = built_in_a_chroot(&bench, lines);
        assert_eq!(built.output, expected, "{lines}");
        assert!(layer(&built).is_empty(), "{lines}");
    }
    // Two at once take turns, and other rungs find the same cache.
    let step = "RUN --mount=type=cache,target=/c echo 1 >> /c/count";
    let stages = format!(
        "{step}\nFROM busybox AS b\n{step} && true\nFROM scratch\nCOPY --from=0 /etc /a\nCOPY --from=b /etc /b"
    );
    built_in_a_chroot(&bench, &stages);
    assert_eq!(
        output(&bench, "RUN --mount=type=cache,target=/c cat /c/count"),
        "1\n1\n"
    );
}

#[test]
fn tmpfs_mounts_in_a_chroot_i10_t15() {
    let bench = Bench::new();
    let lines = "RUN --mount=type=tmpfs,target=/t --mount=type=tmpfs,target=/etc/conf.d \
                 stat -c %a /t /etc/conf.d; ls /etc/conf.d; echo CANARY > /t/f; echo CANARY > /etc/conf.d/f";
    let built = built_in_a_chroot(&bench, lines);
    assert_eq!(built.output, "1777\n750\n");
    assert!(layer(&built).is_empty());
    assert!(!holds(bench.store.path(), "CANARY\n"), "nothing of it stays");
}

#[test]
fn ssh_agents_in_a_chroot_i12_t15() {
    let bench = Bench::new();
    let socket = bench.directory.path().join("agent");
    let _listener = UnixListener::bind(&socket).unwrap();
    // A step that removes the socket's name ends all the same.
    let lines =
        "RUN --mount=type=ssh,uid=1000,mode=0606 stat -c '%u %a %F' $SSH_AUTH_SOCK && rm $SSH_AUTH_SOCK";
    let mut options = in_a_chroot(&bench, lines);
    options.ssh.insert("default".into(), socket);
    let built = bench.build_with(&options);
    assert_eq!(built.output, "1000 606 socket\n");
    assert!(layer(&built).is_empty());
}

#[test]
fn secrets_in_a_chroot_i11_t15() {
    let bench = Bench::new();
    let mut options = in_a_chroot(
        &bench,
        "RUN --mount=type=secret,id=s --mount=type=secret,id=s,target=/etc/passwd cat /run/secrets/s /etc/passwd",
    );
    options.secrets.insert("s".into(), Secret::new("CANARY").unwrap());
    let built = bench.build_with(&options);
    assert_eq!(built.output, "CANARYCANARY");
    assert!(layer(&built).is_empty());
    assert!(built.content("etc/passwd").starts_with("root:"));
    assert!(!contains(&everything(&built), b"CANARY"));
    assert!(!holds(bench.store.path(), "CANARY"), "nothing of a secret stays");
    let told = built
        .warnings
        .iter()
        .any(|warning| warning.contains("lie in files of its root"));
    assert!(told, "{:?}", built.warnings);
}

#[test]
fn what_a_chroot_cannot_show_is_an_error_with_its_line_t15() {
    let bench = Bench::new();
    for (mount, what) in [
        (
            "--mount=type=tmpfs,target=/t,size=1m",
            "a tmpfs mount with a size",
        ),
        ("--mount=type=cache,target=/c,ro", "a read-only cache mount"),
        (
            "--mount=type=cache,target=/a,id=x --mount=type=cache,target=/b,id=x",
            "one cache mount at two places",
        ),
    ] {
        let message = bench.fail_with(&in_a_chroot(&bench, &format!("RUN {mount} true")));
        let wanted = format!("Dockerfile:2:1: {what} is not possible");
        assert!(message.contains(&wanted), "{message}");
    }
}
