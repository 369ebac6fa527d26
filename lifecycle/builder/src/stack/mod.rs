//! Stacks: a build image and a run image that belong together, made from distribution packages.

mod create;
mod definition;

pub use create::{Sources, create};
pub use definition::{Definition, Distro, ImageDefinition, Mmdebstrap, Part, User};
