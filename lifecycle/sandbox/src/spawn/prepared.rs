//! Everything of a [`Run`] that can fail before there is a process: its ids, its view of the file system, its streams.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{CWD, Gid, Mode, OFlags, Uid, openat};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{getegid, geteuid};
use rustix::thread::CapabilitySet;

use crate::bookkeeper::Books;
use crate::device::DEVICES;
use crate::error::SandboxError;
use crate::idmap::IdMaps;
use crate::init::{Plan, Surroundings};
use crate::mountpoint::{KERNEL_DIRECTORIES, Kind, Lifetime, MountPoints, Stubs};
use crate::run::{Isolation, Network, Root, Run, Seccomp, Streams, UserNamespace};
use crate::seccomp::{self, Filters};
use crate::step::{Bookkeeping, Credentials, Step};
use crate::streams::{Connected, Ends, Opener, Relay, above_stderr, connect};
use crate::syscall::{self, CommandLine, StringArray};
use crate::users::Identity;
use crate::view;

/// Where programs are looked up when the environment has no PATH; the runtimes' default.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A run ready to be forked.
pub(super) struct Prepared {
    pub(super) plan: Plan,
    /// Namespaces to create, as `clone` flags.
    pub(super) namespaces: i32,
    /// Maps of the new user namespace, if there is one.
    pub(super) maps: Option<IdMaps>,
    pub(super) ends: Ends,
    pub(super) relays: Vec<Relay>,
    pub(super) stubs: Option<Stubs>,
    pub(super) bookkeeping: Option<Books>,
}

/// What is around a command.
struct Around {
    surroundings: Surroundings,
    /// Namespaces to create, as `clone` flags.
    namespaces: i32,
    directory: CString,
    stubs: Option<Stubs>,
    devpts: Option<OwnedFd>,
}

impl Run {
    /// Looks everything up that can fail before a process is there.
    pub(super) fn prepare(mut self) -> Result<Prepared, SandboxError> {
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
        let Around {
            surroundings,
            namespaces,
            directory,
            stubs,
            devpts,
        } = self.look_around(&own)?;
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

    /// What the command will see, and where in it it starts.
    fn look_around(&mut self, own: &IdMaps) -> Result<Around, SandboxError> {
        match self.isolation {
            Isolation::Namespaces(user) => {
                let mut namespaces = syscall::NEW_STEP;
                if user == UserNamespace::Own {
                    namespaces |= syscall::NEW_USER;
                }
                if self.network == Network::None {
                    namespaces |= syscall::NEW_NETWORK;
                }
                let mut builder = view::Builder::new(self, own)?;
                let directory = builder.directory(&self.directory)?;
                let devpts = builder
                    .devpts
                    .try_clone()
                    .map_err(SandboxError::prepare("open /dev/pts"))?;
                let (view, points) = builder.finish(self)?;
                Ok(Around {
                    surroundings: Surroundings::Namespaces(Box::new(view)),
                    namespaces,
                    directory,
                    stubs: Some(points.into_stubs()),
                    devpts: Some(devpts),
                })
            }
            Isolation::Chroot => {
                let (root, directory, stubs) = self.open_chroot()?;
                Ok(Around {
                    surroundings: Surroundings::Chroot(root),
                    namespaces: 0,
                    directory,
                    stubs: Some(stubs),
                    devpts: None,
                })
            }
            Isolation::InPlace => Ok(Around {
                surroundings: Surroundings::InPlace,
                namespaces: 0,
                directory: c_string(&self.directory, "a path")?,
                stubs: None,
                devpts: None,
            }),
        }
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
