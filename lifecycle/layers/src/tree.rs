//! Whole trees: remove, copy, measure. All by handles, for trees of any depth and with hostile links.

mod copy;
mod remove;
mod size;

#[cfg(test)]
mod tests;

pub use copy::{Copied, Copying, copy};
pub use remove::remove;
pub(crate) use remove::remove_name;
pub use size::{Size, size};
