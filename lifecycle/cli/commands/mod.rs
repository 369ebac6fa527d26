//! The commands, one file each: read the arguments, call the libraries, report.

pub(crate) mod build;
pub(crate) mod builder;
pub(crate) mod cache;
pub(crate) mod completions;
pub(crate) mod copy;
pub(crate) mod doctor;
pub(crate) mod fronts;
pub(crate) mod images;
pub(crate) mod inspect;
pub(crate) mod man;
pub(crate) mod package;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod rebase;
pub(crate) mod rmi;
pub(crate) mod run;
pub(crate) mod sbom;
pub(crate) mod slug;
pub(crate) mod stack;
pub(crate) mod tag;

use std::process::ExitCode;

use lifecycle_sandbox::Exit;

/// What this program ends with when the program that it started has ended so.
pub(crate) fn exit_code(exit: Exit) -> ExitCode {
    ExitCode::from(u8::try_from(exit.code()).unwrap_or(1))
}
