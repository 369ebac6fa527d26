//! One request, and everything that keeps it from arriving: the challenge, the token, the redirect, the retry.
//!
//! What goes where:
//!
//! - Credentials and tokens go to the registry they are for: same scheme, host and port. A redirect or an upload
//!   location that leads elsewhere (a storage service, with its own signature in the address) gets neither, and no
//!   client certificate.
//! - Without TLS we speak to loopback, and to what is listed as insecure. TLS is tried first in both cases.
//! - Nobody leads us on to a link-local address, where clouds have their metadata services, however that is written.
//! - A token server gets credentials under the rules of `token`.
//!
//! What is tried again: 408, 429, 5xx and broken connections, after a pause that doubles, or that the registry asks
//! for. Requests with a streamed body cannot be tried again here; `push` begins those anew.

mod answer;
mod challenge;
mod failure;
mod host;
mod pace;
mod place;
mod request;
mod resolver;
mod scopes;
mod tls;
mod token;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use reqwest::dns::{Name, Resolve as _};
use reqwest::{Client, Response};
use tokio::sync::OnceCell;
use url::Url;

use self::answer::MAX_REPORT;
pub(crate) use self::answer::{location, parse_date, retry_after};
pub(crate) use self::challenge::Challenge;
use self::failure::unreachable;
use self::host::Host;
use self::pace::LEAST;
pub use self::pace::Pace;
pub(crate) use self::place::{Place, is_loopback, is_same_origin, shown};
pub(crate) use self::request::{Request, Target};
pub(crate) use self::scopes::Scopes;
use self::tls::Clients;
use crate::credentials::Found;
use crate::error::Again;
use crate::settings::{Settings, Trust};
use crate::{Error, Secret};

/// Redirects that are followed one after another.
const MAX_REDIRECTS: usize = 8;

/// Sends requests and sees that they arrive.
#[derive(Debug)]
pub(crate) struct Transport {
    pub(crate) settings: Settings,
    clients: Clients,
    hosts: Mutex<BTreeMap<(String, Trust), Arc<Host>>>,
    found: Mutex<BTreeMap<Place, Arc<OnceCell<Arc<Found>>>>>,
}

impl Transport {
    pub(crate) fn new(settings: Settings) -> Result<Self, Error> {
        Ok(Self {
            clients: Clients::new(&settings)?,
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
            .client_for(&url, &host)?
            .request(request.method.clone(), url.clone())
            .headers(headers)
            .body(body)
            .send()
            .await
            .map_err(|error| unreachable(&request.method, &url, error))?;
        self.expect(place, request, response, authorization.as_ref())
            .await
    }

    /// Reads from an address that has nothing to do with a registry: no credentials, TLS only. An image must not
    /// lead us to this machine's own services either, unless it came from this machine.
    pub(crate) async fn fetch(
        &self,
        url: &Url,
        headers: HeaderMap,
        is_local: bool,
    ) -> Result<Response, Error> {
        let host = Place::foreign(url);
        let is_safe = (url.scheme() == "https" && !is_loopback(&host.host))
            || self.may_lack_tls(url)
            || (is_local && is_loopback(&host.host));
        if !is_safe || !url.username().is_empty() || url.password().is_some() {
            return Err(Error::Unsafe {
                registry: shown(url),
                reason:
                    "a layer's other address has to have TLS, no user in it, and to be on another machine"
                        .to_owned(),
            });
        }
        let request = Request {
            headers,
            ..Request::new(
                Method::GET,
                Target::Url(url.clone()),
                Scopes::default(),
                &[200, 206],
            )
        };
        let attempt = || self.ask_foreign(url, &request, None, &[]);
        self.retrying(attempt).await
    }

    /// Asks an address that belongs to no registry, once. `authorization` goes to that origin alone, and `secrets` do not
    /// show up in errors.
    pub(crate) async fn ask_foreign(
        &self,
        url: &Url,
        request: &Request,
        authorization: Option<&HeaderValue>,
        secrets: &[&Secret],
    ) -> Result<Response, Error> {
        let host = self.host(&Place::foreign(url));
        let response = self.follow(&host, request, url.clone(), authorization).await?;
        if request.expect.contains(&response.status().as_u16()) {
            return Ok(response);
        }
        Err(self.refusal(&request.method, response, secrets).await)
    }

    /// Sends `body` to an address that belongs to no registry, once and not elsewhere if it leads on.
    pub(crate) async fn send_foreign(
        &self,
        url: &Url,
        request: &Request,
        body: reqwest::Body,
        secrets: &[&Secret],
    ) -> Result<Response, Error> {
        let client = self.foreign_client(url)?;
        let send = client
            .request(request.method.clone(), url.clone())
            .headers(request.headers.clone())
            .body(body)
            .send();
        let patience = request.patience.unwrap_or(self.settings.timeouts.commit);
        let answer = tokio::time::timeout(patience, send).await;
        let response = answer
            .map_err(|_| Error::TimedOut {
                method: request.method.to_string(),
                url: shown(url),
                waiting_for: "not all was taken",
                after: patience,
            })?
            .map_err(|error| unreachable(&request.method, url, error))?;
        if request.expect.contains(&response.status().as_u16()) {
            return Ok(response);
        }
        Err(self.refusal(&request.method, response, secrets).await)
    }

    /// The client for an address that belongs to no registry.
    pub(crate) fn foreign_client(&self, url: &Url) -> Result<&Client, Error> {
        self.client_for(url, &self.host(&Place::foreign(url)))
    }

    /// The addresses that a name stands for.
    pub(crate) async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, Error> {
        let literal = host.trim_matches(['[', ']']);
        if let Ok(address) = literal.parse() {
            return Ok(vec![address]);
        }
        let unknown = |cause: String| Error::Settings(format!("{host} stands for no address: {cause}"));
        let name = host.parse::<Name>().map_err(|error| unknown(error.to_string()))?;
        let found = self.clients.resolver().resolve(name).await;
        let found = found.map_err(|error| unknown(error.to_string()))?;
        Ok(found.map(|address| address.ip()).collect())
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
            let client = self.client_for(&url, host)?;
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
            if next.scheme() != "https" && url.scheme() == "https" {
                return Err(Error::Unsafe {
                    registry: host.name.clone(),
                    reason: format!("it redirects to {}, which has no TLS", shown(&next)),
                });
            }
            if !is_same_origin(&next, &start) && self.clients.resolver().is_link_local(&next).await {
                return Err(Error::Unsafe {
                    registry: host.name.clone(),
                    reason: format!(
                        "it redirects to {}, where clouds tell a machine its secrets",
                        shown(&next)
                    ),
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
            Again::IfPatient => retry.outlasts_refusals.then_some(own),
            Again::After(asked) if asked <= retry.patience => Some(asked.max(own)),
            Again::After(_) | Again::Never => None,
        }
    }

    /// Whether so much came that what breaks now is another failure, and not the same one again. Who breaks off after
    /// every byte has only so many tries.
    pub(crate) fn is_progress(before: u64, now: u64) -> bool {
        now >= before + LEAST as u64
    }

    /// Whether an address without TLS is one that the settings allow.
    fn may_lack_tls(&self, url: &Url) -> bool {
        let trust = Place::foreign(url).trust(&self.settings.trust);
        url.scheme() == "http" && matches!(trust, Trust::Insecure | Trust::PlainHttp)
    }

    fn client_for(&self, url: &Url, host: &Host) -> Result<&Client, Error> {
        let name = place::host_of(url);
        let trust = if name == host.name {
            host.trust
        } else {
            Place::foreign(url).trust(&self.settings.trust)
        };
        // Without TLS there is nothing to verify, and no authorities have to be parsed.
        let verified = url.scheme() == "https" && !matches!(trust, Trust::SkipVerify | Trust::Insecure);
        self.clients.get(&name, verified)
    }
}

/// A lock whose holder panicked holds what it held: every value behind our locks is whole at all times.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
