//! What to run: a command, its root, its mounts, its user, its limits.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, open, openat};
pub use rustix::process::{Resource, Rlimit};

use crate::capabilities::Capabilities;
use crate::file_owners::FileOwners;
use crate::interpreter::Interpreter;
use crate::limits::Limits;
use crate::mountpoint::open_beneath;
use crate::process::Forwarding;
use crate::tree::Tree;
use crate::users::Identity;

/// How a command is kept apart from the host: the part of the ladder that concerns one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// PID, mount, UTS and IPC namespaces around a root of its own (rungs 1 to 3).
    Namespaces(UserNamespace),
    /// Another root directory and the usual devices in it, nothing else (rung 4). Mounts are refused;
    /// what is placed in the root takes their place.
    Chroot,
    /// The present root, the present user (rung 5). Mounts and another user are refused.
    InPlace,
}

/// Whether a step gets a user namespace of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UserNamespace {
    /// Yes, with every id mapped to itself: files keep their owners, but whatever capability the step holds is
    /// worth nothing outside. `mknod` of devices is refused by the kernel.
    #[default]
    Own,
    /// No: for steps that need the capabilities of the caller's namespace, devices above all.
    Shared,
}

/// The root file system of a run.
#[derive(Debug)]
pub enum Root {
    /// A directory.
    Directory(PathBuf),
    /// A detached mount, usually an [`crate::Overlay`].
    Tree(Tree),
    /// The present one; only with [`Isolation::InPlace`].
    Host,
}

/// The network a step sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// The caller's.
    #[default]
    Host,
    /// Only a loopback interface.
    None,
}

/// Whether the system-call filter is on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Seccomp {
    /// The default profile, as strong as the container runtimes'.
    #[default]
    Default,
    /// No filter beyond what this process has itself.
    Off,
}

/// Where one of the standard streams leads.
#[derive(Debug, Default)]
pub enum Stdio {
    /// Where the caller's leads.
    #[default]
    Inherit,
    /// /dev/null.
    Null,
    /// A pipe whose other end is in [`crate::Process`].
    Pipe,
    /// A descriptor.
    Fd(OwnedFd),
}

/// The three standard streams.
#[derive(Debug)]
pub enum Streams {
    /// Each on its own.
    Separate {
        /// Standard input.
        stdin: Stdio,
        /// Standard output.
        stdout: Stdio,
        /// Standard error.
        stderr: Stdio,
    },
    /// All three on a new terminal, the controlling one of the step's session. The caller passes bytes and
    /// window sizes through [`crate::Process::terminal`]. The caller's own terminal is never shared.
    Terminal,
}

impl Default for Streams {
    /// The caller's.
    fn default() -> Self {
        Self::Separate {
            stdin: Stdio::Inherit,
            stdout: Stdio::Inherit,
            stderr: Stdio::Inherit,
        }
    }
}

/// Something attached beneath the root for the time of the run.
#[derive(Debug)]
pub struct Mount {
    /// Absolute path within the root; missing directories are made and removed again afterwards.
    pub target: PathBuf,
    /// What is there.
    pub content: Content,
}

/// What a [`Mount`] shows.
#[derive(Debug)]
pub enum Content {
    /// A directory or file of the host.
    Bind {
        /// Which.
        source: BindSource,
        /// Writes are refused.
        read_only: bool,
        /// Device nodes in it work.
        devices: bool,
    },
    /// An empty file system in memory.
    Tmpfs {
        /// In bytes; half the memory when not given.
        size: Option<u64>,
        /// Permissions of its root directory.
        mode: u32,
    },
    /// A read-only file that only exists in memory: a secret, a hosts file.
    File {
        /// Content.
        bytes: Vec<u8>,
        /// Permissions.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
}

/// Something in the root itself, where nothing can be mounted. What was there comes back after the run. It is on the
/// disk until then, and longer when this process is killed.
#[derive(Debug)]
pub struct Placed {
    /// Absolute path within the root.
    pub target: PathBuf,
    /// What is there.
    pub content: PlacedContent,
}

/// What a [`Placed`] is.
#[derive(Debug)]
pub enum PlacedContent {
    /// A file that is gone after the run.
    File {
        /// Content.
        bytes: Vec<u8>,
        /// Permissions.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// A directory, file or socket of the host, on the root's file system. It is moved there, and whatever the run has
    /// left at its place is moved back. The caller vouches for the path.
    Moved(PathBuf),
}

/// A directory or file of the host, held open from here on, so that it cannot be swapped any more.
#[derive(Debug)]
pub struct BindSource(pub(crate) OwnedFd);

impl BindSource {
    /// A path of the host, which the caller vouches for: links are followed.
    pub fn path(path: &Path) -> std::io::Result<Self> {
        Ok(Self(open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?))
    }

    /// A path that came from elsewhere, resolved beneath `root` as in a chroot (CVE-2024-1753).
    pub fn beneath(root: &Path, path: &Path) -> std::io::Result<Self> {
        let root = openat(
            CWD,
            root,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        Ok(Self(open_beneath(root, path, OFlags::PATH)?))
    }
}

impl From<OwnedFd> for BindSource {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

/// One command to run in isolation; start it with [`Run::spawn`].
///
/// ```no_run
/// # use std::path::PathBuf;
/// use lifecycle_sandbox::{Isolation, Root, Run, UserNamespace};
///
/// let mut run = Run::new(Isolation::Namespaces(UserNamespace::Own), ["/bin/sh", "-c", "echo hello"]);
/// run.root = Root::Directory(PathBuf::from("/srv/root"));
/// run.env.push(("PATH".into(), "/bin".into()));
/// let exit = run.spawn()?.wait()?;
/// assert_eq!(exit.code(), 0);
/// # Ok::<(), lifecycle_sandbox::SandboxError>(())
/// ```
#[derive(Debug)]
pub struct Run {
    /// How it is kept apart.
    pub isolation: Isolation,
    /// Its root.
    pub root: Root,
    /// Program and arguments. A program without a slash is looked up in the environment's PATH (rule I1).
    pub command: Vec<OsString>,
    /// The whole environment; nothing is inherited (CVE-2021-3602).
    pub env: Vec<(OsString, OsString)>,
    /// Absolute path within the root, made if missing (rule I6).
    pub directory: PathBuf,
    /// Who it runs as. `None` is root in a root of its own, and the present user in place.
    pub identity: Option<Identity>,
    /// Host name in the UTS namespace.
    pub hostname: String,
    /// Attached in path order; of two with one target the later one wins.
    pub mounts: Vec<Mount>,
    /// What lies in the root itself for the time of the run, where nothing can be mounted; put there in path order, and
    /// of two with one target the later one is seen.
    pub placed: Vec<Placed>,
    /// Network.
    pub network: Network,
    /// Capabilities of its processes.
    pub capabilities: Capabilities,
    /// Setuid programs gain nothing. Off by default: sudo works in a build step (rule I3).
    pub no_new_privileges: bool,
    /// System-call filter.
    pub seccomp: Seccomp,
    /// Who owns the files of the root, where this process has only one id: `chown` in the step works and is written
    /// down here, and the step reads back what is written. For steps that are root; the others may give nothing
    /// away anyhow.
    pub owners: Option<FileOwners>,
    /// Runs programs of another machine; only in a user namespace of the step's own.
    pub interpreter: Option<Interpreter>,
    /// Paths of /proc and /sys that are hidden.
    pub masked: Vec<PathBuf>,
    /// Paths of /proc that cannot be written.
    pub read_only: Vec<PathBuf>,
    /// Size of /dev/shm in bytes.
    pub shm_size: u64,
    /// Standard streams.
    pub streams: Streams,
    /// Who hands signals on to it.
    pub forwarding: Forwarding,
    /// End the command when this process ends, however that happens.
    pub die_with_parent: bool,
    /// Limits for each process.
    pub rlimits: Vec<(Resource, Rlimit)>,
    /// Limits for all its processes together; needs a writable cgroup.
    pub limits: Option<Limits>,
}

/// Host name of a step where none is chosen.
pub const DEFAULT_HOSTNAME: &str = "sandbox";
/// Size of /dev/shm where none is chosen, 64 MiB (rule I3).
pub const DEFAULT_SHM_SIZE: u64 = 64 << 20;

/// What container runtimes hide: memory, keys, timers, firmware, hardware.
const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// What container runtimes make read-only.
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

impl Run {
    /// A command with the strongest defaults that `isolation` supports, an empty environment, and `/` as its
    /// directory.
    ///
    /// The filter is off for [`Isolation::Chroot`] and [`Isolation::InPlace`]: there it could only be
    /// installed at the price of no_new_privs, and whatever confines this process confines the step.
    pub fn new<A: Into<OsString>>(isolation: Isolation, command: impl IntoIterator<Item = A>) -> Self {
        let namespaces = matches!(isolation, Isolation::Namespaces(_));
        Self {
            isolation,
            root: Root::Host,
            command: command.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            directory: PathBuf::from("/"),
            identity: None,
            hostname: DEFAULT_HOSTNAME.to_owned(),
            mounts: Vec::new(),
            placed: Vec::new(),
            network: Network::Host,
            capabilities: Capabilities::Default14,
            no_new_privileges: false,
            seccomp: if namespaces {
                Seccomp::Default
            } else {
                Seccomp::Off
            },
            owners: None,
            interpreter: None,
            masked: MASKED.map(PathBuf::from).to_vec(),
            read_only: READ_ONLY.map(PathBuf::from).to_vec(),
            shm_size: DEFAULT_SHM_SIZE,
            streams: Streams::default(),
            forwarding: Forwarding::default(),
            die_with_parent: true,
            rlimits: Vec::new(),
            limits: None,
        }
    }
}
