//! Moves blobs and manifests over HTTP.
//!
//! A [`Registry`] is made from [`Settings`], which are plain values: credentials in a [`Keychain`], what is
//! trusted how, mirrors, proxies, patience. It implements [`Source`](lifecycle_image::Source) and
//! [`Sink`](lifecycle_image::Sink) with a blocking face; inside it is asynchronous, on a small runtime of its
//! own that starts with the first request. Share one registry between threads: connections, tokens and what was
//! learned about each host are kept in it.
//!
//! From the wire up: `transport` sends one request and sees that it arrives, whatever it takes: the challenge,
//! the token, the redirect, the retry. Credentials go to the host they are for and to the token server that this
//! host names over a connection we trust, nowhere else. `pull` reads documents and pours blobs, resuming where a
//! connection was cut and asking mirrors first. `push` sends what a registry does not have, while it is still
//! being made. `referrers` and `tags` are the two lists that registries keep. [`Web`] is for addresses that belong to no
//! registry, with the same transport.
//!
//! Every failure is a [`TransferError`](lifecycle_image::TransferError) that says what was attempted; its cause is
//! an [`Error`] that says what the other side did. Neither ever holds a secret.

mod bridge;
mod clock;
mod credentials;
mod error;
mod exercise;
mod pull;
mod push;
mod referrers;
mod registry;
mod secret;
mod settings;
mod tags;
mod transport;
mod web;

pub use clock::{Clock, SystemClock};
pub use credentials::{Cloud, Credential, Keychain, KeychainError};
pub use error::{Answer, Error, Report};
pub use exercise::exercise;
pub use push::Attachment;
pub use registry::Registry;
pub use secret::Secret;
pub use settings::{
    HostTls, Identity, Mirrors, Pem, Proxies, Retry, Roots, Settings, Timeouts, Trust, TrustRule,
};
pub use transport::Pace;
pub use web::{Answered, Question, Received, Web, WebFile};
