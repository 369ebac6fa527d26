//! Stacks and builders as images.
//!
//! A **stack** is a pair of images that belong together: one to build on, one to run on. [`stack::create`] makes
//! them from distribution packages, as `stack.toml` says. A **builder** is a build image with buildpacks, the
//! order to try them in, and a lifecycle; [`create()`] makes it from a `builder.toml`, in the layout that pack and
//! other platforms read (platforms.md 1.8).
//!
//! Definitions are [`Folder`]s, on disk or in the program: it carries the stacks, buildpacks and builders of this
//! repository, so that one file is enough to build with.

mod create;
mod error;
mod folder;
mod module;
pub mod stack;

pub use create::{Definition, Lifecycle, PHASES, create};
pub use error::BuilderError;
pub use folder::Folder;
pub use module::Module;
