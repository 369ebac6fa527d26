//! Becoming root without being root: the process itself moves into a user and a mount namespace.
//!
//! Done once, first thing in `main`, while there is one thread. The process keeps its pid, so signals and the
//! exit code need no forwarding, and every mount it makes from then on disappears with it.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{getegid, geteuid, getpid};
use rustix::thread::{CapabilitySet, UnshareFlags, capabilities};

use crate::host::Missing;
use crate::idmap::{IdMap, SubordinateIds, host_user_name};
use crate::syscall;

/// Where the setuid helpers lie. Fixed: what runs with privileges is not looked up in a PATH.
const HELPER_DIRECTORIES: [&str; 4] = ["/usr/bin", "/bin", "/usr/local/bin", "/run/wrappers/bin"];

/// How the process became root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entered {
    /// It was already: only a mount namespace was added.
    Privileged,
    /// User namespace with the caller as root and its subordinate ids from 1 on.
    FullMap,
    /// User namespace in which the caller, as root, is the only id.
    SingleId {
        /// Why there is no full map.
        reason: String,
    },
}

/// Why no namespace could be entered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnterError {
    /// Called too late.
    #[error("namespaces can only be entered before the program starts threads")]
    Threads,
    /// The kernel or the container around this process refuses.
    #[error("user namespaces are not allowed here: {reason}; {grant}")]
    Forbidden {
        /// What stands against it.
        reason: String,
        /// What would allow it.
        grant: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Something on the way failed.
    #[error("cannot {action}")]
    Failed {
        /// What was being done.
        action: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// Moves this process into a mount namespace of its own, and, unless it has CAP_SYS_ADMIN already, into a user
/// namespace in which it is root: with all subordinate ids where newuidmap and newgidmap grant them, else with
/// the one id it has.
///
/// # Errors
/// [`EnterError::Forbidden`] says who forbids it; the process is then unchanged or, after
/// [`EnterError::Failed`], should end.
pub fn enter() -> Result<Entered, EnterError> {
    if enter_with_privileges()? {
        return Ok(Entered::Privileged);
    }
    expect_one_thread()?;
    let entered = enter_user_namespace()?;
    enter_mount_namespace()?;
    Ok(entered)
}

/// [`enter`] for whoever has CAP_SYS_ADMIN already. Says whether that is so; if not, nothing was done.
///
/// # Errors
/// As [`enter`].
pub fn enter_with_privileges() -> Result<bool, EnterError> {
    let present = capabilities(None).map_err(failed("read the capabilities"))?;
    if !present.effective.contains(CapabilitySet::SYS_ADMIN) {
        return Ok(false);
    }
    expect_one_thread()?;
    enter_mount_namespace()?;
    Ok(true)
}

/// The same with the one id that this process has, even where it could have more.
///
/// # Errors
/// As [`enter`].
pub fn enter_with_one_id() -> Result<Entered, EnterError> {
    expect_one_thread()?;
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    syscall::unshare(UnshareFlags::NEWUSER).map_err(refused)?;
    map_single_id(uid, gid).map_err(|source| EnterError::Failed {
        action: "map the own id in the user namespace",
        source,
    })?;
    enter_mount_namespace()?;
    Ok(Entered::SingleId {
        reason: "it was asked for".to_owned(),
    })
}

fn expect_one_thread() -> Result<(), EnterError> {
    if std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() > 1) {
        return Err(EnterError::Threads);
    }
    Ok(())
}

fn enter_mount_namespace() -> Result<(), EnterError> {
    syscall::unshare(UnshareFlags::NEWNS).map_err(|errno| match errno {
        // In a user namespace that was granted but emptied of its powers.
        Errno::PERM | Errno::ACCESS => forbidden(errno),
        errno => failed("enter a mount namespace")(errno),
    })?;
    mount_change(
        c"/",
        MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC,
    )
    .map_err(failed("cut mount propagation to the host"))
}

fn failed(action: &'static str) -> impl Fn(Errno) -> EnterError {
    move |errno| EnterError::Failed {
        action,
        source: errno.into(),
    }
}

fn enter_user_namespace() -> Result<Entered, EnterError> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let helpers = Helpers::find(uid, gid);
    let (go, go_write) = pipe_with(PipeFlags::CLOEXEC).map_err(failed("make a pipe"))?;
    let pid = getpid().as_raw_nonzero().get();
    // The helpers must run outside, where they are setuid: a child forked before waits for the right moment.
    let helper_process = match &helpers {
        Ok(helpers) => Some(
            syscall::fork(|| {
                let mut byte = [0];
                let told = rustix::io::read(&go, &mut byte) == Ok(1) && byte == *b"g";
                i32::from(!(told && helpers.write_maps(pid)))
            })
            .map_err(failed("fork"))?,
        ),
        Err(_) => None,
    };
    let unshared = syscall::unshare(UnshareFlags::NEWUSER);
    // It has a copy of this end too, so closing alone would let it wait for ever.
    let word = if unshared.is_ok() { b"g" } else { b"n" };
    rustix::io::write(&go_write, word).map_err(failed("tell the id map helper"))?;
    drop((go, go_write));
    let mapped = helper_process.map(syscall::Forked::wait);
    unshared.map_err(refused)?;
    let reason = match (helpers, mapped) {
        (_, Some(Ok(0))) => return Ok(Entered::FullMap),
        (Err(reason), _) => reason,
        (Ok(_), _) => "newuidmap or newgidmap refused (no_new_privs, or a nosuid mount?)".to_owned(),
    };
    map_single_id(uid, gid).map_err(|source| EnterError::Failed {
        action: "map the own id in the user namespace",
        source,
    })?;
    Ok(Entered::SingleId { reason })
}

/// Writes the maps an unprivileged process may write itself. One that a helper has written already stays.
fn map_single_id(uid: u32, gid: u32) -> io::Result<()> {
    let unset = |name: &str| std::fs::read_to_string(name).is_ok_and(|map| map.trim().is_empty());
    if unset("/proc/self/gid_map") {
        std::fs::write("/proc/self/setgroups", "deny")?;
        std::fs::write("/proc/self/gid_map", IdMap::one(0, gid).to_text())?;
    }
    if unset("/proc/self/uid_map") {
        std::fs::write("/proc/self/uid_map", IdMap::one(0, uid).to_text())?;
    }
    Ok(())
}

/// Subordinate ids of the caller and the setuid programs that map them.
pub(crate) struct Helpers {
    uid_program: PathBuf,
    gid_program: PathBuf,
    users: IdMap,
    groups: IdMap,
}

impl Helpers {
    /// Everything a full map needs, or what is missing.
    pub(crate) fn find(uid: u32, gid: u32) -> Result<Self, String> {
        let name = host_user_name(uid);
        let who = name.clone().unwrap_or_else(|| uid.to_string());
        let granted = |file: &str| {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            SubordinateIds::find(&text, name.as_deref(), uid)
                .ok_or_else(|| format!("{file} grants no ids to {who}"))
        };
        let program = |name: &str| {
            HELPER_DIRECTORIES
                .iter()
                .map(|directory| Path::new(directory).join(name))
                .find(|path| path.is_file())
                .ok_or_else(|| format!("{name} is not installed (package uidmap or shadow-utils)"))
        };
        Ok(Self {
            users: granted("/etc/subuid")?.map_with(uid),
            groups: granted("/etc/subgid")?.map_with(gid),
            uid_program: program("newuidmap")?,
            gid_program: program("newgidmap")?,
        })
    }

    fn write_maps(&self, pid: i32) -> bool {
        let run = |program: &Path, map: &IdMap| {
            Command::new(program)
                .env_clear()
                .arg(pid.to_string())
                .args(map.to_text().split_whitespace())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        };
        run(&self.gid_program, &self.groups) && run(&self.uid_program, &self.users)
    }
}

fn refused(errno: Errno) -> EnterError {
    match errno {
        Errno::PERM | Errno::ACCESS | Errno::NOSPC | Errno::USERS | Errno::NOSYS | Errno::INVAL => {
            forbidden(errno)
        }
        errno => failed("enter a user namespace")(errno),
    }
}

/// Names the party that forbids user namespaces, as far as it can be seen from here.
fn forbidden(errno: Errno) -> EnterError {
    let missing = match errno {
        Errno::NOSYS | Errno::INVAL => {
            Missing::new("the kernel has none", "use a kernel built with CONFIG_USER_NS")
        }
        errno => forbidding_setting().unwrap_or_else(|| forbidding_container(errno)),
    };
    EnterError::Forbidden {
        reason: missing.reason,
        grant: missing.grant,
        source: errno.into(),
    }
}

/// The machine's setting that keeps ordinary users from user namespaces.
pub(crate) fn forbidding_setting() -> Option<Missing> {
    const SETTINGS: [(&str, &str, &str, &str); 3] = [
        (
            "/proc/sys/user/max_user_namespaces",
            "0",
            "user.max_user_namespaces is 0",
            "set it higher: sysctl user.max_user_namespaces=15000",
        ),
        (
            "/proc/sys/kernel/unprivileged_userns_clone",
            "0",
            "kernel.unprivileged_userns_clone is 0",
            "set it: sysctl kernel.unprivileged_userns_clone=1",
        ),
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "AppArmor restricts them (kernel.apparmor_restrict_unprivileged_userns is 1)",
            "install an AppArmor profile with `userns,` for this program, or set the value to 0",
        ),
    ];
    let holds =
        |path: &str, value: &str| std::fs::read_to_string(path).is_ok_and(|text| text.trim() == value);
    let found = SETTINGS.iter().find(|(path, value, ..)| holds(path, value));
    found.map(|(_, _, reason, grant)| Missing::new(*reason, *grant))
}

/// What remains when no setting of the machine is to blame.
fn forbidding_container(errno: Errno) -> Missing {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let is_filtered = status
        .lines()
        .any(|line| line.split_whitespace().eq(["Seccomp:", "2"]));
    if is_filtered {
        Missing::new(
            "the seccomp profile of the container around this process refuses them",
            "run the container with a seccomp profile that allows unshare",
        )
    } else if matches!(errno, Errno::NOSPC | Errno::USERS) {
        Missing::new(
            "the limit of nested or concurrent user namespaces is reached",
            "raise user.max_user_namespaces",
        )
    } else {
        Missing::new(
            "the kernel refuses",
            "look for a security module's denial in the kernel log",
        )
    }
}
