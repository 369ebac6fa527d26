//! The launcher as a container starts it: the built program, layer directories, and processes that say what they see.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod environment;
mod exec_d;
#[path = "../../../../tests/support/executable.rs"]
#[expect(dead_code, reason = "shared with tests that copy programs")]
mod executable;
mod image;
mod processes;
mod refusals;
mod shell;
