//! What a command sees and can do, on every rung. As root the namespace rungs are driven directly; the others
//! through the example program, started with fewer privileges by setpriv.

#![expect(clippy::unwrap_used, reason = "a test may")]
#![expect(clippy::print_stdout, reason = "a test says what it skips")]

mod command;
#[path = "../../../../tests/support/executable.rs"]
mod executable;
mod owners;
mod rungs;
mod security;
mod streams;
mod support;
mod view;
