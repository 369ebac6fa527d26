//! Builds an image from a Dockerfile.
//!
//! [`build()`] takes [`Options`] and [`Surroundings`]: a source of images, a [`Remote`] for what lies on the network, a
//! store and a [`Reporter`]. It gives a [`BuildReport`] with the image, and knows no terminal, environment or network.
//!
//! A build goes through these steps:
//!
//! 1. The Dockerfile is parsed, planned and evaluated as a whole (crate `lifecycle_dockerfile`), so that what makes
//!    no sense fails before anything is done. Letters and numbers such as `H13` name the rules of that language.
//! 2. The stages that the target needs are worked on at the same time, each on what it needs from the others.
//! 3. Every step that makes a layer has a key: what it does, the contents of its inputs, and the layers it is done
//!    on. If an earlier build remembered the key, here or in a [`cache`] elsewhere, its layer is taken and nothing is
//!    run, unpacked or read.
//! 4. COPY and ADD write layers straight from contents; what they have to know of the file system below comes from an
//!    index of its layers. Only RUN, and COPY from a stage or image, need extracted layers.
//! 5. RUN works on the isolation ladder of `lifecycle_sandbox`; its change set becomes the layer.
//!
//! Errors are diagnostics with file, line and column. Nothing is ignored silently.

mod build;
pub mod cache;
mod configure;
mod copy;
mod emulation;
mod error;
mod files;
mod instruction;
mod key;
mod ladder;
mod live_root;
mod options;
mod origin;
mod planning;
mod powers;
mod recorder;
mod remote;
mod report;
mod reporter;
mod sharing;
mod slots;
mod stack;
mod stage;
mod surroundings;

pub use build::{build, build_all};
pub use copy::archive::is_archive;
pub use error::ExecutorError;
pub use live_root::LiveRoot;
pub use options::{
    Attendance, BuildContext, Cancellation, DeviceEntitlement, Entitlements, IgnoreFile, IsolationMode,
    LARGEST_SECRET, NamedContext, NetworkMode, NoCache, Options, Secret,
};
pub use origin::unpack_context;
pub use remote::{Checkout, Download, Offline, Remote, RemoteError};
pub use report::{BuildReport, Ingredient};
pub use reporter::{Reporter, Silent, StepName, StepOutcome};
pub use surroundings::Surroundings;
