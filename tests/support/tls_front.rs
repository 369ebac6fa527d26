//! TLS in front of a plain server, spoken by somebody else's implementation.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use super::certificates::make_certificates;

/// The program that speaks it, beside this file.
const PROGRAM: &str = include_str!("tls_front.py");

/// A port that takes TLS alone, for as long as the value lives.
#[derive(Debug)]
pub(crate) struct TlsFront {
    process: Child,
    address: String,
    directory: tempfile::TempDir,
}

impl TlsFront {
    /// One in front of the plain server at an address, with a certificate of an authority of its own.
    pub(crate) fn before(plain: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        make_certificates(directory.path());
        let (host, port) = plain.rsplit_once(':').unwrap();
        let mut command = Command::new("python3");
        command
            .args(["-c", PROGRAM])
            .args(["server.pem", "server.key"].map(|name| directory.path().join(name)))
            .args([host, port])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut process = command.spawn().expect("python3 is not installed");
        let mut line = String::new();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let address = format!("127.0.0.1:{}", line.trim());
        Self {
            process,
            address,
            directory,
        }
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The certificate of the authority, as a file.
    pub(crate) fn authority(&self) -> std::path::PathBuf {
        self.directory.path().join("ca.pem")
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
