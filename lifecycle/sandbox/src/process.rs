//! A running command: follow it, signal it, end it.

use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use crate::error::SandboxError;
use crate::limits::Cgroup;
use crate::mountpoint::Stubs;
use crate::report::Report;
use crate::streams::{self, Relaying};
use crate::syscall;

/// How often it is asked whether a command is still wanted.
const TICK: Duration = Duration::from_millis(50);

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal {
        /// Its number.
        number: i32,
        /// The kernel ended it for lack of memory; known only with [`crate::Limits`].
        out_of_memory: bool,
    },
}

impl Exit {
    /// The exit code a shell would show: 128 + n for signal n.
    pub fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal { number, .. } => 128 + number,
        }
    }

    /// Whether the code is 0.
    pub fn success(self) -> bool {
        self == Self::Code(0)
    }

    fn from_status(status: i32, out_of_memory: bool) -> Self {
        match status & 0x7f {
            0 => Self::Code((status >> 8) & 0xff),
            number => Self::Signal {
                number,
                out_of_memory,
            },
        }
    }
}

/// A started command. Dropping it ends it; what was made for it in the root is removed either way.
#[derive(Debug)]
pub struct Process {
    /// The write end of the command's standard input, if it was to be a pipe.
    pub stdin: Option<File>,
    /// The read end of its standard output, if it was to be a pipe.
    pub stdout: Option<File>,
    /// The read end of its standard error, if it was to be a pipe.
    pub stderr: Option<File>,
    /// The caller's side of its terminal, if it was to have one.
    pub terminal: Option<File>,
    pub(crate) relays: Vec<Relaying>,
    pub(crate) init: Init,
    pub(crate) ended: Option<Exit>,
    // Dropped in this order: mount points after all processes are gone.
    pub(crate) cgroup: Option<Cgroup>,
    /// Ends with the last process. As long as it lives, so do the step's mounts, and they cover the mount points.
    pub(crate) bookkeeper: Option<JoinHandle<()>>,
    pub(crate) stubs: Option<Stubs>,
}

/// The sandbox's first process as its parent holds it.
#[derive(Debug)]
pub(crate) struct Init {
    pub(crate) pid: Pid,
    pub(crate) pidfd: Arc<OwnedFd>,
    pub(crate) report: OwnedFd,
    pub(crate) life: Arc<OwnedFd>,
}

impl Init {
    pub(crate) fn reap(&self) -> rustix::io::Result<()> {
        loop {
            match waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED) {
                Err(rustix::io::Errno::INTR) => {}
                other => return other.map(drop),
            }
        }
    }
}

/// Signals a [`Process`] from anywhere, for example while another thread waits for it.
#[derive(Clone, Debug)]
pub struct Remote {
    pidfd: Arc<OwnedFd>,
    life: Arc<OwnedFd>,
}

impl Remote {
    /// Sends a signal to the command. One that has ended is no error.
    pub fn signal(&self, number: i32) -> std::io::Result<()> {
        // The init process holds all signals back and hands them to the command; these two it cannot.
        if number == libc::SIGKILL {
            return self.kill();
        }
        match syscall::send_signal_by_pidfd(&*self.pidfd, number) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Ends the command and every process it started.
    pub fn kill(&self) -> std::io::Result<()> {
        match rustix::io::write(&*self.life, b"k") {
            Ok(_) | Err(rustix::io::Errno::PIPE) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Hands signals on to commands, also to one that is just being started: whoever begins to listen before the start loses
/// none. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Forwarding(Arc<Mutex<Vec<Remote>>>);

impl Forwarding {
    /// Sends a signal to all commands that were started with this ([`crate::Run::forwarding`]), and waits for one that is
    /// being started. Says whether there are any.
    pub fn signal(&self, number: i32) -> bool {
        let commands = self.commands();
        for command in &*commands {
            if let Err(error) = command.signal(number) {
                tracing::warn!(%error, "a signal did not reach the command");
            }
        }
        !commands.is_empty()
    }

    /// The commands. While a start holds them, signals wait.
    pub(crate) fn commands(&self) -> MutexGuard<'_, Vec<Remote>> {
        // A panic leaves nothing half-done in a list.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Process {
    /// Process id of the sandbox's first process, as seen from here.
    pub fn id(&self) -> u32 {
        self.init.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Something to signal the command with from elsewhere.
    pub fn remote(&self) -> Remote {
        Remote {
            pidfd: Arc::clone(&self.init.pidfd),
            life: Arc::clone(&self.init.life),
        }
    }

    /// Sends a signal to the command.
    pub fn signal(&self, number: i32) -> std::io::Result<()> {
        self.remote().signal(number)
    }

    /// Ends the command and every process it started.
    pub fn kill(&self) -> std::io::Result<()> {
        self.remote().kill()
    }

    /// Waits until the command and all its processes have ended, then removes what was made for the run.
    /// Closes this side of standard input first, as one that nobody writes to any more.
    pub fn wait(&mut self) -> Result<Exit, SandboxError> {
        if let Some(exit) = self.ended {
            return Ok(exit);
        }
        drop(self.stdin.take());
        self.init
            .reap()
            .map_err(SandboxError::prepare("wait for the command"))?;
        // Without a report the sandbox was killed as a whole, by this handle or from outside.
        let status = match Report::receive(&self.init.report) {
            Some(Report::Ended(status)) => status,
            _ => libc::SIGKILL,
        };
        Ok(self.tidy(status))
    }

    /// Waits as [`wait`](Self::wait) does. As soon as `unwanted` says so, which is asked again and again, the
    /// command is asked to end (SIGTERM); if it and what it started take longer than `grace` for that, all of it is ended.
    pub fn wait_or_end(
        &mut self,
        grace: Duration,
        mut unwanted: impl FnMut() -> bool,
    ) -> Result<Exit, SandboxError> {
        drop(self.stdin.take());
        let mut asked: Option<Instant> = None;
        while self.ended.is_none() && !self.ends_within(TICK)? {
            let told = match asked {
                None if unwanted() => {
                    asked = Some(Instant::now());
                    self.signal(libc::SIGTERM)
                }
                Some(since) if since.elapsed() > grace => self.kill(),
                _ => Ok(()),
            };
            if let Err(error) = told {
                tracing::warn!(%error, "the command could not be asked to end");
            }
        }
        self.wait()
    }

    /// Whether the command and all its processes end in that time, or did before.
    pub fn ends_within(&self, time: Duration) -> Result<bool, SandboxError> {
        let time = Timespec::try_from(time).unwrap_or(Timespec {
            tv_sec: i64::MAX,
            tv_nsec: 0,
        });
        match poll(&mut [PollFd::new(&self.init.pidfd, PollFlags::IN)], Some(&time)) {
            Ok(ended) => Ok(ended > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(SandboxError::prepare("wait for the command")(error)),
        }
    }

    /// For a command that ended before its program ran.
    pub(crate) fn finish(&mut self, status: i32) -> Result<(), SandboxError> {
        self.init
            .reap()
            .map_err(SandboxError::prepare("wait for the command"))?;
        self.tidy(status);
        Ok(())
    }

    fn tidy(&mut self, status: i32) -> Exit {
        let out_of_memory = self.cgroup.as_ref().is_some_and(Cgroup::out_of_memory);
        let exit = Exit::from_status(status, out_of_memory);
        self.ended = Some(exit);
        self.cgroup = None;
        if let Some(Err(panic)) = self.bookkeeper.take().map(JoinHandle::join) {
            std::panic::resume_unwind(panic);
        }
        self.stubs = None;
        streams::finish(std::mem::take(&mut self.relays));
        exit
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended.is_none() {
            let ended = self
                .kill()
                .map_err(SandboxError::prepare("end the command"))
                .and_then(|()| self.wait());
            if let Err(error) = ended {
                tracing::warn!(%error, "a command was left running");
            }
        }
    }
}
