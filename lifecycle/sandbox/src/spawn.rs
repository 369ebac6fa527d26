//! From a [`Run`] to a [`Process`]: prepare, fork, write the id maps, hear what the child says.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, Gid, Mode, OFlags, Uid, openat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{getegid, geteuid};
use rustix::thread::CapabilitySet;

use crate::bookkeeper::Books;
use crate::device::DEVICES;
use crate::error::SandboxError;
use crate::idmap::IdMaps;
use crate::init::{self, Channels, Origin, Plan, Surroundings};
use crate::mountpoint::{KERNEL_DIRECTORIES, Kind, Lifetime, MountPoints, Stubs};
use crate::process::{Init, Process};
use crate::report::{Failure, Report, SetUp};
use crate::run::{Isolation, Network, Root, Run, Seccomp, Streams, UserNamespace};
use crate::seccomp::{self, Filters};
use crate::step::{Bookkeeping, Credentials, Step};
use crate::streams::{Connected, Ends, Opener, Relay, above_stderr, connect};
use crate::syscall::{self, CommandLine, SignalsBlocked, StringArray};
use crate::users::Identity;
use crate::view;

/// Where programs are looked up when the environment has no PATH; the runtimes' default.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A run ready to be forked.
struct Prepared {
    plan: Plan,
    /// Namespaces to create, as `clone` flags.
    namespaces: i32,
    /// Maps of the new user namespace, if there is one.
    maps: Option<IdMaps>,
    ends: Ends,
    relays: Vec<Relay>,
    stubs: Option<Stubs>,
    bookkeeping: Option<Books>,
}

impl Run {
    /// Starts the command. When this returns, its program is running, or an error says which step failed.
    pub fn spawn(self) -> Result<Process, SandboxError> {
        let program = PathBuf::from(self.command.first().cloned().unwrap_or_default());
        let cgroup = self
            .limits
            .as_ref()
            .map(crate::limits::Limits::create)
            .transpose()?;
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
        let keep = descriptors(&plan, channels);

        let blocked = SignalsBlocked::new();
        let cloned = syscall::clone_process(namespaces, || init::run(&plan, channels, &keep));
        drop(blocked);
        let (pid, pidfd) = cloned.map_err(failed("create a process in new namespaces"))?;
        drop((go, life, report_write));
        let init = Init {
            pid,
            pidfd: Arc::new(pidfd),
            report,
            life: Arc::new(life_write),
        };

        let admitted = || -> Result<(), SandboxError> {
            if let Some(maps) = &maps {
                maps.write(pid)
                    .map_err(SandboxError::prepare("write the id maps of the user namespace"))?;
            }
            if let Some(cgroup) = &cgroup {
                cgroup.adopt(pid)?;
            }
            rustix::io::write(&go_write, b"g").map_err(failed("start the sandbox"))?;
            Ok(())
        };
        let admitted = admitted();
        drop(go_write);
        // The step asks before its program runs: when it takes its ids.
        drop(plan.step.bookkeeping.take());
        let admitted = admitted.and_then(|()| match bookkeeping {
            Some(books) => books.open().map_err(failed("answer questions about owners")),
            None => Ok(None),
        });
        if admitted.is_err() {
            // Nobody answers: the step may wait for ever.
            syscall::send_signal(pid, libc::SIGKILL);
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
        init.reap().map_err(failed("end the sandbox"))?;
        Err(problem)
    }

    fn prepare(mut self) -> Result<Prepared, SandboxError> {
        if self.command.is_empty() {
            return Err(SandboxError::EmptyCommand);
        }
        self.refuse_what_cannot_be()?;
        let filters = match self.seccomp {
            Seccomp::Default => Some(Filters::default_profile().map_err(|error| SandboxError::Filter {
                reason: error.to_string(),
            })?),
            Seccomp::Off => None,
        };
        let own = IdMaps::own().map_err(SandboxError::prepare("read the id maps of this process"))?;
        let identity = self.identity.clone().unwrap_or_default();
        let (maps, credentials) = match self.isolation {
            Isolation::InPlace => (None, None),
            Isolation::Namespaces(UserNamespace::Own) => {
                let maps = own.for_step(&identity).ok_or(SandboxError::IdNotMapped {
                    uid: identity.uid,
                    gid: identity.gid,
                })?;
                let credentials = self.credentials(&identity, &maps)?;
                (Some(maps), Some(credentials))
            }
            Isolation::Namespaces(UserNamespace::Shared) | Isolation::Chroot => {
                (None, Some(self.credentials(&identity, &own)?))
            }
        };

        let (bookkeeping, books) = self.bookkeeping(&own, credentials.as_ref())?.unzip();
        let mut namespaces = 0;
        let (surroundings, directory, stubs, devpts) = match self.isolation {
            Isolation::Namespaces(user) => {
                namespaces |= syscall::NEW_STEP;
                if user == UserNamespace::Own {
                    namespaces |= syscall::NEW_USER;
                }
                if self.network == Network::None {
                    namespaces |= syscall::NEW_NETWORK;
                }
                let mut builder = view::Builder::new(&mut self, &own)?;
                let directory = builder.directory(&self.directory)?;
                let devpts = builder
                    .devpts
                    .try_clone()
                    .map_err(SandboxError::prepare("open /dev/pts"))?;
                let (view, points) = builder.finish(&self)?;
                (
                    Surroundings::Namespaces(Box::new(view)),
                    directory,
                    Some(points.into_stubs()),
                    Some(devpts),
                )
            }
            Isolation::Chroot => {
                let (root, directory, stubs) = self.open_chroot()?;
                (Surroundings::Chroot(root), directory, Some(stubs), None)
            }
            Isolation::InPlace => (
                Surroundings::InPlace,
                c_string(&self.directory, "a path")?,
                None,
                None,
            ),
        };
        let terminal = matches!(self.streams, Streams::Terminal);
        let opener = match (&credentials, self.isolation) {
            (Some(own), _) if own.uid.is_root() => Opener::Allowed,
            (None, _) => Opener::Allowed,
            // Its ids are others than those that files have here.
            (Some(_), Isolation::Namespaces(UserNamespace::Own)) => Opener::Stranger,
            (Some(own), _) => Opener::User(own.uid.as_raw()),
        };
        let Connected { stdio, ends, relays } = connect(self.streams, devpts.as_ref(), opener)
            .map_err(SandboxError::prepare("connect standard input, output and error"))?;
        let programs = programs(&self.command, &self.env)?;
        let environment = self.env.iter().map(|(name, value)| {
            let mut entry = name.clone();
            entry.push("=");
            entry.push(value);
            c_string(entry, "the environment")
        });
        let step = Step {
            directory,
            stdio,
            terminal,
            limits: self.rlimits,
            no_new_privileges: self.no_new_privileges,
            filters,
            bookkeeping,
            credentials,
            programs,
            arguments: StringArray::new(
                self.command
                    .iter()
                    .map(|argument| c_string(argument, "an argument"))
                    .collect::<Result<_, _>>()?,
            ),
            environment: StringArray::new(environment.collect::<Result<_, _>>()?),
        };
        let plan = Plan {
            surroundings,
            step,
            die_with_parent: self.die_with_parent,
            command_line: CommandLine::locate(),
        };
        Ok(Prepared {
            plan,
            namespaces,
            maps,
            ends,
            relays,
            stubs,
            bookkeeping: books,
        })
    }

    /// Both sides of the bookkeeping, for a step that is root where there is no other id.
    fn bookkeeping(
        &mut self,
        own: &IdMaps,
        credentials: Option<&Credentials>,
    ) -> Result<Option<(Bookkeeping, Books)>, SandboxError> {
        let gives_away = credentials.is_some_and(|credentials| {
            credentials.uid.is_root() && credentials.capabilities.contains(CapabilitySet::CHOWN)
        });
        let wanted = self.owners.take().filter(|_| {
            gives_away && own.users.single().is_some() && matches!(self.isolation, Isolation::Namespaces(_))
        });
        let Some(owners) = wanted else {
            return Ok(None);
        };
        let filter = seccomp::asking_filter().map_err(|error| SandboxError::Filter {
            reason: error.to_string(),
        })?;
        let (here, there) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(SandboxError::prepare("make a socket pair"))?;
        let socket = above_stderr(there).map_err(SandboxError::prepare("make a socket pair"))?;
        Ok(Some((Bookkeeping { filter, socket }, Books::new(here, owners))))
    }

    /// What the weaker isolations lack is refused, never left out in silence.
    fn refuse_what_cannot_be(&self) -> Result<(), SandboxError> {
        if !self.placed.is_empty() && self.isolation != Isolation::Chroot {
            return Err(SandboxError::Unsupported {
                feature: "something placed in the root",
                isolation: "anything but a chroot",
                hint: "mount it",
            });
        }
        if self.interpreter.is_some() && self.isolation != Isolation::Namespaces(UserNamespace::Own) {
            return Err(SandboxError::Unsupported {
                feature: "an interpreter for foreign programs",
                isolation: "a user namespace that is not the step's own",
                hint: "register it for the whole machine",
            });
        }
        let (isolation, hint) = match self.isolation {
            Isolation::Namespaces(_) => return Ok(()),
            Isolation::Chroot => (
                "a chroot",
                "it takes CAP_SYS_ADMIN or user namespaces; place it in the root instead",
            ),
            Isolation::InPlace => (
                "no isolation (in place)",
                "it takes CAP_SYS_ADMIN, user namespaces or a root of its own",
            ),
        };
        let refuse = |feature| {
            Err(SandboxError::Unsupported {
                feature,
                isolation,
                hint,
            })
        };
        if !self.mounts.is_empty() {
            return refuse("a mount");
        }
        if self.network != Network::Host {
            return refuse("a network of its own");
        }
        if self.isolation == Isolation::InPlace {
            if !matches!(self.root, Root::Host) {
                return refuse("another root file system");
            }
            let present = (geteuid().as_raw(), getegid().as_raw());
            if self
                .identity
                .as_ref()
                .is_some_and(|wanted| (wanted.uid, wanted.gid) != present)
            {
                return refuse("another user");
            }
        } else if !matches!(self.root, Root::Directory(_)) {
            return refuse("a root that is no directory");
        }
        Ok(())
    }

    fn credentials(&self, identity: &Identity, maps: &IdMaps) -> Result<Credentials, SandboxError> {
        if !maps.users.contains(identity.uid) || !maps.groups.contains(identity.gid) {
            return Err(SandboxError::IdNotMapped {
                uid: identity.uid,
                gid: identity.gid,
            });
        }
        Ok(Credentials {
            uid: Uid::from_raw(identity.uid),
            gid: Gid::from_raw(identity.gid),
            groups: maps
                .setgroups
                .then(|| identity.groups.iter().map(|gid| Gid::from_raw(*gid)).collect()),
            capabilities: self.capabilities.set(),
        })
    }

    fn open_chroot(&mut self) -> Result<(OwnedFd, CString, Stubs), SandboxError> {
        let Root::Directory(path) = &self.root else {
            return Err(SandboxError::EmptyCommand);
        };
        let action = format!("open the root file system {}", path.display());
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, path, flags, Mode::empty()).map_err(SandboxError::prepare(action))?;
        let beneath = root
            .try_clone()
            .map_err(SandboxError::prepare("open the root file system"))?;
        let mut points = MountPoints::new(beneath);
        for path in KERNEL_DIRECTORIES.map(Path::new) {
            points
                .make(path, Kind::Directory, Lifetime::Forever)
                .map_err(|errno| SandboxError::MountPoint {
                    path: path.to_owned(),
                    source: errno.into(),
                })?;
        }
        for (name, major, minor) in DEVICES {
            let path = Path::new("/dev").join(name);
            // Without CAP_MKNOD the root has the devices it came with.
            if let Err(error) = points.make_device(&path, major, minor) {
                tracing::warn!(path = %path.display(), %error, "a device is missing in the root file system");
            }
        }
        self.placed.sort_by(|one, other| one.target.cmp(&other.target));
        for placed in &self.placed {
            points.place(placed).map_err(|errno| SandboxError::MountPoint {
                path: placed.target.clone(),
                source: errno.into(),
            })?;
        }
        let made = points
            .make(&self.directory, Kind::Directory, Lifetime::Forever)
            .map_err(|errno| SandboxError::MountPoint {
                path: self.directory.clone(),
                source: errno.into(),
            })?;
        let relative = Path::new(".").join(made.strip_prefix("/").unwrap_or(&made));
        Ok((root, c_string(&relative, "a path")?, points.into_stubs()))
    }
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

/// The paths to try for a program (rule I1).
fn programs(command: &[OsString], env: &[(OsString, OsString)]) -> Result<Vec<CString>, SandboxError> {
    let program = command.first().map_or(OsStr::new(""), OsString::as_os_str);
    if program.is_empty() || program.as_bytes().contains(&b'/') {
        return Ok(vec![c_string(program, "the program")?]);
    }
    let path = env
        .iter()
        .rev()
        .find(|(name, _)| name == "PATH")
        .map(|(_, value)| value.as_os_str());
    path.unwrap_or(OsStr::new(DEFAULT_PATH))
        .as_bytes()
        .split(|byte| *byte == b':')
        // An empty element would mean the working directory, which no image intends.
        .filter(|directory| !directory.is_empty())
        .map(|directory| {
            c_string(
                Path::new(OsStr::from_bytes(directory)).join(program),
                "the program",
            )
        })
        .collect()
}

fn c_string(text: impl AsRef<OsStr>, what: &'static str) -> Result<CString, SandboxError> {
    CString::new(text.as_ref().as_bytes()).map_err(|_| SandboxError::NullByte { what })
}
