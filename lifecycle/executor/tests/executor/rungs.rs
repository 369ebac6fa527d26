//! The same build on every rung of the isolation ladder, each with the restriction that leads to it set up for real
//! (T12 to T16, U17).

use std::process::Command;

use crate::users::{builder, copy_program};

/// Changes of every kind, by root and by another user, and what only the machine gives.
const DOCKERFILE: &str = "FROM busybox AS first
COPY --chown=5:6 f /theirs
RUN echo more >> /home/hers && mkdir -p /new/deep && touch /new/deep/a && chown -R 1000:1001 /new && rm /bin/mv
RUN stat -c %u:%g /new/deep/a > /seen && mkdir /kept && chmod 2750 /kept && grep db /etc/hosts > /hosts
RUN stat -c 'shared is %a %u:%g' /shared && touch /shared/new
RUN chown 7 /theirs && ln -s nowhere /link && chown -h 8:9 /link
RUN --mount=source=f,target=/m/f --mount=type=cache,target=/c --mount=type=tmpfs,target=/t \\
    cp /m/f /t/f && cp /t/f /c/f && cp /c/f /mounted
RUN <<-script
\t#!/bin/sh
\techo from a script > /script
script
FROM scratch
ENV PATH=/bin
COPY --from=first / /
USER alice
RUN [\"touch\", \"/home/by-alice\"]
USER root
RUN true
";

const EXPECTED: [&str; 13] = [
    "home/hers 600 1000:1001",
    "shared is 3775 1000:1001",
    "shared/ 3775 1000:1001",
    "theirs 644 7:6",
    "new/ 755 1000:1001",
    "new/deep/a 644 1000:1001",
    "kept/ 2750 0:0",
    "link 777 8:9",
    "seen 644 0:0",
    "hosts 644 0:0",
    "mounted 644 0:0",
    "script 644 0:0",
    "home/by-alice 644 1000:1001",
];

/// The 14 capabilities of a container that a runtime makes without being asked for more.
const CONTAINER: &str = "--bounding-set=-all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,+net_bind_service,+net_raw,+sys_chroot,+mknod,+audit_write,+setfcap";

/// Makes a user namespace in which no other one can be made, and goes on with `exec`.
const NO_NAMESPACES: &str = "echo 0 > /proc/sys/user/max_user_namespaces || exit 97; exec \"$@\"";

/// Builds with the program started by `before`; success and what was printed.
fn build(before: &[&str], isolation: &str, dockerfile: &str) -> (bool, String) {
    build_with("f", b"F", before, &[isolation], dockerfile)
}

/// The same with this file in the context, and more words for the program.
pub(crate) fn build_with(
    file: &str,
    content: &[u8],
    before: &[&str],
    words_after: &[&str],
    dockerfile: &str,
) -> (bool, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    for name in ["context", "home"] {
        std::fs::create_dir(path(name)).unwrap();
    }
    std::fs::write(path("context").join(file), content).unwrap();
    std::fs::write(path("Dockerfile"), dockerfile).unwrap();
    copy_program(&builder(), &path("builder"));
    for path in [directory.path(), &path("home")] {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    }
    let program = path("builder");
    let mut words = before.to_vec();
    words.push(program.to_str().unwrap());
    let output = Command::new(words[0])
        .args(&words[1..])
        .args([path("home/store"), path("context"), path("Dockerfile")])
        .args(words_after)
        .output()
        .unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}

/// The whole build succeeds on this rung and gives what it gives everywhere.
fn holds(before: &[&str], isolation: &str, name: &str) {
    let (success, output) = build(before, isolation, DOCKERFILE);
    assert!(success, "{name}: {output}");
    assert!(
        output.contains(&format!("isolation {name}\n")),
        "{name}: {output}"
    );
    for line in EXPECTED {
        assert!(
            output.lines().any(|found| found == line),
            "{name}: {line} in {output}"
        );
    }
    for gone in ["bin/mv ", "dev/pipes", "etc/hosts ", "m/", "c/", "t/"] {
        assert!(
            !output.lines().any(|line| line.starts_with(gone)),
            "{name}: {gone} in {output}"
        );
    }
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub(crate) const NOBODY: [&str; 6] = [
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--inh-caps=-all",
    "--bounding-set=-all",
];

#[test]
fn rung_1_root_over_overlay_t12() {
    holds(&["env"], "auto", "namespaces with all ids and overlay");
}

#[test]
fn rung_1_an_ordinary_user_with_subordinate_ids_t12() {
    if !is_root() {
        // Whoever runs the tests as such a user has seen it in `rung_1_root_over_overlay_t12`.
        return;
    }
    let etc = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| std::fs::write(etc.path().join(name), content).unwrap();
    write("subuid", "ann:200000:65536\n");
    write("subgid", "ann:300000:65536\n");
    write("passwd", "root:x:0:0::/:\nann:x:4321:4321::/:\n");
    write("group", "root:x:0:\nann:x:4321:\n");
    std::fs::set_permissions(etc.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let script = "for file in subuid subgid passwd group; do mount --bind $0/$file /etc/$file || exit 98; done; \
                  exec setpriv --reuid 4321 --regid 4321 --clear-groups \"$@\"";
    let before = ["unshare", "-m", "sh", "-c", script, etc.path().to_str().unwrap()];
    holds(&before, "auto", "namespaces with all ids and overlay");
}

#[test]
fn rung_2_roots_are_copies_t13() {
    holds(&["env"], "copy", "namespaces with all ids, roots copied");
}

#[test]
fn rung_3_an_ordinary_user_without_subordinate_ids_t14() {
    if is_root() {
        holds(&NOBODY, "auto", "namespaces with one id");
    }
    holds(&["env"], "single", "namespaces with one id");
}

#[test]
fn rung_4_chroot_without_cap_sys_admin_t15() {
    if !is_root() {
        // It takes root.
        return;
    }
    holds(&["setpriv", CONTAINER], "chroot", "chroot");
    // Where no namespace is allowed it is chosen without being asked for.
    let grants = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(grants.path(), "root:0:65536\n").unwrap();
    let script = format!(
        "for file in subuid subgid; do mount --bind $0 /etc/$file || exit 98; done; \
         exec unshare --user --map-users=0,0,65536 --map-groups=0,0,65536 --setuid=0 --setgid=0 \
         sh -c '{NO_NAMESPACES}' sh setpriv {CONTAINER} \"$@\""
    );
    let before = [
        "unshare",
        "-m",
        "sh",
        "-c",
        &script,
        grants.path().to_str().unwrap(),
    ];
    holds(&before, "auto", "chroot");
}

#[test]
fn every_rung_gives_the_same_image_i5() {
    // No directory to mount anything on, and nothing that stays of what was mounted for a while.
    let dockerfile = "FROM scratch\nCOPY --from=busybox /bin /bin\nENV PATH=/bin\n\
                      RUN echo 1 > /one; rm /bin/mv; mkdir -m 700 /a; chown 5:6 /a\n\
                      RUN --mount=target=/m/c echo 2 > /a/two; rm /one\n";
    let digest = |isolation: &str| {
        let (success, output) = build(&["env"], isolation, dockerfile);
        assert!(success, "{isolation}: {output}");
        for made in ["dev/ 755 0:0", "proc/ 755 0:0", "sys/ 755 0:0"] {
            assert!(output.lines().any(|line| line == made), "{isolation}: {output}");
        }
        let mut lines = output.lines();
        let digest = lines.find_map(|line| line.strip_prefix("digest "));
        digest.expect("the builder says the digest").to_owned()
    };
    let wanted = digest("overlay");
    // A chroot takes root.
    let others: &[&str] = if is_root() {
        &["copy", "single", "chroot"]
    } else {
        &["copy", "single"]
    };
    for isolation in others {
        assert_eq!(digest(isolation), wanted, "{isolation}");
    }
}

#[test]
fn no_rung_without_capabilities_and_namespaces_t16() {
    let before = [
        "unshare",
        "--user",
        "--map-root-user",
        "sh",
        "-c",
        NO_NAMESPACES,
        "sh",
        "setpriv",
        "--inh-caps=-all",
        "--bounding-set=-all",
        "--no-new-privs",
    ];
    let (success, output) = build(
        &before,
        "auto",
        "FROM busybox AS one\nCOPY --chown=alice f /x/f\nWORKDIR /w\nFROM busybox\nCOPY --from=one /x /y\nCOPY --from=busybox /home /z\n",
    );
    assert!(success, "{output}");
    for line in ["y/f 644 1000:1001", "z/hers 600 1000:1001"] {
        assert!(output.lines().any(|found| found == line), "{line} in {output}");
    }
    let (success, output) = build(&before, "auto", "FROM busybox\nCOPY f /\nRUN true\n");
    assert!(!success);
    let wanted = [
        "error Dockerfile:3:1: running a command is not possible",
        "user.max_user_namespaces is 0",
        "sysctl user.max_user_namespaces=15000",
    ];
    for text in wanted {
        assert!(output.contains(text), "{text} in {output}");
    }
}

#[test]
fn a_rung_that_does_not_hold_says_what_is_missing_t16() {
    let before = if is_root() { &NOBODY[..] } else { &["env"] };
    let (success, output) = build(before, "chroot", "FROM busybox\nRUN true\n");
    assert!(!success);
    assert!(
        output.contains("chroot: this process lacks CAP_SYS_CHROOT, CAP_SETUID, CAP_SETGID")
            && output.contains("Dockerfile:2:1"),
        "{output}"
    );
}
