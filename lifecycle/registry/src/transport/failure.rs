//! What it means when there is no answer.

use std::io;
use std::sync::Arc;

use http::Method;
use url::Url;

use super::shown;
use crate::Error;
use crate::error::find_cause;

/// The client's error, without the address it repeats and with its meaning.
pub(super) fn unreachable(method: &Method, url: &Url, error: reqwest::Error) -> Error {
    let (reason, transient) = if is_certificate_error(&error) {
        (
            "its certificate is not trusted; name its authority, or list the host as insecure",
            false,
        )
    } else if is_tls_peer(&error) {
        (
            "it broke off the TLS handshake; it may want to know us by a certificate",
            false,
        )
    } else if find_cause::<rustls::Error>(&error).is_some() {
        (
            "TLS cannot be agreed on; if the host has none, list it as insecure",
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
        refused: is_refused(&error),
        cause: Arc::new(error.without_url()),
    }
}

/// Whether the other end speaks TLS, although no connection came of it.
pub(super) fn is_tls_peer(error: &reqwest::Error) -> bool {
    find_cause::<rustls::Error>(error).is_some_and(|error| {
        !matches!(
            error,
            rustls::Error::InvalidMessage(_) | rustls::Error::General(_)
        )
    })
}

fn is_certificate_error(error: &reqwest::Error) -> bool {
    find_cause::<rustls::Error>(error).is_some_and(|error| {
        matches!(
            error,
            rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented
        )
    })
}

pub(super) fn is_refused(error: &reqwest::Error) -> bool {
    find_cause::<io::Error>(error).is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}
