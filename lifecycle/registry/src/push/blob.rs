//! One blob to one repository: in one request when its size is known, and as a stream that follows its maker when it is
//! not.
//!
//! A blob that fails on the way begins again. What was sent in pieces goes on where the registry says it stopped.

use std::sync::Arc;

use http::{Method, header};
use lifecycle_image::{Descriptor, Layer};
use reqwest::Response;
use url::Url;

use super::feed::{Feed, Progressed};
use super::parcel::exists;
use crate::Error;
use crate::bridge::blocking;
use crate::pull::content_digest;
use crate::transport::{Place, Request, Scopes, Target, Transport, location, shown};

/// Pieces that are sent when a registry does not take a blob in one request, and nobody said how large they may be.
const PIECE: u64 = 32 * 1024 * 1024;
/// The smallest piece that a registry takes, except the last.
const CHUNK_MIN_LENGTH: &str = "oci-chunk-min-length";
const OCTETS: &str = "application/octet-stream";

/// An upload that a registry has begun.
#[derive(Debug, Clone)]
pub(super) struct Session {
    /// Where the next request goes.
    pub(super) url: Url,
    /// Bytes that the registry has.
    offset: u64,
    /// It takes no smaller pieces.
    smallest: u64,
}

impl Session {
    pub(super) fn begun(response: &Response) -> Result<Self, Error> {
        let smallest = response.headers().get(CHUNK_MIN_LENGTH);
        let smallest = smallest.and_then(|value| value.to_str().ok()?.parse().ok());
        Ok(Self {
            url: location(response)?,
            offset: 0,
            smallest: smallest.unwrap_or(0),
        })
    }

    /// Ends an upload that is not needed.
    pub(super) async fn cancel(self, transport: &Transport, place: &Place) {
        let scopes = Scopes::push(&place.path);
        let cancel = Request::new(Method::DELETE, Target::Url(self.url), scopes, &[200, 202, 204]);
        if let Err(error) = transport.send_once(place, &cancel).await {
            // Not all registries can cancel; sessions end on their own.
            tracing::debug!(%error, "an upload could not be cancelled");
        }
    }
}

/// A blob on its way.
pub(super) struct Delivery<'a> {
    pub(super) transport: &'a Transport,
    pub(super) place: &'a Place,
    pub(super) layer: &'a Arc<dyn Layer>,
    /// What is known of it before it is read.
    pub(super) known: Option<Descriptor>,
    pub(super) meter: Progressed,
    /// An upload that has begun already.
    pub(super) session: Option<Session>,
    /// Larger blobs are sent in pieces of this size.
    pub(super) piece: Option<u64>,
}

impl Delivery<'_> {
    pub(super) async fn run(mut self) -> Result<Descriptor, Error> {
        let mut tries = 1;
        loop {
            let error = match self.attempt().await {
                Ok(descriptor) => return Ok(descriptor),
                Err(error) => error,
            };
            if error.status() == Some(413) && self.piece.is_none() {
                tracing::debug!(%error, "sending in pieces");
                self.piece = Some(PIECE);
                self.session = None;
                continue;
            }
            let Some(pause) = self.transport.pause(&restartable(error.clone()), tries) else {
                return Err(error);
            };
            tracing::debug!(%error, ?pause, tries, "sending again");
            self.transport.settings.clock.sleep(pause).await;
            tries += 1;
            // The answer may have been lost, not the blob.
            if let Some(descriptor) = self.layer.known()
                && exists(self.transport, self.place, &descriptor).await?
            {
                return Ok(descriptor);
            }
            let before = self.session.as_ref().map_or(0, |session| session.offset);
            self.session = self.resume().await;
            if self
                .session
                .as_ref()
                .is_some_and(|session| session.offset > before)
            {
                tries = 1;
            }
        }
    }

    async fn attempt(&mut self) -> Result<Descriptor, Error> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => begin(self.transport, self.place).await?,
        };
        match self.known.clone() {
            Some(known) if session.offset == 0 && self.piece.is_none_or(|piece| known.size <= piece) => {
                self.put_whole(&session, &known).await?;
                Ok(known)
            }
            known => {
                let patched = self.patch(&mut session, known.as_ref()).await;
                // Whatever happened, what the registry has can be asked for there.
                self.session = Some(session.clone());
                patched?;
                let layer = Arc::clone(self.layer);
                let descriptor = blocking(move || layer.descriptor()).await??;
                if descriptor.size != session.offset {
                    return Err(Error::Mismatch {
                        url: shown(&session.url),
                        expected: format!("{} bytes of the layer", descriptor.size),
                        actual: format!("{} bytes sent", session.offset),
                    });
                }
                commit(self.transport, self.place, session.url, &descriptor).await?;
                Ok(descriptor)
            }
        }
    }

    /// Everything in one request.
    async fn put_whole(&self, session: &Session, known: &Descriptor) -> Result<(), Error> {
        let feed = Feed::open(Arc::clone(self.layer), 0, Some(known.size), self.meter.clone());
        let mut url = session.url.clone();
        url.query_pairs_mut().append_pair("digest", known.digest.as_str());
        let request = self
            .request(Method::PUT, url, &[201, 200, 202, 204])
            .header(header::CONTENT_LENGTH, &known.size.to_string());
        let response = self.stream(&request, &feed, None).await?;
        check_digest(&response, known)
    }

    /// Piece by piece, or as one stream of unknown length.
    async fn patch(&self, session: &mut Session, known: Option<&Descriptor>) -> Result<(), Error> {
        let size = known.map(|known| known.size);
        let feed = Feed::open(Arc::clone(self.layer), session.offset, size, self.meter.clone());
        let piece = self.piece.map(|piece| piece.max(session.smallest).max(1));
        while feed.has_more().await {
            let start = session.offset;
            let mut request = self.request(Method::PATCH, session.url.clone(), &[202, 201, 204]);
            if let Some(size) = size {
                let length = piece.unwrap_or(u64::MAX).min(size - start);
                let range = format!("{start}-{}", start + length - 1);
                request = request
                    .header(header::CONTENT_RANGE, &range)
                    .header(header::CONTENT_LENGTH, &length.to_string());
            }
            let response = self.stream(&request, &feed, piece).await?;
            session.url = location(&response)?;
            session.offset = feed.position();
            match acknowledged(&response) {
                // Without the header, or with the one that can mean nothing or one byte, we know no better.
                None | Some(1) => {}
                Some(taken) if taken == session.offset => {}
                Some(taken) => {
                    session.offset = taken;
                    return Err(Error::Cut {
                        url: shown(&session.url),
                        received: taken,
                    });
                }
            }
        }
        match feed.failure(&self.name()) {
            Some(failure) => Err(failure.into()),
            None => Ok(()),
        }
    }

    /// Sends what `feed` has and waits for the answer, as long as there are signs of life.
    async fn stream(&self, request: &Request, feed: &Feed, limit: Option<u64>) -> Result<Response, Error> {
        let timeouts = &self.transport.settings.timeouts;
        let sending = self.transport.send_stream(self.place, request, feed.body(limit));
        let answer = tokio::select! {
            answer = sending => answer,
            (waiting_for, after) = feed.silence(timeouts.idle, timeouts.commit) => {
                let Target::Url(url) = &request.target else {
                    return Err(Error::Unsupported("an upload has an address".to_owned()));
                };
                Err(Error::TimedOut {
                    method: request.method.to_string(),
                    url: shown(url),
                    waiting_for,
                    after,
                })
            }
        };
        // A layer that cannot be read breaks the request; the layer is the reason, not the network.
        match feed.failure(&self.name()) {
            Some(failure) => Err(failure.into()),
            None => answer,
        }
    }

    /// Where the broken upload can go on. Nothing if it has to begin anew.
    async fn resume(&mut self) -> Option<Session> {
        let session = self.session.take()?;
        let request = self.request(Method::GET, session.url.clone(), &[204, 200, 202]);
        let response = self.transport.send_once(self.place, &request).await.ok()?;
        // "0-0" is written for nothing and for one byte.
        let offset = acknowledged(&response).filter(|&offset| offset > 1)?;
        let url = if response.headers().contains_key(header::LOCATION) {
            location(&response).ok()?
        } else {
            session.url
        };
        tracing::debug!(offset, "the upload goes on");
        Some(Session {
            url,
            offset,
            ..session
        })
    }

    fn request(&self, method: Method, url: Url, expect: &'static [u16]) -> Request {
        let scopes = Scopes::push(&self.place.path);
        Request::new(method, Target::Url(url), scopes, expect).header(header::CONTENT_TYPE, OCTETS)
    }

    fn name(&self) -> String {
        let known = self.known.as_ref().map(|known| known.digest.to_string());
        known.unwrap_or_else(|| "in the making".to_owned())
    }
}

/// An upload that was lost or whose token ran out while it was sent can begin again, as a cut one can.
fn restartable(error: Error) -> Error {
    match (&error, error.status()) {
        (Error::Status(answer), Some(401 | 404 | 416))
            if matches!(answer.method.as_str(), "PUT" | "PATCH") =>
        {
            Error::Cut {
                url: answer.url.clone(),
                received: 0,
            }
        }
        _ => error,
    }
}

/// Begins an upload.
pub(super) async fn begin(transport: &Transport, place: &Place) -> Result<Session, Error> {
    let target = Target::Route("blobs/uploads/".to_owned());
    let request = Request::new(Method::POST, target, Scopes::push(&place.path), &[202]);
    Session::begun(&transport.send(place, &request).await?)
}

/// Ends an upload that was sent in pieces.
async fn commit(
    transport: &Transport,
    place: &Place,
    mut url: Url,
    descriptor: &Descriptor,
) -> Result<(), Error> {
    url.query_pairs_mut()
        .append_pair("digest", descriptor.digest.as_str());
    let request = Request {
        patience: Some(transport.settings.timeouts.commit),
        ..Request::new(
            Method::PUT,
            Target::Url(url),
            Scopes::push(&place.path),
            &[201, 200, 202, 204],
        )
    };
    let response = transport.send(place, &request).await?;
    check_digest(&response, descriptor)
}

fn check_digest(response: &Response, descriptor: &Descriptor) -> Result<(), Error> {
    match content_digest(response.headers()) {
        Some(actual) if actual != descriptor.digest => Err(Error::Mismatch {
            url: shown(response.url()),
            expected: descriptor.digest.to_string(),
            actual: actual.to_string(),
        }),
        _ => Ok(()),
    }
}

/// How many bytes a registry says it has: `Range: 0-99` is a hundred.
fn acknowledged(response: &Response) -> Option<u64> {
    let range = response.headers().get(header::RANGE)?.to_str().ok()?;
    let range = range.trim().trim_start_matches("bytes=");
    let last: u64 = range.strip_prefix("0-")?.parse().ok()?;
    last.checked_add(1)
}
