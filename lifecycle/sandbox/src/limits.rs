//! Limits for all processes of a step together, by a cgroup of their own.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::Pid;

use crate::error::SandboxError;

/// Limits of a step, and the cgroup (version 2) beneath which it may be given one.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// A cgroup directory this process may create children in, with the controllers enabled for them; see
    /// [`crate::Host::cgroup`].
    pub parent: PathBuf,
    /// Most memory, in bytes.
    pub memory: Option<u64>,
    /// Most processor time, in thousandths of one core.
    pub cpu_millis: Option<u64>,
    /// Most processes and threads.
    pub processes: Option<u64>,
}

/// The cgroup of one run; removed on drop, when its processes are gone.
#[derive(Debug)]
pub(crate) struct Cgroup(PathBuf);

impl Limits {
    pub(crate) fn create(&self) -> Result<Cgroup, SandboxError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = self
            .parent
            .join(format!("lifecycle-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).map_err(SandboxError::prepare(format!(
            "create the cgroup {}",
            path.display()
        )))?;
        let cgroup = Cgroup(path);
        if let Some(memory) = self.memory {
            cgroup.set("memory.max", &memory.to_string())?;
            // All of the step goes at once: half a step is worth nothing.
            cgroup.set("memory.oom.group", "1")?;
        }
        if let Some(cpu) = self.cpu_millis {
            // Microseconds of a period of 100 milliseconds.
            cgroup.set("cpu.max", &format!("{} 100000", cpu * 100))?;
        }
        if let Some(processes) = self.processes {
            cgroup.set("pids.max", &processes.to_string())?;
        }
        Ok(cgroup)
    }
}

impl Cgroup {
    fn set(&self, file: &str, value: &str) -> Result<(), SandboxError> {
        write_existing(&self.0.join(file), value).map_err(SandboxError::prepare(format!(
            "set {file} of the cgroup (is the controller enabled in {}?)",
            self.0
                .parent()
                .unwrap_or(&self.0)
                .join("cgroup.subtree_control")
                .display()
        )))
    }

    pub(crate) fn adopt(&self, pid: Pid) -> Result<(), SandboxError> {
        self.set("cgroup.procs", &pid.as_raw_nonzero().to_string())
    }

    /// Whether the kernel ended a process here for lack of memory.
    pub(crate) fn out_of_memory(&self) -> bool {
        std::fs::read_to_string(self.0.join("memory.events")).is_ok_and(|events| {
            events.lines().any(|line| {
                line.strip_prefix("oom_kill ")
                    .is_some_and(|count| count.trim() != "0")
            })
        })
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir(&self.0) {
            tracing::debug!(path = %self.0.display(), %error, "cgroup left behind");
        }
    }
}

/// Never creates: a plain directory is no cgroup.
fn write_existing(path: &Path, value: &str) -> io::Result<()> {
    use std::io::Write as _;
    std::fs::OpenOptions::new()
        .write(true)
        .open(path)?
        .write_all(value.as_bytes())
}
