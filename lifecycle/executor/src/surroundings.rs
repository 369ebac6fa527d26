//! Where a build works, and who is told about it.

use lifecycle_image::Source;
use lifecycle_store::Store;

use crate::remote::Remote;
use crate::reporter::Reporter;

/// Where a build works: what it needs that the image does not depend on.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// Gives base images.
    pub images: &'a dyn Source,
    /// Gives what ADD names on the network.
    pub remote: &'a dyn Remote,
    /// Keeps layers, extracted trees, build caches and results.
    pub store: &'a Store,
    /// Hears what happens.
    pub reporter: &'a dyn Reporter,
}
