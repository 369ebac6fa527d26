//! One request, and everything that keeps it from arriving: the challenge, the token, the redirect, the retry.
//!
//! What goes where:
//!
//! - Credentials and tokens go to the registry they are for: same scheme, host and port. A redirect or an upload
//!   location that leads elsewhere (a storage service, with its own signature in the address) gets neither, and no
//!   client certificate.
//! - Without TLS we speak to loopback, and to what is listed as insecure. TLS is tried first in both cases.
//! - A token server gets credentials under the rules of `token`.
//!
//! What is tried again: 408, 429, 5xx and broken connections, after a pause that doubles, or that the registry asks
//! for. Requests with a streamed body cannot be tried again here; `push` begins those anew.

mod challenge;
mod place;
mod resolver;
mod scopes;
mod tls;
mod token;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use reqwest::{Client, Response};
use tokio::sync::OnceCell;
use url::Url;

use self::challenge::Challenge;
pub(crate) use self::place::{Place, is_loopback, is_same_origin, shown};
pub(crate) use self::scopes::Scopes;
use self::tls::Clients;
use self::token::{Server, SharedSlot, basic_header, bearer_header};
use crate::credentials::{Credential, Found};
use crate::error::{Again, Answer, find_cause, read_reports};
use crate::settings::{Settings, Trust};
use crate::{Error, Secret};

/// Redirects that are followed one after another.
const MAX_REDIRECTS: usize = 8;
/// Error answers are read up to this.
const MAX_REPORT: usize = 64 * 1024;
/// How long a host has to show whether it speaks TLS, when it need not.
const PROBE: Duration = Duration::from_secs(5);

/// Sends requests and sees that they arrive.
#[derive(Debug)]
pub(crate) struct Transport {
    pub(crate) settings: Settings,
    clients: Clients,
    hosts: Mutex<BTreeMap<(String, Trust), Arc<Host>>>,
    found: Mutex<BTreeMap<Place, Arc<OnceCell<Arc<Found>>>>>,
}

/// What was learned about a host.
#[derive(Debug)]
struct Host {
    name: String,
    trust: Trust,
    base: OnceCell<Url>,
    challenge: Mutex<Option<Challenge>>,
    /// Resources that its challenges name for a repository besides the one we would have named.
    aliases: Mutex<BTreeMap<String, Scopes>>,
    slots: Mutex<BTreeMap<(String, Scopes), SharedSlot>>,
    numbers: AtomicU64,
}

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

/// What was sent along to prove who we are.
#[derive(Debug, Clone)]
struct Authorization {
    header: HeaderValue,
    /// The token's number, if it was a token from a server.
    token: Option<u64>,
    secret: Secret,
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
    fn below(&self, base: &Url, place: &Place) -> Result<Url, Error> {
        match self {
            Self::Route(route) => base.join(&format!("{}/{route}", place.path)).map_err(|error| {
                Error::Unsupported(format!("{place} cannot be part of an address: {error}"))
            }),
            Self::Url(url) => Ok(url.clone()),
        }
    }
}

impl Transport {
    pub(crate) fn new(settings: Settings) -> Result<Self, Error> {
        Ok(Self {
            clients: Clients::build(&settings)?,
            hosts: Mutex::default(),
            found: Mutex::default(),
            settings,
        })
    }

    /// Where to read a repository, in the order to ask.
    pub(crate) fn readable(&self, repository: &lifecycle_image::Repository) -> Vec<Place> {
        Place::readable(repository, &self.settings.mirrors)
    }

    /// Sends a request, again and again if need be.
    pub(crate) async fn send(&self, place: &Place, request: &Request) -> Result<Response, Error> {
        self.retrying(|| self.send_once(place, request)).await
    }

    /// Sends a request once, apart from what authentication needs.
    pub(crate) async fn send_once(&self, place: &Place, request: &Request) -> Result<Response, Error> {
        let host = self.host(place);
        let base = self.base(&host).await?;
        let url = request.target.below(&base, place)?;
        // An upload location on another host is not the registry, and learns nothing about us.
        let is_own = is_same_origin(&url, &base);
        let mut authorization = None;
        if is_own {
            authorization = self.authorization(&host, place, &request.scopes, None).await?;
        }
        let mut answered = false;
        loop {
            let header = authorization.as_ref().map(|authorization| &authorization.header);
            let response = self.follow(&host, request, url.clone(), header).await?;
            let refused =
                response.status() == StatusCode::UNAUTHORIZED && is_same_origin(response.url(), &base);
            if refused && is_own && !answered {
                answered = true;
                let next = self
                    .answer(
                        &host,
                        place,
                        &request.scopes,
                        response.headers(),
                        authorization.as_ref(),
                    )
                    .await?;
                if next.is_some() {
                    // An answer that was read to its end leaves a connection that can be used again.
                    drop(self.read_whole(response, MAX_REPORT).await);
                    authorization = next;
                    continue;
                }
            }
            return self
                .expect(place, request, response, authorization.as_ref())
                .await;
        }
    }

    /// Sends a request whose body can be read only once. There is no second try here, for any reason.
    pub(crate) async fn send_stream(
        &self,
        place: &Place,
        request: &Request,
        body: reqwest::Body,
    ) -> Result<Response, Error> {
        let host = self.host(place);
        let base = self.base(&host).await?;
        let url = request.target.below(&base, place)?;
        let mut authorization = None;
        let mut headers = request.headers.clone();
        if is_same_origin(&url, &base) {
            authorization = self.authorization(&host, place, &request.scopes, None).await?;
            headers.extend(
                authorization
                    .iter()
                    .map(|known| (header::AUTHORIZATION, known.header.clone())),
            );
        }
        let response = self
            .client_for(&url, &host)
            .request(request.method.clone(), url.clone())
            .headers(headers)
            .body(body)
            .send()
            .await
            .map_err(|error| unreachable(&request.method, &url, error))?;
        self.expect(place, request, response, authorization.as_ref())
            .await
    }

    /// Reads from an address that has nothing to do with a registry: no credentials, TLS only.
    pub(crate) async fn fetch(&self, url: &Url, headers: HeaderMap) -> Result<Response, Error> {
        let host = Place::foreign(url);
        let allowed = url.scheme() == "https" || is_loopback(&host.host);
        if !allowed || !url.username().is_empty() {
            return Err(Error::Unsafe {
                registry: shown(url),
                reason: "a layer's other address has to have TLS and no user in it".to_owned(),
            });
        }
        let host = self.host(&host);
        let request = Request {
            headers,
            ..Request::new(
                Method::GET,
                Target::Url(url.clone()),
                Scopes::default(),
                &[200, 206],
            )
        };
        let attempt = || async {
            let response = self.follow(&host, &request, url.clone(), None).await?;
            if request.expect.contains(&response.status().as_u16()) {
                return Ok(response);
            }
            Err(self.refusal(&request.method, response, &[]).await)
        };
        self.retrying(attempt).await
    }

    /// Follows where a request leads, as long as it can be sent again.
    async fn follow(
        &self,
        host: &Host,
        request: &Request,
        mut url: Url,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, Error> {
        let start = url.clone();
        let method = &request.method;
        for _ in 0..=MAX_REDIRECTS {
            let mut headers = request.headers.clone();
            if let Some(authorization) = authorization
                && is_same_origin(&url, &start)
            {
                headers.insert(header::AUTHORIZATION, authorization.clone());
            }
            let reads = matches!(*method, Method::GET | Method::HEAD);
            if request.body.is_empty() && !reads {
                headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
            }
            let client = self.client_for(&url, host);
            let response = self
                .exchange(
                    client,
                    method.clone(),
                    url.clone(),
                    headers,
                    request.body.clone(),
                    request.patience,
                )
                .await?;
            let leads_on = match response.status().as_u16() {
                301..=303 => reads,
                307 | 308 => true,
                _ => false,
            };
            if !leads_on {
                return Ok(response);
            }
            let next = location(&response)?;
            if next.scheme() != "https" && url.scheme() == "https" && !is_loopback(&place::host_of(&next)) {
                return Err(Error::Unsafe {
                    registry: host.name.clone(),
                    reason: format!("it redirects to {}, which has no TLS", shown(&next)),
                });
            }
            url = next;
        }
        Err(Error::Malformed {
            url: shown(&start),
            reason: format!("it redirects more than {MAX_REDIRECTS} times"),
        })
    }

    /// One request and the head of its answer. Redirects are not followed.
    async fn exchange(
        &self,
        client: &Client,
        method: Method,
        url: Url,
        headers: HeaderMap,
        body: Bytes,
        patience: Option<Duration>,
    ) -> Result<Response, Error> {
        let mut builder = client.request(method.clone(), url.clone()).headers(headers);
        if !body.is_empty() {
            builder = builder.body(body);
        }
        let patience = patience.unwrap_or(self.settings.timeouts.idle);
        tracing::debug!(%method, url = shown(&url), "request");
        match tokio::time::timeout(patience, builder.send()).await {
            Ok(Ok(response)) => {
                tracing::debug!(%method, url = shown(&url), status = response.status().as_u16(), "answer");
                Ok(response)
            }
            Ok(Err(error)) => Err(unreachable(&method, &url, error)),
            Err(_) => Err(Error::TimedOut {
                method: method.to_string(),
                url: shown(&url),
                waiting_for: "no answer",
                after: patience,
            }),
        }
    }

    /// Turns an answer that was not hoped for into an error.
    async fn expect(
        &self,
        place: &Place,
        request: &Request,
        response: Response,
        authorization: Option<&Authorization>,
    ) -> Result<Response, Error> {
        if request.expect.contains(&response.status().as_u16()) {
            return Ok(response);
        }
        let found = self.credentials(place).await?;
        let known = found.credential.as_ref().map(Credential::secret);
        let sent = authorization.map(|authorization| &authorization.secret);
        let secrets: Vec<&Secret> = known.into_iter().chain(sent).collect();
        let error = self.refusal(&request.method, response, &secrets).await;
        Err(self.explain(error, place).await)
    }

    /// Reads what an answer says about itself.
    async fn refusal(&self, method: &Method, response: Response, secrets: &[&Secret]) -> Error {
        let (url, status) = (shown(response.url()), response.status().as_u16());
        let retry_after = retry_after(response.headers(), self.settings.clock.now());
        // An answer that cannot be read is an answer still.
        let body = self.read_start(response, MAX_REPORT).await;
        Error::Status(Box::new(Answer {
            method: method.to_string(),
            url,
            status,
            reports: read_reports(&body, secrets),
            retry_after,
            note: None,
        }))
    }

    /// Adds to a refusal as whom we asked.
    async fn explain(&self, error: Error, place: &Place) -> Error {
        match error {
            Error::Status(mut answer) if matches!(answer.status, 401 | 403) => {
                if let Ok(found) = self.credentials(place).await {
                    answer.note = Some(describe(&found, place));
                }
                Error::Status(answer)
            }
            other => other,
        }
    }

    /// Tries until it works, until it cannot work, or until patience ends.
    pub(crate) async fn retrying<T, F>(&self, mut attempt: impl FnMut() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut tries = 1;
        loop {
            match attempt().await {
                Ok(value) => return Ok(value),
                Err(error) => match self.pause(&error, tries) {
                    Some(pause) => {
                        tracing::debug!(%error, ?pause, tries, "trying again");
                        self.settings.clock.sleep(pause).await;
                        tries += 1;
                    }
                    None => return Err(error),
                },
            }
        }
    }

    /// How long to wait after the given number of tries, if there is to be another.
    pub(crate) fn pause(&self, error: &Error, tries: u32) -> Option<Duration> {
        let retry = &self.settings.retry;
        if tries >= retry.attempts {
            return None;
        }
        let doubled = retry
            .first
            .saturating_mul(1_u32.checked_shl(tries - 1).unwrap_or(u32::MAX));
        let own = doubled
            .min(retry.longest)
            .mul_f64(0.5 + self.settings.clock.jitter() / 2.0);
        match error.again() {
            Again::Soon => Some(own),
            Again::After(asked) if asked <= retry.patience => Some(asked.max(own)),
            Again::After(_) | Again::Never => None,
        }
    }

    /// What is sent along with a request, as far as is known before it: nothing, until the registry has asked.
    async fn authorization(
        &self,
        host: &Host,
        place: &Place,
        scopes: &Scopes,
        stale: Option<u64>,
    ) -> Result<Option<Authorization>, Error> {
        let Some(challenge) = lock(&host.challenge).clone() else {
            return Ok(None);
        };
        match challenge {
            Challenge::Basic => {
                let found = self.credentials(place).await?;
                Ok(match &found.credential {
                    Some(Credential::Basic { username, password }) => Some(Authorization {
                        header: basic_header(username, password)?,
                        token: None,
                        secret: password.clone(),
                    }),
                    Some(Credential::RegistryToken(token)) => Some(Authorization {
                        header: bearer_header(token)?,
                        token: None,
                        secret: token.clone(),
                    }),
                    // An identity token is for token servers, and this registry has none.
                    Some(Credential::IdentityToken(_)) | None => None,
                })
            }
            Challenge::Bearer { realm, service, .. } => {
                let server = Server { realm, service };
                let aliases = lock(&host.aliases).get(&place.path).cloned().unwrap_or_default();
                let wanted = scopes.clone().and(aliases);
                let token = self.token(host, place, &server, &wanted, stale).await?;
                Ok(Some(Authorization {
                    header: bearer_header(&token.secret)?,
                    token: Some(token.number),
                    secret: token.secret,
                }))
            }
        }
    }

    /// Answers a challenge. Nothing when there is nothing else to say than what was said already.
    async fn answer(
        &self,
        host: &Host,
        place: &Place,
        scopes: &Scopes,
        headers: &HeaderMap,
        sent: Option<&Authorization>,
    ) -> Result<Option<Authorization>, Error> {
        let challenge = match Challenge::choose(headers) {
            Ok(challenge) => challenge,
            Err(reason) => {
                tracing::debug!(host = host.name, reason, "a challenge that cannot be met");
                return Ok(None);
            }
        };
        if let Challenge::Bearer {
            scope: Some(scope), ..
        } = &challenge
        {
            // A registry that knows its repositories by other names than ours says so here.
            let aliases = Scopes::parse(scope).beyond(scopes);
            lock(&host.aliases).insert(place.path.clone(), aliases);
        }
        *lock(&host.challenge) = Some(challenge);
        let stale = sent.and_then(|sent| sent.token);
        let next = self.authorization(host, place, scopes, stale).await?;
        let is_new = match (&next, sent) {
            (Some(next), Some(sent)) => next.header != sent.header,
            (next, _) => next.is_some(),
        };
        Ok(next.filter(|_| is_new))
    }

    /// The credentials for a place: looked up once, off the asynchronous threads, as helpers may be run.
    pub(crate) async fn credentials(&self, place: &Place) -> Result<Arc<Found>, Error> {
        let cell = Arc::clone(lock(&self.found).entry(place.clone()).or_default());
        let find = || async {
            let (keychain, place) = (self.settings.keychain.clone(), place.clone());
            let found = tokio::task::spawn_blocking(move || keychain.find(&place.host, &place.path)).await;
            found.map(Arc::new).map_err(|error| Error::Local {
                what: "the search for credentials was broken off",
                cause: Arc::new(io::Error::other(error)),
            })
        };
        cell.get_or_try_init(find).await.cloned()
    }

    fn host(&self, place: &Place) -> Arc<Host> {
        let trust = place.trust(&self.settings.trust);
        let mut hosts = lock(&self.hosts);
        let host = hosts.entry((place.host.clone(), trust)).or_insert_with(|| {
            Arc::new(Host {
                name: place.host.clone(),
                trust,
                base: OnceCell::new(),
                challenge: Mutex::default(),
                aliases: Mutex::default(),
                slots: Mutex::default(),
                numbers: AtomicU64::new(0),
            })
        });
        Arc::clone(host)
    }

    /// The address that all of a host's routes are below: `https://host/v2/`.
    async fn base(&self, host: &Host) -> Result<Url, Error> {
        let url = |scheme: &str| {
            Url::parse(&format!("{scheme}://{}/v2/", host.name)).map_err(|error| {
                Error::Unsupported(format!("{} cannot be part of an address: {error}", host.name))
            })
        };
        let find = || async {
            match host.trust {
                Trust::PlainHttp => url("http"),
                Trust::Verified | Trust::SkipVerify if !is_loopback(&host.name) => url("https"),
                _ => self.probe(host, url("https")?, url("http")?).await,
            }
        };
        host.base.get_or_try_init(find).await.cloned()
    }

    /// Finds out whether a host that may be spoken to without TLS has it after all.
    async fn probe(&self, host: &Host, secure: Url, plain: Url) -> Result<Url, Error> {
        let client = self.client_for(&secure, host);
        match tokio::time::timeout(PROBE, client.get(secure.clone()).send()).await {
            Ok(Ok(_)) => Ok(secure),
            // It has TLS, only not a certificate that we trust. To go on without TLS would hide that.
            Ok(Err(error)) if is_certificate_error(&error) => Ok(secure),
            // Nobody is there; the next try may find somebody, so nothing is learned.
            Ok(Err(error)) if is_refused(&error) => Err(unreachable(&Method::GET, &plain, error)),
            Ok(Err(_)) | Err(_) => Ok(plain),
        }
    }

    fn client_for(&self, url: &Url, host: &Host) -> &Client {
        let name = place::host_of(url);
        let trust = if name == host.name {
            host.trust
        } else {
            Place::foreign(url).trust(&self.settings.trust)
        };
        self.clients
            .get(&name, !matches!(trust, Trust::SkipVerify | Trust::Insecure))
    }

    /// Reads an answer whole; one that is larger than `limit` is an error.
    pub(crate) async fn read_whole(&self, mut response: Response, limit: usize) -> Result<Bytes, Error> {
        let url = response.url().clone();
        let mut bytes = Vec::new();
        while let Some(chunk) = self.next_chunk(&mut response).await? {
            if bytes.len() + chunk.len() > limit {
                return Err(Error::Malformed {
                    url: shown(&url),
                    reason: format!("it is larger than {limit} bytes"),
                });
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.into())
    }

    async fn read_start(&self, mut response: Response, limit: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < limit
            && let Ok(Some(chunk)) = self.next_chunk(&mut response).await
        {
            bytes.extend_from_slice(&chunk);
        }
        bytes.truncate(limit);
        bytes
    }

    /// The next bytes of an answer, if they come in time.
    pub(crate) async fn next_chunk(&self, response: &mut Response) -> Result<Option<Bytes>, Error> {
        let idle = self.settings.timeouts.idle;
        match tokio::time::timeout(idle, response.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(error)) => Err(unreachable(&Method::GET, response.url(), error)),
            Err(_) => Err(Error::TimedOut {
                method: Method::GET.to_string(),
                url: shown(response.url()),
                waiting_for: "nothing came",
                after: idle,
            }),
        }
    }
}

impl Host {
    fn slot(&self, place: &Place, scopes: &Scopes) -> SharedSlot {
        // Credentials may differ from repository to repository, and so do their tokens.
        let key = (place.path.clone(), scopes.clone());
        Arc::clone(lock(&self.slots).entry(key).or_default())
    }

    fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }
}

impl Place {
    /// The host of an address that belongs to no repository.
    fn foreign(url: &Url) -> Self {
        Self {
            host: place::host_of(url),
            path: String::new(),
        }
    }
}

/// The `Location` of an answer, which may be relative to the address that was asked.
///
/// A registry behind a proxy that ends TLS may not know that it has TLS and name its own address without. For the
/// same host that is taken for what it is: we go on with TLS.
pub(crate) fn location(response: &Response) -> Result<Url, Error> {
    let asked = response.url();
    let bad = |reason: &str| Error::Malformed {
        url: shown(asked),
        reason: reason.to_owned(),
    };
    let value = response
        .headers()
        .get(header::LOCATION)
        .ok_or_else(|| bad("its answer has no Location"))?;
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| bad("its Location is not text"))?;
    let mut url = asked
        .join(text)
        .map_err(|_| bad("its Location is not an address"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.username().is_empty() || url.password().is_some() {
        return Err(bad("its Location is not an address that can be followed"));
    }
    let same_host = url.host_str() == asked.host_str();
    let same_port = url.port().is_none() || url.port() == asked.port();
    if asked.scheme() == "https" && url.scheme() == "http" && same_host && same_port {
        let port = asked.port();
        if url.set_scheme("https").is_err() || url.set_port(port).is_err() {
            return Err(bad("its Location is not an address"));
        }
    }
    Ok(url)
}

/// `Retry-After`: seconds or a date (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = parse_date(text)?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// A date as HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT`. The two forms of before 1994 are not read.
fn parse_date(text: &str) -> Option<SystemTime> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (_, rest) = text.split_once(", ")?;
    let mut parts = rest.split([' ', ':']);
    let mut number = || parts.next()?.parse::<u64>().ok();
    let day = number()?;
    let month = parts.next()?;
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let mut number = || parts.next()?.parse::<u64>().ok();
    let (year, hour, minute, second) = (number()?, number()?, number()?, number()?);
    if !(1970..10_000).contains(&year) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60
    {
        return None;
    }
    // Days since 1970, with years that begin in March, so that the leap day is the last one.
    let (shifted, place) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = shifted * 365 + shifted / 4 - shifted / 100 + shifted / 400 + (place * 153 + 2) / 5 + day - 1;
    let days = days.checked_sub(719_468)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(
        ((days * 24 + hour) * 60 + minute) * 60 + second,
    ))
}

/// As whom we asked, and what that means for whoever reads it.
fn describe(found: &Found, place: &Place) -> String {
    let source = &found.source;
    let mut text = match &found.credential {
        None => format!(
            "no credentials for {} were found, so it was asked without",
            place.host
        ),
        Some(Credential::Basic { username, .. }) => format!("it was asked as user {username:?} of {source}"),
        Some(Credential::IdentityToken(_)) => format!("it was asked with the identity token of {source}"),
        Some(Credential::RegistryToken(_)) => format!("it was asked with the token of {source}"),
    };
    for note in &found.notes {
        text = format!("{text}; {note}");
    }
    text
}

/// The client's error, without the address it repeats and with its meaning.
fn unreachable(method: &Method, url: &Url, error: reqwest::Error) -> Error {
    let (reason, transient) = if is_certificate_error(&error) {
        (
            "its certificate is not trusted; name its authority, or list the registry as insecure",
            false,
        )
    } else if find_cause::<rustls::Error>(&error).is_some() {
        (
            "TLS cannot be agreed on; if the registry has none, list it as insecure",
            false,
        )
    } else if find_cause::<hickory_resolver::net::NetError>(&error)
        .is_some_and(hickory_resolver::net::NetError::is_no_records_found)
    {
        ("there is no such host", false)
    } else if is_refused(&error) {
        ("the connection was refused", false)
    } else if error.is_builder() {
        ("the request cannot be made", false)
    } else if error.is_timeout() {
        ("no connection was made in time", true)
    } else if error.is_connect() {
        ("no connection could be made", true)
    } else {
        ("the connection broke", true)
    };
    Error::Unreachable {
        method: method.to_string(),
        url: shown(url),
        reason,
        transient,
        cause: Arc::new(error.without_url()),
    }
}

fn is_certificate_error(error: &reqwest::Error) -> bool {
    find_cause::<rustls::Error>(error).is_some_and(|error| {
        matches!(
            error,
            rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented
        )
    })
}

fn is_refused(error: &reqwest::Error) -> bool {
    find_cause::<io::Error>(error).is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// A lock whose holder panicked holds what it held: every value behind our locks is whole at all times.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
