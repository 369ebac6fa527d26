//! The rungs of the ladder below the first, and which of them a machine offers.

use std::os::unix::fs::{MetadataExt, chown};

use lifecycle_sandbox::{Content, Exit, Identity, Isolation, Root, Run, SandboxError, Seccomp};

use crate::support::{self, Fixture, as_ordinary_user, collect, example, mount};

#[test]
fn chroot_and_in_place_refuse_what_they_cannot_do() {
    let Some(f) = Fixture::of_root() else { return };
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
    let Some(f) = Fixture::of_root() else { return };
    let mut run = f.shell(
        "id -u; id -G; pwd; ls /; grep x /proc/self/status || echo none; setsid sleep 86400 & sleep 0.1; exit 4",
    );
    run.isolation = Isolation::Chroot;
    run.seccomp = Seccomp::Off;
    run.directory = "/work".into();
    run.identity = Some(Identity::new(1000, 1000));
    // Its streams stay open until the orphan is ended, too.
    let outcome = collect(run).unwrap();
    assert_eq!(outcome.exit, Exit::Code(4));
    assert!(
        outcome.stdout.starts_with("1000\n1000\n/work\nbin\n") && outcome.stdout.ends_with("none\n"),
        "{outcome:?}"
    );
}

#[test]
fn chroot_has_the_usual_devices_for_the_time_of_the_run() {
    let Some(f) = Fixture::of_root() else { return };
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
    let Some(f) = Fixture::of_root() else { return };
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
    let Some(f) = Fixture::of_root() else { return };
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
    let Some(f) = Fixture::of_root() else { return };
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
    let Some(f) = Fixture::of_root() else { return };
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
    let Some(f) = Fixture::of_root() else { return };
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
