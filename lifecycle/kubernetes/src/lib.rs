//! Builds as Jobs on a Kubernetes cluster.
//!
//! A [`Submission`] is a build as plain values. [`Manifests::of`] makes its objects, without a cluster: one Job whose
//! steps are containers that run one after the other (source, phases or Dockerfile, result), a Secret for what only
//! the build may read, a claim for a cache. The pod conforms to Pod Security "restricted" unless more is asked for, and
//! only the steps that speak to registries see credentials.
//!
//! A [`Cluster`] hands them over ([`Cluster::submit`]), sends the source if it goes that way
//! ([`Cluster::send_source`]), and follows ([`Cluster::follow`]): lists and watches say where the build stands, log
//! streams what its steps say. Either may break off, stall, or be refused at any moment; then everything is looked up
//! anew, and a cursor sees that no line is lost or doubled. What Job, pods and events mean together is one pure function,
//! [`State`] its answer.
//!
//! What the image became travels back in the last step's termination message, a [`BuildResult`].
//!
//! Only this crate knows the client library. Inside it is asynchronous, outside it waits.

mod builds;
mod cluster;
mod doctor;
mod error;
mod follow;
mod logs;
mod manifest;
mod names;
mod pump;
mod resolver;
mod result;
mod state;
mod stream;
mod submission;
mod submit;

pub use builds::Summary;
pub use cluster::{Cluster, Connection, Patience};
pub use doctor::Finding;
pub use error::ClusterError;
pub use follow::{Control, Event, Followed, Wish};
pub use manifest::{Manifests, UnwritableManifest, WORKSPACE};
pub use names::build_id;
pub use result::{BuildResult, LONGEST_MESSAGE};
pub use state::{Hope, Outcome, State, Waiting};
pub use stream::{RECEIVED, SourceArchive};
pub use submission::{
    CacheAt, Credentials, Executor, InvalidSubmission, Life, Phases, Placement, PodSecurity, Quantity,
    Recipe, RegistryAccess, Resources, SourceAt, Submission, Toleration, Volume,
};
