//! What this process may do here, found out by trying, and the rung of the isolation ladder that follows.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{getegid, geteuid};
use rustix::thread::{CapabilitySet, capabilities, no_new_privs};

use crate::enter::{EnterError, Entered, enter, forbidding_setting};
use crate::error::SandboxError;
use crate::init::mount_new;
use crate::overlay::{Changes, Overlay};
use crate::pod::Pod;
use crate::run::{Isolation, UserNamespace};
use crate::syscall;

/// A rung of the isolation ladder, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rung {
    /// 1: namespaces with all ids, and the kernel's overlay.
    Overlay,
    /// 2: namespaces with all ids; roots are copied by link or reflink.
    Copy,
    /// 3: namespaces with one id; owners are kept in a side table.
    SingleId,
    /// 4: root without CAP_SYS_ADMIN: chroot.
    Chroot,
    /// 5: the present root as the present user; fit for phases inside a builder image, not for a Dockerfile's RUN.
    InPlace,
}

impl Rung {
    /// Its number in the design.
    pub fn number(self) -> u8 {
        self as u8 + 1
    }

    /// How a command is isolated on it.
    pub fn isolation(self) -> Isolation {
        match self {
            Self::Overlay | Self::Copy | Self::SingleId => Isolation::Namespaces(UserNamespace::Own),
            Self::Chroot => Isolation::Chroot,
            Self::InPlace => Isolation::InPlace,
        }
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Overlay => "namespaces with all ids and overlay",
            Self::Copy => "namespaces with all ids, roots copied",
            Self::SingleId => "namespaces with one id",
            Self::Chroot => "chroot",
            Self::InPlace => "in place",
        })
    }
}

/// Why a rung does not hold, and what would change that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// What is in the way.
    pub reason: String,
    /// Which permission or setting would grant it; in a pod, the line of its manifest.
    pub grant: String,
}

impl Missing {
    pub(crate) fn new(reason: impl Into<String>, grant: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            grant: grant.into(),
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.reason, self.grant)
    }
}

/// One rung and whether it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RungReport {
    /// Which.
    pub rung: Rung,
    /// All that is in its way, in the order in which it is best granted; nothing: it holds.
    pub missing: Vec<Missing>,
}

impl RungReport {
    /// Whether it holds.
    pub fn holds(&self) -> bool {
        self.missing.is_empty()
    }

    /// What is in the way and what would grant it, in one sentence.
    pub fn explain(&self) -> String {
        let missing: Vec<String> = self.missing.iter().map(ToString::to_string).collect();
        missing.join("; ")
    }
}

/// What this process may do on this host.
#[derive(Clone, Debug)]
pub struct Host {
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
    /// Effective capabilities, bit by bit as in /proc/PID/status.
    pub capabilities: u64,
    /// Setuid helpers gain nothing.
    pub no_new_privileges: bool,
    /// The kernel's release.
    pub kernel: String,
    /// Seccomp filters can be installed.
    pub seccomp: bool,
    /// Ids granted for a full map and the helpers to map them, or what is missing of that.
    pub subordinate_ids: Result<(), String>,
    /// How [`enter`] would go, or who forbids it.
    pub namespaces: Result<Entered, Missing>,
    /// Whether a step's own namespaces and a fresh /proc are allowed in there.
    pub step: Result<(), String>,
    /// Whether an overlay can be mounted over the probed directory in there.
    pub overlay: Result<(), String>,
    /// A writable cgroup with controllers enabled, for [`crate::Limits`].
    pub cgroup: Option<PathBuf>,
    pod: Option<Pod>,
}

impl Host {
    /// Tries everything in a forked child. `scratch` is the directory where roots and change sets will lie:
    /// whether overlay works depends on its file system. Two directories are made in it and removed again.
    ///
    /// # Errors
    /// `scratch` is not writable, or nothing can be forked.
    pub fn probe(scratch: &Path) -> Result<Self, SandboxError> {
        let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
        let trial = Trial::run(scratch)?;
        Ok(Self {
            uid,
            gid,
            capabilities: capabilities(None)
                .map_err(SandboxError::prepare("read the capabilities"))?
                .effective
                .bits(),
            no_new_privileges: no_new_privs().unwrap_or(false),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            seccomp: syscall::seccomp_available(),
            subordinate_ids: crate::enter::Helpers::find(uid, gid).map(drop),
            namespaces: trial.namespaces,
            step: trial.step,
            overlay: trial.overlay,
            cgroup: writable_cgroup(),
            pod: Pod::around(),
        })
    }

    /// The strongest rung that holds.
    pub fn rung(&self) -> Rung {
        self.rungs()
            .into_iter()
            .find(RungReport::holds)
            .map_or(Rung::InPlace, |report| report.rung)
    }

    /// Every rung, the strongest first, with what it lacks.
    pub fn rungs(&self) -> Vec<RungReport> {
        let namespaces = self.missing_namespaces();
        let all_ids = first_of([&namespaces, &self.missing_ids()]);
        let report = |rung, missing| RungReport { rung, missing };
        vec![
            report(Rung::Overlay, first_of([&all_ids, &self.missing_overlay()])),
            report(Rung::Copy, all_ids),
            report(Rung::SingleId, namespaces),
            report(Rung::Chroot, self.missing_chroot()),
            report(Rung::InPlace, Vec::new()),
        ]
    }

    fn missing_namespaces(&self) -> Vec<Missing> {
        let refused = match (&self.namespaces, &self.step) {
            (Ok(_), Ok(())) => return Vec::new(),
            (Err(missing), _) => missing.clone(),
            (Ok(_), Err(reason)) => Missing::new(
                reason,
                "run the container with an unmasked /proc and a seccomp profile that allows mount and unshare",
            ),
        };
        let mut missing = self.lines_of_pod(Pod::against_namespaces);
        if self.namespaces.is_err() {
            missing.extend(forbidding_setting());
        }
        if missing.is_empty() {
            missing.push(refused);
        }
        missing
    }

    fn missing_ids(&self) -> Vec<Missing> {
        let Ok(Entered::SingleId { reason }) = &self.namespaces else {
            return Vec::new();
        };
        let lines = self.lines_of_pod(Pod::against_namespaces);
        if !lines.is_empty() {
            return lines;
        }
        vec![Missing::new(
            reason,
            "install newuidmap and newgidmap (setuid root), grant ranges in /etc/subuid and /etc/subgid, and allow \
             privilege escalation",
        )]
    }

    fn missing_overlay(&self) -> Vec<Missing> {
        let Err(reason) = &self.overlay else {
            return Vec::new();
        };
        let place = if self.pod.is_some() {
            "keep the store on a volume: `volumes: [{name: store, emptyDir: {}}]`, mounted where --store says; in a user \
             namespace Linux 5.11 or later"
        } else {
            "keep the store on a file system that can be an overlay's upper layer (ext4, xfs, btrfs, tmpfs), not on an \
             overlay, NFS or FUSE; in a user namespace Linux 5.11 or later"
        };
        vec![Missing::new(reason, place)]
    }

    fn missing_chroot(&self) -> Vec<Missing> {
        let needed = [
            ("CAP_SYS_CHROOT", CapabilitySet::SYS_CHROOT),
            ("CAP_SETUID", CapabilitySet::SETUID),
            ("CAP_SETGID", CapabilitySet::SETGID),
        ];
        let held = CapabilitySet::from_bits_retain(self.capabilities);
        let lacking = needed.iter().filter(|(_, bit)| !held.contains(*bit));
        let lacking: Vec<_> = lacking.map(|(name, _)| *name).collect();
        if lacking.is_empty() {
            return Vec::new();
        }
        let lines = self.lines_of_pod(Pod::against_chroot);
        if !lines.is_empty() {
            return lines;
        }
        vec![Missing::new(
            format!("this process lacks {}", lacking.join(", ")),
            "run as root with the container runtime's default capabilities",
        )]
    }

    fn lines_of_pod(&self, lines: impl Fn(&Pod) -> Vec<Missing>) -> Vec<Missing> {
        self.pod.as_ref().map(lines).unwrap_or_default()
    }
}

/// The first of these in which there is something.
fn first_of(all: [&Vec<Missing>; 2]) -> Vec<Missing> {
    all.into_iter()
        .find(|missing| !missing.is_empty())
        .cloned()
        .unwrap_or_default()
}

/// What a forked child found out.
struct Trial {
    namespaces: Result<Entered, Missing>,
    step: Result<(), String>,
    overlay: Result<(), String>,
}

impl Trial {
    fn run(scratch: &Path) -> Result<Self, SandboxError> {
        let directories = TrialDirectories::make(scratch).map_err(SandboxError::prepare(format!(
            "make trial directories in {}",
            scratch.display()
        )))?;
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(SandboxError::prepare("make a pipe"))?;
        let child = syscall::fork(|| {
            let lines = Self::try_everything(&directories.0);
            i32::from(
                std::fs::File::from(write.try_clone().unwrap_or_else(|_| syscall::exit_now(2)))
                    .write_all(lines.as_bytes())
                    .is_err(),
            )
        })
        .map_err(SandboxError::prepare("fork"))?;
        drop(write);
        let mut lines = String::new();
        std::fs::File::from(read)
            .read_to_string(&mut lines)
            .map_err(SandboxError::prepare("read what the trial found"))?;
        child
            .wait()
            .map_err(SandboxError::prepare("wait for the trial"))?;
        Ok(Self::read(&lines))
    }

    /// In the child: one line for each finding, empty for success.
    fn try_everything(directory: &Path) -> String {
        let one_line = |text: String| text.replace('\n', " ");
        let entered = match enter() {
            Ok(entered) => entered,
            Err(EnterError::Forbidden { reason, grant, .. }) => {
                return format!("!{}\t{}\n", one_line(reason), one_line(grant));
            }
            Err(error) => return format!("!{}\n", one_line(with_causes(error))),
        };
        let kind = match &entered {
            Entered::Privileged => "privileged".to_owned(),
            Entered::FullMap => "full".to_owned(),
            Entered::SingleId { reason } => format!("single {}", one_line(reason.clone())),
        };
        let step = try_step().err().unwrap_or_default();
        let overlay = Overlay {
            lower: vec![directory.join("lower")],
            changes: Some(Changes {
                upper: directory.join("upper"),
                work: directory.join("work"),
            }),
            user_xattr: entered != Entered::Privileged,
            // As roots are mounted; without it, unmounting flushes the whole file system.
            volatile: true,
        };
        let overlay = overlay
            .mount()
            .map(drop)
            .map_err(with_causes)
            .err()
            .unwrap_or_default();
        format!("{kind}\n{}\n{}\n", one_line(step), one_line(overlay))
    }

    fn read(lines: &str) -> Self {
        let mut lines = lines.lines();
        let finding = |line: Option<&str>| match line {
            Some("") => Ok(()),
            Some(reason) => Err(reason.to_owned()),
            None => Err("not reached".to_owned()),
        };
        let namespaces = match lines.next() {
            Some("privileged") => Ok(Entered::Privileged),
            Some("full") => Ok(Entered::FullMap),
            Some(line) => match (line.strip_prefix("single "), line.strip_prefix('!')) {
                (Some(reason), _) => Ok(Entered::SingleId {
                    reason: reason.to_owned(),
                }),
                (None, reason) => Err(refusal(reason.unwrap_or(line))),
            },
            None => Err(refusal("the trial ended without a word")),
        };
        Self {
            namespaces,
            step: finding(lines.next()),
            overlay: finding(lines.next()),
        }
    }
}

/// Reason and grant as the child wrote them.
fn refusal(line: &str) -> Missing {
    let (reason, grant) = line
        .split_once('\t')
        .unwrap_or((line, "allow user namespaces, or grant CAP_SYS_ADMIN"));
    Missing::new(reason, grant)
}

fn with_causes(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// The namespaces of a step, and in them the one mount that outer containers like to prevent.
fn try_step() -> Result<(), String> {
    let body = || mount_new(c"proc").map_or_else(Errno::raw_os_error, |_| 0);
    let (pid, _) = syscall::clone_process(syscall::NEW_STEP | syscall::NEW_USER, body).map_err(|errno| {
        format!(
            "new namespaces for a step are refused: {}",
            std::io::Error::from(errno)
        )
    })?;
    match syscall::await_exit(pid) {
        Ok(0) => Ok(()),
        Ok(errno) => Err(format!(
            "a new /proc cannot be mounted: {}",
            std::io::Error::from_raw_os_error(errno)
        )),
        Err(errno) => Err(std::io::Error::from(errno).to_string()),
    }
}

/// Directories for a trial overlay, removed on drop.
struct TrialDirectories(PathBuf);

impl TrialDirectories {
    fn make(scratch: &Path) -> std::io::Result<Self> {
        let path = scratch.join(format!("probe-{}", std::process::id()));
        std::fs::create_dir(&path)?;
        let made = Self(path);
        for name in ["lower", "upper", "work"] {
            std::fs::create_dir(made.0.join(name))?;
        }
        Ok(made)
    }
}

impl Drop for TrialDirectories {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::debug!(path = %self.0.display(), %error, "trial directories left behind");
        }
    }
}

/// This process's own version 2 cgroup, if children with limits can be made in it.
fn writable_cgroup() -> Option<PathBuf> {
    let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        .iter()
        .map(|mount| Path::new(mount).join(own))
        .find(|path| {
            let enabled = std::fs::read_to_string(path.join("cgroup.subtree_control"));
            enabled.is_ok_and(|controllers| !controllers.trim().is_empty())
                && accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS).is_ok()
        })
}
