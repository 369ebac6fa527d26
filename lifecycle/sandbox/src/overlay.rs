//! Overlay mounts: many read-only directories below, one that takes the changes above.
//!
//! Layers are handed over by descriptor, so neither the length of a path nor a comma or colon in it matters,
//! and 500 of them fit everywhere. Three ways, newest first: descriptors in the mount context, paths through
//! /proc/self/fd in it, and the old one-page option string in which, with /proc/self/fd as working directory,
//! a layer is just its number.

use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::mount::{
    FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, fsconfig_set_fd, fsconfig_set_flag,
    fsconfig_set_string, fsopen, mount, mount_change,
};
use rustix::process::chdir;
use rustix::thread::UnshareFlags;

use crate::syscall;
use crate::tree::Tree;

/// The most layers the kernel stacks.
pub const MAX_LAYERS: usize = 500;

/// An overlay to mount.
#[derive(Clone, Debug)]
pub struct Overlay {
    /// The read-only layers, uppermost first, 1 to [`MAX_LAYERS`].
    pub lower: Vec<PathBuf>,
    /// Where changes go; without it the mount is read-only and needs two layers.
    pub changes: Option<Changes>,
    /// Keep overlay's own marks in `user.overlay.*`, as a user namespace demands; `trusted.overlay.*` otherwise.
    pub user_xattr: bool,
    /// Skip syncing the upper directory: for changes that are thrown away after a crash anyhow.
    pub volatile: bool,
}

/// The writable side of an overlay. Both lie on one file system.
#[derive(Clone, Debug)]
pub struct Changes {
    /// Receives what changes; afterwards it is the change set.
    pub upper: PathBuf,
    /// An empty directory for the kernel.
    pub work: PathBuf,
}

/// Why an overlay could not be mounted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OverlayError {
    /// None, or more than the kernel stacks.
    #[error("an overlay takes 1 to {MAX_LAYERS} lower layers, not {count}")]
    LayerCount {
        /// How many were asked for.
        count: usize,
    },
    /// A directory cannot be opened.
    #[error("cannot open overlay directory {}", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// The kernel refused; its own words where it gave any.
    #[error("cannot mount overlay{}{explanation}", if explanation.is_empty() { "" } else { ": " })]
    Mount {
        /// From the mount context's log, may be empty.
        explanation: String,
        /// The kernel's answer.
        source: std::io::Error,
    },
}

/// The directories by descriptor.
struct Layers {
    lower: Vec<OwnedFd>,
    changes: Option<(OwnedFd, OwnedFd)>,
}

impl Overlay {
    /// Mounts the overlay detached, as a run takes it.
    pub fn mount(&self) -> Result<Tree, OverlayError> {
        let layers = self.open()?;
        match self.mount_by(&layers, LayerArgument::Descriptor) {
            Err(OverlayError::Mount { source, .. }) if is_unknown(&source) => {}
            result => return result,
        }
        match self.mount_by(&layers, LayerArgument::Path) {
            Err(OverlayError::Mount { source, .. }) if is_unknown(&source) => {}
            result => return result,
        }
        self.mount_with_option_string()
    }

    fn open(&self) -> Result<Layers, OverlayError> {
        if self.lower.is_empty() || self.lower.len() > MAX_LAYERS {
            return Err(OverlayError::LayerCount {
                count: self.lower.len(),
            });
        }
        let open = |path: &PathBuf| {
            open(
                path,
                OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
            )
            .map_err(|errno| OverlayError::Open {
                path: path.clone(),
                source: errno.into(),
            })
        };
        let lower = self.lower.iter().map(open).collect::<Result<_, _>>()?;
        let changes = match &self.changes {
            Some(changes) => Some((open(&changes.upper)?, open(&changes.work)?)),
            None => None,
        };
        Ok(Layers { lower, changes })
    }

    /// Options that keep the change set complete in itself: no redirects, no metadata-only copies, no index.
    fn flags(&self) -> impl Iterator<Item = &'static str> {
        let user_xattr = self.user_xattr.then_some("userxattr");
        user_xattr
            .into_iter()
            .chain((self.volatile && self.changes.is_some()).then_some("volatile"))
    }

    const SETTINGS: [(&'static str, &'static str); 3] = [
        ("index", "off"),
        ("metacopy", "off"),
        ("redirect_dir", "nofollow"),
    ];

    fn mount_by(&self, layers: &Layers, argument: LayerArgument) -> Result<Tree, OverlayError> {
        let context =
            fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(|errno| OverlayError::Mount {
                explanation: String::new(),
                source: errno.into(),
            })?;
        let fill = || -> Result<Tree, Errno> {
            for layer in &layers.lower {
                argument.set(&context, "lowerdir+", layer)?;
            }
            if let Some((upper, work)) = &layers.changes {
                argument.set(&context, "upperdir", upper)?;
                argument.set(&context, "workdir", work)?;
            }
            for (key, value) in Self::SETTINGS {
                fsconfig_set_string(&context, key, value)?;
            }
            for flag in self.flags() {
                fsconfig_set_flag(&context, flag)?;
            }
            Tree::create(&context, MountAttrFlags::empty())
        };
        fill().map_err(|errno| OverlayError::Mount {
            explanation: context_log(&context),
            source: errno.into(),
        })
    }

    /// For kernels before 6.7. mount(2) can only attach, so a thread of its own does that in a mount namespace
    /// of its own, where /proc may be covered, and brings a detached copy back.
    fn mount_with_option_string(&self) -> Result<Tree, OverlayError> {
        let failed = |errno: Errno| OverlayError::Mount {
            explanation: String::new(),
            source: errno.into(),
        };
        let mount_and_detach = || -> Result<Tree, OverlayError> {
            syscall::unshare(UnshareFlags::NEWNS).map_err(failed)?;
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).map_err(failed)?;
            // Layers must belong to the mount namespace that mounts them: opened here, not before.
            let options = self.option_string(self.open()?);
            mount_over_proc(&options.0).map_err(failed)
        };
        std::thread::scope(|scope| {
            scope
                .spawn(mount_and_detach)
                .join()
                .unwrap_or_else(|_| Err(failed(Errno::CHILD)))
        })
    }

    /// The options with descriptors as names, and the descriptors that keep them valid.
    fn option_string(&self, layers: Layers) -> (String, Layers) {
        let number = |fd: &OwnedFd| fd.as_raw_fd().to_string();
        let lower: Vec<String> = layers.lower.iter().map(number).collect();
        let mut options = vec![format!("lowerdir={}", lower.join(":"))];
        if let Some((upper, work)) = &layers.changes {
            options.push(format!("upperdir={},workdir={}", number(upper), number(work)));
        }
        options.extend(Self::SETTINGS.map(|(key, value)| format!("{key}={value}")));
        options.extend(self.flags().map(str::to_owned));
        (options.join(","), layers)
    }
}

fn mount_over_proc(options: &str) -> Result<Tree, Errno> {
    let options = CString::new(options).map_err(|_| Errno::INVAL)?;
    chdir("/proc/self/fd")?;
    mount(
        c"overlay",
        c"/proc",
        c"overlay",
        MountFlags::empty(),
        Some(options.as_c_str()),
    )?;
    Tree::bind(open(
        "/proc",
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

/// How a layer is named to the mount context.
#[derive(Clone, Copy, Debug)]
enum LayerArgument {
    /// Since kernel 6.13.
    Descriptor,
    /// `lowerdir+` since kernel 6.7.
    Path,
}

impl LayerArgument {
    fn set(self, context: &OwnedFd, key: &str, layer: &OwnedFd) -> Result<(), Errno> {
        match self {
            Self::Descriptor => fsconfig_set_fd(context, key, layer),
            Self::Path => fsconfig_set_string(context, key, format!("/proc/self/fd/{}", layer.as_raw_fd())),
        }
    }
}

/// EINVAL is how a kernel answers to a parameter it does not know.
fn is_unknown(error: &std::io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::INVAL | Errno::NOSYS))
}

/// The kernel's own explanation of a refused mount, one message per read.
fn context_log(context: &OwnedFd) -> String {
    let mut messages = Vec::new();
    let mut buffer = [0u8; 1024];
    while let Ok(length) = rustix::io::read(context, &mut buffer[..]) {
        let message = String::from_utf8_lossy(&buffer[..length]);
        messages.push(message.trim_start_matches(['e', 'w', 'i']).trim().to_owned());
        if length == 0 || messages.len() == 8 {
            break;
        }
    }
    messages.join("; ")
}

#[cfg(test)]
mod tests;
