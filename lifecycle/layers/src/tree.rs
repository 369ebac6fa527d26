//! Whole trees: remove, copy, give away, measure, settle, all by handles, for trees of any depth and with hostile links; and
//! what lies in one.

mod copy;
mod find;
mod give;
mod remove;
mod settle;
mod size;

#[cfg(test)]
mod tests;

pub use copy::{Copied, Copying, copy};
pub use find::find_below;
pub use give::give_away;
pub(crate) use remove::remove_name;
pub use remove::{remove, remove_path};
pub use settle::settle;
pub use size::{Size, size};
