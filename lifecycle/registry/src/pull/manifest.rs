//! Manifests, indexes and configurations: small, read whole, verified before they are parsed.

use std::sync::Arc;

use http::{HeaderMap, Method, header};
use lifecycle_image::{
    Artifact, Descriptor, Digest, Image, Index, Manifest, MediaType, RawDocument, Reference, Repository,
};

use super::RemoteLayer;
use crate::transport::{Place, Request, Scopes, Target, Transport, shown};
use crate::{Error, Registry};

/// Registries refuse documents larger than this, and so do we.
const MAX_MANIFEST: usize = 4 * 1024 * 1024;
/// Configurations have no limit of their own, but are read into memory.
const MAX_CONFIG: u64 = 64 * 1024 * 1024;
/// What registries answer with the digest of a manifest.
pub(crate) const CONTENT_DIGEST: header::HeaderName =
    header::HeaderName::from_static("docker-content-digest");

impl Transport {
    /// Asks the places of a repository one after another. The error is the last place's: the origin's, if it was
    /// asked.
    pub(crate) async fn first<T, F>(
        &self,
        repository: &Repository,
        mut ask: impl FnMut(Place) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut failed = None;
        for place in self.readable(repository) {
            let shown = place.to_string();
            match ask(place).await {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    tracing::debug!(place = shown, %error, "this place has no answer");
                    failed = Some(error);
                }
            }
        }
        Err(failed
            .unwrap_or_else(|| Error::Unsupported(format!("{repository} has no place to be read from"))))
    }

    /// The manifest or index that an identifier stands for.
    pub(crate) async fn manifest(
        &self,
        place: &Place,
        identifier: &str,
        digest: Option<&Digest>,
    ) -> Result<RawDocument, Error> {
        let request = manifest_request(Method::GET, place, identifier);
        let read = || async {
            let response = self.send_once(place, &request).await?;
            let url = shown(response.url());
            let headers = response.headers().clone();
            let bytes = self.read_whole(response, MAX_MANIFEST).await?;
            let media_type = media_type(&headers, &bytes).ok_or_else(|| Error::Malformed {
                url: url.clone(),
                reason: "the document does not say what it is".to_owned(),
            })?;
            let promised = digest.cloned().or_else(|| content_digest(&headers));
            if let Some(promised) = promised {
                let mut hasher = promised.hasher();
                hasher.update(&bytes);
                let actual = hasher.finish();
                if actual != promised {
                    return Err(Error::Mismatch {
                        url,
                        expected: promised.to_string(),
                        actual: actual.to_string(),
                    });
                }
            }
            let mut document = RawDocument::new(media_type, bytes.to_vec());
            if let Some(digest) = digest {
                // The name may use another algorithm than we do.
                document.descriptor.digest = digest.clone();
            }
            Ok(document)
        };
        self.retrying(read).await
    }

    /// Type, digest and size of what a reference stands for.
    pub(crate) async fn resolve_manifest(&self, reference: &Reference) -> Result<Descriptor, Error> {
        let ask = |place: Place| async move {
            let request = manifest_request(Method::HEAD, &place, reference.identifier());
            let whole = || self.manifest(&place, reference.identifier(), reference.digest());
            let response = match self.send(&place, &request).await {
                Ok(response) => response,
                // Not every registry, and not every proxy before one, knows HEAD here.
                Err(error) if matches!(error.status(), Some(405 | 501)) => {
                    return Ok(whole().await?.descriptor);
                }
                Err(error) => return Err(error),
            };
            let headers = response.headers();
            let digest = reference.digest().cloned().or_else(|| content_digest(headers));
            let size = number(headers, &header::CONTENT_LENGTH);
            if let (Some(media_type), Some(digest), Some(size)) = (media_type(headers, &[]), digest, size) {
                return Ok(Descriptor::new(media_type, digest, size));
            }
            // Some registries keep this from us, and have to send the document for it.
            Ok(whole().await?.descriptor)
        };
        self.first(reference.repository(), ask).await
    }

    async fn config(&self, place: &Place, descriptor: &Descriptor) -> Result<RawDocument, Error> {
        let Descriptor { digest, size, .. } = descriptor;
        if *size > MAX_CONFIG {
            return Err(Error::Unsupported(format!(
                "the configuration {digest} has {size} bytes, more than the {MAX_CONFIG} that are allowed"
            )));
        }
        let request = Request::new(
            Method::GET,
            Target::Route(format!("blobs/{digest}")),
            Scopes::pull(&place.path),
            &[200],
        );
        let read = || async {
            let response = self.send_once(place, &request).await?;
            let url = shown(response.url());
            let limit = usize::try_from(*size).unwrap_or(usize::MAX);
            let bytes = self.read_whole(response, limit).await?;
            let mut hasher = digest.hasher();
            hasher.update(&bytes);
            let actual = hasher.finish();
            if actual != *digest {
                return Err(Error::Mismatch {
                    url,
                    expected: digest.to_string(),
                    actual: actual.to_string(),
                });
            }
            Ok(RawDocument {
                descriptor: descriptor.clone(),
                bytes: bytes.to_vec().into(),
            })
        };
        self.retrying(read).await
    }
}

impl Registry {
    /// What a reference stands for.
    pub(crate) async fn read_artifact(&self, reference: &Reference) -> Result<Artifact, Error> {
        let transport = &self.inner.transport;
        let ask = |place: Place| async move {
            let document = transport
                .manifest(&place, reference.identifier(), reference.digest())
                .await?;
            self.artifact_of(document, place, reference.repository()).await
        };
        transport.first(reference.repository(), ask).await
    }

    /// A manifest of an index that came from this repository.
    pub(crate) async fn read_member(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Artifact, Error> {
        let transport = &self.inner.transport;
        let ask = |place: Place| async move {
            let document = if let Some(known) = self.known_manifest(digest) {
                known
            } else {
                let read = transport.manifest(&place, digest.as_str(), Some(digest)).await?;
                self.remember(&read);
                read
            };
            self.artifact_of(document, place, repository).await
        };
        transport.first(repository, ask).await
    }

    fn known_manifest(&self, digest: &Digest) -> Option<RawDocument> {
        let bytes = self.documents.as_ref()?.find(digest, MAX_MANIFEST as u64)?;
        let mut document = RawDocument::new(media_type(&HeaderMap::new(), &bytes)?, bytes);
        document.descriptor.digest = digest.clone();
        Some(document)
    }

    fn known_config(&self, descriptor: &Descriptor) -> Option<RawDocument> {
        let limit = descriptor.size.min(MAX_CONFIG);
        let bytes = self.documents.as_ref()?.find(&descriptor.digest, limit)?;
        Some(RawDocument {
            descriptor: descriptor.clone(),
            bytes: bytes.into(),
        })
    }

    fn remember(&self, document: &RawDocument) {
        if let Some(documents) = &self.documents {
            documents.keep(document);
        }
    }

    async fn artifact_of(
        &self,
        document: RawDocument,
        place: Place,
        repository: &Repository,
    ) -> Result<Artifact, Error> {
        let transport = &self.inner.transport;
        let media_type = document.descriptor.media_type.clone();
        let name = || document.descriptor.digest.to_string();
        if media_type.is_index() {
            let index = Index::parse(Arc::clone(&document.bytes), &media_type)
                .map_err(|cause| Error::document(name(), cause))?;
            return Ok(Artifact::Index(Box::new(index)));
        }
        if !media_type.is_manifest() {
            return Err(Error::Unsupported(format!(
                "{place} holds no image or index but {media_type}, which is not supported"
            )));
        }
        let manifest =
            Manifest::parse(&document.bytes, &media_type).map_err(|cause| Error::document(name(), cause))?;
        let config = if let Some(known) = self.known_config(&manifest.config) {
            known
        } else {
            let read = transport.config(&place, &manifest.config).await?;
            self.remember(&read);
            read
        };
        // What may not be distributed is named here and lies elsewhere.
        let layers = manifest
            .layers
            .iter()
            .filter(|layer| !layer.media_type.is_foreign());
        let named = layers.chain([&manifest.config]);
        self.inner.holdings.note(&place, named.map(|blob| &blob.digest));
        // Blobs are looked for first where the manifest came from.
        let others = transport
            .readable(repository)
            .into_iter()
            .filter(|other| *other != place);
        let places: Arc<[Place]> = std::iter::once(place.clone()).chain(others).collect();
        let name = name();
        let image = Image::read(document, config, |descriptor, diff_id| {
            let (places, repository) = (Arc::clone(&places), repository.clone());
            Arc::new(RemoteLayer::new(
                self.clone(),
                repository,
                places,
                descriptor,
                diff_id,
            ))
        })
        .map_err(|cause| Error::document(name, cause))?;
        Ok(Artifact::Image(Box::new(image)))
    }
}

fn manifest_request(method: Method, place: &Place, identifier: &str) -> Request {
    let route = Target::Route(format!("manifests/{identifier}"));
    let accepted: Vec<String> = MediaType::manifests().iter().map(ToString::to_string).collect();
    Request::new(method, route, Scopes::pull(&place.path), &[200])
        .header(header::ACCEPT, &accepted.join(", "))
}

/// The type that an answer was delivered as; what the document says about itself if the answer is too general.
fn media_type(headers: &HeaderMap, document: &[u8]) -> Option<MediaType> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Typed {
        media_type: String,
    }
    let text = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let delivered = text.map_or("", |text| text.split(';').next().unwrap_or(text).trim());
    match delivered {
        "" | "application/json" | "application/octet-stream" | "text/plain" => {
            let typed: Typed = serde_json::from_slice(document).ok()?;
            Some(MediaType::new(typed.media_type))
        }
        delivered => Some(MediaType::new(delivered)),
    }
}

/// `Docker-Content-Digest`, if it is a digest of a kind that we can check.
pub(crate) fn content_digest(headers: &HeaderMap) -> Option<Digest> {
    headers.get(CONTENT_DIGEST)?.to_str().ok()?.parse().ok()
}

fn number(headers: &HeaderMap, name: &header::HeaderName) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}
