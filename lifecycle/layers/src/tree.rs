//! Whole trees: remove, copy, measure. All by handles, for trees of any depth and with hostile links.

mod remove;
mod size;

pub use remove::remove;
pub(crate) use remove::remove_name;
pub use size::{Size, size};
