//! The command itself, from the fork to its first instruction.
//!
//! The order matters: what needs a capability comes before capabilities are given up, the filter before that
//! too (installing it needs CAP_SYS_ADMIN unless no_new_privs is set), descriptors last.

use std::ffi::CString;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{Resource, Rlimit, fchdir, ioctl_tiocsctty, setrlimit, setsid, umask};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout, stdin};
use rustix::thread::{
    CapabilitySet, CapabilitySets, Gid, Uid, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};

use seccompiler::sock_filter;

use crate::report::{During, Failure, SetUp};
use crate::seccomp::Filters;
use crate::streams;
use crate::syscall::{self, StringArray};

/// What becomes the command's process.
#[derive(Debug)]
pub(crate) struct Step {
    /// Beneath the root, links resolved; relative to it. In place: any path.
    pub(crate) directory: CString,
    /// Replacements for standard input, output and error; `None` inherits.
    pub(crate) stdio: [Option<OwnedFd>; 3],
    /// Standard input is a terminal that becomes the session's.
    pub(crate) terminal: bool,
    pub(crate) limits: Vec<(Resource, Rlimit)>,
    pub(crate) no_new_privileges: bool,
    pub(crate) filters: Option<&'static Filters>,
    /// Calls about owners go to whoever is at the other end.
    pub(crate) bookkeeping: Option<Bookkeeping>,
    /// `None`: the present user with its present privileges.
    pub(crate) credentials: Option<Credentials>,
    /// Paths to try in turn: the program's, or one for each directory of PATH.
    pub(crate) programs: Vec<CString>,
    pub(crate) arguments: StringArray,
    pub(crate) environment: StringArray,
}

/// How calls about owners find the one who answers them.
#[derive(Debug)]
pub(crate) struct Bookkeeping {
    pub(crate) filter: &'static [sock_filter],
    /// Takes the descriptor that the questions are read from.
    pub(crate) socket: OwnedFd,
}

impl Bookkeeping {
    /// Where no listener is permitted nobody answers, and the kernel refuses what it always did; the other end
    /// notices.
    fn begin(&self) -> Result<(), Errno> {
        let Ok(listener) = syscall::install_listener(self.filter) else {
            return Ok(());
        };
        let descriptors = [listener.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        sendmsg(
            &self.socket,
            &[IoSlice::new(b"o")],
            &mut control,
            SendFlags::NOSIGNAL,
        )
        .map(drop)
    }
}

#[derive(Debug)]
pub(crate) struct Credentials {
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
    /// `None` where the user namespace does not let groups be set.
    pub(crate) groups: Option<Vec<Gid>>,
    /// The bounding set; effective too when the user is root.
    pub(crate) capabilities: CapabilitySet,
}

impl Step {
    /// Turns this process into the command; returns only to say what refused.
    pub(crate) fn execute(&self, in_place: bool) -> Failure {
        let Err(failure) = self.enter(in_place) else {
            let errno = self.execute_first();
            return Failure {
                step: SetUp::Execute,
                index: 0,
                errno,
            };
        };
        failure
    }

    fn enter(&self, in_place: bool) -> Result<(), Failure> {
        setsid().during(SetUp::NewSession)?;
        self.connect_stdio().during(SetUp::ConnectStdio)?;
        if let Some(credentials) = &self.credentials {
            streams::give(credentials.uid, self.terminal);
        }
        if self.terminal {
            ioctl_tiocsctty(stdin()).during(SetUp::SetTerminal)?;
        }
        umask(Mode::from_raw_mode(0o022));
        for (resource, limit) in &self.limits {
            setrlimit(*resource, *limit).during(SetUp::SetLimits)?;
        }
        self.enter_directory(in_place)
            .during(SetUp::EnterWorkingDirectory)?;
        if self.no_new_privileges {
            set_no_new_privs(true).during(SetUp::SetNoNewPrivileges)?;
        }
        if let Some(filters) = self.filters {
            filters.install().during(SetUp::InstallSeccomp)?;
        }
        if let Some(bookkeeping) = &self.bookkeeping {
            bookkeeping.begin().during(SetUp::InstallSeccomp)?;
        }
        if let Some(credentials) = &self.credentials {
            credentials.take()?;
        }
        syscall::default_signal_actions();
        syscall::unblock_signals();
        syscall::close_on_exec_above_stderr().during(SetUp::CloseDescriptors)
    }

    fn connect_stdio(&self) -> Result<(), Errno> {
        let [input, output, error] = &self.stdio;
        if let Some(fd) = input {
            dup2_stdin(fd)?;
        }
        if let Some(fd) = output {
            dup2_stdout(fd)?;
        }
        if let Some(fd) = error {
            dup2_stderr(fd)?;
        }
        Ok(())
    }

    fn enter_directory(&self, in_place: bool) -> Result<(), Errno> {
        // Magic links are refused: a descriptor is not a place to work in (CVE-2024-21626).
        let resolve = if in_place {
            ResolveFlags::empty()
        } else {
            ResolveFlags::IN_ROOT
        };
        let directory = openat2(
            CWD,
            self.directory.as_c_str(),
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
            resolve | ResolveFlags::NO_MAGICLINKS,
        )?;
        fchdir(directory)
    }

    /// As `execvp`: the first program that is there is run, a forbidden one is remembered.
    fn execute_first(&self) -> Errno {
        let mut answer = Errno::NOENT;
        for program in &self.programs {
            match syscall::execute(program, &self.arguments, &self.environment) {
                Errno::NOENT | Errno::NOTDIR => {}
                Errno::ACCESS => answer = Errno::ACCESS,
                other => return other,
            }
        }
        answer
    }
}

impl Credentials {
    fn take(&self) -> Result<(), Failure> {
        for capability in CapabilitySet::all().iter() {
            // Only known bits: the set's type also allows unknown ones.
            let known = capability.bits().is_power_of_two();
            if known
                && !self.capabilities.contains(capability)
                && capability_is_in_bounding_set(capability) == Ok(true)
            {
                remove_capability_from_bounding_set(capability).during(SetUp::DropBoundingSet)?;
            }
        }
        if let Some(groups) = &self.groups {
            set_thread_groups(groups).during(SetUp::SetGroups)?;
        }
        set_thread_res_gid(self.gid, self.gid, self.gid).during(SetUp::SetGid)?;
        set_thread_res_uid(self.uid, self.uid, self.uid).during(SetUp::SetUid)?;
        let held = if self.uid.is_root() {
            self.capabilities
        } else {
            CapabilitySet::empty()
        };
        let present = rustix::thread::capabilities(None)
            .during(SetUp::SetCapabilities)?
            .permitted;
        let held = held & present;
        let sets = CapabilitySets {
            effective: held,
            permitted: held,
            inheritable: CapabilitySet::empty(),
        };
        set_capabilities(None, sets).during(SetUp::SetCapabilities)?;
        // An old kernel without ambient capabilities has none to clear.
        match clear_ambient_capability_set() {
            Err(Errno::INVAL) => Ok(()),
            other => other.during(SetUp::SetCapabilities),
        }
    }
}
