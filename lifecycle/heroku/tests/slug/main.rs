//! Classic buildpacks in a busybox root: build, pack, unpack, run. They need root.
#![expect(clippy::unwrap_used, reason = "a test may")]
#![expect(clippy::print_stdout, reason = "a test says what it skips")]

mod building;
mod classic;
mod contract;
#[path = "../../../../tests/support/executable.rs"]
#[expect(dead_code, reason = "shared with tests that write programs")]
mod executable;
mod fronts;
mod running;
mod slugs;
mod support;
