//! Stacks, builders and buildpackages as images.
//!
//! A **stack** is a pair of images that belong together: one to build on, one to run on. [`stack::create`] makes
//! them from distribution packages, as `stack.toml` says. A **module** is a buildpack or an image extension. A
//! **package** is an image that carries a module and those that it needs; [`package()`] makes it, as `package.toml` says.
//! A **builder** is a build image with modules, the order to try them in, and a lifecycle; [`create()`] makes it, as
//! `builder.toml` says, in the layout that pack and other platforms read (platforms.md 1.8).
//!
//! An [`Address`] says where a module is, and [`fetch`] brings it: a directory, an archive, a package in a file, in a
//! layout or in a registry. What is not on this machine's disk comes through [`Origins`]. Modules of packages keep
//! their layers as they are; a layer is looked through before it is put on an image, since other people made it.
//!
//! Definitions are [`Folder`]s, on disk or in the program: it carries the stacks, buildpacks and builders of this
//! repository, so that one file is enough to build with.

mod address;
mod check;
mod create;
mod descriptor;
mod error;
mod folder;
mod index;
mod inspect;
mod layers;
mod lifecycle;
mod module;
mod origins;
mod package;
mod skeleton;
pub mod stack;

#[cfg(test)]
mod tests;

pub use address::{Address, InvalidAddress, ModuleName};
pub use create::{Definition, create};
pub use descriptor::{Descriptor, Kind};
pub use error::BuilderError;
pub use folder::Folder;
pub use index::{IndexEntry, IndexError, RegistryIndex};
pub use inspect::read_file;
pub use layers::{Flatten, Workbench, place};
pub use lifecycle::{Lifecycle, PHASES};
pub use module::Module;
pub use origins::{Located, OriginError, Origins, fetch, fetch_lifecycle, locate, platform};
pub use package::{Package, PackageOptions, package, targets};
pub use skeleton::{Skeleton, inline};

/// The time of everything in builders and packages (platforms.md 1.8).
pub(crate) const CREATED: &str = "1980-01-01T00:00:01Z";
