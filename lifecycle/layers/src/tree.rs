//! Whole trees: remove, copy, measure, settle. All by handles, for trees of any depth and with hostile links.

mod copy;
mod remove;
mod settle;
mod size;

#[cfg(test)]
mod tests;

pub use copy::{Copied, Copying, copy};
pub(crate) use remove::remove_name;
pub use remove::{remove, remove_path};
pub use settle::settle;
pub use size::{Size, size};
