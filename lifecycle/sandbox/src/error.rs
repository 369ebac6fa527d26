//! Why a command could not be run in isolation.

use std::io;
use std::path::PathBuf;

use crate::overlay::OverlayError;

/// Why a command could not be started or followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// The command has no program.
    #[error("the command is empty: name a program to run")]
    EmptyCommand,
    /// A null byte, which no argument, variable or path can hold.
    #[error("{what} contains a null byte")]
    NullByte {
        /// Argument, variable or path.
        what: &'static str,
    },
    /// The program cannot be executed; the command never ran.
    #[error("cannot execute `{}`", program.display())]
    Execute {
        /// As asked for.
        program: PathBuf,
        /// ENOENT: nowhere; EACCES: not executable; ENOEXEC: no program of this machine and no `#!` line.
        source: io::Error,
    },
    /// A step of the set-up in the child was refused.
    #[error("cannot {action}")]
    SetUp {
        /// What was being done, with the path it was done to.
        action: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Something the run needs could not be prepared.
    #[error("cannot {action}")]
    Prepare {
        /// What was being done.
        action: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A mount point or the working directory cannot be found or made beneath the root.
    #[error("cannot make {} in the root file system", path.display())]
    MountPoint {
        /// Within the root.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The chosen isolation cannot do this.
    #[error("{feature} is not possible with {isolation}: {hint}")]
    Unsupported {
        /// What was asked for.
        feature: &'static str,
        /// The isolation, in words.
        isolation: &'static str,
        /// What to do instead.
        hint: &'static str,
    },
    /// The user namespace has no such id.
    #[error(
        "user {uid}:{gid} does not exist in this user namespace: grant subordinate ids in /etc/subuid and /etc/subgid"
    )]
    IdNotMapped {
        /// Asked for.
        uid: u32,
        /// Asked for.
        gid: u32,
    },
    /// The init process ended without a word, for instance killed for lack of memory.
    #[error("the sandbox ended before the command could start")]
    Vanished,
    /// The filter has no table for this machine.
    #[error("no seccomp filter for this machine: {reason}")]
    Filter {
        /// The compiler's words.
        reason: String,
    },
    /// An overlay could not be mounted.
    #[error(transparent)]
    Overlay(#[from] OverlayError),
}

impl SandboxError {
    pub(crate) fn prepare<E: Into<io::Error>>(action: impl Into<String>) -> impl FnOnce(E) -> Self {
        let action = action.into();
        move |error| Self::Prepare {
            action,
            source: error.into(),
        }
    }
}
