//! TLS to a daemon that listens on a network, with the files that docker's client uses.

use std::fmt;
use std::io;
use std::net::TcpStream;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme, StreamOwned,
};

/// What is trusted, and who we are.
#[derive(Clone)]
pub struct Tls(Arc<ClientConfig>);

/// The files of a `DOCKER_CERT_PATH`, as they were read.
#[derive(Clone, Default)]
pub struct TlsFiles {
    /// `ca.pem`: who signs certificates of daemons. Nothing is verified without it.
    pub authority: Option<Vec<u8>>,
    /// `cert.pem` and `key.pem`: who we are, for daemons that want to know.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// A certificate or key cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{file} cannot be used: {reason}")]
pub struct TlsError {
    file: &'static str,
    reason: String,
}

impl Tls {
    /// Reads certificates and key.
    ///
    /// # Errors
    /// When one of them is no PEM, or the key does not fit the certificate.
    pub fn new(files: &TlsFiles) -> Result<Self, TlsError> {
        let broken = |file| {
            move |error: &dyn fmt::Display| TlsError {
                file,
                reason: error.to_string(),
            }
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let versions = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| broken("TLS")(&error))?;
        let verifier: Arc<dyn ServerCertVerifier> = match &files.authority {
            Some(pem) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates("ca.pem", pem)? {
                    roots.add(certificate).map_err(|error| broken("ca.pem")(&error))?;
                }
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
                    .build()
                    .map_err(|error| broken("ca.pem")(&error))?
            }
            None => Arc::new(Anybody(provider)),
        };
        let builder = versions.dangerous().with_custom_certificate_verifier(verifier);
        let config = match &files.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = certificates("cert.pem", certificate)?;
                let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| broken("key.pem")(&error))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| broken("key.pem")(&error))?
            }
        };
        Ok(Self(Arc::new(config)))
    }

    /// Speaks TLS on a connection to `host:port`. The handshake comes with the first request.
    pub(crate) fn begin(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let name =
            ServerName::try_from(name.trim_matches(['[', ']']).to_owned()).map_err(io::Error::other)?;
        let connection = ClientConnection::new(Arc::clone(&self.0), name).map_err(io::Error::other)?;
        Ok(StreamOwned::new(connection, stream))
    }
}

fn certificates(file: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let flaw = |reason: String| TlsError { file, reason };
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let read = read.map_err(|error| flaw(error.to_string()))?;
    if read.is_empty() {
        return Err(flaw("there is no certificate in it".to_owned()));
    }
    Ok(read)
}

/// The settings of one connection are the same only if they are the same object.
impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Tls {}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// Without the key.
impl fmt::Debug for TlsFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsFiles").finish_non_exhaustive()
    }
}

/// Takes any certificate: what docker does with `DOCKER_CERT_PATH` and without `DOCKER_TLS_VERIFY`.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
