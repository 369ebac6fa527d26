//! Prepares what a step will see: every mount is made here, detached, before the fork.

use std::collections::HashSet;
use std::ffi::CString;
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Gid, Mode, OFlags, Uid, fchmod, fchown, fstat, openat};
use rustix::io::Errno;

use crate::capabilities::Capabilities;
use crate::device::make_dev;
use crate::error::SandboxError;
use crate::idmap::IdMaps;
use crate::init::{Attachment, Origin, View};
use crate::interpreter::Interpreter;
use crate::mountpoint::{KERNEL_DIRECTORIES, Kind, Lifetime, MountPoints};
use crate::run::{BindSource, Content, Isolation, Mount, Network, Root, Run, UserNamespace};
use crate::tree::{NO_DEVICES, NO_EXEC, NO_SUID, READ_ONLY, Tree};

/// Group that owns terminals on every Linux distribution.
const TERMINAL_GROUP: u32 = 5;

/// A view under construction.
pub(crate) struct Builder {
    points: MountPoints,
    root: Tree,
    attachments: Vec<Attachment>,
    scratch: Option<Scratch>,
    pub(crate) devpts: OwnedFd,
}

/// A tmpfs for files that exist only for this run.
struct Scratch {
    tree: Tree,
    files: usize,
}

impl Builder {
    /// The root with its kernel file systems and the run's mounts.
    pub(crate) fn new(run: &mut Run, maps: &IdMaps) -> Result<Self, SandboxError> {
        let root = open_root(run)?;
        let beneath = open_path(&root, ".").map_err(SandboxError::prepare("open the root file system"))?;
        let terminal_group = maps.groups.contains(TERMINAL_GROUP).then_some(TERMINAL_GROUP);
        let devpts =
            Tree::devpts(terminal_group).map_err(SandboxError::prepare("make a devpts for /dev/pts"))?;
        let mut builder = Self {
            points: MountPoints::new(beneath),
            root,
            attachments: Vec::new(),
            scratch: None,
            devpts: open_path(&devpts, ".").map_err(SandboxError::prepare("open /dev/pts"))?,
        };
        builder.add_kernel_file_systems(devpts, run.shm_size)?;
        for mount in ordered(std::mem::take(&mut run.mounts)) {
            builder.add_mount(mount)?;
        }
        Ok(builder)
    }

    fn add_kernel_file_systems(&mut self, devpts: Tree, shm_size: u64) -> Result<(), SandboxError> {
        for path in KERNEL_DIRECTORIES {
            let made = self.make(Path::new(path), Kind::Directory, Lifetime::Forever)?;
            if made != Path::new(path) {
                return Err(SandboxError::MountPoint {
                    path: path.into(),
                    source: Errno::LOOP.into(),
                });
            }
        }
        let (dev, devices) = make_dev()?;
        self.attach_tree("/dev", dev)?;
        self.attachments.extend(devices);
        self.attach_tree("/dev/pts", devpts)?;
        let shm = Tree::tmpfs(Some(shm_size), 0o1777, NO_SUID | NO_DEVICES | NO_EXEC)
            .map_err(SandboxError::prepare("make a tmpfs for /dev/shm"))?;
        self.attach_tree("/dev/shm", shm)?;
        self.points.cover("/proc".into(), Kind::Directory, None);
        if let Ok(sys) = openat(
            CWD,
            "/sys",
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        ) {
            let copy = || {
                let tree = Tree::bind(sys)?;
                tree.restrict(READ_ONLY | NO_SUID | NO_DEVICES | NO_EXEC)?;
                Ok::<_, Errno>(tree)
            };
            self.attach_tree(
                "/sys",
                copy().map_err(SandboxError::prepare("copy /sys read-only"))?,
            )?;
        }
        Ok(())
    }

    fn make(&mut self, path: &Path, kind: Kind, lifetime: Lifetime) -> Result<PathBuf, SandboxError> {
        self.points
            .make(path, kind, lifetime)
            .map_err(|errno| SandboxError::MountPoint {
                path: path.to_owned(),
                source: errno.into(),
            })
    }

    fn attach_tree(&mut self, target: impl Into<PathBuf>, tree: Tree) -> Result<(), SandboxError> {
        let target = target.into();
        let seen =
            open_path(&tree, ".").map_err(SandboxError::prepare(format!("open {}", target.display())))?;
        self.points.cover(target.clone(), Kind::Directory, Some(seen));
        self.attachments.push(Attachment {
            origin: Origin::Tree(tree),
            target: relative(&target)?,
        });
        Ok(())
    }

    fn add_mount(&mut self, mount: Mount) -> Result<(), SandboxError> {
        let shown = mount.target.display().to_string();
        let (origin, kind) = match mount.content {
            Content::Bind {
                source: BindSource(source),
                read_only,
                devices,
            } => {
                let stat = fstat(&source).map_err(SandboxError::prepare(format!(
                    "read the source of the mount {shown}"
                )))?;
                let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
                let tree = bind(source, read_only, devices).map_err(SandboxError::prepare(format!(
                    "bind the source of the mount {shown}"
                )))?;
                (
                    Origin::Tree(tree),
                    if directory { Kind::Directory } else { Kind::File },
                )
            }
            Content::Tmpfs { size, mode } => {
                let tree = Tree::tmpfs(size, mode, NO_SUID | NO_DEVICES)
                    .map_err(SandboxError::prepare(format!("make a tmpfs for {shown}")))?;
                (Origin::Tree(tree), Kind::Directory)
            }
            Content::File {
                bytes,
                mode,
                uid,
                gid,
            } => {
                let name = self
                    .store(&bytes, mode, uid, gid)
                    .map_err(SandboxError::prepare(format!("store the file for {shown}")))?;
                (Origin::Scratch(name), Kind::File)
            }
        };
        let target = self.make(&mount.target, kind, Lifetime::Run)?;
        if target == Path::new("/") {
            return Err(SandboxError::MountPoint {
                path: mount.target,
                source: Errno::BUSY.into(),
            });
        }
        match origin {
            Origin::Tree(tree) if kind == Kind::Directory => self.attach_tree(target, tree),
            origin => {
                self.attachments.push(Attachment {
                    origin,
                    target: relative(&target)?,
                });
                self.points.cover(target, kind, None);
                Ok(())
            }
        }
    }

    /// Writes a file to the scratch tmpfs and returns its name there.
    fn store(&mut self, bytes: &[u8], mode: u32, uid: u32, gid: u32) -> std::io::Result<CString> {
        if self.scratch.is_none() {
            let tree = Tree::tmpfs(None, 0o700, NO_SUID | NO_DEVICES | NO_EXEC)?;
            self.scratch = Some(Scratch { tree, files: 0 });
        }
        let Some(scratch) = &mut self.scratch else {
            return Err(Errno::NOENT.into());
        };
        let name = CString::new(scratch.files.to_string())?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = openat(&scratch.tree, name.as_c_str(), flags, Mode::RUSR | Mode::WUSR)?;
        fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        fchmod(&file, Mode::from_raw_mode(mode))?;
        std::fs::File::from(file).write_all(bytes)?;
        scratch.files += 1;
        Ok(name)
    }

    /// The working directory, made if missing, relative to the root (rules I6, G10).
    pub(crate) fn directory(&mut self, path: &Path) -> Result<CString, SandboxError> {
        let made = self.make(path, Kind::Directory, Lifetime::Forever)?;
        if made.starts_with("/proc") {
            // Not attached yet when the command enters its directory, and no place to work in.
            return Err(SandboxError::MountPoint {
                path: path.to_owned(),
                source: Errno::PERM.into(),
            });
        }
        relative(&made)
    }

    pub(crate) fn finish(self, run: &Run) -> Result<(View, MountPoints), SandboxError> {
        let scratch = self.scratch.map(|scratch| scratch.tree);
        if let Some(scratch) = &scratch {
            scratch
                .restrict(READ_ONLY)
                .map_err(SandboxError::prepare("make stored files read-only"))?;
        }
        let paths = |paths: &[PathBuf]| {
            paths
                .iter()
                .map(|path| relative(path))
                .collect::<Result<Vec<_>, _>>()
        };
        let view = View {
            hostname: run.hostname.as_bytes().to_vec(),
            root: self.root,
            interpreter: run
                .interpreter
                .as_ref()
                .map(Interpreter::prepare)
                .transpose()
                .map_err(SandboxError::prepare("open the interpreter of foreign programs"))?,
            scratch,
            attachments: self.attachments,
            loopback: run.network == Network::None,
            masked: paths(&run.masked)?,
            read_only: paths(&run.read_only)?,
        };
        Ok((view, self.points))
    }
}

fn open_root(run: &mut Run) -> Result<Tree, SandboxError> {
    let tree = match std::mem::replace(&mut run.root, Root::Host) {
        Root::Tree(tree) => tree,
        Root::Directory(path) => {
            let action = || format!("bind the root file system {}", path.display());
            let source = BindSource::path(&path).map_err(SandboxError::prepare(action()))?;
            Tree::bind(source.0).map_err(SandboxError::prepare(action()))?
        }
        Root::Host => {
            return Err(SandboxError::Unsupported {
                feature: "the host's root",
                isolation: "namespaces",
                hint: "name a root directory or overlay, or run in place",
            });
        }
    };
    // A device node that came with a layer must not open the host's device.
    let wants_devices = run.isolation == Isolation::Namespaces(UserNamespace::Shared)
        && run.capabilities == Capabilities::All;
    if !wants_devices {
        tree.restrict(NO_DEVICES)
            .map_err(SandboxError::prepare("disable devices in the root file system"))?;
    }
    Ok(tree)
}

fn bind(source: OwnedFd, read_only: bool, devices: bool) -> Result<Tree, Errno> {
    let tree = Tree::bind(source)?;
    let mut flags = NO_SUID;
    if read_only {
        flags |= READ_ONLY;
    }
    if !devices {
        flags |= NO_DEVICES;
    }
    tree.restrict(flags)?;
    Ok(tree)
}

/// In path order, outer before inner; of several with the same target only the last.
fn ordered(mounts: Vec<Mount>) -> Vec<Mount> {
    let mut seen = HashSet::new();
    let mut mounts: Vec<Mount> = mounts
        .into_iter()
        .rev()
        .filter(|mount| seen.insert(mount.target.components().collect::<PathBuf>()))
        .collect();
    mounts.sort_by(|a, b| a.target.cmp(&b.target));
    mounts
}

fn open_path(directory: impl AsFd, path: &str) -> Result<OwnedFd, Errno> {
    openat(
        directory,
        path,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// An absolute path as one relative to the root, for the child.
fn relative(path: &Path) -> Result<CString, SandboxError> {
    let path = path.strip_prefix("/").unwrap_or(path);
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    CString::new(path.as_os_str().as_bytes()).map_err(|_| SandboxError::NullByte { what: "a path" })
}
