//! Builds, checked rule by rule. Names of tests end in the rule they hold.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests, which say what they skip"
)]

mod support;

mod archives;
mod bounds;
mod caches;
mod config;
mod copy;
mod differential;
mod emulation;
mod keys;
mod live_root;
mod mounts;
mod parents;
mod platforms;
mod remote;
mod run;
mod rungs;
mod security;
mod unseen;
mod users;
