//! How registries are spoken to, as plain values.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::{Clock, Keychain, Secret, SystemClock};

/// Everything a [`Registry`](crate::Registry) is made from. The command line fills it in; the default talks to
/// public registries without credentials.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who we are, by registry.
    pub keychain: Keychain,
    /// Registries whose certificate is not checked, or that are spoken to without TLS. Loopback needs no rule.
    pub trust: Vec<TrustRule>,
    /// The certificate authorities that are trusted.
    pub roots: Roots,
    /// What single hosts (`host` or `host:port`) need besides.
    pub hosts: BTreeMap<String, HostTls>,
    /// Proxies. Loopback is never reached through one.
    pub proxies: Proxies,
    /// Where to read from instead of the registry that a name says.
    pub mirrors: Vec<Mirrors>,
    /// How often and how patiently requests are tried again.
    pub retry: Retry,
    /// How long silence is borne.
    pub timeouts: Timeouts,
    /// Blobs that are sent at the same time.
    pub parallel: usize,
    /// Blobs larger than this many bytes are sent in pieces of this size. `None` sends each in one request, and
    /// falls back to pieces only when a registry answers that the request is too large.
    pub chunk: Option<u64>,
    /// Take a registry's answer that a tag cannot be changed for success.
    pub ignore_immutable_tags: bool,
    /// The `User-Agent` header.
    pub user_agent: String,
    /// Time and chance.
    pub clock: Arc<dyn Clock>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            keychain: Keychain::default(),
            trust: Vec::new(),
            roots: Roots::default(),
            hosts: BTreeMap::new(),
            proxies: Proxies::default(),
            mirrors: Vec::new(),
            retry: Retry::default(),
            timeouts: Timeouts::default(),
            parallel: 5,
            chunk: None,
            ignore_immutable_tags: false,
            user_agent: concat!("lifecycle/", env!("CARGO_PKG_VERSION")).to_owned(),
            clock: Arc::new(SystemClock),
        }
    }
}

/// How far a registry is trusted to be who it says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Trust {
    /// TLS with a certificate that is checked.
    #[default]
    Verified,
    /// TLS, whoever is at the other end.
    SkipVerify,
    /// TLS, whoever is at the other end; without TLS when it does not speak it (`CNB_INSECURE_REGISTRIES`, AUTH-05).
    Insecure,
    /// Without TLS.
    PlainHttp,
}

/// Which registries a [`Trust`] is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustRule {
    /// `host`, `host:port` or either with a path below it. A host without port stands for all its ports, and the
    /// empty text for every registry. The longest prefix that fits decides.
    pub prefix: String,
    /// What holds there.
    pub trust: Trust,
}

/// Certificates in PEM form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pem {
    /// Where they came from, for messages.
    pub origin: String,
    /// The text; anything between certificates is skipped.
    pub text: Vec<u8>,
}

/// The certificate authorities that are trusted.
#[derive(Debug, Clone, Default)]
pub struct Roots {
    /// Instead of the system's store: the contents of `SSL_CERT_FILE` and `SSL_CERT_DIR`. When empty, the system's
    /// store is read, and where there is none the bundled Mozilla set is taken.
    pub store: Vec<Pem>,
    /// In addition to either.
    pub extra: Vec<Pem>,
}

/// What one host needs besides the common settings.
#[derive(Debug, Clone, Default)]
pub struct HostTls {
    /// Authorities that are trusted for this host only.
    pub roots: Vec<Pem>,
    /// Our certificate for this host.
    pub identity: Option<Identity>,
}

/// A client certificate.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Where it came from, for messages.
    pub origin: String,
    /// The certificate and its chain, PEM.
    pub certificates: Vec<u8>,
    /// The private key, PEM.
    pub key: Secret,
}

/// Proxies, by the scheme of what is asked for.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    /// For requests without TLS. May carry `user:password@`.
    pub http: Option<Secret>,
    /// For requests with TLS. May carry `user:password@`.
    pub https: Option<Secret>,
    /// Comma-separated hosts, domains and networks that are reached directly.
    pub no_proxy: String,
}

/// Where to read from instead of the registry that a name says. Nothing is ever written to a mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirrors {
    /// What is mirrored: `host[:port]`, or `host[:port]/path` for a part of it. The longest that fits decides.
    pub of: String,
    /// `host[:port][/path]` in the order they are asked. The path takes the place of the mirrored prefix.
    pub at: Vec<String>,
    /// Whether the origin is asked when no mirror has it.
    pub fallback: bool,
}

/// How often and how patiently requests are tried again: after 408, 429, 5xx and broken connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Tries in all, the first included.
    pub attempts: u32,
    /// The pause before the second try; it doubles each time, and a random half is taken off.
    pub first: Duration,
    /// No pause of ours is longer.
    pub longest: Duration,
    /// Whether a refused connection is that of a registry which will be back.
    pub outlasts_refusals: bool,
    /// A registry may ask for a longer one (`Retry-After`), up to this; if it asks for more we give up at once.
    pub patience: Duration,
}

impl Retry {
    /// For work that nobody waits at, as in a pod: it outlasts a registry that is away for half a minute. A person would
    /// rather learn of a wrong port at once.
    pub fn patient() -> Self {
        Self {
            attempts: 9,
            outlasts_refusals: true,
            ..Self::default()
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 5,
            first: Duration::from_millis(500),
            longest: Duration::from_secs(15),
            outlasts_refusals: false,
            patience: Duration::from_mins(2),
        }
    }
}

/// How long silence is borne.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Until a connection stands, TLS included.
    pub connect: Duration,
    /// Until the next bytes come or can be sent.
    pub idle: Duration,
    /// Until a registry has stored a blob that it has received whole.
    pub commit: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            idle: Duration::from_mins(1),
            commit: Duration::from_mins(10),
        }
    }
}
