//! Where a daemon listens.

use std::fmt;
use std::path::PathBuf;

/// Where a daemon listens, as `DOCKER_HOST` writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `unix:///path`
    Unix(PathBuf),
    /// `tcp://host:port`
    Tcp(String),
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
                Ok(Self::Tcp(host.trim_end_matches('/').to_owned()))
            }
            Some(("tcp" | "http", _)) => Err(refused("it has no port")),
            Some(_) => Err(refused(
                "it is neither unix:// nor tcp://; forward the socket by other means",
            )),
            None => Err(refused("it has no scheme, as unix:// or tcp://")),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(host) => write!(f, "tcp://{host}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Address;

    #[test]
    fn addresses_are_written_as_docker_does() {
        for text in ["unix:///var/run/docker.sock", "tcp://localhost:2375"] {
            assert_eq!(Address::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "docker.sock",
            "unix://run/x",
            "tcp://host",
            "ssh://me@host",
            "npipe:////./pipe/x",
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }
}
