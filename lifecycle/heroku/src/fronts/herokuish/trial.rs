//! Asks a started app for its first page, as `herokuish test` does.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use crate::{HerokuError, Running};

/// The port that the app is started on.
pub(super) const PORT: u16 = 5678;
/// How long an app may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);
/// The most bytes of a page.
const LARGEST: u64 = 1 << 20;

/// The body of `GET /`, as soon as there is one.
pub(super) fn ask(running: &Running) -> Result<String, HerokuError> {
    let started = Instant::now();
    loop {
        if let Some(page) = page() {
            return Ok(page);
        }
        if !running.is_alive() || started.elapsed() > PATIENCE {
            return Err(HerokuError::NoAnswer { port: PORT });
        }
        std::thread::sleep(PAUSE);
    }
}

fn page() -> Option<String> {
    let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, PORT)).ok()?;
    connection.set_read_timeout(Some(ANSWER)).ok()?;
    connection
        .write_all(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
        .ok()?;
    let mut answer = Vec::new();
    connection.take(LARGEST).read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .or_else(|| answer.split_once("\n\n"))?;
    head.lines().next()?.contains(" 200").then(|| body.to_owned())
}
