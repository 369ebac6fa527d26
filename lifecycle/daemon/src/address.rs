//! Where a daemon listens.

use std::fmt;
use std::path::PathBuf;

use crate::{Ssh, Tls};

/// Where a daemon listens, as `DOCKER_HOST` writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `unix:///path`
    Unix(PathBuf),
    /// `tcp://host:port`, plain or with TLS.
    Tcp(String, Option<Tls>),
    /// `ssh://user@host`
    Ssh(Ssh),
}

/// An address that no daemon can be reached at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no address of a daemon that can be reached: {reason}")]
pub struct AddressError {
    text: String,
    reason: &'static str,
}

impl Address {
    /// Where daemons listen if nobody says otherwise.
    pub fn usual() -> Self {
        Self::Unix(PathBuf::from("/var/run/docker.sock"))
    }

    /// Reads an address.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let refused = |reason| AddressError {
            text: text.to_owned(),
            reason,
        };
        match text.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::Unix(PathBuf::from(path))),
            Some(("unix", _)) => Err(refused("the path of the socket is not absolute")),
            Some(("tcp" | "http", host)) if host.contains(':') => {
                Ok(Self::Tcp(host.trim_end_matches('/').to_owned(), None))
            }
            Some(("tcp" | "http", _)) => Err(refused("it has no port")),
            Some(("ssh", machine)) => Ssh::parse(machine).map(Self::Ssh).ok_or_else(|| {
                refused("write ssh://[USER@]HOST[:PORT][/SOCKET]; ssh asks for passwords, or has keys")
            }),
            Some(_) => Err(refused("it is none of unix://, tcp:// and ssh://")),
            None => Err(refused("it has no scheme, as unix:// or tcp://")),
        }
    }

    /// The same address with TLS, if it is one on a network. Sockets of this machine and ssh need none.
    #[must_use]
    pub fn with_tls(self, tls: Tls) -> Self {
        match self {
            Self::Tcp(host, _) => Self::Tcp(host, Some(tls)),
            other => other,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(host, _) => write!(f, "tcp://{host}"),
            Self::Ssh(ssh) => write!(f, "{ssh}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Address;

    #[test]
    fn addresses_are_written_as_docker_does() {
        for text in [
            "unix:///var/run/docker.sock",
            "tcp://localhost:2375",
            "ssh://host",
            "ssh://me@host:2222",
            "ssh://me@[::1]:22/run/podman.sock",
        ] {
            assert_eq!(Address::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "docker.sock",
            "unix://run/x",
            "tcp://host",
            "ssh://",
            "ssh://me@",
            "ssh://me:secret@host",
            "ssh://host:port",
            "npipe:////./pipe/x",
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }
}
