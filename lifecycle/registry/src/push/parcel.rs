//! A layer on its way to a repository, before any of its bytes: who has it already?
//!
//! In this order: is it known to be there, or in another repository of the registry, which then is asked to take it over
//! (mount)? Is it there (HEAD)? May another repository still have it? Else it is sent. An answer of 202 to a mount is the
//! beginning of an upload as good as any other.

use std::sync::Arc;

use http::{Method, header};
use lifecycle_image::{Descriptor, Layer, Outcome, Progress, Repository, Step};

use super::blob::{Delivery, Session};
use super::feed::Progressed;
use crate::Error;
use crate::bridge::blocking;
use crate::error::Again;
use crate::registry::Inner;
use crate::transport::{Place, Request, Scopes, Target, Transport};

/// What became of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    Bytes(u64),
    Existed,
    /// It should be there; nobody was asked.
    Assumed,
    Mounted,
}

/// A layer to be sent.
#[derive(Clone)]
pub(super) struct Parcel {
    layer: Arc<dyn Layer>,
    progress: Arc<dyn Progress>,
    /// Whether registries are asked for it first.
    asked_for: bool,
}

impl Parcel {
    pub(super) fn new(layer: Arc<dyn Layer>, progress: &Arc<dyn Progress>) -> Self {
        Self {
            layer,
            progress: Arc::clone(progress),
            asked_for: true,
        }
    }

    /// The same, to be sent without asking.
    pub(super) fn unasked(self) -> Self {
        Self {
            asked_for: false,
            ..self
        }
    }

    pub(super) async fn send(&self, inner: &Inner, repository: &Repository) -> Result<Sent, Error> {
        // A layer that may turn out to be an old one is neither opened nor given a place before that is known.
        let layer = Arc::clone(&self.layer);
        let origins = blocking(move || {
            layer.decided();
            layer.origins()
        })
        .await?;
        let permit = inner.uploads.acquire().await;
        let transport = &*inner.transport;
        let place = Place::origin(repository);
        // Looked at only now: a layer that waited for its turn may have been finished meanwhile.
        let known = self.layer.known();
        let name = known.as_ref().map_or("layer", |known| known.digest.as_str());
        let size = known.as_ref().map(|known| known.size);
        let meter = Progressed::new(self.progress.begin(Step::Upload, name, size));
        let mut session = None;
        if let Some(descriptor) = &known {
            match self.look(inner, &place, descriptor, &origins).await? {
                Found::There(sent) => {
                    let outcome = match sent {
                        Sent::Mounted => Outcome::Mounted,
                        _ => Outcome::Existed,
                    };
                    meter.meter.finish(outcome);
                    inner.holdings.note(&place, [&descriptor.digest]);
                    return Ok(sent);
                }
                Found::Nowhere(begun) => session = begun,
            }
        }
        let delivery = Delivery {
            transport,
            place: &place,
            layer: &self.layer,
            known,
            meter: meter.clone(),
            session,
            piece: transport.settings.chunk,
        };
        let sent = delivery.run().await?;
        meter.meter.finish(Outcome::Done);
        inner.holdings.note(&place, [&sent.digest]);
        drop(permit);
        Ok(Sent::Bytes(sent.size))
    }

    /// Looks for a blob in a repository, and for somebody in the same registry who has it.
    async fn look(
        &self,
        inner: &Inner,
        place: &Place,
        descriptor: &Descriptor,
        origins: &[Repository],
    ) -> Result<Found, Error> {
        let (holdings, digest) = (&inner.holdings, &descriptor.digest);
        if holdings.has(place, digest) {
            return Ok(Found::There(Sent::Assumed));
        }
        let neighbor = holdings.neighbor(place, digest);
        let mut session = None;
        if let Some(from) = &neighbor {
            match take_over(inner, place, descriptor, from).await? {
                Mount::Done => return Ok(Found::There(Sent::Mounted)),
                Mount::Begun(begun) => session = Some(begun),
                Mount::Refused => {}
            }
        }
        if self.asked_for && exists(&inner.transport, place, descriptor).await? {
            if let Some(session) = session {
                session.cancel(&inner.transport, place).await;
            }
            return Ok(Found::There(Sent::Existed));
        }
        // These have had it once. That is worth a request now that all bytes would have to be sent.
        let candidate = |from: &Place| from.host == place.host && from != place;
        let mut origins = origins.iter().map(Place::origin);
        match origins.find(candidate).filter(|_| neighbor.is_none()) {
            Some(from) => match mount(&inner.transport, place, descriptor, &from).await? {
                Mount::Done => Ok(Found::There(Sent::Mounted)),
                Mount::Begun(begun) => Ok(Found::Nowhere(Some(begun))),
                Mount::Refused => Ok(Found::Nowhere(None)),
            },
            None => Ok(Found::Nowhere(session)),
        }
    }
}

/// What was found out about a blob before it is sent.
enum Found {
    /// It need not be sent.
    There(Sent),
    /// It has to be sent, into this upload if one has begun.
    Nowhere(Option<Session>),
}

/// An answer to the wish to mount.
enum Mount {
    Done,
    Begun(Session),
    Refused,
}

/// Takes a blob over from a repository that is known to have it. Whoever refuses that will refuse it again.
async fn take_over(
    inner: &Inner,
    place: &Place,
    descriptor: &Descriptor,
    from: &Place,
) -> Result<Mount, Error> {
    let answer = mount(&inner.transport, place, descriptor, from).await?;
    if !matches!(answer, Mount::Done) {
        inner.holdings.refuse(from, place);
    }
    Ok(answer)
}

/// Asks a registry to take a blob over from another of its repositories.
async fn mount(
    transport: &Transport,
    place: &Place,
    descriptor: &Descriptor,
    from: &Place,
) -> Result<Mount, Error> {
    let route = format!("blobs/uploads/?mount={}&from={}", descriptor.digest, from.path);
    // Whoever may not read the source may not mount from it.
    let scopes = Scopes::push(&place.path).and(Scopes::pull(&from.path));
    let request = Request::new(Method::POST, Target::Route(route), scopes, &[201, 202]);
    match transport.send(place, &request).await {
        Ok(response) if response.status().as_u16() == 201 => Ok(Mount::Done),
        Ok(response) => Ok(Mount::Begun(Session::begun(&response)?)),
        // A mount is an offer. Whatever a registry has against it, the blob can still be sent.
        Err(error) if error.status().is_some() && error.again() == Again::Never => {
            tracing::debug!(%error, "not mounted");
            Ok(Mount::Refused)
        }
        Err(error) => Err(error),
    }
}

/// Whether a repository has a blob.
pub(super) async fn exists(
    transport: &Transport,
    place: &Place,
    descriptor: &Descriptor,
) -> Result<bool, Error> {
    let target = Target::Route(format!("blobs/{}", descriptor.digest));
    // The token of the upload that may follow serves for this as well.
    let request = Request::new(Method::HEAD, target, Scopes::push(&place.path), &[200]);
    match transport.send(place, &request).await {
        Ok(response) => {
            let length = response.headers().get(header::CONTENT_LENGTH);
            let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
            // A blob of another size is damage; sending it again mends it.
            Ok(length.is_none_or(|length| length == descriptor.size))
        }
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}
