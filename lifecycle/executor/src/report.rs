//! What a build came to.

use std::collections::BTreeMap;
use std::sync::Arc;

use lifecycle_diagnostics::Diagnostic;
use lifecycle_image::{Digest, Image};
use lifecycle_sandbox::Rung;
use lifecycle_store::StoreError;

use crate::cache::{CacheError, Imports, inline};
use crate::key::Key;
use crate::recorder::Recorder;

/// The image, and what is worth knowing about how it came about.
#[derive(Debug)]
pub struct BuildReport {
    /// The image. Its upper layers may still be in the making: a sink follows them.
    pub image: Image,
    /// What the build checks found (N2).
    pub findings: Vec<Diagnostic>,
    /// Steps with a layer that were carried out.
    pub executed: usize,
    /// Steps with a layer whose result an earlier build had.
    pub cached: usize,
    /// How RUN was kept apart from the host, if anything was run.
    pub isolation: Option<Rung>,
    /// Layers of the image that its base brought.
    pub base_layers: usize,
    /// The images that the build used: bases, and what was copied or mounted from.
    pub used_images: Vec<UsedImage>,
    pub(crate) recorder: Recorder,
    pub(crate) imports: Arc<Imports>,
    /// The cache mounts that commands were given: the name in the store, and the key elsewhere.
    pub(crate) mounts: BTreeMap<String, Key>,
}

/// An image that a build used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UsedImage {
    /// The name that the Dockerfile gives it.
    pub name: String,
    /// The platform that was asked for.
    pub platform: String,
    /// What it was.
    pub digest: Digest,
}

impl BuildReport {
    /// Waits until all layers are packed and every result is remembered for later builds. Dropping the report does
    /// so too, but tells nobody what failed.
    pub fn finish(self) -> Result<Image, StoreError> {
        self.recorder.finish()?;
        Ok(self.image)
    }

    /// Waits until every result is remembered, for whoever builds on with the same store.
    ///
    /// # Errors
    /// When a result cannot be remembered.
    pub fn settle(&self) -> Result<(), StoreError> {
        self.recorder.finish()
    }

    /// A cache that turned out to be broken only when its layers were read, and why. Whatever was made of the image is
    /// worth nothing then; the same build without [`Options::imports`](crate::Options::imports) does without it.
    pub fn broken_cache(&self) -> Option<(&str, &str)> {
        self.imports.spoiled()
    }

    /// The image with the cache of its own layers inside (`type=inline`). Waits until all layers are packed.
    ///
    /// # Errors
    /// When a layer cannot be made or the results cannot be remembered.
    pub fn with_inline_cache(&self) -> Result<Image, CacheError> {
        inline(self)
    }
}
