//! Builds on a cluster: the objects they become, and a client in front of an API server that misbehaves.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod deploy;
#[expect(
    dead_code,
    reason = "shared with the acceptance tests, which use other parts of it"
)]
#[path = "../../../../tests/support/fake_cluster/mod.rs"]
mod fake_cluster;
mod faults;
mod manifests;
mod refusals;
mod samples;
mod whole;
#[expect(
    dead_code,
    reason = "shared with the registry's own tests, which use other parts of it"
)]
#[path = "../../../../tests/support/wire.rs"]
mod wire;
