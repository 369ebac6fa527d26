//! A root file system with busybox, and runs in it.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use lifecycle_sandbox::{Exit, Isolation, Root, Run, SandboxError, Stdio, Streams, UserNamespace};

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
    pub(crate) fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        assert!(Path::new(BUSYBOX).exists(), "{BUSYBOX} is missing: apt-get install busybox-static");
        let root = temporary.path().join("root");
        for directory in ["bin", "etc", "tmp", "root", "dev", "proc", "sys", "home"] {
            std::fs::create_dir_all(root.join(directory)).unwrap();
        }
        std::fs::copy(BUSYBOX, root.join("bin/busybox")).unwrap();
        for applet in [
            "sh", "cat", "ls", "id", "env", "true", "sleep", "mount", "umount", "unshare", "mkdir", "touch",
            "rm", "ln", "mv", "hostname", "readlink", "stat", "kill", "mknod", "chmod", "chown", "grep", "echo",
            "setsid", "ps", "wc", "ip", "pwd", "head", "dd", "od", "tty", "test", "find", "sed", "seq", "chroot", "cp",
        ] {
            symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        std::fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\ncnb:x:1000:1000::/home:/bin/sh\n").unwrap();
        std::fs::write(root.join("etc/group"), "root:x:0:\ncnb:x:1000:\n").unwrap();
        Self { temporary, root }
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
    run.streams = Streams::Separate { stdin: Stdio::Null, stdout: Stdio::Pipe, stderr: Stdio::Pipe };
    let mut process = run.spawn()?;
    let (mut stdout, mut stderr) = (String::new(), String::new());
    let mut errors = process.stderr.take().unwrap();
    let reader = std::thread::spawn(move || {
        errors.read_to_string(&mut stderr).unwrap();
        stderr
    });
    process.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    let stderr = reader.join().unwrap();
    Ok(Outcome { exit: process.wait()?, stdout, stderr })
}
