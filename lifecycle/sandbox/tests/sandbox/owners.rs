//! Owners where there is one id: kept for who writes the layer, and read back by the step (T14).

use std::os::unix::fs::PermissionsExt as _;

use crate::support::{Fixture, as_ordinary_user, run_program};

const USER: u32 = 4321;

/// What a script prints, with the owners that were kept; nothing where ordinary users have no namespaces.
fn keep(script: &str) -> Option<String> {
    let f = Fixture::of_root()?;
    f.install_calls();
    std::fs::write(f.root.join("etc/shadow"), "root:*:::::::\n").unwrap();
    std::fs::set_permissions(f.outside(".").as_path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    f.give_to(USER);
    let arguments = ["owners", f.path(), "/bin/sh", "-c", script];
    let outcome = if rustix::process::geteuid().is_root() {
        as_ordinary_user(USER, &arguments)
    } else {
        run_program(crate::support::example().to_str().unwrap(), &arguments)
    };
    if outcome.stderr.contains("user namespaces are not allowed here") {
        // Nothing can be shown on this machine.
        return None;
    }
    assert!(outcome.exit.success(), "{script}: {outcome:?}");
    Some(outcome.stdout)
}

#[test]
fn chown_of_every_kind_is_kept_and_read_back_t14() {
    let script = "cd /tmp; touch a b; mkdir d; ln -s a link; mknod pipe p
        chown 33:34 a; chown :5 b; chown -h 6:7 link; chown 8 d; chown 9:9 pipe; ln a hard; mv b c
        chown 10 /nowhere 2>/dev/null || echo missing
        stat -c '%n %u:%g' a c d link pipe hard /etc/shadow /etc/passwd";
    let Some(output) = keep(script) else { return };
    let expected = "missing\na 33:34\nc 0:5\nd 8:0\nlink 6:7\npipe 9:9\nhard 33:34\n/etc/shadow 0:42\n/etc/passwd 0:0\n\
                    kept: tmp/a 33:34\nkept: tmp/c 0:5\nkept: tmp/d 8:0\nkept: tmp/hard 33:34\nkept: tmp/link 6:7\n\
                    kept: tmp/pipe 9:9\nkept: etc/shadow 0:42\n";
    assert_eq!(output, expected);
}

#[test]
fn chown_in_a_root_of_the_steps_own_means_that_root_t14() {
    let script = "mkdir -p /tmp/r/bin /tmp/r/tmp; cp /bin/busybox /tmp/r/bin/; ln -s busybox /tmp/r/bin/chown; ln -s / /tmp/r/up
        touch /tmp/f /tmp/r/tmp/f; chroot /tmp/r /bin/chown 5:5 /up/tmp/f
        stat -c '%n %u' /tmp/f /tmp/r/tmp/f";
    let Some(output) = keep(script) else { return };
    assert_eq!(output, "/tmp/f 0\n/tmp/r/tmp/f 5\nkept: etc/shadow 0:42\n");
}

#[test]
fn becoming_another_user_succeeds_and_is_told_so_t14() {
    let Some(output) = keep("calls identities; id -u") else {
        return;
    };
    assert_eq!(
        output,
        "setgroups 0\nsetresgid 0\nsetresuid 0\nuid 33\nback -1\n0\nkept: etc/shadow 0:42\n"
    );
}

#[test]
fn a_chown_clears_set_id_bits_and_moves_the_time_of_change_as_the_kernels_does_t14() {
    let script = "cd /tmp; touch a; chmod 6755 a; chown 5 a; stat -c '%a %u' a
        : > old; chmod 4755 old; chown 0:0 old; stat -c %a old";
    let Some(output) = keep(script) else { return };
    assert_eq!(
        output,
        "755 5\n755\nkept: tmp/a 5:0\nkept: tmp/old 0:0\nkept: etc/shadow 0:42\n"
    );
}

#[test]
fn owners_cannot_be_changed_through_links_of_proc_t14() {
    // The first process of the sandbox is the program itself: what its links lead to is none of the step's business.
    let script =
        "chown 5 /proc/1/exe 2>/dev/null || echo refused; chown 5 /proc/self/exe 2>/dev/null || echo refused";
    let Some(output) = keep(script) else { return };
    assert_eq!(output, "refused\nrefused\nkept: etc/shadow 0:42\n");
}
