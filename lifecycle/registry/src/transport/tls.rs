//! Which certificates are trusted, and the HTTP clients that trust them.
//!
//! Clients are built when the registry is made: before a root file system is entered, and so that a bad certificate
//! is found before work begins. Roots are always passed on explicitly; the client's own idea of a system's store
//! fails where there is none.

use std::collections::BTreeMap;

use reqwest::{Certificate, Client, NoProxy, Proxy, redirect};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::resolver::Resolver;
use crate::settings::{HostTls, Pem, Proxies, Settings};
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
    common: Pair,
    by_host: BTreeMap<String, Pair>,
}

#[derive(Debug)]
struct Pair {
    verified: Client,
    unverified: Client,
}

impl Clients {
    pub(crate) fn build(settings: &Settings) -> Result<Self, Error> {
        let roots = roots(settings)?;
        let resolver = Resolver::of_machine();
        let pair = |host: Option<&HostTls>| -> Result<Pair, Error> {
            let mut roots = roots.clone();
            for pem in host.map_or(&[][..], |host| &host.roots) {
                roots.extend(read_all(pem)?);
            }
            Ok(Pair {
                verified: client(settings, host, &resolver, Some(roots))?,
                unverified: client(settings, host, &resolver, None)?,
            })
        };
        let hosts = settings.hosts.iter();
        Ok(Self {
            common: pair(None)?,
            by_host: hosts
                .map(|(name, host)| Ok((name.clone(), pair(Some(host))?)))
                .collect::<Result<_, Error>>()?,
        })
    }

    /// The client for `host:port`.
    pub(crate) fn get(&self, host: &str, verified: bool) -> &Client {
        let name = || host.rsplit_once(':').map(|(name, _)| name);
        let pair = self
            .by_host
            .get(host)
            .or_else(|| self.by_host.get(name()?))
            .unwrap_or(&self.common);
        if verified {
            &pair.verified
        } else {
            &pair.unverified
        }
    }
}

fn client(
    settings: &Settings,
    host: Option<&HostTls>,
    resolver: &Resolver,
    roots: Option<Vec<Certificate>>,
) -> Result<Client, Error> {
    let mut builder = Client::builder()
        .user_agent(&settings.user_agent)
        .connect_timeout(settings.timeouts.connect)
        // We follow redirects ourselves: what may be sent along depends on where they lead.
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .dns_resolver(resolver.clone())
        // A connection for each transfer: none waits for another's window, and a cut hits one.
        .http1_only()
        .tcp_nodelay(true)
        .no_proxy();
    // Loopback is never behind a proxy, whatever the variables say.
    let direct = format!("{},localhost,127.0.0.0/8,::1", settings.proxies.no_proxy);
    let Proxies { http, https, .. } = &settings.proxies;
    let http = http.iter().map(|proxy| Proxy::http(proxy.reveal()));
    let https = https.iter().map(|proxy| Proxy::https(proxy.reveal()));
    for proxy in http.chain(https) {
        let proxy = proxy.map_err(|_| {
            Error::Settings("the proxy is not an address such as http://proxy.example:3128".to_owned())
        })?;
        builder = builder.proxy(proxy.no_proxy(NoProxy::from_string(&direct)));
    }
    builder = match roots {
        Some(roots) => builder.tls_certs_only(roots),
        None => builder.tls_danger_accept_invalid_certs(true),
    };
    if let Some(identity) = host.and_then(|host| host.identity.as_ref()) {
        let mut pem = identity.certificates.clone();
        pem.push(b'\n');
        pem.extend_from_slice(Secret::reveal(&identity.key).as_bytes());
        let made = reqwest::Identity::from_pem(&pem).map_err(|_| {
            Error::Settings(format!(
                "{} does not hold a certificate and its private key in PEM form",
                identity.origin
            ))
        })?;
        builder = builder.identity(made);
    }
    builder
        .build()
        .map_err(|error| Error::Settings(format!("cannot set up TLS: {}", innermost(&error))))
}

fn innermost(error: &reqwest::Error) -> String {
    let mut error: &dyn std::error::Error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// The common authorities: the store that was given, else the system's, else Mozilla's; and the extra ones.
fn roots(settings: &Settings) -> Result<Vec<Certificate>, Error> {
    let mut roots = Vec::new();
    for pem in &settings.roots.store {
        roots.extend(read_usable(&pem.text));
    }
    if !settings.roots.store.is_empty() && roots.is_empty() {
        let origins: Vec<&str> = settings
            .roots
            .store
            .iter()
            .map(|pem| pem.origin.as_str())
            .collect();
        return Err(Error::Settings(format!(
            "{} hold no certificate",
            origins.join(", ")
        )));
    }
    if roots.is_empty() {
        let system = SYSTEM_STORES.iter().find_map(|path| std::fs::read(path).ok());
        roots = system.map(|text| read_usable(&text)).unwrap_or_default();
    }
    if roots.is_empty() {
        let bundled = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
        roots = bundled
            .filter_map(|der| Certificate::from_der(der).ok())
            .collect();
    }
    for pem in &settings.roots.extra {
        roots.extend(read_all(pem)?);
    }
    Ok(roots)
}

/// The certificates of a store. One that cannot be used must not make the others useless.
fn read_usable(text: &[u8]) -> Vec<Certificate> {
    let mut scratch = RootCertStore::empty();
    CertificateDer::pem_slice_iter(text)
        .filter_map(Result::ok)
        .filter(|der| scratch.add(der.clone()).is_ok())
        .filter_map(|der| Certificate::from_der(&der).ok())
        .collect()
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
        Clients::build(&settings)
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
        build(|_| {}).unwrap();
    }
}
