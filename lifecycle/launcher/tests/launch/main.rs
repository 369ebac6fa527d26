//! The launcher as a container starts it: the built program, layer directories, and processes that say what they see.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod environment;
mod exec_d;
mod image;
mod processes;
mod refusals;
mod shell;
