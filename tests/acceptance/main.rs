//! The built program, driven as its users do, and judged by other people's tools.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod build;
mod elsewhere;
mod faults;
mod images;
mod phases;
mod real;
mod registry;
mod reproducibility;
mod users;
