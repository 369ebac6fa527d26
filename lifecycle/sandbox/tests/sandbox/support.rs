//! A root file system with busybox, and runs in it.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use lifecycle_sandbox::{
    Content, Exit, Isolation, Mount, Root, Run, SandboxError, Stdio, Streams, UserNamespace,
};

use crate::executable::copy_program;

const BUSYBOX: &str = "/bin/busybox";

pub(crate) struct Fixture {
    temporary: tempfile::TempDir,
    pub(crate) root: PathBuf,
}

/// What a command wrote and how it ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) exit: Exit,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Fixture {
    /// Nothing when the tests do not run as root, which drives all rungs from here, the others' by giving up privileges.
    pub(crate) fn of_root() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root can drive every rung");
            return None;
        }
        let temporary = tempfile::tempdir().unwrap();
        assert!(
            Path::new(BUSYBOX).exists(),
            "{BUSYBOX} is missing: apt-get install busybox-static"
        );
        let root = temporary.path().join("root");
        for directory in ["bin", "etc", "tmp", "root", "dev", "proc", "sys", "home"] {
            std::fs::create_dir_all(root.join(directory)).unwrap();
        }
        copy_program(BUSYBOX, root.join("bin/busybox"));
        for applet in [
            "sh", "cat", "ls", "id", "env", "true", "sleep", "mount", "umount", "unshare", "mkdir", "touch",
            "rm", "ln", "mv", "hostname", "readlink", "stat", "kill", "mknod", "chmod", "chown", "grep",
            "echo", "setsid", "ps", "wc", "ip", "pwd", "head", "dd", "od", "tty", "test", "find", "sed",
            "seq", "chroot", "cp", "tr",
        ] {
            symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        std::fs::write(
            root.join("etc/passwd"),
            "root:x:0:0::/root:/bin/sh\ncnb:x:1000:1000::/home:/bin/sh\n",
        )
        .unwrap();
        std::fs::write(root.join("etc/group"), "root:x:0:\ncnb:x:1000:\n").unwrap();
        Some(Self { temporary, root })
    }

    /// A directory beside the root, which no step may touch.
    pub(crate) fn outside(&self, name: &str) -> PathBuf {
        let path = self.temporary.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    pub(crate) fn run(&self, command: &[&str]) -> Run {
        let mut run = Run::new(Isolation::Namespaces(UserNamespace::Own), command);
        run.root = Root::Directory(self.root.clone());
        run.env.push(("PATH".into(), "/bin".into()));
        run
    }

    pub(crate) fn shell(&self, script: &str) -> Run {
        self.run(&["/bin/sh", "-c", script])
    }

    /// Runs a script with the defaults and returns what it printed; it must succeed.
    pub(crate) fn output(&self, script: &str) -> String {
        let outcome = collect(self.shell(script)).unwrap();
        assert!(outcome.exit.success(), "{script}: {outcome:?}");
        outcome.stdout
    }
}

/// Runs a command to its end with its output in pipes.
pub(crate) fn collect(mut run: Run) -> Result<Outcome, SandboxError> {
    use std::io::Read;
    run.streams = Streams::Separate {
        stdin: Stdio::Null,
        stdout: Stdio::Pipe,
        stderr: Stdio::Pipe,
    };
    let mut process = run.spawn()?;
    let (mut stdout, mut stderr) = (String::new(), String::new());
    let mut errors = process.stderr.take().unwrap();
    let reader = std::thread::spawn(move || {
        errors.read_to_string(&mut stderr).unwrap();
        stderr
    });
    process
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut stdout)
        .unwrap();
    let stderr = reader.join().unwrap();
    Ok(Outcome {
        exit: process.wait()?,
        stdout,
        stderr,
    })
}

impl Fixture {
    pub(crate) fn path(&self) -> &str {
        self.root.to_str().unwrap()
    }

    /// Makes everything in the fixture belong to a user.
    pub(crate) fn give_to(&self, uid: u32) {
        let status = std::process::Command::new("chown")
            .args(["-hR", &format!("{uid}:{uid}")])
            .arg(self.temporary.path())
            .status();
        assert!(status.unwrap().success());
    }
}

/// The example program, which cargo builds beside the tests.
pub(crate) fn example() -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.push("examples/sandboxed");
    assert!(
        path.exists(),
        "{} is missing: cargo build --examples",
        path.display()
    );
    path
}

/// Runs a program to its end.
pub(crate) fn run_program(program: &str, arguments: &[&str]) -> Outcome {
    use std::os::unix::process::ExitStatusExt;
    let output = std::process::Command::new(program)
        .args(arguments)
        .output()
        .unwrap();
    let exit = match output.status.code() {
        Some(code) => Exit::Code(code),
        None => Exit::Signal {
            number: output.status.signal().unwrap(),
            out_of_memory: false,
        },
    };
    Outcome {
        exit,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs the example program as a user with no privileges. A copy, as the build directory may be closed to it.
pub(crate) fn as_ordinary_user(uid: u32, arguments: &[&str]) -> Outcome {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let copy = directory.path().join("sandboxed");
    copy_program(example(), &copy);
    let id = uid.to_string();
    let mut all = vec![
        "--reuid",
        &id,
        "--regid",
        &id,
        "--clear-groups",
        copy.to_str().unwrap(),
    ];
    all.extend(arguments);
    run_program("setpriv", &all)
}

impl Fixture {
    /// Runs the example program as a user to whom this host, as seen in a mount namespace of its own, grants
    /// 65536 user ids from 200000 and group ids from 300000.
    pub(crate) fn with_subordinate_ids(&self, uid: u32, arguments: &[&str]) -> Outcome {
        let etc = self.outside("host-etc");
        std::fs::write(etc.join("subuid"), "ann:200000:65536\n").unwrap();
        std::fs::write(etc.join("subgid"), "ann:300000:65536\n").unwrap();
        std::fs::write(
            etc.join("passwd"),
            format!("root:x:0:0::/:\nann:x:{uid}:{uid}::/:\n"),
        )
        .unwrap();
        std::fs::write(etc.join("group"), format!("root:x:0:\nann:x:{uid}:\n")).unwrap();
        let program = etc.join("sandboxed");
        copy_program(example(), &program);
        for path in [self.temporary.path(), &etc] {
            std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        }
        let script = "etc=$1; id=$2; shift 2; \
            for file in subuid subgid passwd group; do mount --bind $etc/$file /etc/$file || exit 98; done; \
            exec setpriv --reuid $id --regid $id --clear-groups \"$@\"";
        let uid = uid.to_string();
        let mut all = vec![
            "-m",
            "sh",
            "-c",
            script,
            "sh",
            etc.to_str().unwrap(),
            &uid,
            program.to_str().unwrap(),
        ];
        all.extend(arguments);
        run_program("unshare", &all)
    }
}

impl Fixture {
    /// Puts the example that tries system calls into the root as `/bin/calls`.
    pub(crate) fn install_calls(&self) {
        let mut calls = example();
        calls.set_file_name("calls");
        copy_program(calls, self.root.join("bin/calls"));
    }
}

pub(crate) fn mount(target: &str, content: Content) -> Mount {
    Mount {
        target: target.into(),
        content,
    }
}
