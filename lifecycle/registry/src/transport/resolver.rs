//! Names to addresses, without the C library.
//!
//! A static glibc loads whatever modules an `nsswitch.conf` names, from whatever root we have entered by then. So
//! names are resolved by hickory, from `/etc/resolv.conf` and `/etc/hosts` as they were when the registry was made.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use hickory_resolver::net::NetError;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// A resolver, or why there is none: addresses and loopback need no resolver.
#[derive(Clone)]
pub(crate) struct Resolver(Result<TokioResolver, Arc<NetError>>);

impl Resolver {
    /// Reads the machine's configuration now.
    pub(crate) fn of_machine() -> Self {
        let build = || {
            let mut builder = TokioResolver::builder_tokio()?;
            builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
            builder.build()
        };
        Self(build().map_err(Arc::new))
    }
}

impl Resolver {
    /// Whether an address, or what its name stands for, is one of the link-local ones, which reach this machine's network
    /// and nothing further. A name that stands for nothing is none.
    pub(super) async fn is_link_local(&self, url: &Url) -> bool {
        match (url.host(), &self.0) {
            (Some(Host::Ipv4(address)), _) => is_link_local(address.into()),
            (Some(Host::Ipv6(address)), _) => is_link_local(address.into()),
            (Some(Host::Domain(name)), Ok(resolver)) => match resolver.lookup_ip(name).await {
                Ok(found) => found.iter().any(is_link_local),
                Err(_) => false,
            },
            _ => false,
        }
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.0.clone();
        Box::pin(async move {
            if is_localhost(name.as_str()) {
                let both = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
                return Ok(addresses(both.to_vec()));
            }
            let resolver = resolver.map_err(|cause| {
                let text = format!("no name can be resolved, as /etc/resolv.conf cannot be used: {cause}");
                io::Error::new(io::ErrorKind::NotFound, text)
            })?;
            let found = resolver.lookup_ip(name.as_str()).await?;
            Ok(addresses(found.iter().collect()))
        })
    }
}

fn addresses(found: Vec<IpAddr>) -> Addrs {
    Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0)))
}

/// `localhost` and what is below it never leave the machine (RFC 6761, section 6.3).
pub(crate) fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name.eq_ignore_ascii_case("localhost")
        || name
            .rsplit_once('.')
            .is_some_and(|(_, last)| last.eq_ignore_ascii_case("localhost"))
}
