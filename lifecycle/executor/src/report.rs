//! What a build came to.

use std::collections::BTreeMap;
use std::sync::Arc;

use lifecycle_diagnostics::Diagnostic;
use lifecycle_dockerfile::Platform;
use lifecycle_image::{Digest, Image};
use lifecycle_sandbox::Rung;
use lifecycle_store::StoreError;

use crate::cache::{CacheError, Imports, inline};
use crate::key::Key;
use crate::origin::Named;
use crate::recorder::Recorder;

/// An image, and what is worth knowing about how it came about.
#[derive(Debug)]
pub struct BuildReport {
    /// The image. Its upper layers may still be in the making: a sink follows them.
    pub image: Image,
    /// What the build checks found (N2).
    pub findings: Vec<Diagnostic>,
    /// Steps with a layer that were carried out: one that several platforms share counts for one of them.
    pub executed: usize,
    /// Steps with a layer whose result an earlier build had.
    pub cached: usize,
    /// How RUN was kept apart from the host, if anything was run.
    pub isolation: Option<Rung>,
    /// Layers of the image that its base brought.
    pub base_layers: usize,
    /// What was used for it that is not in the context: bases, what was copied or mounted from, what ADD has fetched.
    pub ingredients: Vec<Ingredient>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) imports: Arc<Imports>,
    /// The cache mounts that commands were given: the name in the store, and the key elsewhere.
    pub(crate) mounts: BTreeMap<String, Key>,
}

/// Something that a build has used and that lies elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ingredient {
    /// An image.
    Image {
        /// The name that the Dockerfile gives it.
        name: String,
        /// The platform that was asked for.
        platform: String,
        /// Whether it comes from a source of its own, as an OCI layout, where the name means nothing.
        is_local: bool,
        /// What it was.
        digest: Digest,
    },
    /// A file that ADD has downloaded.
    File {
        /// Its address as the Dockerfile has it.
        url: String,
        /// What it was.
        digest: Digest,
    },
    /// Files of a git repository.
    Repository {
        /// The address as the Dockerfile has it, without the part that chooses.
        url: String,
        /// The branch, tag or commit that was asked for.
        reference: Option<String>,
        /// The commit that it was.
        commit: String,
    },
}

impl Ingredient {
    /// What came from somewhere is known by its digest.
    pub(crate) fn image(name: &str, platform: &Platform, named: &Named) -> Option<Self> {
        match named {
            Named::Image(image) => Some(Self::Image {
                name: name.to_owned(),
                platform: platform.to_string(),
                is_local: image.is_local,
                digest: image.image.digest().ok()?,
            }),
            Named::Files(_) => None,
        }
    }
}

impl BuildReport {
    /// Waits until all layers are packed and every result is remembered for later builds. Dropping the report does
    /// so too, but tells nobody what failed.
    pub fn finish(self) -> Result<Image, StoreError> {
        self.recorder.finish()?;
        Ok(self.image)
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
