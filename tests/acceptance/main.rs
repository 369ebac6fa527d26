//! The built program, driven as its users do, and judged by other people's tools.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod attestations;
mod bad_input;
mod build;
mod caches;
mod daemon;
mod elsewhere;
mod extensions;
mod faults;
mod heroku;
mod hostile;
mod images;
mod kaniko;
mod modules;
mod outputs;
mod pack;
mod packages;
mod phases;
mod platforms;
mod pods;
mod real;
mod rebase;
mod reference;
mod reference_daemon;
mod reference_extender;
mod registry;
mod reproducibility;
mod slugs;
mod users;
mod vendors;
