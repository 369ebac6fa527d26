//! What came out of a build.

use std::time::Duration;

use lifecycle_spec::MetadataToml;

/// What the buildpacks made.
#[derive(Debug, Clone)]
pub struct BuildReport {
    /// As written to `config/metadata.toml`.
    pub metadata: MetadataToml,
    /// What each buildpack did, in order.
    pub buildpacks: Vec<BuiltModule>,
}

/// What one buildpack did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltModule {
    /// The buildpack as `id@version`.
    pub module: String,
    /// The names of the layers that it described.
    pub layers: Vec<String>,
    /// How long it took.
    pub elapsed: Duration,
}
