//! Tests of the whole store, by what they hold.

mod crash;
mod images;
mod leftovers;
mod making;
mod pruning;
mod samples;
mod space;
mod trees;
mod verifying;
