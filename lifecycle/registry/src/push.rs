//! Writing: blobs first, all at once, then the documents that name them.

mod blob;
mod feed;
mod holdings;
mod parcel;

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Method;
use lifecycle_image::{
    BytesLayer, Descriptor, DiffId, GivenLayers, Image, ImageError, Index, Layer, Manifest, MediaType,
    NoProgress, RawDocument, Receipt, Reference, Repository, TransferError, Upload,
};
use tokio::task::JoinSet;

pub(crate) use self::holdings::Holdings;
use self::parcel::{Parcel, Sent};
use crate::bridge::broken_off;
use crate::pull::{CONTENT_DIGEST, content_digest};
use crate::registry::Inner;
use crate::transport::{Place, Request, Scopes, Target, Transport, shown};
use crate::{Error, Registry};

/// The configuration of artifacts that need none (OCI image specification, "Guidance for an Empty Descriptor").
const EMPTY_CONFIG: &[u8] = b"{}";
const EMPTY_CONFIG_TYPE: &str = "application/vnd.oci.empty.v1+json";
/// A registry that keeps the list of referrers itself says so with this header.
const OCI_SUBJECT: &str = "oci-subject";

/// An artifact that says something about an image.
#[derive(Debug, Clone)]
pub struct Attachment {
    /// What kind of artifact it is: `application/vnd.cyclonedx+json`, …
    pub artifact_type: String,
    /// Its files: media type and bytes.
    pub files: Vec<(MediaType, Arc<[u8]>)>,
    /// Remarks.
    pub annotations: BTreeMap<String, String>,
}

/// An image on its way to one or more repositories.
///
/// Every layer is a task of its own, which sends it to one repository after another: the second of the same registry
/// takes over what the first has got. Dropping the upload ends the tasks.
pub(crate) struct RegistryUpload {
    registry: Registry,
    names: Vec<Reference>,
    repositories: Arc<[Repository]>,
    tasks: JoinSet<Result<Delivered, Error>>,
    given: GivenLayers,
    /// What was not sent because a repository is known to have it.
    assumed: Vec<(Parcel, Repository)>,
    /// Why a task could not even be started.
    broken: Option<Error>,
}

/// A layer, and what became of it in one repository after another.
type Delivered = (Parcel, Vec<(Repository, Sent)>);

impl RegistryUpload {
    pub(crate) fn begin(registry: Registry, names: &[Reference]) -> Result<Self, Error> {
        if names.is_empty() {
            return Err(Error::Unsupported(
                "an image in a registry needs a name".to_owned(),
            ));
        }
        let mut repositories: Vec<Repository> = Vec::new();
        for name in names {
            if !repositories.contains(name.repository()) {
                repositories.push(name.repository().clone());
            }
        }
        Ok(Self {
            registry,
            names: names.to_vec(),
            repositories: repositories.into(),
            tasks: JoinSet::new(),
            given: GivenLayers::default(),
            assumed: Vec::new(),
            broken: None,
        })
    }

    /// Hands in the layers of `image` that were not given one by one, and its configuration.
    fn complete(&mut self, image: &Image) -> Result<(RawDocument, Tally), Error> {
        for layer in image.layers() {
            self.layer(Arc::clone(layer));
        }
        // A layer that cannot be sent is better known before its maker is waited for.
        let mut tally = self.settle()?;
        let config = image.encode_config()?;
        let manifest = image.encode_manifest()?;
        let config = Parcel::new(document_layer(&config), self.registry.progress());
        // It is hardly larger than the question whether it is there. Only where every layer had to be asked for and was
        // there, it probably is, too, and nothing is sent.
        let is_new = tally.sent > 0 || tally.mounted > 0 || !self.assumed.is_empty();
        let config = if is_new { config.unasked() } else { config };
        self.start(config, Arc::clone(&self.repositories));
        tally.add(self.settle()?);
        Ok((manifest, tally))
    }

    /// Writes a manifest. If it is refused, a registry may have lost what it is believed to have: that is handed in
    /// again, and asked for this time.
    fn put_trusting(
        &mut self,
        tally: &mut Tally,
        put: impl Fn(&Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let refused = match put(self) {
            Err(error) if !self.assumed.is_empty() && matches!(error.status(), Some(400 | 404)) => error,
            written => return written,
        };
        tracing::debug!(%refused, "blobs that should be there are looked for");
        for repository in self.repositories.iter() {
            self.registry.inner.holdings.forget(&Place::origin(repository));
        }
        for (parcel, repository) in std::mem::take(&mut self.assumed) {
            tally.existed -= 1;
            self.start(parcel, [repository].into());
        }
        tally.add(self.settle()?);
        put(self)
    }

    fn start(&mut self, parcel: Parcel, repositories: Arc<[Repository]>) {
        let runtime = match self.registry.inner.bridge.handle() {
            Ok(runtime) => runtime,
            Err(error) => {
                self.broken = Some(error);
                return;
            }
        };
        let inner = Arc::clone(&self.registry.inner);
        let send = async move {
            let mut sent = Vec::new();
            for repository in repositories.iter() {
                sent.push((repository.clone(), parcel.send(&inner, repository).await?));
            }
            Ok((parcel, sent))
        };
        self.tasks.spawn_on(send, &runtime);
    }

    /// Waits for the tasks. The first that fails ends the others.
    fn settle(&mut self) -> Result<Tally, Error> {
        if let Some(error) = self.broken.take() {
            return Err(error);
        }
        let (tasks, assumed) = (&mut self.tasks, &mut self.assumed);
        let wait = async {
            let mut tally = Tally::default();
            while let Some(done) = tasks.join_next().await {
                let (parcel, sent) = done.map_err(broken_off)??;
                for (repository, sent) in sent {
                    tally.count(sent);
                    if sent == Sent::Assumed {
                        assumed.push((parcel.clone(), repository));
                    }
                }
            }
            Ok(tally)
        };
        let settled = self.registry.inner.bridge.wait(wait);
        if settled.is_err() {
            self.tasks.abort_all();
        }
        settled
    }

    /// Sends a layer and waits until it is there. Returns the bytes that were sent.
    pub(crate) fn send(mut self, layer: Arc<dyn Layer>) -> Result<u64, Error> {
        self.layer(layer);
        Ok(self.settle()?.sent)
    }

    fn put_member(&mut self, image: &Image) -> Result<Receipt, Error> {
        let (manifest, mut tally) = self.complete(image)?;
        self.put_trusting(&mut tally, |upload| upload.put_digest(&manifest))?;
        Ok(tally.receipt(Vec::new(), &manifest.descriptor))
    }

    fn put_image(&mut self, image: &Image) -> Result<Receipt, Error> {
        let (manifest, mut tally) = self.complete(image)?;
        self.put_trusting(&mut tally, |upload| upload.put_names(&manifest))?;
        Ok(tally.receipt(self.names.clone(), &manifest.descriptor))
    }

    fn put_index(&mut self, index: &Index) -> Result<Receipt, Error> {
        let tally = self.settle()?;
        let document = index.encode().map_err(ImageError::from)?;
        self.put_names(&document)?;
        Ok(tally.receipt(self.names.clone(), &document.descriptor))
    }

    /// Writes a manifest without a name into every repository.
    fn put_digest(&self, manifest: &RawDocument) -> Result<(), Error> {
        let identifier = manifest.descriptor.digest.as_str();
        let transport = &self.registry.inner.transport;
        self.registry.inner.bridge.wait(async {
            for repository in self.repositories.iter() {
                let place = Place::origin(repository);
                transport.put_manifest(&place, identifier, manifest).await?;
            }
            Ok(())
        })
    }

    /// Writes a document under all names, in their order.
    fn put_names(&self, document: &RawDocument) -> Result<(), Error> {
        let descriptor = &document.descriptor;
        let transport = &self.registry.inner.transport;
        self.registry.inner.bridge.wait(async {
            for name in &self.names {
                let identifier = match (name.tag(), name.digest()) {
                    (_, Some(digest)) if *digest != descriptor.digest => {
                        return Err(Error::Unsupported(format!(
                            "the name says {digest} but the image is {}",
                            descriptor.digest
                        )));
                    }
                    (Some(tag), _) => tag,
                    (None, _) => descriptor.digest.as_str(),
                };
                let place = Place::origin(name.repository());
                match transport.put_manifest(&place, identifier, document).await {
                    Err(error) if transport.settings.ignore_immutable_tags && error.is_immutable_tag() => {
                        tracing::warn!("{name} exists and cannot be changed; it is left as it is");
                    }
                    written => written?,
                }
            }
            Ok(())
        })
    }

    fn attempt(&self) -> String {
        let names: Vec<String> = self.names.iter().map(ToString::to_string).collect();
        format!("cannot push {}", names.join(", "))
    }
}

impl Upload for RegistryUpload {
    fn layer(&mut self, layer: Arc<dyn Layer>) {
        // Registries do not take layers that may not be distributed; manifests point elsewhere for them.
        if !layer.media_type().is_foreign() && self.given.is_new(&layer) {
            let parcel = Parcel::new(layer, self.registry.progress());
            self.start(parcel, Arc::clone(&self.repositories));
        }
    }

    fn member(&mut self, image: &Image) -> Result<Receipt, TransferError> {
        self.put_member(image)
            .map_err(|error| error.during(self.attempt()))
    }

    fn finish(mut self: Box<Self>, image: &Image) -> Result<Receipt, TransferError> {
        self.put_image(image)
            .map_err(|error| error.during(self.attempt()))
    }

    fn finish_index(mut self: Box<Self>, index: &Index) -> Result<Receipt, TransferError> {
        self.put_index(index)
            .map_err(|error| error.during(self.attempt()))
    }
}

/// What became of the blobs of an upload.
#[derive(Debug, Default)]
struct Tally {
    sent: u64,
    existed: usize,
    mounted: usize,
}

impl Tally {
    fn count(&mut self, sent: Sent) {
        match sent {
            Sent::Bytes(bytes) => self.sent += bytes,
            Sent::Existed | Sent::Assumed => self.existed += 1,
            Sent::Mounted => self.mounted += 1,
        }
    }

    fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.existed += other.existed;
        self.mounted += other.mounted;
    }

    fn receipt(self, names: Vec<Reference>, document: &Descriptor) -> Receipt {
        Receipt {
            names,
            digest: document.digest.clone(),
            manifest_size: document.size,
            sent: self.sent,
            existed: self.existed,
            mounted: self.mounted,
        }
    }
}

/// A small document as something that can be sent like a layer.
fn document_layer(document: &RawDocument) -> Arc<dyn Layer> {
    let Descriptor {
        media_type, digest, ..
    } = &document.descriptor;
    let diff_id = DiffId(digest.clone());
    Arc::new(BytesLayer::new(
        media_type.clone(),
        Arc::clone(&document.bytes),
        diff_id,
    ))
}

/// The request that writes a manifest or index under a tag or its digest.
pub(crate) fn put_document(place: &Place, identifier: &str, document: &RawDocument) -> Request {
    let target = Target::Route(format!("manifests/{identifier}"));
    Request::new(Method::PUT, target, Scopes::push(&place.path), &[200, 201, 202])
        .body(document.descriptor.media_type.as_str(), document.bytes.to_vec())
}

impl Transport {
    async fn put_manifest(
        &self,
        place: &Place,
        identifier: &str,
        document: &RawDocument,
    ) -> Result<(), Error> {
        let request = put_document(place, identifier, document);
        let response = self.send(place, &request).await?;
        let expected = &document.descriptor.digest;
        if let Some(actual) = content_digest(response.headers()).filter(|actual| actual != expected) {
            return Err(Error::Mismatch {
                url: format!("{} ({CONTENT_DIGEST})", shown(response.url())),
                expected: expected.to_string(),
                actual: actual.to_string(),
            });
        }
        let keeps_list = response.headers().contains_key(OCI_SUBJECT);
        if keeps_list || !document.descriptor.media_type.is_manifest() {
            return Ok(());
        }
        let manifest = Manifest::parse(&document.bytes, &document.descriptor.media_type)?;
        self.refer(place, document, &manifest).await
    }
}

/// Begins an upload and cancels it: whoever can do that can push.
pub(crate) async fn check_write(transport: &Transport, repository: &Repository) -> Result<(), Error> {
    let place = Place::origin(repository);
    blob::begin(transport, &place)
        .await?
        .cancel(transport, &place)
        .await;
    Ok(())
}

/// Pushes an artifact that refers to `subject`.
pub(crate) async fn attach(
    inner: Arc<Inner>,
    repository: &Repository,
    subject: &Descriptor,
    attachment: &Attachment,
) -> Result<Descriptor, Error> {
    let config = RawDocument::new(MediaType::new(EMPTY_CONFIG_TYPE), EMPTY_CONFIG);
    let files = attachment.files.iter();
    let files: Vec<RawDocument> = files
        .map(|(media_type, bytes)| RawDocument::new(media_type.clone(), Arc::clone(bytes)))
        .collect();
    for document in files.iter().chain([&config]) {
        let parcel = Parcel::new(document_layer(document), &(Arc::new(NoProgress) as _));
        parcel.send(&inner, repository).await?;
    }
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(MediaType::manifest(lifecycle_image::Family::Oci)),
        artifact_type: Some(attachment.artifact_type.clone()),
        config: config.descriptor,
        layers: files.into_iter().map(|file| file.descriptor).collect(),
        subject: Some(Descriptor::new(
            subject.media_type.clone(),
            subject.digest.clone(),
            subject.size,
        )),
        annotations: attachment.annotations.clone(),
    };
    let document = manifest.encode()?;
    let place = Place::origin(repository);
    let identifier = document.descriptor.digest.clone();
    inner
        .transport
        .put_manifest(&place, identifier.as_str(), &document)
        .await?;
    Ok(Descriptor {
        artifact_type: manifest.artifact_type,
        annotations: manifest.annotations,
        ..document.descriptor
    })
}
