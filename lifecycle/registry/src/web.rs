//! Addresses that belong to no registry, reached as registries are: the same proxies, certificate authorities, resolver
//! and patience, but no registry's credentials.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::net::IpAddr;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Method, header};
use lifecycle_image::{Outcome, Progress, Step, TransferError};
use reqwest::Response;
use url::Url;

use crate::bridge::blocking;
use crate::transport::{Pace, Request, Scopes, Target, Transport, parse_date, shown};
use crate::{Error, Pem, Registry, Roots, Secret, Trust, TrustRule};

/// One read of what is sent.
const CHUNK: usize = 256 * 1024;

/// Bytes a second that have to be taken on the way up.
const SLOWEST: u64 = 64 * 1024;

/// The web, for whoever has a [`Registry`]. Threads and connections are shared with it.
#[derive(Debug, Clone)]
pub struct Web(Registry);

/// A file on the web.
#[derive(Debug, Clone, Copy)]
pub struct WebFile<'a> {
    /// Its address. A user and a password in it are sent as the header that they stand for, and are never shown.
    pub url: &'a Url,
    /// The `Authorization` header, for the origin of the address alone.
    pub authorization: Option<&'a Secret>,
    /// It is an error if there are more bytes than this.
    pub limit: u64,
}

/// What is known of a file that was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Its size in bytes.
    pub size: u64,
    /// `Last-Modified` in seconds since 1970, if the answer had it.
    pub last_modified: Option<i64>,
}

/// What is asked in a protocol that is spoken through HTTP.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// Where, who we are there, and how long the answer may be.
    pub to: WebFile<'a>,
    /// Headers besides.
    pub headers: HeaderMap,
    /// What is posted; without it the question is a GET.
    pub body: Option<Bytes>,
}

/// What is known of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// Where it came from, after all redirects.
    pub url: Url,
    /// `Content-Type`, if it has one.
    pub content_type: Option<String>,
}

impl Registry {
    /// The web beyond registries.
    pub fn web(&self) -> Web {
        Web(self.clone())
    }
}

impl Web {
    /// The same web, with somebody who watches files move.
    #[must_use]
    pub fn watched(self, progress: Arc<dyn Progress>) -> Self {
        Self(self.0.watched(progress))
    }

    /// Fetches a file into `into`, from its beginning. A connection that was cut is made again and goes on where it
    /// ended, as long as the server says that it is the same file still; else everything is fetched anew.
    ///
    /// # Errors
    /// When it cannot be had, whole and within the limit.
    pub fn get(&self, file: &WebFile<'_>, into: &mut File) -> Result<Received, TransferError> {
        let attempt = || format!("cannot download {}", shown(file.url));
        let (url, authorization) = Authorization::of(file).map_err(|error| error.during(attempt()))?;
        let meter = self.0.progress().begin(Step::Download, &shown(&url), None);
        let mut download = Download {
            web: &self.0,
            url,
            authorization,
            limit: file.limit,
            offset: 0,
            validator: None,
            last_modified: None,
        };
        let received = self.0.wait(download.run(into), attempt)?;
        meter.advance(received.size);
        meter.finish(Outcome::Done);
        Ok(received)
    }

    /// Sends `from`, all of it, to an address (`PUT`).
    ///
    /// # Errors
    /// When the server does not take it.
    pub fn put(&self, file: &WebFile<'_>, from: &File) -> Result<(), TransferError> {
        let attempt = || format!("cannot upload to {}", shown(file.url));
        let (url, authorization) = Authorization::of(file).map_err(|error| error.during(attempt()))?;
        let send = async {
            let transport = &self.0.inner.transport;
            let size = from
                .metadata()
                .map_err(|cause| local("cannot read what is to be sent", cause))?
                .len();
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
            headers.extend(
                authorization
                    .iter()
                    .map(|own| (header::AUTHORIZATION, own.header.clone())),
            );
            let request = Request {
                headers,
                patience: Some(transport.settings.timeouts.commit + Duration::from_secs(size / SLOWEST)),
                ..Request::new(
                    Method::PUT,
                    Target::Url(url.clone()),
                    Scopes::default(),
                    &[200, 201, 202, 204],
                )
            };
            let secrets: Vec<&Secret> = authorization.iter().map(|own| &own.secret).collect();
            let attempt = || async {
                let source = from
                    .try_clone()
                    .map_err(|cause| local("cannot read what is to be sent", cause))?;
                transport
                    .send_foreign(&url, &request, body(source, size), &secrets)
                    .await
            };
            transport.retrying(attempt).await.map(drop)
        };
        self.0.wait(send, attempt)
    }

    /// Asks, and puts the answer into `into`, from its beginning. What fails in passing is asked again.
    ///
    /// # Errors
    /// When there is no answer, whole and within the limit.
    pub fn ask(&self, question: &Question<'_>, into: &File) -> Result<Answered, TransferError> {
        let attempt = || format!("cannot ask {}", shown(question.to.url));
        let (url, authorization) =
            Authorization::of(&question.to).map_err(|error| error.during(attempt()))?;
        let transport = &self.0.inner.transport;
        let method = if question.body.is_some() {
            Method::POST
        } else {
            Method::GET
        };
        let request = Request {
            headers: question.headers.clone(),
            body: question.body.clone().unwrap_or_default(),
            // The other side may have much to do before it says much.
            patience: Some(transport.settings.timeouts.commit),
            ..Request::new(method, Target::Url(url.clone()), Scopes::default(), &[200])
        };
        let secrets: Vec<&Secret> = authorization.iter().map(|own| &own.secret).collect();
        let header = authorization.as_ref().map(|own| &own.header);
        let ask = || async {
            let mut response = transport.ask_foreign(&url, &request, header, &secrets).await?;
            let content_type = response.headers().get(header::CONTENT_TYPE);
            let answered = Answered {
                url: response.url().clone(),
                content_type: content_type.and_then(|kind| Some(kind.to_str().ok()?.to_owned())),
            };
            let mut into = into;
            let emptied = into.set_len(0).and_then(|()| into.seek(SeekFrom::Start(0)));
            emptied.map_err(unwritten)?;
            let (mut size, mut pace) = (0, Pace::new(transport.settings.timeouts.commit));
            while let Some(chunk) = transport.next_chunk(&mut response, &mut pace).await? {
                size += chunk.len() as u64;
                check_size(&url, size, question.to.limit)?;
                into.write_all(&chunk).map_err(unwritten)?;
            }
            Ok(answered)
        };
        self.0.wait(transport.retrying(ask), attempt)
    }

    /// The same web, where certificates are of these authorities alone, or are not checked.
    ///
    /// # Errors
    /// When the authorities cannot be used.
    pub fn trusting(&self, authorities: Option<Pem>, verify: bool) -> Result<Self, TransferError> {
        let mut settings = self.0.inner.transport.settings.clone();
        if let Some(authorities) = authorities {
            settings.roots = Roots {
                store: vec![authorities],
                extra: Vec::new(),
            };
        }
        if !verify {
            settings.trust = vec![TrustRule {
                prefix: String::new(),
                trust: Trust::SkipVerify,
            }];
        }
        let registry = Registry::new(settings)?;
        Ok(Self(registry.watched(Arc::clone(self.0.progress()))))
    }

    /// The addresses of a host, for protocols beside HTTP.
    ///
    /// # Errors
    /// When its name stands for none.
    pub fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, TransferError> {
        let resolve = self.0.inner.transport.resolve(host);
        self.0.wait(resolve, || format!("cannot find {host}"))
    }

    /// The HTTP client for an address, for libraries that bring a protocol of their own. It follows no redirects.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn client(&self, url: &Url) -> Result<reqwest::Client, TransferError> {
        let client = self.0.inner.transport.foreign_client(url);
        client
            .cloned()
            .map_err(|error| error.during(format!("cannot reach {}", shown(url))))
    }

    /// Waits for work of such a library.
    ///
    /// # Errors
    /// When there are no threads for it.
    pub fn wait<T>(&self, work: impl Future<Output = T>) -> Result<T, TransferError> {
        let work = async { Ok(work.await) };
        self.0.wait(work, || "cannot use the network".to_owned())
    }
}

/// What we say about ourselves to the origin of an address.
#[derive(Debug, Clone)]
struct Authorization {
    header: HeaderValue,
    secret: Secret,
}

impl Authorization {
    /// The address without user and password, and what to send in their place.
    fn of(file: &WebFile<'_>) -> Result<(Url, Option<Self>), Error> {
        let mut url = file.url.clone();
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Error::Unsupported(format!(
                "{} is no http or https address",
                shown(&url)
            )));
        }
        url.set_fragment(None);
        let decode = |text: &str| -> String {
            let pairs = format!("x={}", text.replace('+', "%2B"));
            url::form_urlencoded::parse(pairs.as_bytes())
                .map(|(_, value)| value.into_owned())
                .collect()
        };
        let (user, password) = (decode(url.username()), url.password().map(decode));
        let secret = match (file.authorization, user.is_empty() && password.is_none()) {
            (Some(own), _) => Some(own.clone()),
            (None, true) => None,
            (None, false) => {
                let pair = format!("{user}:{}", password.as_deref().unwrap_or_default());
                Some(Secret::new(format!("Basic {}", STANDARD.encode(pair))))
            }
        };
        if url.set_username("").is_err() || url.set_password(None).is_err() {
            return Err(Error::Unsupported(format!("{} has no host", shown(&url))));
        }
        let Some(secret) = secret else {
            return Ok((url, None));
        };
        let mut header = HeaderValue::from_str(secret.reveal()).map_err(|_| {
            Error::Settings(format!(
                "the authorization for {} cannot be a header",
                shown(&url)
            ))
        })?;
        header.set_sensitive(true);
        Ok((url, Some(Self { header, secret })))
    }
}

/// A file on its way.
struct Download<'a> {
    web: &'a Registry,
    url: Url,
    authorization: Option<Authorization>,
    limit: u64,
    /// The first byte that is still to come.
    offset: u64,
    /// What tells whether the file is the same still: its `ETag`, or its time.
    validator: Option<HeaderValue>,
    last_modified: Option<i64>,
}

impl Download<'_> {
    async fn run(&mut self, into: &mut File) -> Result<Received, Error> {
        let transport = &self.web.inner.transport;
        let (mut tries, mut furthest) = (1, 0);
        loop {
            let Err(error) = self.attempt(into).await else {
                return Ok(Received {
                    size: self.offset,
                    last_modified: self.last_modified,
                });
            };
            if Transport::is_progress(furthest, self.offset) {
                (tries, furthest) = (1, self.offset);
            }
            let Some(pause) = transport.pause(&error, tries) else {
                return Err(error);
            };
            tracing::debug!(%error, offset = self.offset, "continuing a download");
            transport.settings.clock.sleep(pause).await;
            tries += 1;
        }
    }

    async fn attempt(&mut self, into: &mut File) -> Result<(), Error> {
        let mut response = self.ask().await?;
        let is_part = response.status().as_u16() == 206 && self.offset > 0;
        if is_part {
            let range = response
                .headers()
                .get(header::CONTENT_RANGE)
                .and_then(|range| range.to_str().ok());
            if !range.is_some_and(|range| range.starts_with(&format!("bytes {}-", self.offset))) {
                return Err(Error::Mismatch {
                    url: shown(response.url()),
                    expected: format!("bytes from {}", self.offset),
                    actual: format!("the range {:?}", range.unwrap_or_default()),
                });
            }
        } else {
            self.begin(&response);
            let emptied = into.set_len(0).and_then(|()| into.seek(SeekFrom::Start(0)));
            emptied.map_err(unwritten)?;
        }
        self.check(self.offset + response.content_length().unwrap_or_default())?;
        let transport = &self.web.inner.transport;
        let mut pace = transport.pace();
        while let Some(chunk) = transport.next_chunk(&mut response, &mut pace).await? {
            self.check(self.offset + chunk.len() as u64)?;
            into.write_all(&chunk).map_err(unwritten)?;
            self.offset += chunk.len() as u64;
        }
        Ok(())
    }

    /// Asks for what is still to come, or for everything if that cannot be told apart.
    async fn ask(&mut self) -> Result<Response, Error> {
        let mut headers = HeaderMap::new();
        if self.offset > 0
            && let Some(validator) = &self.validator
        {
            headers.insert(header::RANGE, range(self.offset));
            headers.insert(header::IF_RANGE, validator.clone());
        }
        let request = Request {
            headers,
            ..Request::new(
                Method::GET,
                Target::Url(self.url.clone()),
                Scopes::default(),
                &[200, 203, 206],
            )
        };
        let transport = &self.web.inner.transport;
        let own = self.authorization.as_ref();
        let secrets: Vec<&Secret> = own.map(|own| &own.secret).into_iter().collect();
        let answer = transport
            .ask_foreign(&self.url, &request, own.map(|own| &own.header), &secrets)
            .await;
        match answer {
            // The file became shorter than what we have of it.
            Err(Error::Status(answer)) if answer.status == 416 && self.offset > 0 => {
                self.validator = None;
                self.offset = 0;
                Err(Error::Cut {
                    url: shown(&self.url),
                    received: 0,
                })
            }
            answer => answer,
        }
    }

    /// Takes note of the file that begins to come.
    fn begin(&mut self, response: &Response) {
        let header = |name| response.headers().get(name);
        let strong = header(header::ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/"));
        self.validator = strong.or_else(|| header(header::LAST_MODIFIED)).cloned();
        self.last_modified = header(header::LAST_MODIFIED)
            .and_then(|text| parse_date(text.to_str().ok()?.trim()))
            .and_then(|time| time.duration_since(std::time::SystemTime::UNIX_EPOCH).ok())
            .and_then(|since| i64::try_from(since.as_secs()).ok());
        self.offset = 0;
    }

    fn check(&self, size: u64) -> Result<(), Error> {
        check_size(&self.url, size, self.limit)
    }
}

fn check_size(url: &Url, size: u64, limit: u64) -> Result<(), Error> {
    if size <= limit {
        return Ok(());
    }
    Err(Error::Malformed {
        url: shown(url),
        reason: format!("it is larger than {limit} bytes"),
    })
}

fn range(offset: u64) -> HeaderValue {
    HeaderValue::try_from(format!("bytes={offset}-")).unwrap_or(HeaderValue::from_static("bytes=0-"))
}

/// A file as the body of a request, read piece by piece where blocking is allowed.
fn body(file: File, size: u64) -> reqwest::Body {
    let file = Arc::new(file);
    let pieces = stream::try_unfold(0, move |offset| {
        let file = Arc::clone(&file);
        async move {
            if offset >= size {
                return Ok(None);
            }
            let length = usize::try_from(size - offset).unwrap_or(CHUNK).min(CHUNK);
            let read = move || {
                let mut piece = vec![0; length];
                file.read_exact_at(&mut piece, offset)
                    .map(|()| Bytes::from(piece))
            };
            match blocking(read).await {
                Ok(Ok(piece)) => Ok(Some((piece, offset + length as u64))),
                Ok(Err(error)) => Err(error),
                Err(error) => Err(error.into_io()),
            }
        }
    });
    reqwest::Body::wrap_stream(pieces)
}

fn unwritten(cause: std::io::Error) -> Error {
    local("cannot write what is downloaded", cause)
}

fn local(what: &'static str, cause: std::io::Error) -> Error {
    Error::Local {
        what,
        cause: Arc::new(cause),
    }
}
