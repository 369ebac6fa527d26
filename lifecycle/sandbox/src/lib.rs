//! Runs one command in isolation: namespaces, id maps, mounts, pivot_root, capabilities, seccomp.
//!
//! [`Host::probe`] tries what this process may do and names the [`Rung`] of the isolation ladder that holds,
//! and for each higher one what is missing. An ordinary user calls [`enter()`] once, first thing in `main`:
//! the process goes on as root of a user namespace, and everything below has one code path.
//!
//! A [`Run`] says what to run, in which root, as whom, with what attached; [`Run::spawn`] gives a [`Process`]
//! to wait for and to signal. An [`Overlay`] stacks layers into a root whose changes are one directory.
//! [`Users`] resolves a `USER` setting in a root's own files.
//!
//! How a run comes to life: everything that may allocate or fail with a long story happens first, in this
//! process: mounts are made detached, mount points found or made beneath the root, the filter compiled. Then
//! one fork into new namespaces. Its child (the sandbox's first process) attaches the mounts,
//! pivots, forks the command, holds it at its first instruction while /proc is attached, then reaps and
//! forwards signals. Whatever the kernel refuses there comes back by name. When the command ends, so does
//! every process it left behind, and what was made for the run in its root is removed.
//!
//! All `unsafe` of the project is in this crate, in the module `syscall`.
#![cfg(target_os = "linux")]

mod assume;
mod bookkeeper;
mod capabilities;
mod credentials;
mod device;
mod enter;
mod error;
mod file_owners;
mod host;
mod idmap;
mod init;
mod interpreter;
mod limits;
mod mountpoint;
mod overlay;
mod pod;
mod process;
mod report;
mod run;
mod seccomp;
mod spawn;
mod step;
mod streams;
mod syscall;
mod tree;
mod users;
mod view;

pub use assume::assume_user;
pub use capabilities::Capabilities;
pub use device::chroot_devices;
pub use enter::{EnterError, Entered, enter, enter_with_one_id, enter_with_privileges};
pub use error::SandboxError;
pub use file_owners::{Birth, FileOwners};
pub use host::{Host, Missing, Rung, RungReport};
pub use idmap::{IdMap, IdMaps, IdRange, SubordinateIds};
pub use interpreter::Interpreter;
pub use limits::Limits;
pub use overlay::{Changes, MAX_LAYERS, Overlay, OverlayError};
pub use process::{Exit, Forwarding, Process, Remote};
pub use run::{
    BindSource, Content, DEFAULT_HOSTNAME, DEFAULT_SHM_SIZE, Isolation, Mount, Network, Placed,
    PlacedContent, Resource, Rlimit, Root, Run, Seccomp, Stdio, Streams, UserNamespace,
};
pub use tree::Tree;
pub use users::{Account, Identity, MAX_FILE_SIZE, UserError, Users};
