//! Names to addresses, without the C library: a static glibc would load whatever modules an `nsswitch.conf` names.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use hickory_resolver::net::NetError;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioExecutor;
use kube::client::{Client, ClientBuilder, ConfigExt};
use kube::config::Config;
use tower::{BoxError, Service, ServiceBuilder};

/// A resolver, or why there is none: addresses need no resolver.
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

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, io::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolver = self.0.clone();
        Box::pin(async move {
            let addresses: Vec<IpAddr> = if name.as_str().eq_ignore_ascii_case("localhost") {
                vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]
            } else {
                let resolver = resolver.map_err(io::Error::other)?;
                let found = resolver
                    .lookup_ip(name.as_str())
                    .await
                    .map_err(io::Error::other)?;
                found.iter().collect()
            };
            let addresses: Vec<SocketAddr> = addresses
                .into_iter()
                .map(|address| SocketAddr::new(address, 0))
                .collect();
            Ok(addresses.into_iter())
        })
    }
}

/// The client library's own stack, on this resolver.
pub(crate) fn client(config: Config, resolver: Resolver) -> Result<Client, kube::Error> {
    let mut connector = HttpConnector::new_with_resolver(resolver);
    connector.enforce_http(false);
    connector.set_connect_timeout(config.connect_timeout);
    let https = config.rustls_https_connector_with_connector(connector)?;
    let namespace = config.default_namespace.clone();
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .layer(config.extra_headers_layer()?)
        .option_layer(config.auth_layer()?)
        .map_err(BoxError::from)
        .service(hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(https));
    Ok(ClientBuilder::new(service, namespace).build())
}
