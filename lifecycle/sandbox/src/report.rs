//! What a forked child tells its parent: fixed records through a pipe, written without allocation.

use std::fmt;
use std::os::fd::AsFd;

use rustix::io::Errno;

/// One step of the set-up in the child, so that a refusal is never a bare "operation not permitted".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum SetUp {
    Start,
    CloseDescriptors,
    RegisterInterpreter,
    SetHostname,
    MakeMountsPrivate,
    AttachScratch,
    AttachRoot,
    /// The index is the attachment's.
    AttachMount,
    MountQueue,
    MountProc,
    PivotRoot,
    DetachOldRoot,
    RaiseLoopback,
    WatchSignals,
    BecomeSubreaper,
    ForkStep,
    TraceStep,
    AttachProc,
    MaskPaths,
    ChangeRoot,
    NewSession,
    SetTerminal,
    ConnectStdio,
    SetLimits,
    EnterWorkingDirectory,
    SetNoNewPrivileges,
    InstallSeccomp,
    DropBoundingSet,
    SetGroups,
    SetGid,
    SetUid,
    SetCapabilities,
    Execute,
}

impl SetUp {
    const ALL: [Self; 33] = [
        Self::Start,
        Self::CloseDescriptors,
        Self::RegisterInterpreter,
        Self::SetHostname,
        Self::MakeMountsPrivate,
        Self::AttachScratch,
        Self::AttachRoot,
        Self::AttachMount,
        Self::MountQueue,
        Self::MountProc,
        Self::PivotRoot,
        Self::DetachOldRoot,
        Self::RaiseLoopback,
        Self::WatchSignals,
        Self::BecomeSubreaper,
        Self::ForkStep,
        Self::TraceStep,
        Self::AttachProc,
        Self::MaskPaths,
        Self::ChangeRoot,
        Self::NewSession,
        Self::SetTerminal,
        Self::ConnectStdio,
        Self::SetLimits,
        Self::EnterWorkingDirectory,
        Self::SetNoNewPrivileges,
        Self::InstallSeccomp,
        Self::DropBoundingSet,
        Self::SetGroups,
        Self::SetGid,
        Self::SetUid,
        Self::SetCapabilities,
        Self::Execute,
    ];
}

impl fmt::Display for SetUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "wait for the id maps",
            Self::CloseDescriptors => "close inherited descriptors",
            Self::RegisterInterpreter => "register the interpreter of foreign programs (binfmt_misc)",
            Self::SetHostname => "set the host name",
            Self::MakeMountsPrivate => "make the mount namespace private",
            Self::AttachScratch => "attach the file store",
            Self::AttachRoot => "attach the root file system",
            Self::AttachMount => "attach the mount",
            Self::MountQueue => "mount /dev/mqueue",
            Self::MountProc => "mount /proc",
            Self::PivotRoot => "pivot into the root file system",
            Self::DetachOldRoot => "detach the old root",
            Self::RaiseLoopback => "bring the loopback interface up",
            Self::WatchSignals => "watch signals",
            Self::BecomeSubreaper => "become the reaper of orphans",
            Self::ForkStep => "fork the command",
            Self::TraceStep => "hold the command at its start (ptrace)",
            Self::AttachProc => "attach /proc",
            Self::MaskPaths => "mask kernel paths",
            Self::ChangeRoot => "change the root directory",
            Self::NewSession => "start a session",
            Self::SetTerminal => "set the controlling terminal",
            Self::ConnectStdio => "connect standard input, output and error",
            Self::SetLimits => "set resource limits",
            Self::EnterWorkingDirectory => "enter the working directory",
            Self::SetNoNewPrivileges => "set no_new_privs",
            Self::InstallSeccomp => "install the seccomp filter",
            Self::DropBoundingSet => "drop capabilities from the bounding set",
            Self::SetGroups => "set the groups",
            Self::SetGid => "set the group id",
            Self::SetUid => "set the user id",
            Self::SetCapabilities => "set the capabilities",
            Self::Execute => "execute the command",
        })
    }
}

/// A failed step of the set-up: which, the index it concerns, and the kernel's answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure {
    pub(crate) step: SetUp,
    pub(crate) index: u32,
    pub(crate) errno: Errno,
}

/// Names the step a kernel answer belongs to.
pub(crate) trait During<T> {
    fn during(self, step: SetUp) -> Result<T, Failure>;
    fn during_nth(self, step: SetUp, index: usize) -> Result<T, Failure>;
}

impl<T> During<T> for Result<T, Errno> {
    fn during(self, step: SetUp) -> Result<T, Failure> {
        self.during_nth(step, 0)
    }

    fn during_nth(self, step: SetUp, index: usize) -> Result<T, Failure> {
        self.map_err(|errno| Failure {
            step,
            index: u32::try_from(index).unwrap_or(u32::MAX),
            errno,
        })
    }
}

/// One record on the pipe.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Report {
    /// Set-up failed; the command never ran.
    Failed(Failure),
    /// The command's program is running.
    Started,
    /// The command ended; the raw wait status.
    Ended(i32),
}

const LENGTH: usize = 12;

impl Report {
    fn encode(self) -> [u8; LENGTH] {
        let (kind, step, index, value) = match self {
            Self::Failed(f) => (0u8, f.step as u8, f.index, f.errno.raw_os_error()),
            Self::Started => (1, 0, 0, 0),
            Self::Ended(status) => (2, 0, 0, status),
        };
        let mut record = [0; LENGTH];
        record[0] = kind;
        record[1] = step;
        record[4..8].copy_from_slice(&index.to_ne_bytes());
        record[8..12].copy_from_slice(&value.to_ne_bytes());
        record
    }

    fn decode(record: [u8; LENGTH]) -> Option<Self> {
        let index = u32::from_ne_bytes([record[4], record[5], record[6], record[7]]);
        let value = i32::from_ne_bytes([record[8], record[9], record[10], record[11]]);
        match record[0] {
            0 => Some(Self::Failed(Failure {
                step: *SetUp::ALL.get(usize::from(record[1]))?,
                index,
                errno: Errno::from_raw_os_error(value),
            })),
            1 => Some(Self::Started),
            2 => Some(Self::Ended(value)),
            _ => None,
        }
    }

    /// Writes the record; shorter than PIPE_BUF, so in one piece. A parent that is gone is no error.
    pub(crate) fn send(self, pipe: impl AsFd) {
        while rustix::io::write(&pipe, &self.encode()) == Err(Errno::INTR) {}
    }

    /// Reads the next record; nothing when the writers are gone.
    pub(crate) fn receive(pipe: impl AsFd) -> Option<Self> {
        let mut record = [0; LENGTH];
        let mut filled = 0;
        while filled < LENGTH {
            match rustix::io::read(&pipe, &mut record[filled..]) {
                Ok(0) => return None,
                Ok(read) => filled += read,
                Err(Errno::INTR) => {}
                Err(_) => return None,
            }
        }
        Self::decode(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_the_pipe() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        for (number, step) in SetUp::ALL.into_iter().enumerate() {
            assert_eq!(step as usize, number);
            Report::Failed(Failure {
                step,
                index: 7,
                errno: Errno::PERM,
            })
            .send(&write);
            let Some(Report::Failed(failure)) = Report::receive(&read) else {
                panic!("{step:?}")
            };
            assert_eq!(
                (failure.step, failure.index, failure.errno),
                (step, 7, Errno::PERM)
            );
        }
        Report::Ended(-1).send(&write);
        assert!(matches!(Report::receive(&read), Some(Report::Ended(-1))));
        drop(write);
        assert!(Report::receive(&read).is_none());
    }
}
