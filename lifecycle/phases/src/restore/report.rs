//! What was restored.

/// What came back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestoreReport {
    /// The layers that came back, or should have.
    pub layers: Vec<RestoredLayer>,
}

/// A layer that came back, or should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoredLayer {
    /// The buildpack's id.
    pub buildpack: String,
    /// The layer's name.
    pub name: String,
    /// How much of it came back.
    pub restored: Restored,
}

/// How much of a layer came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restored {
    /// What its buildpack says about it.
    Metadata,
    /// That, and its contents.
    Contents,
    /// Nothing: the cache has lost or damaged it.
    Damaged,
}
