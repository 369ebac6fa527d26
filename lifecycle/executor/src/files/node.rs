//! What lies at a path.

use lifecycle_layers::{Device, Entry, Kind, Owner, Xattr};

use crate::copy::known::Mark;

/// An entry of a view.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) kind: NodeKind,
    /// `0o7777` at most.
    pub(crate) mode: u32,
    pub(crate) owner: Owner,
    /// Whole seconds since the epoch.
    pub(crate) mtime: i64,
    /// For a file with several names: which file it is.
    pub(crate) identity: Option<(u64, u64)>,
    /// For a file of a local source: what changes whenever the file does.
    pub(crate) mark: Option<Mark>,
    /// Known only where the entry comes from an index; else they are read with the content.
    pub(crate) xattrs: Vec<Xattr>,
}

impl Node {
    /// What an archive says of an entry.
    pub(crate) fn of_entry(entry: &Entry<'_>) -> Self {
        Self {
            kind: NodeKind::of_entry(&entry.kind),
            mode: entry.mode,
            owner: entry.owner,
            mtime: entry.mtime,
            identity: None,
            mark: None,
            xattrs: entry.xattrs.clone(),
        }
    }

    /// A directory of which nobody says anything.
    pub(crate) fn implied_directory() -> Self {
        Self {
            kind: NodeKind::Directory,
            mode: 0o755,
            owner: Owner::ROOT,
            mtime: 0,
            identity: None,
            mark: None,
            xattrs: Vec::new(),
        }
    }
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NodeKind {
    File { size: u64 },
    Directory,
    Symlink(Vec<u8>),
    Fifo,
    CharDevice(Device),
    BlockDevice(Device),
    Socket,
}

impl Node {
    pub(crate) fn is_directory(&self) -> bool {
        self.kind == NodeKind::Directory
    }

    pub(crate) fn is_file(&self) -> bool {
        matches!(self.kind, NodeKind::File { .. })
    }
}

impl NodeKind {
    /// The same as the kind of a layer's entry. A socket becomes an empty file (H6).
    pub(crate) fn to_entry(&self) -> Kind<'static> {
        match self {
            Self::File { size } => Kind::File { size: *size },
            Self::Directory => Kind::Directory,
            Self::Symlink(target) => Kind::Symlink(target.clone().into()),
            Self::Fifo => Kind::Fifo,
            Self::CharDevice(device) => Kind::CharDevice(*device),
            Self::BlockDevice(device) => Kind::BlockDevice(*device),
            Self::Socket => Kind::File { size: 0 },
        }
    }

    /// From an entry that is no hard link.
    pub(crate) fn of_entry(kind: &Kind<'_>) -> Self {
        match kind {
            Kind::File { size } => Self::File { size: *size },
            Kind::HardLink(_) => Self::File { size: 0 },
            Kind::Directory => Self::Directory,
            Kind::Symlink(target) => Self::Symlink(target.to_vec()),
            Kind::Fifo => Self::Fifo,
            Kind::CharDevice(device) => Self::CharDevice(*device),
            Kind::BlockDevice(device) => Self::BlockDevice(*device),
        }
    }
}
