//! From a [`Run`] to a [`Process`]: prepare, fork, write the id maps, hear what the child says.

mod prepared;

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use self::prepared::Prepared;
use crate::error::SandboxError;
use crate::idmap::IdMaps;
use crate::init::{self, Channels, Origin, Plan, Surroundings};
use crate::limits::{Cgroup, Limits};
use crate::process::{Init, Process};
use crate::report::{Failure, Report, SetUp};
use crate::run::Run;
use crate::streams::{Ends, Relay};
use crate::syscall::{self, SignalsBlocked};

impl Run {
    /// Starts the command. When this returns, its program is running, or an error says which step failed.
    pub fn spawn(self) -> Result<Process, SandboxError> {
        let forwarding = self.forwarding.clone();
        // The program may run before this returns: a signal that comes now is its own, and waits.
        let mut commands = forwarding.commands();
        let process = self.begin()?;
        commands.push(process.remote());
        Ok(process)
    }

    fn begin(self) -> Result<Process, SandboxError> {
        let program = PathBuf::from(self.command.first().cloned().unwrap_or_default());
        let cgroup = self.limits.as_ref().map(Limits::create).transpose()?;
        let masked: Vec<PathBuf> = self.masked.iter().chain(&self.read_only).cloned().collect();
        let Prepared {
            mut plan,
            namespaces,
            maps,
            ends,
            relays,
            stubs,
            bookkeeping,
        } = self.prepare()?;

        let (init, go) = start(&plan, namespaces)?;
        let admitted = admit(&init, go, maps.as_ref(), cgroup.as_ref());
        // The step asks before its program runs: when it takes its ids.
        drop(plan.step.bookkeeping.take());
        let admitted = admitted.and_then(|()| match bookkeeping {
            Some(books) => books
                .open()
                .map_err(SandboxError::prepare("answer questions about owners")),
            None => Ok(None),
        });
        if admitted.is_err() {
            // Nobody answers: the step may wait for ever.
            syscall::send_signal(init.pid, libc::SIGKILL);
        }
        let first = Report::receive(&init.report);
        let problem = match (admitted, first) {
            (Err(error), _) => error,
            (Ok(_), Some(Report::Failed(failure))) => describe(failure, &plan, &masked, program),
            (Ok(_), None) => SandboxError::Vanished,
            (Ok(bookkeeper), Some(first @ (Report::Started | Report::Ended(_)))) => {
                drop(plan);
                let Ends {
                    stdin,
                    stdout,
                    stderr,
                    terminal,
                } = ends;
                let ended = match first {
                    Report::Ended(status) => Some(status),
                    _ => None,
                };
                let mut process = Process {
                    stdin,
                    stdout,
                    stderr,
                    terminal,
                    relays: relays.into_iter().filter_map(Relay::start).collect(),
                    init,
                    ended: None,
                    cgroup,
                    bookkeeper,
                    stubs,
                };
                if let Some(status) = ended {
                    process.finish(status)?;
                }
                return Ok(process);
            }
        };
        init.reap().map_err(SandboxError::prepare("end the sandbox"))?;
        Err(problem)
    }
}

/// Makes the process, which waits to be admitted. What is written to the end that comes with it lets it go on.
fn start(plan: &Plan, namespaces: i32) -> Result<(Init, OwnedFd), SandboxError> {
    let failed = SandboxError::prepare::<Errno>;
    let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(failed("make a pipe"));
    let (go, go_write) = pipe()?;
    let (life, life_write) = pipe()?;
    let (report, report_write) = pipe()?;
    let channels = Channels {
        go: go.as_fd(),
        life: life.as_fd(),
        report: report_write.as_fd(),
    };
    let keep = descriptors(plan, channels);

    let blocked = SignalsBlocked::new();
    let cloned = syscall::clone_process(namespaces, || init::run(plan, channels, &keep));
    drop(blocked);
    let (pid, pidfd) = cloned.map_err(failed("create a process in new namespaces"))?;
    let init = Init {
        pid,
        pidfd: Arc::new(pidfd),
        report,
        life: Arc::new(life_write),
    };
    Ok((init, go_write))
}

/// Gives the process its ids and limits, and lets it go on.
fn admit(
    init: &Init,
    go: OwnedFd,
    maps: Option<&IdMaps>,
    cgroup: Option<&Cgroup>,
) -> Result<(), SandboxError> {
    if let Some(maps) = maps {
        maps.write(init.pid)
            .map_err(SandboxError::prepare("write the id maps of the user namespace"))?;
    }
    if let Some(cgroup) = cgroup {
        cgroup.adopt(init.pid)?;
    }
    rustix::io::write(&go, b"g").map_err(SandboxError::prepare("start the sandbox"))?;
    Ok(())
}

/// Every descriptor the init process needs, sorted.
fn descriptors(plan: &Plan, channels: Channels<'_>) -> Vec<RawFd> {
    let mut keep = vec![0, 1, 2];
    keep.extend([
        channels.go.as_raw_fd(),
        channels.life.as_raw_fd(),
        channels.report.as_raw_fd(),
    ]);
    keep.extend(plan.step.stdio.iter().flatten().map(AsRawFd::as_raw_fd));
    keep.extend(plan.step.bookkeeping.iter().map(|kept| kept.socket.as_raw_fd()));
    match &plan.surroundings {
        Surroundings::Namespaces(view) => {
            keep.push(view.root.as_fd().as_raw_fd());
            keep.extend(
                view.interpreter
                    .iter()
                    .map(|registration| registration.as_fd().as_raw_fd()),
            );
            keep.extend(view.scratch.iter().map(|tree| tree.as_fd().as_raw_fd()));
            keep.extend(
                view.attachments
                    .iter()
                    .filter_map(|attachment| match &attachment.origin {
                        Origin::Tree(tree) => Some(tree.as_fd().as_raw_fd()),
                        Origin::Scratch(_) => None,
                    }),
            );
        }
        Surroundings::Chroot(root) => keep.push(root.as_raw_fd()),
        Surroundings::InPlace => {}
    }
    keep.sort_unstable();
    keep.dedup();
    keep
}

/// The child's failure in words, with the path it concerns and what would help.
fn describe(failure: Failure, plan: &Plan, masked: &[PathBuf], program: PathBuf) -> SandboxError {
    let source = std::io::Error::from(failure.errno);
    let index = failure.index as usize;
    let target = match (&plan.surroundings, failure.step) {
        (Surroundings::Namespaces(view), SetUp::AttachMount) => view
            .attachments
            .get(index)
            .map(|attachment| format!("/{}", attachment.target.to_string_lossy())),
        (_, SetUp::MaskPaths) => masked.get(index).map(|path| path.display().to_string()),
        (_, SetUp::EnterWorkingDirectory) => Some(plan.step.directory.to_string_lossy().into_owned()),
        _ => None,
    };
    let hint = match (failure.step, failure.errno) {
        (SetUp::MountProc, Errno::PERM) => {
            " (the container around this process masks its own /proc; it needs procMount: Unmasked)"
        }
        (SetUp::PivotRoot, Errno::INVAL) => " (the present root is an initramfs)",
        _ => "",
    };
    match failure.step {
        SetUp::Execute => SandboxError::Execute { program, source },
        step => {
            let target = target.map(|target| format!(" {target}")).unwrap_or_default();
            SandboxError::SetUp {
                action: format!("{step}{target}{hint}"),
                source,
            }
        }
    }
}
