//! The table of `kaniko.md` 5.3 as far as it concerns running a command: one test for each row, each with a
//! canary outside the root that must stay as it was.

use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, makedev, mknodat};

use lifecycle_sandbox::{BindSource, Content, Identity, Isolation, Mount, SandboxError, UserNamespace};

use crate::executable::write_program;
use crate::support::{Fixture, collect};

/// A file and a directory outside the root; checked when dropped.
struct Canary {
    directory: PathBuf,
    before: (u64, u32, u32, i64),
}

impl Canary {
    fn new(f: &Fixture) -> Self {
        let directory = f.outside("canary");
        std::fs::write(directory.join("file"), "canary").unwrap();
        std::fs::create_dir(directory.join("empty")).unwrap();
        let before = Self::look(&directory);
        Self { directory, before }
    }

    fn look(directory: &Path) -> (u64, u32, u32, i64) {
        let found = std::fs::metadata(directory).unwrap();
        (found.ino(), found.mode(), found.uid(), found.mtime_nsec())
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(
                std::fs::read_to_string(self.directory.join("file")).unwrap(),
                "canary"
            );
            assert!(self.directory.join("empty").is_dir());
            assert_eq!(Self::look(&self.directory), self.before);
        }
    }
}

#[test]
fn no_descriptor_leaks_cve_2024_21626() {
    let Some(f) = Fixture::of_root() else { return };
    let canary = Canary::new(&f);
    // Not close-on-exec, as a careless library would open it.
    let leaky = std::fs::File::open(&canary.directory).unwrap();
    let leaky = rustix::io::fcntl_dupfd_cloexec(&leaky, 20).unwrap();
    rustix::io::fcntl_setfd(&leaky, rustix::io::FdFlags::empty()).unwrap();
    assert_eq!(
        f.output("for fd in /proc/self/fd/*; do if test -e $fd; then echo ${fd##*/}; fi; done"),
        "0\n1\n2\n"
    );
    for number in 3..30 {
        let mut run = f.run(&["pwd"]);
        run.directory = format!("/proc/self/fd/{number}/../../..").into();
        match collect(run) {
            Err(SandboxError::MountPoint { .. }) => {}
            Ok(outcome) => assert_eq!(outcome.stdout, "/\n", "only a path within the root is left of it"),
            Err(error) => panic!("{error:?}"),
        }
    }
    symlink("/proc/self/fd/20", f.root.join("work")).unwrap();
    let mut run = f.run(&["pwd"]);
    run.directory = "/work".into();
    assert!(matches!(collect(run), Err(SandboxError::MountPoint { .. })));
}

#[test]
fn stub_cleanup_stays_inside_cve_2024_23652() {
    let Some(f) = Fixture::of_root() else { return };
    let canary = Canary::new(&f);
    let mut run = f.shell(&format!(
        "mv /mnt /moved 2>/dev/null; ln -s {} /mnt; ls -d /moved",
        canary.directory.display()
    ));
    run.mounts = vec![Mount {
        target: "/mnt/empty".into(),
        content: Content::Tmpfs {
            size: None,
            mode: 0o755,
        },
    }];
    drop(collect(run).unwrap());
}

#[test]
fn bind_source_link_stays_in_its_stage_cve_2024_1753() {
    let Some(f) = Fixture::of_root() else { return };
    let canary = Canary::new(&f);
    let stage = f.outside("stage");
    symlink("/", stage.join("link")).unwrap();
    symlink(canary.directory.join("file"), stage.join("direct")).unwrap();
    std::fs::write(stage.join("inside"), "inside").unwrap();
    let mut run = f.shell("cat /from/inside; cat /from/direct; ls /from | wc -l");
    let source = BindSource::beneath(&stage, Path::new("/link")).unwrap();
    run.mounts = vec![Mount {
        target: "/from".into(),
        content: Content::Bind {
            source,
            read_only: true,
            devices: false,
        },
    }];
    assert_eq!(collect(run).unwrap().stdout, "inside3\n");
    assert!(BindSource::beneath(&stage, Path::new("/direct")).is_err());
    assert!(BindSource::beneath(&stage, Path::new("../canary/file")).is_err());
}

#[test]
fn bind_source_cannot_be_swapped_cve_2024_11218() {
    let Some(f) = Fixture::of_root() else { return };
    let canary = Canary::new(&f);
    let stage = f.outside("stage");
    std::fs::create_dir(stage.join("source")).unwrap();
    std::fs::write(stage.join("source/file"), "checked").unwrap();
    let source = BindSource::beneath(&stage, Path::new("source")).unwrap();
    // Between check and use, another step puts a link in its place.
    std::fs::rename(stage.join("source"), stage.join("gone")).unwrap();
    symlink(&canary.directory, stage.join("source")).unwrap();
    let mut run = f.shell("cat /from/file; rm -rf /from/*; echo");
    run.mounts = vec![Mount {
        target: "/from".into(),
        content: Content::Bind {
            source,
            read_only: false,
            devices: false,
        },
    }];
    assert_eq!(collect(run).unwrap().stdout, "checked\n");
}

#[test]
fn mount_target_link_stays_inside_i13() {
    let Some(f) = Fixture::of_root() else { return };
    let canary = Canary::new(&f);
    symlink(canary.directory.join("empty"), f.root.join("target")).unwrap();
    let mut run = f.shell("touch /target/x; ls /target");
    run.mounts = vec![Mount {
        target: "/target".into(),
        content: Content::Tmpfs {
            size: None,
            mode: 0o755,
        },
    }];
    assert_eq!(collect(run).unwrap().stdout, "x\n");
}

#[test]
fn host_environment_does_not_leak_cve_2021_3602() {
    let Some(f) = Fixture::of_root() else { return };
    assert_eq!(collect(f.run(&["env"])).unwrap().stdout, "PATH=/bin\n");
}

#[test]
fn no_inherited_groups_or_capabilities_cve_2022_2990_cve_2022_27651() {
    let Some(f) = Fixture::of_root() else { return };
    let mut run = f.shell("id -G; grep -E 'Cap(Inh|Amb)' /proc/self/status");
    run.identity = Some(Identity::new(1000, 1000));
    assert_eq!(
        collect(run).unwrap().stdout,
        "1000\nCapInh:\t0000000000000000\nCapAmb:\t0000000000000000\n"
    );
}

#[test]
fn this_program_cannot_be_reached_or_overwritten_cve_2019_5736() {
    let Some(f) = Fixture::of_root() else { return };
    let own = std::env::current_exe().unwrap();
    let before = std::fs::metadata(&own).unwrap();
    // Through the init process.
    for script in [
        "readlink /proc/1/exe || echo refused",
        "cat /proc/1/exe > /dev/null || echo refused",
        "echo x > /proc/1/exe || echo refused",
        "cat /proc/1/environ | wc -c | grep -v '^0$' || echo refused",
        "for fd in /proc/1/fd/*; do readlink $fd || cat $fd || echo x > $fd || continue; exit 9; done; echo refused",
        "cat /proc/1/mem || echo refused",
        "ls /proc/1/root/ || echo refused",
    ] {
        assert_eq!(f.output(script), "refused\n", "{script}");
    }
    // Its command line is the caller's: wiped.
    assert_eq!(f.output("cat /proc/1/cmdline | tr -d '\\000' | wc -c"), "0\n");
    // As the program itself, as its interpreter, and through links: /proc is not there yet.
    write_program(&f.root.join("bin/script"), "#!/proc/self/exe\n");
    symlink("/proc/self/exe", f.root.join("bin/link")).unwrap();
    for program in ["/proc/self/exe", "/bin/script", "/bin/link", "/proc/1/exe"] {
        let error = collect(f.run(&[program])).unwrap_err();
        let SandboxError::Execute { source, .. } = error else {
            panic!("{error:?}")
        };
        assert_eq!(source.kind(), std::io::ErrorKind::NotFound, "{program}");
    }
    let after = std::fs::metadata(&own).unwrap();
    assert_eq!((before.mtime(), before.len()), (after.mtime(), after.len()));
}

#[test]
fn masked_paths_cannot_be_redirected_cve_2025_31133() {
    let Some(f) = Fixture::of_root() else { return };
    let canary = Canary::new(&f);
    // A root whose /proc or /dev is a link: refused, not followed.
    for name in ["proc", "dev", "sys"] {
        std::fs::remove_dir(f.root.join(name)).unwrap();
        symlink(canary.directory.join("empty"), f.root.join(name)).unwrap();
        assert!(
            matches!(collect(f.run(&["true"])), Err(SandboxError::MountPoint { .. })),
            "{name}"
        );
        std::fs::remove_file(f.root.join(name)).unwrap();
        std::fs::create_dir(f.root.join(name)).unwrap();
    }
    assert_eq!(f.output("test -c /proc/keys && wc -c < /proc/keys"), "0\n");
}

#[test]
fn secret_leaves_nothing_behind_and_hides_nothing_for_good() {
    let Some(f) = Fixture::of_root() else { return };
    std::fs::write(f.root.join("etc/token"), "the image's own").unwrap();
    let mut run = f.shell(
        "cat /etc/token; cp /etc/token /tmp/stolen-by-the-step-itself; rm /tmp/stolen-by-the-step-itself",
    );
    run.mounts = vec![Mount {
        target: "/etc/token".into(),
        content: Content::File {
            bytes: b"hunter2".to_vec(),
            mode: 0o400,
            uid: 0,
            gid: 0,
        },
    }];
    assert_eq!(collect(run).unwrap().stdout, "hunter2");
    assert_eq!(
        std::fs::read_to_string(f.root.join("etc/token")).unwrap(),
        "the image's own"
    );
    assert_eq!(
        f.output("grep -rl hunter2 /etc /tmp /home /root /dev/shm 2>/dev/null | wc -l"),
        "0\n"
    );
}

#[test]
fn no_process_survives_its_step() {
    let Some(f) = Fixture::of_root() else { return };
    f.output("setsid sh -c 'sleep 1; touch /tmp/late' >/dev/null 2>&1 & sleep 0.1");
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert!(!f.root.join("tmp/late").exists());
}

#[test]
fn hosts_processes_are_invisible_and_untouchable() {
    let Some(f) = Fixture::of_root() else { return };
    let own = std::process::id();
    assert_eq!(
        f.output(&format!("test -e /proc/{own}/status && echo seen || echo hidden")),
        "hidden\n"
    );
    assert_eq!(
        f.output("ls -d /proc/[0-9]* | wc -l | grep -E '^[1-5]$' > /dev/null && echo few"),
        "few\n"
    );
}

#[test]
fn device_nodes_of_the_root_are_dead() {
    let Some(f) = Fixture::of_root() else { return };
    mknodat(
        CWD,
        f.root.join("tmp/zero"),
        FileType::CharacterDevice,
        0o666.into(),
        makedev(1, 5),
    )
    .unwrap();
    assert_eq!(f.output("head -c 1 /tmp/zero || echo refused"), "refused\n");
}

#[test]
fn seccomp_refuses_what_reaches_for_the_host() {
    let Some(f) = Fixture::of_root() else { return };
    f.install_calls();
    let out = f.output("/bin/calls");
    for line in out.lines() {
        let (call, answer) = line.split_once(' ').unwrap();
        let expected = match call {
            "clone3" | "unknown" => "ENOSYS",
            "personality_query" => "ok",
            _ => "EPERM",
        };
        assert_eq!(answer, expected, "{call}");
    }
    assert_eq!(out.lines().count(), 26, "{out}");
}

/// What lies on a root is not seen at `/`, but `/..` leads into it. A file in memory is attached by way of a file
/// system that is stacked on the host's root, so that one unmount leaves the host's root where it is.
#[test]
fn the_way_up_from_the_root_leads_nowhere() {
    let Some(fixture) = Fixture::of_root() else { return };
    let file = || Mount {
        target: "/etc/hosts".into(),
        content: Content::File {
            bytes: b"127.0.0.1 localhost\n".to_vec(),
            mode: 0o644,
            uid: 0,
            gid: 0,
        },
    };
    let tmpfs = || Mount {
        target: "/tmp".into(),
        content: Content::Tmpfs {
            size: None,
            mode: 0o1777,
        },
    };
    for mounts in [vec![], vec![file()], vec![tmpfs()], vec![file(), tmpfs()]] {
        for namespace in [UserNamespace::Own, UserNamespace::Shared] {
            let script = "for way in /.. /../.. /bin/../..; do stat -c '%d %i' $way; done; stat -c '%d %i' /";
            let mut run = fixture.shell(script);
            run.isolation = Isolation::Namespaces(namespace);
            run.mounts.extend(mounts.iter().map(|mount| match &mount.content {
                Content::File { .. } => file(),
                _ => tmpfs(),
            }));
            let outcome = collect(run).unwrap();
            let lines: Vec<&str> = outcome.stdout.lines().collect();
            assert_eq!(lines.len(), 4, "{outcome:?}");
            assert!(lines.iter().all(|line| *line == lines[3]), "{outcome:?}");
        }
    }
}
