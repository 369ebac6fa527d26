//! The phases of the Cloud Native Buildpacks platform specification.
//!
//! Each phase is a folder with its options, its report, its error and one function:
//!
//! - [`analyze()`] looks at the previous image and chooses the run image; its result is `analyzed.toml`.
//! - [`detect()`] finds the first group of buildpacks that wants the source; `group.toml` and `plan.toml`.
//! - [`restore()`] brings back what earlier builds left, from the previous image's labels and from the cache.
//! - [`extend()`] carries out the Dockerfiles of image extensions, in a container of the image that they extend.
//! - [`build()`] runs the buildpacks; `config/metadata.toml`.
//! - [`export()`] turns directories into layers, layers into an image, and fills the cache.
//! - [`create()`] is these in one process, but for extending.
//! - [`rebase()`] exchanges the base of an image without reading a blob.
//!
//! The files between the phases are the platform specification's, so a phase may run in a container of its own,
//! and by another implementation. Everything else arrives in options: no phase knows a network, a terminal or an
//! environment variable. Images come from an [`Images`] (a source, a sink, and how images are named there); what
//! happens is told to a [`Reporter`]; a [`Cancellation`] stops the programs of buildpacks.
//!
//! A [`Place`] is a directory that lies somewhere here and is shown under a path in the image: for a phase in a
//! builder image both are the same, for a build on a laptop they are not.

mod analyze;
mod build;
mod cache;
mod contributed;
mod create;
mod detect;
mod environment;
mod export;
mod extend;
mod files;
mod images;
mod launch_cache;
mod layer;
mod modules;
mod parallel;
mod place;
mod process;
mod rebase;
mod reporter;
mod restore;
mod sboms;
mod targets;

#[cfg(test)]
mod testing;

pub use lifecycle_executor::Cancellation;

pub use analyze::{AnalyzeError, AnalyzeOptions, AnalyzeReport, analyze};
pub use build::{BuildError, BuildOptions, BuildReport, BuiltModule, build};
pub use cache::{CacheImage, CacheOptions, UnpackedLayers};
pub use create::{CreateError, CreateOptions, CreateReport, create};
pub use detect::{DetectError, DetectOptions, DetectReport, ModuleOutcome, Verdict, detect};
pub use environment::Surroundings;
pub use export::{ExportError, ExportOptions, ExportReport, ExportedLayer, LayerOrigin, export};
pub use extend::{BaseImages, ExtendError, ExtendKind, ExtendOptions, ExtendReport, extend};
pub use files::{FileError, read as read_document};
pub use images::{Access, Identifiers, ImageIds, Images, ImagesError};
pub use modules::ModuleError;
pub use place::Place;
pub use rebase::{RebaseError, RebaseOptions, RebaseReport, rebase};
pub use reporter::{Phase, Quiet, Reporter};
pub use restore::{RestoreError, RestoreOptions, RestoreReport, Restored, RestoredLayer, restore};
pub use sboms::SbomError;
