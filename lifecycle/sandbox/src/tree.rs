//! A mount tree that hangs nowhere yet: made here, attached later, gone when its descriptor is closed.
//!
//! Preparing mounts detached means that nothing of a step is ever visible in the host's mount table, that a
//! killed build leaves no mount behind, and that sources are held by descriptor and cannot be swapped between
//! check and use (CVE-2024-11218).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, open_tree,
};

use crate::syscall;

/// Mount flags for [`Tree::restrict`] and [`Tree::tmpfs`].
pub(crate) const READ_ONLY: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY;
pub(crate) const NO_SUID: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID;
pub(crate) const NO_DEVICES: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NODEV;
pub(crate) const NO_EXEC: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOEXEC;

/// A detached mount tree, held by descriptor.
#[derive(Debug)]
pub struct Tree(OwnedFd);

impl Tree {
    /// A copy of what is mounted at `source`, with everything mounted below it and no propagation.
    pub(crate) fn bind(source: impl AsFd) -> Result<Self, Errno> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH
            | OpenTreeFlags::AT_RECURSIVE;
        let tree = Self(open_tree(source, c"", flags)?);
        syscall::mount_setattr(&tree.0, true, 0)?;
        Ok(tree)
    }

    /// Adds mount flags to every mount of the tree.
    pub(crate) fn restrict(&self, flags: MountAttrFlags) -> Result<(), Errno> {
        syscall::mount_setattr(&self.0, true, u64::from(flags.bits()))
    }

    /// A new tmpfs. `size` in bytes; `None` leaves the kernel's default of half the memory.
    pub(crate) fn tmpfs(size: Option<u64>, mode: u32, flags: MountAttrFlags) -> Result<Self, Errno> {
        let context = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(&context, c"mode", format!("{mode:o}"))?;
        if let Some(size) = size {
            fsconfig_set_string(&context, c"size", size.to_string())?;
        }
        Self::create(&context, flags)
    }

    /// A new devpts instance of its own, so that no terminal of the host appears in it.
    pub(crate) fn devpts(terminal_group: Option<u32>) -> Result<Self, Errno> {
        let context = fsopen(c"devpts", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_flag(&context, c"newinstance")?;
        fsconfig_set_string(&context, c"ptmxmode", c"0666")?;
        fsconfig_set_string(&context, c"mode", c"0620")?;
        if let Some(group) = terminal_group {
            fsconfig_set_string(&context, c"gid", group.to_string())?;
        }
        Self::create(&context, NO_SUID | NO_EXEC)
    }

    pub(crate) fn create(context: &OwnedFd, flags: MountAttrFlags) -> Result<Self, Errno> {
        fsconfig_create(context)?;
        Ok(Self(fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, flags)?))
    }
}

impl AsFd for Tree {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
