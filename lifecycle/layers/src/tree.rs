//! Whole trees: remove, copy, give away, measure, settle. All by handles, for trees of any depth and with hostile links.

mod copy;
mod give;
mod remove;
mod settle;
mod size;

#[cfg(test)]
mod tests;

pub use copy::{Copied, Copying, copy};
pub use give::give_away;
pub(crate) use remove::remove_name;
pub use remove::{remove, remove_path};
pub use settle::settle;
pub use size::{Size, size};
