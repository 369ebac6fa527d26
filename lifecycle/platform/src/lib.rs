//! What a platform does around the phases: builds app source on a builder, and runs app images.
//!
//! [`build()`] is the whole way from source to image. Analyze, restore and export happen here, with credentials
//! and the network; detect and build run the app's and the buildpacks' code, so they get a root file system of
//! their own (the builder image's), no credentials, and leave nothing behind but the layers directory.
//! [`run()`] starts a process of an image.
//!
//! [`Isolation`] says how both are kept apart from the machine: the rung of the ladder in `docs/isolation.md`.

mod build;
mod error;
mod isolation;
mod root;
mod run;
mod source;

pub use build::{BuildOptions, BuildReport, PhaseTime, Program, RunImages, build};
pub use error::PlatformError;
pub use isolation::Isolation;
pub use root::{CommandRoot, ImageRoot};
pub use run::{RunOptions, Started, Volume, network_files, run};
pub use source::{Selection, copy_source};
