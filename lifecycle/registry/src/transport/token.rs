//! Tokens: asked for once, kept until they expire.
//!
//! There is one slot for each repository and set of scopes. Whoever finds it empty fills it, everybody else waits
//! and takes what came. A refusal is kept as well, for a while: asking a token server that said no again with each
//! request locks accounts and fills its log.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, Method, header};
use serde::Deserialize;
use url::{Url, form_urlencoded};

use super::place::{host_of, is_loopback, is_same_origin, shown};
use super::scopes::Scopes;
use super::{Host, Place, Transport};
use crate::credentials::{Credential, Found};
use crate::{Error, Secret};

/// How long a token is good for when the server does not say (distribution's token specification).
const DEFAULT_LIFETIME: Duration = Duration::from_mins(1);
/// A token is not used in the last part of its life: it has to outlast the request.
const MARGIN: Duration = Duration::from_secs(10);
/// How long a refusal is remembered.
const GRUDGE: Duration = Duration::from_mins(1);
/// A token that is refused this soon was refused for what it does not allow, not because it was revoked.
const FRESH: Duration = Duration::from_secs(5);
/// Nobody's token is longer.
const MAX_ANSWER: usize = 1024 * 1024;
/// As long as any program runs.
const FOREVER: Duration = Duration::from_hours(24 * 365);
/// The name we give ourselves in OAuth2 requests.
const CLIENT_ID: &str = "lifecycle";

/// What is known about one token.
#[derive(Debug, Default)]
pub(super) enum Slot {
    /// Nothing yet.
    #[default]
    Empty,
    /// A token.
    Token(Token),
    /// The server refused.
    Refused { error: Error, until: SystemTime },
}

/// A token and what it has done so far.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) secret: Secret,
    /// Tells this token from the one that takes its place.
    pub(super) number: u64,
    fetched: SystemTime,
    expires: SystemTime,
}

/// Where a token comes from.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) realm: Url,
    pub(super) service: Option<String>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl Token {
    fn is_good(&self, now: SystemTime, stale: Option<u64>) -> bool {
        let was_refused = stale == Some(self.number) && now > self.fetched + FRESH;
        now < self.expires && !was_refused
    }
}

impl Transport {
    /// The token for `scopes`, from the slot or from the server. `stale` is the number of a token that was refused
    /// although it had not expired.
    pub(super) async fn token(
        &self,
        host: &Host,
        place: &Place,
        server: &Server,
        scopes: &Scopes,
        stale: Option<u64>,
    ) -> Result<Token, Error> {
        let slot = host.slot(place, scopes);
        let mut slot = slot.lock().await;
        let now = self.settings.clock.now();
        match &*slot {
            Slot::Token(token) if token.is_good(now, stale) => return Ok(token.clone()),
            Slot::Refused { error, until } if *until > now => return Err(error.clone()),
            _ => {}
        }
        let found = self.credentials(place).await?;
        let registry = place.host.clone();
        match self.fetch_token(host, server, scopes, &found).await {
            Ok((secret, lifetime)) => {
                let lifetime = lifetime.saturating_sub(MARGIN).max(lifetime / 2);
                let fetched = self.settings.clock.now();
                let token = Token {
                    secret,
                    number: host.next_number(),
                    fetched,
                    // A lifetime beyond what the clock can count is for ever.
                    expires: fetched.checked_add(lifetime).unwrap_or(fetched + FOREVER),
                };
                *slot = Slot::Token(token.clone());
                Ok(token)
            }
            Err(error @ Error::Unsafe { .. }) => Err(error),
            Err(cause) => {
                let error = Error::Token {
                    registry,
                    realm: shown(&server.realm),
                    cause: Box::new(self.explain(cause, place).await),
                };
                *slot = Slot::Refused {
                    error: error.clone(),
                    until: self.settings.clock.now() + GRUDGE,
                };
                Err(error)
            }
        }
    }

    async fn fetch_token(
        &self,
        host: &Host,
        server: &Server,
        scopes: &Scopes,
        found: &Found,
    ) -> Result<(Secret, Duration), Error> {
        self.check_realm(host, &server.realm).await?;
        let mut url = server.realm.clone();
        let mut headers = HeaderMap::new();
        let mut form = None;
        match &found.credential {
            Some(Credential::RegistryToken(token)) => return Ok((token.clone(), FOREVER)),
            Some(Credential::IdentityToken(token)) => {
                let mut fields = form_urlencoded::Serializer::new(String::new());
                fields.append_pair("grant_type", "refresh_token");
                fields.append_pair("client_id", CLIENT_ID);
                fields.append_pair("scope", &scopes.to_string());
                if let Some(service) = &server.service {
                    fields.append_pair("service", service);
                }
                fields.append_pair("refresh_token", token.reveal());
                form = Some(fields.finish());
                let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
                headers.insert(header::CONTENT_TYPE, kind);
            }
            basic => {
                let mut query = url.query_pairs_mut();
                if let Some(service) = &server.service {
                    query.append_pair("service", service);
                }
                for scope in scopes.texts() {
                    query.append_pair("scope", &scope);
                }
                drop(query);
                if let Some(Credential::Basic { username, password }) = basic {
                    headers.insert(header::AUTHORIZATION, basic_header(username, password)?);
                }
            }
        }
        let secret = found.credential.as_ref().map(Credential::secret);
        let secrets: Vec<&Secret> = secret.into_iter().collect();
        let method = if form.is_some() { Method::POST } else { Method::GET };
        let body = bytes::Bytes::from(form.unwrap_or_default());
        let attempt = || async {
            let client = self.client_for(&url, host)?;
            let response = self
                .exchange(
                    client,
                    method.clone(),
                    url.clone(),
                    headers.clone(),
                    body.clone(),
                    None,
                )
                .await?;
            let status = response.status();
            let address = shown(&url);
            if !status.is_success() {
                return Err(self.refusal(&method, response, &secrets).await);
            }
            let bytes = self.read_whole(response, MAX_ANSWER).await?;
            // What the parser would say could repeat a token.
            let answer: Answer = serde_json::from_slice(&bytes).map_err(|_| Error::Malformed {
                url: address.clone(),
                reason: "it is not the JSON of a token server".to_owned(),
            })?;
            let token = answer
                .token
                .or(answer.access_token)
                .filter(|token| !token.is_empty());
            let lifetime = answer.expires_in.map_or(DEFAULT_LIFETIME, Duration::from_secs);
            let token = token.ok_or(Error::Malformed {
                url: address,
                reason: "it holds no token".to_owned(),
            })?;
            Ok((Secret::new(token), lifetime.max(DEFAULT_LIFETIME)))
        };
        self.retrying(attempt).await
    }

    async fn check_realm(&self, host: &Host, realm: &Url) -> Result<(), Error> {
        let base = self.base(host).await?;
        let is_listed = self.may_lack_tls(realm);
        match objection(&base, realm, is_listed) {
            None => Ok(()),
            Some(reason) => Err(Error::Unsafe {
                registry: host.name.clone(),
                reason,
            }),
        }
    }
}

/// Why a token server is not one that we talk to, if there is a reason.
///
/// A registry names its token server itself. Over TLS it may name any server that has TLS as well. Without TLS
/// somebody in between may have named it, but then they could as well have asked for the password themselves. What
/// is refused is a server without TLS, where everybody on the way reads along: unless it is the registry, which the
/// user has allowed to have none, or it is listed as well, or all of it happens on this machine.
///
/// Redirects of token servers are never followed (see [`Transport::exchange`]).
fn objection(base: &Url, realm: &Url, is_listed: bool) -> Option<String> {
    let name = host_of(realm);
    if !realm.username().is_empty() || realm.password().is_some() {
        return Some("its token server's address has a user in it".to_owned());
    }
    let is_local = is_loopback(&host_of(base)) && is_loopback(&name);
    match realm.scheme() {
        "https" => None,
        "http" if is_listed || is_same_origin(base, realm) || (base.scheme() == "http" && is_local) => None,
        "http" => Some(format!(
            "its token server {name} has no TLS and is not listed as insecure"
        )),
        other => Some(format!("its token server has an address of the kind {other:?}")),
    }
}

/// The header of HTTP's basic authentication.
pub(super) fn basic_header(username: &str, password: &Secret) -> Result<HeaderValue, Error> {
    let encoded = STANDARD.encode(format!("{username}:{}", password.reveal()));
    sensitive(format!("Basic {encoded}"))
}

/// The header that carries a token.
pub(super) fn bearer_header(token: &Secret) -> Result<HeaderValue, Error> {
    sensitive(format!("Bearer {}", token.reveal()))
}

fn sensitive(text: String) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::try_from(text).map_err(|_| {
        Error::Settings("a token or password has characters that no header may hold".to_owned())
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// A slot, shared by everybody who waits for it.
pub(super) type SharedSlot = Arc<tokio::sync::Mutex<Slot>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_servers_without_tls_are_refused_o_1004() {
        for (base, realm, is_listed, is_good) in [
            ("https://r.test/v2/", "https://auth.test/token", false, true),
            ("https://r.test/v2/", "http://auth.test/token", false, false),
            ("https://r.test/v2/", "http://r.test/token", false, false),
            ("https://r.test/v2/", "http://localhost/token", false, false),
            ("https://r.test/v2/", "http://auth.test/token", true, true),
            ("http://r.test/v2/", "http://r.test/token", false, true),
            ("http://r.test/v2/", "http://r.test:8080/token", false, false),
            ("http://r.test/v2/", "http://localhost/token", false, false),
            ("http://r.test/v2/", "https://auth.test/token", false, true),
            (
                "http://127.0.0.1:5000/v2/",
                "http://localhost:5001/token",
                false,
                true,
            ),
            (
                "http://127.0.0.1:5000/v2/",
                "http://localhost.evil.test/token",
                false,
                false,
            ),
            (
                "https://127.0.0.1:5000/v2/",
                "http://127.0.0.1:5000/token",
                false,
                false,
            ),
            (
                "https://r.test/v2/",
                "https://me:pw@auth.test/token",
                false,
                false,
            ),
            ("https://r.test/v2/", "ftp://auth.test/token", true, false),
        ] {
            let objection = objection(&base.parse().unwrap(), &realm.parse().unwrap(), is_listed);
            assert_eq!(objection.is_none(), is_good, "{base} {realm}: {objection:?}");
        }
    }
}
