//! What was learned about a host: whether it has TLS, how it wants to be told who we are, and the tokens for it.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method};
use tokio::sync::OnceCell;
use url::Url;

use super::challenge::Challenge;
use super::failure::{is_refused, is_tls_peer, unreachable};
use super::token::{Server, SharedSlot, basic_header, bearer_header};
use super::{Place, Scopes, Transport, is_loopback, lock};
use crate::credentials::{Credential, Found};
use crate::settings::Trust;
use crate::{Error, Secret};

/// How long a host has to show whether it speaks TLS, when it need not.
const PROBE: Duration = Duration::from_secs(5);

/// What was learned about a host.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) name: String,
    pub(super) trust: Trust,
    base: OnceCell<Url>,
    challenge: Mutex<Option<Challenge>>,
    /// Resources that its challenges name for a repository besides the one we would have named.
    aliases: Mutex<BTreeMap<String, Scopes>>,
    slots: Mutex<BTreeMap<(String, Scopes), SharedSlot>>,
    numbers: AtomicU64,
}

/// What was sent along to prove who we are.
#[derive(Debug, Clone)]
pub(super) struct Authorization {
    pub(super) header: HeaderValue,
    /// The token's number, if it was a token from a server.
    token: Option<u64>,
    pub(super) secret: Secret,
}

impl Host {
    pub(super) fn slot(&self, place: &Place, scopes: &Scopes) -> SharedSlot {
        // Credentials may differ from repository to repository, and so do their tokens.
        let key = (place.path.clone(), scopes.clone());
        Arc::clone(lock(&self.slots).entry(key).or_default())
    }

    pub(super) fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }
}

impl Transport {
    pub(super) fn host(&self, place: &Place) -> Arc<Host> {
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
    pub(super) async fn base(&self, host: &Host) -> Result<Url, Error> {
        let url = |scheme: &str| {
            Url::parse(&format!("{scheme}://{}/v2/", host.name)).map_err(|error| {
                Error::Unsupported(format!("{} cannot be part of an address: {error}", host.name))
            })
        };
        let find = || async {
            match host.trust {
                Trust::PlainHttp => url("http"),
                Trust::Verified | Trust::SkipVerify if !is_loopback(&host.name) => url("https"),
                _ => self.probe(url("https")?, url("http")?).await,
            }
        };
        host.base.get_or_try_init(find).await.cloned()
    }

    /// Finds out whether a host that may be spoken to without TLS has it after all.
    async fn probe(&self, secure: Url, plain: Url) -> Result<Url, Error> {
        // Who is at the other end does not matter yet, only whether TLS is spoken there.
        let client = self.clients.stranger()?;
        match tokio::time::timeout(PROBE, client.get(secure.clone()).send()).await {
            Ok(Ok(_)) => Ok(secure),
            // It has TLS, but its certificate is not trusted or it wants one of ours, which may show as a mere reset of
            // a connection that stood already. To go on without TLS would hide that, and send in clear text what was
            // meant to be secret.
            Ok(Err(error)) if is_tls_peer(&error) || !error.is_connect() => Ok(secure),
            // Nobody is there; the next try may find somebody, so nothing is learned.
            Ok(Err(error)) if is_refused(&error) => Err(unreachable(&Method::GET, &plain, error)),
            Ok(Err(_)) | Err(_) => Ok(plain),
        }
    }

    /// What is sent along with a request, as far as is known before it: nothing, until the registry has asked.
    pub(super) async fn authorization(
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
    pub(super) async fn answer(
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
}
