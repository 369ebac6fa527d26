//! What goes wrong when images are made from definitions.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use lifecycle_image::{ImageError, InvalidReference, LayerError, TransferError};
use lifecycle_layers::ExtractError;
use lifecycle_spec::Flaw;
use lifecycle_store::StoreError;

use crate::{InvalidAddress, OriginError};

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
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A new module would overwrite a file.
    #[error("{} is there already; choose another directory with --path", path.display())]
    Exists {
        /// Which.
        path: PathBuf,
    },
    /// A text names no module.
    #[error(transparent)]
    Address(#[from] InvalidAddress),
    /// There is nothing that says what it is.
    #[error(
        "{place} is neither a buildpack nor an extension: it has no buildpack.toml and no extension.toml"
    )]
    NoModule {
        /// Where.
        place: String,
    },
    /// A buildpack has no program to build with.
    #[error(
        "the buildpack {module} has no bin/build in {}: a source for several targets has the files of each in          OS/ARCH, and one that stands for others has an [[order]]",
        folder.display()
    )]
    NoPrograms {
        /// The buildpack.
        module: String,
        /// Its folder.
        folder: PathBuf,
    },
    /// Something that is not on this machine could not be had.
    #[error("cannot fetch {what}")]
    Origin {
        /// What.
        what: String,
        /// Why.
        #[source]
        cause: OriginError,
    },
    /// An address means a builder's module where there is no builder.
    #[error("{name} is a module of a builder, but there is no builder here to take it from")]
    NoBuilder {
        /// The module.
        name: String,
    },
    /// An archive of a module cannot be unpacked.
    #[error("cannot unpack {}: {cause}", path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// Why.
        #[source]
        cause: Box<ExtractError>,
    },
    /// An image is not a package that can be used.
    #[error("{name} is not a buildpackage that can be used: {reason}")]
    Package {
        /// The package.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A layer of a package is not what its labels say. Becomes a [`Package`](Self::Package), which has a name.
    #[error("the layer is not what its package says: {reason}")]
    PackageLayer {
        /// What is wrong.
        reason: String,
    },
    /// Something is not a lifecycle.
    #[error("{name} is not a lifecycle that can be used: {reason}")]
    Lifecycle {
        /// The archive or image.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A module speaks an API that the builder's lifecycle does not know (BU-02).
    #[error("{module} is written for Buildpack API {api:?}, but the lifecycle of the builder knows {apis}")]
    Unspoken {
        /// The module.
        module: String,
        /// What it speaks.
        api: String,
        /// What the lifecycle speaks.
        apis: String,
    },
    /// A composite refers to what is not there, or there several times.
    #[error("{module} refers to {wanted}, which is there {}", times(*found))]
    Unresolved {
        /// The composite.
        module: String,
        /// What it refers to.
        wanted: String,
        /// How many there are.
        found: usize,
    },
    /// Composites refer to each other.
    #[error("buildpacks refer to each other in a circle: {way}")]
    Circle {
        /// Their names in order.
        way: String,
    },
    /// A module does not run on the build image (BDR-08).
    #[error("{module} is for {wanted}, but the build image is {found}")]
    Misfit {
        /// The module.
        module: String,
        /// Its targets and stacks.
        wanted: String,
        /// What the image is.
        found: String,
    },
    /// Two modules have one name.
    #[error("there are two different modules {module}; take one of them out")]
    Twins {
        /// Their name.
        module: String,
    },
    /// A module that is to share a layer is not there.
    #[error("--flatten names {name}, which is not among the modules")]
    Flatten {
        /// Its name.
        name: String,
    },
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
    /// An image's documents do not fit.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// An image could not be read or written.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn times(found: usize) -> String {
    match found {
        0 => "nowhere; add it to the builder or to the dependencies of the package".to_owned(),
        several => format!("in {several} versions; name one of them"),
    }
}
