//! This program, for whoever starts it once more or puts it into an image.

use lifecycle_platform::Program;

/// The launcher that every app image gets.
static LAUNCHER: &[u8] = include_bytes!(env!("LAUNCHER"));

/// This program, also when its path leads to another one by now.
pub(crate) const OWN_PROGRAM: &str = "/proc/self/exe";

/// This program as the phases of a build.
pub(crate) fn own_program() -> Program {
    Program {
        file: OWN_PROGRAM.into(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        launcher: LAUNCHER.into(),
    }
}
