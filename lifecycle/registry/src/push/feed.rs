//! A layer's blocking reader, as the body of a request.

use std::io::{self, Read};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use lifecycle_image::{Layer, LayerError, Meter};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::transport::lock;

/// One read. Large enough for few system calls, small enough to keep the connection busy.
const CHUNK: usize = 256 * 1024;
/// Chunks that may wait for the network.
const AHEAD: usize = 4;
/// How often a request is looked at for signs of life.
const TICK: Duration = Duration::from_millis(250);

/// The bytes of a layer from an offset on, handed out to one request after another.
#[derive(Clone)]
pub(super) struct Feed(Arc<Mutex<State>>);

struct State {
    chunks: mpsc::Receiver<io::Result<Bytes>>,
    /// What the last request had no room for.
    rest: Option<Bytes>,
    /// Bytes handed out, counted from the beginning of the layer.
    position: u64,
    /// Where the layer ends, if that is known.
    size: Option<u64>,
    /// The layer's own failure: no request can do anything about it.
    failure: Option<io::Error>,
    activity: Activity,
    meter: Progressed,
}

/// Who is waited for.
#[derive(Clone, Copy)]
enum Activity {
    /// The layer: it may take its time, it is being made.
    Layer,
    /// The registry has not taken more since.
    Network(Instant),
    /// The registry has all and has not answered since.
    Answer(Instant),
}

/// A meter that does not count bytes again when they are sent again.
#[derive(Clone)]
pub(super) struct Progressed {
    pub(super) meter: Arc<Box<dyn Meter>>,
    furthest: Arc<Mutex<u64>>,
}

impl Progressed {
    pub(super) fn new(meter: Box<dyn Meter>) -> Self {
        Self {
            meter: Arc::new(meter),
            furthest: Arc::default(),
        }
    }

    fn reach(&self, position: u64) {
        let mut furthest = lock(&self.furthest);
        if position > *furthest {
            self.meter.advance(position - *furthest);
            *furthest = position;
        }
    }
}

impl Feed {
    /// Starts to read `layer` at `offset`; `size` is that of the whole layer, if it is known.
    pub(super) fn open(layer: Arc<dyn Layer>, offset: u64, size: Option<u64>, meter: Progressed) -> Self {
        let (sender, chunks) = mpsc::channel(AHEAD);
        // The thread ends when the layer does, or when nobody listens any more.
        tokio::task::spawn_blocking(move || {
            if let Err(cause) = read(&*layer, offset, size, &sender) {
                drop(sender.blocking_send(Err(cause)));
            }
        });
        Self(Arc::new(Mutex::new(State {
            chunks,
            rest: None,
            position: offset,
            size,
            failure: None,
            activity: Activity::Layer,
            meter,
        })))
    }

    /// Waits until there is more, or until it is known that there is none.
    pub(super) async fn has_more(&self) -> bool {
        std::future::poll_fn(|context| {
            let mut state = lock(&self.0);
            if state.rest.is_some() {
                return Poll::Ready(true);
            }
            match state.chunks.poll_recv(context) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(None) => Poll::Ready(false),
                Poll::Ready(Some(Ok(chunk))) => {
                    state.rest = Some(chunk);
                    Poll::Ready(true)
                }
                Poll::Ready(Some(Err(cause))) => {
                    state.failure = Some(cause);
                    Poll::Ready(false)
                }
            }
        })
        .await
    }

    /// A body of what comes next, of at most `limit` bytes.
    pub(super) fn body(&self, limit: Option<u64>) -> reqwest::Body {
        let feed = self.clone();
        let mut room = limit.unwrap_or(u64::MAX);
        reqwest::Body::wrap_stream(stream::poll_fn(move |context| feed.poll(&mut room, context)))
    }

    fn poll(&self, room: &mut u64, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let state = &mut *lock(&self.0);
        let next = match (*room, state.rest.take()) {
            (0, rest) => {
                state.rest = rest;
                None
            }
            (_, Some(rest)) => Some(Ok(rest)),
            (_, None) => match state.chunks.poll_recv(context) {
                Poll::Pending => {
                    state.activity = Activity::Layer;
                    return Poll::Pending;
                }
                Poll::Ready(next) => next,
            },
        };
        Poll::Ready(match next {
            None => {
                state.activity = Activity::Answer(Instant::now());
                None
            }
            Some(Err(cause)) => {
                let copy = io::Error::new(cause.kind(), cause.to_string());
                state.failure = Some(cause);
                Some(Err(copy))
            }
            Some(Ok(mut chunk)) => {
                let fits = usize::try_from(*room).unwrap_or(usize::MAX).min(chunk.len());
                let rest = chunk.split_off(fits);
                state.rest = (!rest.is_empty()).then_some(rest);
                *room -= fits as u64;
                state.position += fits as u64;
                // A client that has announced a length does not look for more after the last byte.
                let is_last = *room == 0 || state.size == Some(state.position);
                state.activity = if is_last {
                    Activity::Answer(Instant::now())
                } else {
                    Activity::Network(Instant::now())
                };
                state.meter.reach(state.position);
                Some(Ok(chunk))
            }
        })
    }

    /// Bytes handed out so far, counted from the beginning of the layer.
    pub(super) fn position(&self) -> u64 {
        lock(&self.0).position
    }

    /// The layer's own failure, if it had one.
    pub(super) fn failure(&self, name: &str) -> Option<LayerError> {
        let cause = lock(&self.0).failure.take()?;
        Some(LayerError::new(name, cause))
    }

    /// Ends when the registry has been silent for too long: what did not happen, and for how long.
    pub(super) async fn silence(&self, idle: Duration, commit: Duration) -> (&'static str, Duration) {
        lock(&self.0).activity = Activity::Network(Instant::now());
        loop {
            tokio::time::sleep(TICK.min(idle)).await;
            let activity = lock(&self.0).activity;
            match activity {
                Activity::Network(since) if since.elapsed() > idle => return ("nothing was taken", idle),
                Activity::Answer(since) if since.elapsed() > commit => return ("no answer", commit),
                _ => {}
            }
        }
    }
}

fn read(
    layer: &dyn Layer,
    offset: u64,
    size: Option<u64>,
    sender: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    let mut reader = layer.open(offset)?;
    let mut position = offset;
    loop {
        let mut buffer = vec![0; CHUNK];
        let length = match reader.read(&mut buffer) {
            Ok(length) => length,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
            Err(cause) => return Err(cause),
        };
        position += length as u64;
        // The request has announced a size. What does not keep to it would break the connection without a reason.
        let is_wrong = size.is_some_and(|size| position > size || (length == 0 && position < size));
        if is_wrong {
            let size = size.unwrap_or_default();
            let text = format!("{size} bytes were promised but {position} came");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        if length == 0 {
            return Ok(());
        }
        buffer.truncate(length);
        if sender.blocking_send(Ok(buffer.into())).is_err() {
            return Ok(());
        }
    }
}
