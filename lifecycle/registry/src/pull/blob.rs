//! Blobs, as streams that survive cut connections.
//!
//! A task pours the blob into a bounded channel while the reader takes from it, so that the network does not wait
//! for the disk. When the connection breaks, the task asks for the rest; when a place keeps failing, it asks the
//! next one. That is safe because the bytes are known by their digest, which is checked on the way out.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use lifecycle_image::{
    BlobReader, Descriptor, DiffId, Layer, LayerError, MediaType, Meter, Outcome, Repository, Step, Verifying,
};
use reqwest::Response;
use tokio::sync::mpsc;
use url::Url;

use crate::transport::{Place, Request, Scopes, Target, Transport, is_loopback, shown};
use crate::{Error, Registry};

/// Chunks that may wait for the reader.
const AHEAD: usize = 8;

/// A layer in a registry. Its bytes are verified while they are read.
#[derive(Clone)]
pub(crate) struct RemoteLayer {
    registry: Registry,
    repository: Repository,
    places: Arc<[Place]>,
    descriptor: Descriptor,
    diff_id: DiffId,
}

impl RemoteLayer {
    pub(crate) fn new(
        registry: Registry,
        repository: Repository,
        places: Arc<[Place]>,
        descriptor: Descriptor,
        diff_id: DiffId,
    ) -> Self {
        Self {
            registry,
            repository,
            places,
            descriptor,
            diff_id,
        }
    }

    fn failed(&self, error: Error) -> LayerError {
        let name = format!("{} of {}", self.descriptor.digest, self.repository);
        LayerError::new(name, error.into_io())
    }
}

impl Layer for RemoteLayer {
    fn known(&self) -> Option<Descriptor> {
        Some(self.descriptor.clone())
    }

    fn descriptor(&self) -> Result<Descriptor, LayerError> {
        Ok(self.descriptor.clone())
    }

    fn diff_id(&self) -> Result<DiffId, LayerError> {
        Ok(self.diff_id.clone())
    }

    fn open(&self, offset: u64) -> Result<BlobReader, LayerError> {
        let Descriptor { digest, size, .. } = &self.descriptor;
        let runtime = self
            .registry
            .inner
            .bridge
            .handle()
            .map_err(|error| self.failed(error))?;
        let (sender, receiver) = mpsc::channel(AHEAD);
        let pouring = Pouring {
            transport: Arc::clone(&self.registry.inner.transport),
            descriptor: self.descriptor.clone(),
            offset,
            sender,
        };
        runtime.spawn(pouring.run(Arc::clone(&self.places)));
        let remaining = size.saturating_sub(offset);
        let meter = self
            .registry
            .progress()
            .begin(Step::Download, digest.as_str(), Some(remaining));
        let mut stream = Stream {
            receiver,
            current: Bytes::new(),
            meter,
            _registry: self.registry.clone(),
        };
        // What is not there is better known now than at the first read.
        stream.fill().map_err(|error| self.failed(error))?;
        Ok(match offset {
            0 => Box::new(Verifying::new(stream, digest.clone(), *size)),
            _ => Box::new(stream),
        })
    }

    fn media_type(&self) -> MediaType {
        self.descriptor.media_type.clone()
    }

    fn origins(&self) -> Vec<Repository> {
        vec![self.repository.clone()]
    }
}

impl fmt::Debug for RemoteLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteLayer")
            .field("repository", &self.repository)
            .field("descriptor", &self.descriptor)
            .finish_non_exhaustive()
    }
}

/// The reader's end.
struct Stream {
    receiver: mpsc::Receiver<Result<Bytes, Error>>,
    current: Bytes,
    meter: Box<dyn Meter>,
    /// Keeps the runtime alive that pours.
    _registry: Registry,
}

impl Stream {
    /// Waits for more; nothing more is the end.
    fn fill(&mut self) -> Result<(), Error> {
        match self.receiver.blocking_recv() {
            Some(Ok(chunk)) => self.current = chunk,
            Some(Err(error)) => return Err(error),
            None => self.meter.finish(Outcome::Done),
        }
        Ok(())
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.current.is_empty() && !buffer.is_empty() {
            self.fill().map_err(Error::into_io)?;
        }
        let length = self.current.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.current.split_to(length));
        self.meter.advance(length as u64);
        Ok(length)
    }
}

/// The network's end.
struct Pouring {
    transport: Arc<Transport>,
    descriptor: Descriptor,
    /// The first byte that is still to come.
    offset: u64,
    sender: mpsc::Sender<Result<Bytes, Error>>,
}

/// Nobody reads any more.
struct Abandoned;

impl Pouring {
    async fn run(mut self, places: Arc<[Place]>) {
        let mut failure = None;
        for place in places.iter() {
            let request = Request::new(
                Method::GET,
                Target::Route(format!("blobs/{}", self.descriptor.digest)),
                Scopes::pull(&place.path),
                &[200, 206],
            );
            match self.pour(From::Place(place, &request)).await {
                Ok(Ok(())) | Err(Abandoned) => return,
                Ok(Err(error)) => failure = Some(error),
            }
        }
        // Layers that may not be distributed lie elsewhere. Whoever wrote the manifest chose the address, so it
        // gets nothing from us but the request (CVE-2020-15157).
        if self.descriptor.media_type.is_foreign() {
            let is_local = places.iter().any(|place| is_loopback(&place.host));
            for url in self.descriptor.urls.clone() {
                let Ok(url) = Url::parse(&url) else { continue };
                match self.pour(From::Elsewhere(&url, is_local)).await {
                    Ok(Ok(())) | Err(Abandoned) => return,
                    Ok(Err(error)) => failure = Some(error),
                }
            }
        }
        if let Some(error) = failure {
            // A reader that is gone needs no reason.
            drop(self.sender.send(Err(error)).await);
        }
    }

    /// Pours all that is still to come from one place, beginning again where it broke off.
    async fn pour(&mut self, from: From<'_>) -> Result<Result<(), Error>, Abandoned> {
        let (mut tries, mut before) = (1, self.offset);
        loop {
            let error = match self.pour_once(from).await? {
                Ok(()) => return Ok(Ok(())),
                Err(error) => error,
            };
            if Transport::is_progress(before, self.offset) {
                (tries, before) = (1, self.offset);
            }
            let Some(pause) = self.transport.pause(&error, tries) else {
                return Ok(Err(error));
            };
            tracing::debug!(%error, offset = self.offset, "continuing a blob");
            self.transport.settings.clock.sleep(pause).await;
            tries += 1;
        }
    }

    async fn pour_once(&mut self, from: From<'_>) -> Result<Result<(), Error>, Abandoned> {
        let (mut response, mut skip) = match self.ask(from).await {
            Ok(asked) => asked,
            Err(error) => return Ok(Err(error)),
        };
        let (url, mut pace) = (shown(response.url()), self.transport.pace());
        loop {
            let mut chunk = match self.transport.next_chunk(&mut response, &mut pace).await {
                Ok(Some(chunk)) => chunk,
                Ok(None) if self.offset < self.descriptor.size => {
                    let received = self.offset;
                    return Ok(Err(Error::Cut { url, received }));
                }
                Ok(None) => return Ok(Ok(())),
                Err(error) => return Ok(Err(error)),
            };
            if skip > 0 {
                let skipped = usize::try_from(skip).unwrap_or(usize::MAX).min(chunk.len());
                drop(chunk.split_to(skipped));
                skip -= skipped as u64;
            }
            if chunk.is_empty() {
                continue;
            }
            self.offset += chunk.len() as u64;
            let is_too_long = self.offset > self.descriptor.size;
            self.sender.send(Ok(chunk)).await.map_err(|_| Abandoned)?;
            if is_too_long {
                // The reader has been given too much, and will say so; a liar is not listened to any longer.
                return Ok(Ok(()));
            }
        }
    }

    /// Asks for the rest. A place that sends the whole instead is told how much of it to skip.
    async fn ask(&self, from: From<'_>) -> Result<(Response, u64), Error> {
        let mut headers = HeaderMap::new();
        if self.offset > 0 {
            let range = HeaderValue::from_str(&format!("bytes={}-", self.offset));
            headers.extend(range.ok().map(|range| (header::RANGE, range)));
        }
        let response = match from {
            From::Place(place, request) => {
                let request = Request {
                    headers,
                    ..(*request).clone()
                };
                self.transport.send_once(place, &request).await?
            }
            From::Elsewhere(url, is_local) => self.transport.fetch(url, headers, is_local).await?,
        };
        let is_part = response.status().as_u16() == 206;
        let skip = if is_part { 0 } else { self.offset };
        let wrong = |expected: u64, actual: String| Error::Mismatch {
            url: shown(response.url()),
            expected: format!("{expected} bytes from {}", self.offset),
            actual,
        };
        let remaining = self.descriptor.size.saturating_sub(self.offset);
        if is_part {
            let range = response.headers().get(header::CONTENT_RANGE);
            let range = range.and_then(|range| range.to_str().ok()).unwrap_or_default();
            if !range.starts_with(&format!("bytes {}-", self.offset)) {
                return Err(wrong(remaining, format!("the range {range:?}")));
            }
        }
        match response.content_length() {
            Some(length) if length != remaining + skip => Err(wrong(remaining, format!("{length} bytes"))),
            _ => Ok((response, skip)),
        }
    }
}

/// Where a blob comes from.
#[derive(Clone, Copy)]
enum From<'a> {
    /// A repository.
    Place(&'a Place, &'a Request),
    /// An address in a manifest, and whether the manifest came from this machine.
    Elsewhere(&'a Url, bool),
}
