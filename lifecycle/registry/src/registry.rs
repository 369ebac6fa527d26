//! The blocking face.

use std::fmt;
use std::sync::Arc;

use http::Method;
use lifecycle_image::{
    Artifact, Descriptor, Digest, Documents, Image, Layer, NoProgress, Progress, Reference, Repository, Sink,
    Source, TransferError, TransferErrorKind, Upload,
};
use tokio::sync::Semaphore;

use crate::bridge::Bridge;
use crate::push::{Holdings, RegistryUpload};
use crate::transport::{Place, Request, Scopes, Target, Transport};
use crate::{Error, Settings, push};

/// Every registry there is, as [`Settings`] say they are to be spoken to.
///
/// Clones share connections, tokens, threads, and what is known about blobs. The methods wait; they must not be called from an asynchronous
/// task, but may be called from any number of threads.
///
/// ```no_run
/// use lifecycle_image::{Platform, Sink, Source};
/// use lifecycle_registry::{Keychain, Registry, Settings};
///
/// let keychain = Keychain::default().with_file("/home/me/.docker/config.json".as_ref())?;
/// let registry = Registry::new(Settings { keychain, ..Settings::default() })?;
/// let image = registry.image(&"localhost:5000/base:1".parse()?, &Platform::host())?;
/// let mut upload = registry.begin(&["localhost:5000/copy:1".parse()?])?;
/// for layer in image.layers() {
///     upload.layer(layer.clone());
/// }
/// let receipt = upload.finish(&image)?;
/// assert_eq!(receipt.digest, image.digest()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Registry {
    pub(crate) inner: Arc<Inner>,
    progress: Arc<dyn Progress>,
    pub(crate) documents: Option<Arc<dyn Documents>>,
}

pub(crate) struct Inner {
    pub(crate) transport: Arc<Transport>,
    pub(crate) bridge: Bridge,
    /// Uploads under way.
    pub(crate) uploads: Arc<Semaphore>,
    pub(crate) holdings: Holdings,
}

impl Registry {
    /// Makes ready to speak to registries. Certificates and the resolver's configuration are read here; nothing is
    /// sent, and no thread starts, before the first request.
    ///
    /// # Errors
    /// [`TransferErrorKind::Local`] when certificates or proxies cannot be used.
    pub fn new(settings: Settings) -> Result<Self, TransferError> {
        let parallel = settings.parallel.max(1);
        let transport = Transport::new(settings)
            .map_err(|error| error.during("cannot make ready to speak to registries"))?;
        Ok(Self {
            inner: Arc::new(Inner {
                transport: Arc::new(transport),
                bridge: Bridge::default(),
                uploads: Arc::new(Semaphore::new(parallel)),
                holdings: Holdings::default(),
            }),
            progress: Arc::new(NoProgress),
            documents: None,
        })
    }

    /// The same registries, with somebody who watches blobs move.
    #[must_use]
    pub fn watched(self, progress: Arc<dyn Progress>) -> Self {
        Self { progress, ..self }
    }

    /// The same registries, with a place for documents that are known by their digest: configurations, and the
    /// manifests of an index. What a name stands for is always asked.
    #[must_use]
    pub fn remembering(self, documents: Arc<dyn Documents>) -> Self {
        Self {
            documents: Some(documents),
            ..self
        }
    }

    /// Looks up the credentials for repositories now, while helpers and their files are in reach (AUTH-04).
    pub fn look_up_credentials(&self, repositories: &[Repository]) -> Result<(), TransferError> {
        let look_up = async {
            for repository in repositories {
                let origin = Place::origin(repository);
                for place in self.inner.transport.readable(repository).iter().chain([&origin]) {
                    self.inner.transport.credentials(place).await?;
                }
            }
            Ok(())
        };
        self.wait(look_up, || "cannot look up credentials".to_owned())
    }

    /// What `reference` stands for, without reading it: its manifest's or index's type, digest and size. One request
    /// that registries do not count as a pull.
    ///
    /// # Errors
    /// [`TransferErrorKind::NotFound`] when there is no such image.
    pub fn resolve(&self, reference: &Reference) -> Result<Descriptor, TransferError> {
        self.wait(self.inner.transport.resolve_manifest(reference), || {
            format!("cannot find {reference}")
        })
    }

    /// Whether `reference` is there. Refusals are errors: whoever may not read does not know.
    pub fn exists(&self, reference: &Reference) -> Result<bool, TransferError> {
        match self.resolve(reference) {
            Ok(_) => Ok(true),
            Err(error) if error.kind == TransferErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether we may write to a repository: begins an upload and cancels it.
    ///
    /// # Errors
    /// [`TransferErrorKind::Unauthorized`] when we may not.
    pub fn check_write(&self, repository: &Repository) -> Result<(), TransferError> {
        self.wait(push::check_write(&self.inner.transport, repository), || {
            format!("cannot write to {repository}")
        })
    }

    /// Sends a layer, which no image has yet, to the repository of `image`. Returns how many bytes that took: none when it
    /// is there already.
    pub fn send_layer(&self, layer: Arc<dyn Layer>, image: &Reference) -> Result<u64, TransferError> {
        RegistryUpload::begin(self.clone(), std::slice::from_ref(image))
            .and_then(|upload| upload.send(layer))
            .map_err(|error| error.during(format!("cannot send a layer to {}", image.repository())))
    }

    /// Deletes the manifest or index that `reference` stands for, under all its tags.
    pub fn delete(&self, reference: &Reference) -> Result<(), TransferError> {
        let transport = &self.inner.transport;
        let delete = async {
            let digest = match reference.digest() {
                Some(digest) => digest.clone(),
                None => transport.resolve_manifest(reference).await?.digest,
            };
            let place = Place::origin(reference.repository());
            let route = Target::Route(format!("manifests/{digest}"));
            let scopes = Scopes::delete(&place.path);
            let request = Request::new(Method::DELETE, route, scopes, &[202, 200, 204]);
            transport.send(&place, &request).await.map(drop)
        };
        self.wait(delete, || format!("cannot delete {reference}"))
    }

    /// The tags of a repository, in the registry's order.
    pub fn tags(&self, repository: &Repository) -> Result<Vec<String>, TransferError> {
        self.wait(self.inner.transport.tags(repository), || {
            format!("cannot list the tags of {repository}")
        })
    }

    /// The artifacts that say something about the manifest `subject`: signatures, SBOMs, attestations; of one kind
    /// if `artifact_type` is given (OCI distribution specification, "Listing Referrers").
    pub fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, TransferError> {
        let referrers = self.inner.transport.referrers(repository, subject, artifact_type);
        self.wait(referrers, || {
            format!("cannot list what refers to {subject} in {repository}")
        })
    }

    /// Attaches an artifact to the manifest `subject`, which lies in the same repository or soon will. Registries
    /// without a list of referrers get one under a tag, as the specification says.
    pub fn attach(
        &self,
        repository: &Repository,
        subject: &Descriptor,
        attachment: &crate::Attachment,
    ) -> Result<Descriptor, TransferError> {
        let attach = push::attach(Arc::clone(&self.inner), repository, subject, attachment);
        self.wait(attach, || {
            format!("cannot attach an artifact to {} in {repository}", subject.digest)
        })
    }

    pub(crate) fn progress(&self) -> &Arc<dyn Progress> {
        &self.progress
    }

    /// Waits for work on the runtime, and says what was attempted if it fails.
    pub(crate) fn wait<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
        attempt: impl FnOnce() -> String,
    ) -> Result<T, TransferError> {
        self.inner
            .bridge
            .wait(work)
            .map_err(|error| error.during(attempt()))
    }
}

impl Source for Registry {
    fn artifact(&self, reference: &Reference) -> Result<Artifact, TransferError> {
        self.wait(self.read_artifact(reference), || {
            format!("cannot pull {reference}")
        })
    }

    fn member(&self, reference: &Reference, digest: &Digest) -> Result<Image, TransferError> {
        let repository = reference.repository();
        let artifact = self.wait(self.read_member(repository, digest), || {
            format!("cannot pull {repository}@{digest}")
        })?;
        match artifact {
            Artifact::Image(image) => Ok(*image),
            Artifact::Index(_) => Err(TransferError::new(
                TransferErrorKind::Unsupported,
                format!("{repository}@{digest} is an index inside an index, not an image"),
            )),
        }
    }
}

impl Sink for Registry {
    fn begin(&self, names: &[Reference]) -> Result<Box<dyn Upload>, TransferError> {
        let upload = RegistryUpload::begin(self.clone(), names)
            .map_err(|error| error.during("cannot begin to push"))?;
        Ok(Box::new(upload))
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}
