//! Where a build finds images: the previous one where the new one goes, all others wherever they are nearest.

use lifecycle_image::{
    Artifact, Digest, Image, Platform, Reference, Source, TransferError, TransferErrorKind,
};
use lifecycle_phases::{Access, CacheImage};
use lifecycle_platform::BuildOptions;
use lifecycle_registry::Registry;
use lifecycle_store::Store;

use crate::failure::Failure;
use crate::output::Output;
use crate::session::{Nearest, Session};

/// The images of one build.
#[derive(Debug)]
pub(super) struct BuildSource {
    /// The names that the build writes or replaces.
    own: Vec<Reference>,
    place: OutputPlace,
    nearest: Nearest,
}

/// Where the names of the build are looked up. The store must not answer for a registry, nor the other way round: the
/// layers of the previous image are only reused where they are.
#[derive(Debug)]
enum OutputPlace {
    Store(Store),
    Registry(Registry),
    /// A new file has no previous image.
    New,
}

impl BuildSource {
    pub(super) fn new(
        output: &Output,
        options: &BuildOptions<'_>,
        session: &Session,
    ) -> Result<Self, Failure> {
        let own = [&options.name]
            .into_iter()
            .chain(&options.more_names)
            .chain(&options.previous);
        let place = if output.is_store() {
            OutputPlace::Store(session.store()?.clone())
        } else if output.is_registry() {
            OutputPlace::Registry(session.registry()?.clone())
        } else {
            OutputPlace::New
        };
        Ok(Self {
            own: own.cloned().collect(),
            place,
            nearest: session.images()?,
        })
    }

    fn ask<T>(
        &self,
        reference: &Reference,
        ask: impl Fn(&dyn Source) -> Result<T, TransferError>,
    ) -> Result<T, TransferError> {
        let is_own = self
            .own
            .iter()
            .any(|own| own.repository() == reference.repository());
        match &self.place {
            _ if !is_own => ask(&self.nearest),
            OutputPlace::Store(store) => ask(store),
            OutputPlace::Registry(registry) => ask(registry),
            OutputPlace::New => {
                let message = format!("{reference} has not been written yet");
                Err(TransferError::new(TransferErrorKind::NotFound, message))
            }
        }
    }
}

impl Source for BuildSource {
    fn artifact(&self, reference: &Reference) -> Result<Artifact, TransferError> {
        self.ask(reference, |source| source.artifact(reference))
    }

    fn member(&self, reference: &Reference, digest: &Digest) -> Result<Image, TransferError> {
        self.ask(reference, |source| source.member(reference, digest))
    }
}

/// A registry that is asked before the build whether its result could be written after it.
#[derive(Debug)]
pub(super) struct Writable(Registry);

impl Writable {
    /// For an output that can refuse: a registry.
    pub(super) fn of(output: &Output, session: &Session) -> Result<Option<Self>, Failure> {
        if output.is_registry() {
            Ok(Some(Self(session.registry()?.clone())))
        } else {
            Ok(None)
        }
    }
}

impl Access for Writable {
    fn check_write(&self, reference: &Reference) -> Result<(), TransferError> {
        self.0.check_write(reference.repository())
    }
}

/// The registry of `--cache-image`, wherever the app's image goes (CACHE-02).
#[derive(Debug)]
pub(super) struct CacheAccess {
    reference: Reference,
    registry: Registry,
    writable: Writable,
}

impl CacheAccess {
    pub(super) fn of(reference: Option<Reference>, session: &Session) -> Result<Option<Self>, Failure> {
        let Some(reference) = reference else {
            return Ok(None);
        };
        let registry = session.registry()?.clone();
        Ok(Some(Self {
            reference,
            writable: Writable(registry.clone()),
            registry,
        }))
    }

    pub(super) fn image<'a>(&'a self, platform: &'a Platform) -> CacheImage<'a> {
        CacheImage {
            reference: self.reference.clone(),
            source: &self.registry,
            sink: &self.registry,
            access: Some(&self.writable),
            platform,
        }
    }
}
