//! What the acceptance tests stand on.
//!
//! A [`Machine`] is one test's own corner of this machine: a directory with a home and apps, and the built
//! program. A [`Registry`] is Debian's docker-registry on loopback. [`images`] makes base images out of busybox,
//! and a builder of the fixture buildpacks on them, so that a whole build takes a moment. [`accounts`] runs the
//! program as other users, [`BuilderRoot`] inside a builder's root file system. [`peers`] are other people's tools, which
//! judge what was made.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "a test says what it skips")]

pub(crate) mod accounts;
mod certificates;
pub(crate) mod control_plane;
pub(crate) mod daemon;
pub(crate) mod executable;
#[expect(
    dead_code,
    reason = "shared with the cluster's own tests, which use other parts of it"
)]
pub(crate) mod fake_cluster;
#[expect(
    dead_code,
    reason = "shared with the registry's own tests, which use other parts of it"
)]
#[expect(unreachable_pub, reason = "a module file that several test programs include")]
pub(crate) mod fake_registry;
#[expect(
    dead_code,
    reason = "shared with the tests of what is fetched from elsewhere, which use other parts of it"
)]
#[expect(unreachable_pub, reason = "a module file that several test programs include")]
pub(crate) mod file_server;
pub(crate) mod images;
pub(crate) mod kubelet;
mod machine;
pub(crate) mod peers;
pub(crate) mod pod;
mod port;
mod program;
#[expect(
    dead_code,
    reason = "shared with the registry's own tests, which use other parts of it"
)]
pub(crate) mod proxy;
pub(crate) mod reference;
mod registry;
mod root;
mod snapshot;
mod wire;

pub(crate) use machine::Machine;
pub(crate) use pod::Pod;
pub(crate) use port::Port;
pub(crate) use program::{Finished, Invocation, Running};
pub(crate) use registry::{Access, PASSWORD, Registry, Request};
pub(crate) use root::{BuilderRoot, ExecutorRoot, as_root};
pub(crate) use snapshot::assert_matches;
