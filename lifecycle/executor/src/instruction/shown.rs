//! What a step is shown at a path: mounted, or in its root for as long as it runs where nothing can be mounted.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lifecycle_sandbox::{BindSource, Content, Mount, Placed, PlacedContent};
use lifecycle_store::{Cache, Scratch};

use super::devices::{self, Edits};
use super::ssh::ForwardedAgent;
use crate::error::StepError;

/// What a step is given.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) manner: Attaching,
    pub(crate) shown: Vec<Shown>,
    pub(crate) environment: Vec<(String, OsString)>,
    /// Groups that the command is in besides its user's.
    pub(crate) groups: Vec<u32>,
    /// What has to stay until the command has ended.
    pub(super) caches: Vec<Cache>,
    pub(super) agents: Vec<ForwardedAgent>,
    pub(super) scratches: Vec<Arc<Scratch>>,
}

/// How a step is shown something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attaching {
    Mounted,
    /// It lies in the root itself meanwhile, because nothing can be mounted (rung 4).
    Placed,
}

/// Something at a path.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(super) target: String,
    what: What,
}

/// What is there.
#[derive(Debug)]
pub(crate) enum What {
    /// A directory, file or socket of the store.
    Path { path: PathBuf, is_read_only: bool },
    /// Something of the host itself, as whoever administers it has said (I16).
    OfHost(devices::File),
    /// An empty directory in memory.
    Tmpfs { size: Option<u64>, mode: u32 },
    /// A file in memory.
    File {
        bytes: Vec<u8>,
        mode: u32,
        uid: u32,
        gid: u32,
    },
}

impl Attached {
    pub(super) fn new(manner: Attaching) -> Self {
        Self {
            manner,
            shown: Vec::new(),
            environment: Vec::new(),
            groups: Vec::new(),
            caches: Vec::new(),
            agents: Vec::new(),
            scratches: Vec::new(),
        }
    }

    pub(super) fn show(&mut self, target: &str, what: What) {
        self.shown.push(Shown {
            target: target.to_owned(),
            what,
        });
    }

    pub(super) fn show_path(&mut self, target: &str, path: PathBuf, is_read_only: bool) {
        self.show(target, What::Path { path, is_read_only });
    }

    /// What devices of the host need (I16).
    pub(super) fn show_devices(&mut self, devices: &Edits) {
        for file in &devices.files {
            self.show(&file.target, What::OfHost(file.clone()));
        }
        let variables = devices.environment.iter();
        self.environment
            .extend(variables.map(|(name, value)| (name.clone(), value.into())));
        self.groups.extend(&devices.groups);
    }

    pub(super) fn show_file(&mut self, target: &str, bytes: &[u8], mode: u32) {
        let bytes = bytes.to_vec();
        let (uid, gid) = (0, 0);
        self.show(
            target,
            What::File {
                bytes,
                mode,
                uid,
                gid,
            },
        );
    }
}

impl Shown {
    /// For a root that can have mounts.
    pub(super) fn mount(self) -> Result<Mount, StepError> {
        let content = match self.what {
            What::Path { path, is_read_only } => Content::Bind {
                source: open(&path)
                    .map_err(StepError::io(format!("open what is mounted at {}", self.target)))?,
                read_only: is_read_only,
                devices: false,
            },
            What::OfHost(file) => Content::Bind {
                source: BindSource::path(&file.host)
                    .map_err(StepError::io(format!("open {}", file.host.display())))?,
                read_only: file.is_read_only,
                devices: file.is_device,
            },
            What::Tmpfs { size, mode } => Content::Tmpfs { size, mode },
            What::File {
                bytes,
                mode,
                uid,
                gid,
            } => Content::File {
                bytes,
                mode,
                uid,
                gid,
            },
        };
        Ok(Mount {
            target: PathBuf::from(self.target),
            content,
        })
    }

    /// For a root that can have none. What is read-only can be written to there; nothing of it is kept.
    pub(super) fn place(self) -> Result<Placed, StepError> {
        let content = match self.what {
            What::Path { path, .. } => PlacedContent::Moved(path),
            What::OfHost(_) => return Err(cannot_place("a device of the host")),
            What::Tmpfs { .. } => return Err(cannot_place("a tmpfs mount with a size")),
            What::File {
                bytes,
                mode,
                uid,
                gid,
            } => PlacedContent::File {
                bytes,
                mode,
                uid,
                gid,
            },
        };
        Ok(Placed {
            target: PathBuf::from(self.target),
            content,
        })
    }
}

/// What a root without mounts cannot show.
pub(super) fn cannot_place(what: &str) -> StepError {
    StepError::Unsupported {
        what: what.to_owned(),
        reason: "nothing can be mounted in a chroot, which takes CAP_SYS_ADMIN or user namespaces".to_owned(),
    }
}

/// Opened beneath its directory: whatever is there cannot lead elsewhere (CVE-2024-1753).
fn open(path: &Path) -> std::io::Result<BindSource> {
    let above = path.parent().unwrap_or(path);
    BindSource::beneath(above, Path::new(path.file_name().unwrap_or_default()))
}
