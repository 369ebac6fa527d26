//! What goes wrong when images are made from definitions.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use lifecycle_image::{InvalidReference, LayerError, TransferError};
use lifecycle_spec::{ApiError, Flaw};
use lifecycle_store::StoreError;

/// A stack or builder could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BuilderError {
    /// No definition has this name.
    #[error(
        "there is no {kind} {name:?}: it is neither a folder with a {file}, nor one of those in this program: {known}"
    )]
    Unknown {
        /// `stack` or `builder`.
        kind: &'static str,
        /// As asked for.
        name: String,
        /// What such a folder would hold.
        file: &'static str,
        /// The embedded ones.
        known: String,
    },
    /// A definition is wrong.
    #[error(transparent)]
    Flaw(#[from] Flaw),
    /// A module declares an API that the lifecycle does not speak.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The name of an image is none.
    #[error(transparent)]
    Reference(#[from] InvalidReference),
    /// A file of a definition cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A module is fetched in a way that is not built yet.
    #[error("{uri}: modules can be folders so far, not archives or images")]
    ModuleKind {
        /// The module's address.
        uri: String,
    },
    /// The builder brings a lifecycle of its own.
    #[error("`[lifecycle]` names another lifecycle, but a builder made by this program carries this program")]
    ForeignLifecycle,
    /// A module is not the one that `builder.toml` says it is.
    #[error("{uri} is {found}, but builder.toml says {expected}")]
    WrongModule {
        /// The module's address.
        uri: String,
        /// What it says of itself.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// A group names a module that the builder does not have, or has in several versions.
    #[error("the order names {wanted}, of which the builder has {found}")]
    Order {
        /// As named.
        wanted: String,
        /// The versions that are there.
        found: String,
    },
    /// The build image cannot be built on.
    #[error("the build image {image} {reason}")]
    BuildImage {
        /// Its name.
        image: String,
        /// What it lacks.
        reason: String,
    },
    /// The program that makes root file systems is missing.
    #[error(
        "mmdebstrap is needed to make a stack from Debian packages, and could not be started; \
         install it (`apt install mmdebstrap`), or use a builder whose images exist"
    )]
    NoMmdebstrap {
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The program that makes root file systems failed.
    #[error("mmdebstrap could not make the {part} image of stack {stack} ({status}):\n{output}")]
    Mmdebstrap {
        /// The stack's id.
        stack: String,
        /// `build` or `run`.
        part: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// The last of what it said.
        output: String,
    },
    /// A layer could not be made.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// An image could not be read or written.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
