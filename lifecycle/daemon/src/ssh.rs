//! A daemon on another machine, through `ssh` and the docker client that is there, as docker's own client does it.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command};

/// The other machine, of `ssh://[user@]host[:port][/socket]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ssh {
    /// The program; `ssh` unless a test has another one.
    pub program: PathBuf,
    /// Who we are there.
    pub user: Option<String>,
    /// Its name, as ssh knows it.
    pub host: String,
    /// The port of its ssh server.
    pub port: Option<u16>,
    /// The daemon's socket there, if it is not the usual one.
    pub socket: Option<String>,
}

impl Ssh {
    /// What follows `ssh://`; nothing if that names no machine.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (machine, socket) = match text.find('/') {
            Some(at) => (&text[..at], Some(&text[at..])),
            None => (text, None),
        };
        let (user, machine) = match machine.rsplit_once('@') {
            Some((user, machine)) => (Some(user), machine),
            None => (None, machine),
        };
        // A password in an address would be in the list of processes; ssh asks for one.
        if user.is_some_and(|user| user.is_empty() || user.contains(':')) {
            return None;
        }
        let (host, port) = match machine.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                (host, Some(port.parse().ok()?))
            }
            _ => (machine, None),
        };
        let host = host.trim_matches(['[', ']']);
        (!host.is_empty()).then(|| Self {
            program: PathBuf::from("ssh"),
            user: user.map(str::to_owned),
            host: host.to_owned(),
            port,
            socket: socket.filter(|socket| *socket != "/").map(str::to_owned),
        })
    }

    fn arguments(&self) -> Vec<String> {
        let mut words = ["-o", "ConnectTimeout=30", "-T"].map(str::to_owned).to_vec();
        if let Some(user) = &self.user {
            words.extend(["-l".to_owned(), user.clone()]);
        }
        if let Some(port) = self.port {
            words.extend(["-p".to_owned(), port.to_string()]);
        }
        // Whatever it is called, it is not an option.
        words.extend(["--", &self.host, "docker"].map(str::to_owned));
        if let Some(socket) = &self.socket {
            words.push(format!("--host=unix://{socket}"));
        }
        words.extend(["system", "dial-stdio"].map(str::to_owned));
        words
    }

    /// Starts the program; what it says on its own behalf is for the user to read.
    pub(crate) fn start(&self) -> io::Result<Tunnel> {
        let (ours, theirs) = UnixStream::pair()?;
        let output = theirs.try_clone()?;
        let child = Command::new(&self.program)
            .args(self.arguments())
            .stdin(OwnedFd::from(theirs))
            .stdout(OwnedFd::from(output))
            .spawn()
            .map_err(|cause| {
                let text = format!("{} cannot be run: {cause}", self.program.display());
                io::Error::new(cause.kind(), text)
            })?;
        Ok(Tunnel { stream: ours, child })
    }
}

impl fmt::Display for Ssh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ssh://")?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?;
        } else {
            f.write_str(&self.host)?;
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(self.socket.as_deref().unwrap_or_default())
    }
}

/// A connection through a program, which ends with it.
#[derive(Debug)]
pub(crate) struct Tunnel {
    pub(crate) stream: UnixStream,
    child: Child,
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
