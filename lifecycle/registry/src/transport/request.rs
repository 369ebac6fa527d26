//! What is asked.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use url::Url;

use super::{Place, Scopes};
use crate::Error;

/// A request that may be sent any number of times.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) target: Target,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// What a token for it has to allow.
    pub(crate) scopes: Scopes,
    /// The status codes that are answers. All others are errors.
    pub(crate) expect: &'static [u16],
    /// Until the answer begins, when that may take longer than other silence.
    pub(crate) patience: Option<Duration>,
}

/// What a request is about.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// Something in the repository: `manifests/latest`.
    Route(String),
    /// An address that the registry gave us.
    Url(Url),
}

impl Request {
    /// A request without body that reads.
    pub(crate) fn new(method: Method, target: Target, scopes: Scopes, expect: &'static [u16]) -> Self {
        Self {
            method,
            target,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            scopes,
            expect,
            patience: None,
        }
    }

    /// The same with a header.
    pub(crate) fn header(mut self, name: header::HeaderName, value: &str) -> Self {
        // Our header values are digests, media types and numbers; one that is none of these is left out and the
        // registry will say what it misses.
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.append(name, value);
        }
        self
    }

    /// The same with a body.
    pub(crate) fn body(mut self, kind: &str, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.header(header::CONTENT_TYPE, kind)
    }
}

impl Target {
    /// The whole address, where `base` is that of the registry.
    pub(super) fn below(&self, base: &Url, place: &Place) -> Result<Url, Error> {
        match self {
            Self::Route(route) => base.join(&format!("{}/{route}", place.path)).map_err(|error| {
                Error::Unsupported(format!("{place} cannot be part of an address: {error}"))
            }),
            Self::Url(url) => Ok(url.clone()),
        }
    }
}
