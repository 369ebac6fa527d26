//! What a layer holds: one model for writing and for reading.

use std::borrow::Cow;

/// One entry of a layer.
///
/// Paths are bytes, because file systems do not promise UTF-8. They are relative to the image's root,
/// without a leading or trailing slash and without `.` or `..`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Where the entry lies.
    pub path: Cow<'a, [u8]>,
    /// What it is.
    pub kind: Kind<'a>,
    /// Permission bits with set-user-ID, set-group-ID and sticky bits: `0o7777` at most.
    pub mode: u32,
    /// Who owns it.
    pub owner: Owner,
    /// The modification time in seconds since the epoch. Layers keep whole seconds: finer times differ
    /// between file systems.
    pub mtime: i64,
    /// Extended attributes that travel with a layer, sorted by name.
    pub xattrs: Vec<Xattr>,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind<'a> {
    /// A regular file of so many bytes.
    File {
        /// The number of bytes that follow.
        size: u64,
    },
    /// A directory.
    Directory,
    /// A symbolic link to a target that is kept verbatim.
    Symlink(Cow<'a, [u8]>),
    /// Another name of the file at a path of the same layer.
    HardLink(Cow<'a, [u8]>),
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
}

/// The number of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// The driver.
    pub major: u32,
    /// The device of that driver.
    pub minor: u32,
}

/// A numeric owner. Layers never carry names: those belong to the image's own `/etc/passwd`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

impl Owner {
    /// User 0 and group 0.
    pub const ROOT: Self = Self { uid: 0, gid: 0 };

    /// The owner with these ids.
    pub const fn new(uid: u32, gid: u32) -> Self {
        Self { uid, gid }
    }
}

/// An extended attribute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Xattr {
    /// The name with its namespace: `user.x`, `security.capability`.
    pub name: Vec<u8>,
    /// The value, which may be any bytes.
    pub value: Vec<u8>,
}

impl<'a> Entry<'a> {
    /// A directory of mode 0755, owned by root, without extended attributes.
    pub fn directory(path: impl Into<Cow<'a, [u8]>>) -> Self {
        Self {
            path: path.into(),
            kind: Kind::Directory,
            mode: 0o755,
            owner: Owner::ROOT,
            mtime: 0,
            xattrs: Vec::new(),
        }
    }

    /// A file of mode 0644, owned by root, without extended attributes.
    pub fn file(path: impl Into<Cow<'a, [u8]>>, size: u64) -> Self {
        Self {
            kind: Kind::File { size },
            mode: 0o644,
            ..Self::directory(path)
        }
    }

    /// A symbolic link of mode 0777, owned by root.
    pub fn symlink(path: impl Into<Cow<'a, [u8]>>, target: impl Into<Cow<'a, [u8]>>) -> Self {
        Self {
            kind: Kind::Symlink(target.into()),
            mode: 0o777,
            ..Self::directory(path)
        }
    }

    /// The bytes that follow the entry in a tar, without padding.
    pub fn size(&self) -> u64 {
        match self.kind {
            Kind::File { size } => size,
            _ => 0,
        }
    }
}

/// A path for messages.
pub(crate) fn show(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// The parent of a relative path; the parent of a single name is the empty path.
pub(crate) fn parent(path: &[u8]) -> &[u8] {
    split(path).0
}

/// A relative path as parent and last name.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

/// The proper ancestors of a relative path, shallowest first: `a`, `a/b` for `a/b/c`.
pub(crate) fn ancestors(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.iter()
        .enumerate()
        .filter(|&(_, &byte)| byte == b'/')
        .map(|(at, _)| &path[..at])
}
