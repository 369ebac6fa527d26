//! Which certificates are trusted, and the HTTP clients that trust them.
//!
//! What somebody named is read and checked when the registry is made: before a root file system is entered, and so that
//! a bad certificate is found before work begins. A client itself is made when it is first needed: a store of
//! authorities takes longer to parse than a build from the cache. Roots are always passed on explicitly; the client's
//! own idea of a system's store fails where there is none.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use reqwest::{Certificate, Client, Identity, NoProxy, Proxy, redirect};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::resolver::Resolver;
use crate::settings::{HostTls, Pem, Proxies, Settings, Timeouts};
use crate::{Error, Secret};

/// Where distributions keep their authorities, most common first.
const SYSTEM_STORES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Clients by what they trust. A host with settings of its own has its own, so that our certificate for it is shown
/// to nobody else.
#[derive(Debug)]
pub(crate) struct Clients {
    base: Base,
    common: Pair,
    by_host: BTreeMap<String, Pair>,
}

/// What all clients have in common.
struct Base {
    user_agent: String,
    timeouts: Timeouts,
    resolver: Resolver,
    proxies: Vec<Proxy>,
    /// The text of the store that was given, else of the system's.
    store: Vec<Vec<u8>>,
    extra: Vec<Certificate>,
}

/// What one host, or every other host, needs besides, and its clients once they were needed.
#[derive(Debug, Default)]
struct Pair {
    roots: Vec<Certificate>,
    identity: Option<Identity>,
    verified: OnceLock<Client>,
    unverified: OnceLock<Client>,
}

impl Clients {
    /// Who turns names into addresses for all of them.
    pub(super) fn resolver(&self) -> &Resolver {
        &self.base.resolver
    }

    pub(crate) fn new(settings: &Settings) -> Result<Self, Error> {
        let by_host = settings.hosts.iter();
        Ok(Self {
            base: Base::new(settings)?,
            common: Pair::default(),
            by_host: by_host
                .map(|(name, host)| Ok((name.clone(), Pair::new(host)?)))
                .collect::<Result<_, Error>>()?,
        })
    }

    /// A client that trusts everybody and shows nobody a certificate of ours.
    pub(crate) fn stranger(&self) -> Result<&Client, Error> {
        self.of(&self.common, false)
    }

    /// The client for `host:port`.
    pub(crate) fn get(&self, host: &str, verified: bool) -> Result<&Client, Error> {
        let name = || host.rsplit_once(':').map(|(name, _)| name);
        let pair = self
            .by_host
            .get(host)
            .or_else(|| self.by_host.get(name()?))
            .unwrap_or(&self.common);
        self.of(pair, verified)
    }

    fn of<'a>(&self, pair: &'a Pair, verified: bool) -> Result<&'a Client, Error> {
        let cell = if verified {
            &pair.verified
        } else {
            &pair.unverified
        };
        if let Some(client) = cell.get() {
            return Ok(client);
        }
        let client = self.base.client(pair, verified)?;
        Ok(cell.get_or_init(|| client))
    }
}

impl fmt::Debug for Base {
    /// Without the proxies, which may hold passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Base")
            .field("timeouts", &self.timeouts)
            .finish_non_exhaustive()
    }
}

impl Base {
    fn new(settings: &Settings) -> Result<Self, Error> {
        let extra = settings.roots.extra.iter().map(read_all);
        Ok(Self {
            user_agent: settings.user_agent.clone(),
            timeouts: settings.timeouts,
            resolver: Resolver::of_machine(),
            proxies: proxies(&settings.proxies)?,
            store: store(settings)?,
            extra: extra.collect::<Result<Vec<_>, Error>>()?.concat(),
        })
    }

    fn client(&self, pair: &Pair, verified: bool) -> Result<Client, Error> {
        let mut builder = Client::builder()
            .user_agent(&self.user_agent)
            .connect_timeout(self.timeouts.connect)
            // We follow redirects ourselves: what may be sent along depends on where they lead.
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .dns_resolver(self.resolver.clone())
            // A connection for each transfer: none waits for another's window, and a cut hits one.
            .http1_only()
            .tcp_nodelay(true)
            .no_proxy();
        for proxy in &self.proxies {
            builder = builder.proxy(proxy.clone());
        }
        builder = if verified {
            let own = self.extra.iter().chain(&pair.roots).cloned();
            builder.tls_certs_only(self.authorities().into_iter().chain(own))
        } else {
            builder.tls_danger_accept_invalid_certs(true)
        };
        if let Some(identity) = &pair.identity {
            builder = builder.identity(identity.clone());
        }
        builder
            .build()
            .map_err(|error| Error::Settings(format!("cannot set up TLS: {}", innermost(&error))))
    }

    /// The common authorities: the store that was given, else the system's, else Mozilla's.
    fn authorities(&self) -> Vec<Certificate> {
        let roots: Vec<Certificate> = self.store.iter().flat_map(|text| usable(text)).collect();
        if !roots.is_empty() {
            return roots;
        }
        let bundled = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
        bundled
            .filter_map(|der| Certificate::from_der(der).ok())
            .collect()
    }
}

impl Pair {
    fn new(host: &HostTls) -> Result<Self, Error> {
        let roots = host.roots.iter().map(read_all);
        let identity = host.identity.as_ref().map(|identity| {
            let mut pem = identity.certificates.clone();
            pem.push(b'\n');
            pem.extend_from_slice(Secret::reveal(&identity.key).as_bytes());
            Identity::from_pem(&pem).map_err(|_| {
                Error::Settings(format!(
                    "{} does not hold a certificate and its private key in PEM form",
                    identity.origin
                ))
            })
        });
        Ok(Self {
            roots: roots.collect::<Result<Vec<_>, Error>>()?.concat(),
            identity: identity.transpose()?,
            ..Self::default()
        })
    }
}

fn proxies(proxies: &Proxies) -> Result<Vec<Proxy>, Error> {
    // Loopback is never behind a proxy, whatever the variables say.
    let direct = format!("{},localhost,127.0.0.0/8,::1", proxies.no_proxy);
    let http = proxies.http.iter().map(|proxy| Proxy::http(proxy.reveal()));
    let https = proxies.https.iter().map(|proxy| Proxy::https(proxy.reveal()));
    http.chain(https)
        .map(|proxy| {
            let proxy = proxy.map_err(|_| {
                Error::Settings("the proxy is not an address such as http://proxy.example:3128".to_owned())
            })?;
            Ok(proxy.no_proxy(NoProxy::from_string(&direct)))
        })
        .collect()
}

fn innermost(error: &reqwest::Error) -> String {
    let mut error: &dyn std::error::Error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// The text of the store that was given, which has to hold something, else of the system's.
fn store(settings: &Settings) -> Result<Vec<Vec<u8>>, Error> {
    let given = &settings.roots.store;
    if given.is_empty() {
        let system = SYSTEM_STORES.iter().find_map(|path| std::fs::read(path).ok());
        return Ok(system.into_iter().collect());
    }
    if given.iter().all(|pem| usable(&pem.text).next().is_none()) {
        let origins: Vec<&str> = given.iter().map(|pem| pem.origin.as_str()).collect();
        return Err(Error::Settings(format!(
            "{} hold no certificate",
            origins.join(", ")
        )));
    }
    Ok(given.iter().map(|pem| pem.text.clone()).collect())
}

/// The certificates of a store. One that cannot be used must not make the others useless.
fn usable(text: &[u8]) -> impl Iterator<Item = Certificate> {
    let mut scratch = RootCertStore::empty();
    CertificateDer::pem_slice_iter(text)
        .filter_map(Result::ok)
        .filter(move |der| scratch.add(der.clone()).is_ok())
        .filter_map(|der| Certificate::from_der(&der).ok())
}

/// The certificates that somebody named one by one: each has to be good.
fn read_all(pem: &Pem) -> Result<Vec<Certificate>, Error> {
    let bad = |reason: &str| Error::Settings(format!("{} {reason}", pem.origin));
    let mut scratch = RootCertStore::empty();
    let mut certificates = Vec::new();
    for der in CertificateDer::pem_slice_iter(&pem.text) {
        let der = der.map_err(|_| bad("is not in PEM form"))?;
        scratch
            .add(der.clone())
            .map_err(|_| bad("holds a certificate that is damaged"))?;
        certificates
            .push(Certificate::from_der(&der).map_err(|_| bad("holds a certificate that is damaged"))?);
    }
    if certificates.is_empty() {
        return Err(bad("holds no certificate in PEM form"));
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Identity;

    fn pem(text: &str) -> Pem {
        Pem {
            origin: "ca.pem".into(),
            text: text.into(),
        }
    }

    fn build(change: impl FnOnce(&mut Settings)) -> Result<Clients, Error> {
        let mut settings = Settings::default();
        change(&mut settings);
        Clients::new(&settings)
    }

    #[test]
    fn bad_certificates_are_found_at_once_and_named() {
        let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for text in ["", "hello", damaged] {
            let error = build(|settings| settings.roots.extra.push(pem(text))).unwrap_err();
            assert!(error.to_string().contains("ca.pem"), "{error}");
        }
        let error = build(|settings| settings.roots.store.push(pem(damaged))).unwrap_err();
        assert!(error.to_string().contains("ca.pem"), "{error}");
        let identity = Identity {
            origin: "client.pem".into(),
            certificates: damaged.into(),
            key: Secret::new("hunter22"),
        };
        let host = HostTls {
            roots: Vec::new(),
            identity: Some(identity),
        };
        let error = build(|settings| drop(settings.hosts.insert("r.test".into(), host))).unwrap_err();
        assert!(error.to_string().contains("client.pem"), "{error}");
        let proxy = Some(Secret::new("::hunter22::"));
        let error = build(|settings| settings.proxies.https = proxy).unwrap_err();
        assert!(!error.to_string().contains("hunter22"), "{error}");
    }

    #[test]
    fn without_a_system_store_the_bundled_one_is_taken() {
        assert!(webpki_root_certs::TLS_SERVER_ROOT_CERTS.len() > 100);
        let clients = build(|_| {}).unwrap();
        for verified in [true, false] {
            clients.get("r.test", verified).unwrap();
        }
    }
}
