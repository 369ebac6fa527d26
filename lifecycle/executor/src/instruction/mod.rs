//! Instructions that make layers, one file for each.

mod copy;
mod devices;
mod mounts;
mod owners;
mod run;
mod shown;
mod ssh;
mod workdir;
pub(crate) mod working_root;

pub(crate) use mounts::FILES;
