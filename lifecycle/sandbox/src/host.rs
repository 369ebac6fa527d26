//! What this process may do here, found out by trying, and the rung of the isolation ladder that follows.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{getegid, geteuid};
use rustix::thread::{CapabilitySet, capabilities, no_new_privs};

use crate::enter::{Entered, enter};
use crate::error::SandboxError;
use crate::init::mount_new;
use crate::overlay::{Changes, Overlay};
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
    /// Which permission or setting would grant it.
    pub grant: String,
}

/// One rung and whether it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RungReport {
    /// Which.
    pub rung: Rung,
    /// `None`: it holds.
    pub missing: Option<Missing>,
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
    pub namespaces: Result<Entered, String>,
    /// Whether a step's own namespaces and a fresh /proc are allowed in there.
    pub step: Result<(), String>,
    /// Whether an overlay can be mounted over the probed directory in there.
    pub overlay: Result<(), String>,
    /// A writable cgroup with controllers enabled, for [`crate::Limits`].
    pub cgroup: Option<PathBuf>,
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
        })
    }

    /// The strongest rung that holds.
    pub fn rung(&self) -> Rung {
        self.rungs()
            .into_iter()
            .find(|report| report.missing.is_none())
            .map_or(Rung::InPlace, |report| report.rung)
    }

    /// Every rung, the strongest first, with what it lacks.
    pub fn rungs(&self) -> Vec<RungReport> {
        let namespaces = self.missing_namespaces();
        let all_ids = namespaces.clone().or_else(|| self.missing_ids());
        let overlay = all_ids.clone().or_else(|| {
            self.overlay.as_ref().err().map(|reason| Missing {
                reason: reason.clone(),
                grant: "keep the store on a file system that can be an overlay's upper layer (ext4, xfs, btrfs, tmpfs), not on an overlay, NFS or FUSE; in a user namespace Linux 5.11 or later".to_owned(),
            })
        });
        vec![
            RungReport {
                rung: Rung::Overlay,
                missing: overlay,
            },
            RungReport {
                rung: Rung::Copy,
                missing: all_ids,
            },
            RungReport {
                rung: Rung::SingleId,
                missing: namespaces,
            },
            RungReport {
                rung: Rung::Chroot,
                missing: self.missing_chroot(),
            },
            RungReport {
                rung: Rung::InPlace,
                missing: None,
            },
        ]
    }

    fn missing_namespaces(&self) -> Option<Missing> {
        if let Err(reason) = &self.namespaces {
            let (reason, grant) = reason
                .rsplit_once("; ")
                .unwrap_or((reason, "allow user namespaces, or grant CAP_SYS_ADMIN"));
            return Some(Missing {
                reason: reason.to_owned(),
                grant: grant.to_owned(),
            });
        }
        self.step.as_ref().err().map(|reason| Missing {
            reason: reason.clone(),
            grant: "in a pod: hostUsers: false with procMount: Unmasked; in a container: an unmasked /proc and a seccomp profile that allows mount and unshare".to_owned(),
        })
    }

    fn missing_ids(&self) -> Option<Missing> {
        match &self.namespaces {
            Ok(Entered::SingleId { reason }) => Some(Missing {
                reason: reason.clone(),
                grant: "install newuidmap and newgidmap (setuid root), grant ranges in /etc/subuid and /etc/subgid, and allow privilege escalation".to_owned(),
            }),
            Ok(_) | Err(_) => None,
        }
    }

    fn missing_chroot(&self) -> Option<Missing> {
        let needed = [
            ("CAP_SYS_CHROOT", CapabilitySet::SYS_CHROOT),
            ("CAP_SETUID", CapabilitySet::SETUID),
            ("CAP_SETGID", CapabilitySet::SETGID),
        ];
        let held = CapabilitySet::from_bits_retain(self.capabilities);
        let lacking: Vec<_> = needed
            .iter()
            .filter(|(_, bit)| !held.contains(*bit))
            .map(|(name, _)| *name)
            .collect();
        (!lacking.is_empty()).then(|| Missing {
            reason: format!("this process lacks {}", lacking.join(", ")),
            grant: "run as root with the container runtime's default capabilities".to_owned(),
        })
    }
}

/// What a forked child found out.
struct Trial {
    namespaces: Result<Entered, String>,
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
            Err(error) => return format!("!{}\n", one_line(error.to_string())),
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
                (None, reason) => Err(reason.unwrap_or(line).to_owned()),
            },
            None => Err("the trial ended without a word".to_owned()),
        };
        Self {
            namespaces,
            step: finding(lines.next()),
            overlay: finding(lines.next()),
        }
    }
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
