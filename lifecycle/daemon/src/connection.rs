//! Requests to a daemon, one after the other, on a connection that is kept.
//!
//! As much of HTTP/1.1 as daemons speak: heads are read by `httparse`, bodies come with a length, in chunks, or until
//! the end of the connection.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use rustls::{ClientConnection, StreamOwned};

use crate::address::Address;
use crate::ssh::Tunnel;

/// The longest head of an answer.
const LONGEST_HEAD: usize = 64 << 10;
/// The most headers of an answer.
const MOST_HEADERS: usize = 64;
/// The bytes of one chunk that is sent.
const CHUNK: usize = 256 << 10;

/// A connection, which is made again when the daemon has closed it between two requests.
#[derive(Debug)]
pub(crate) struct Connection {
    address: Address,
    stream: Option<BufReader<Stream>>,
    /// Whether there was an answer yet. Who has never answered is not asked again.
    answered: bool,
}

/// A body to send: written as it is asked for.
pub(crate) type Body<'a> = &'a mut dyn FnMut(&mut dyn Write) -> io::Result<()>;

/// How a request was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The version of its interface that the daemon names.
    pub(crate) api_version: Option<String>,
}

#[derive(Debug)]
enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    Tunnel(Tunnel),
}

impl Connection {
    pub(crate) fn open(address: Address) -> io::Result<Self> {
        let stream = Some(BufReader::new(Stream::open(&address)?));
        Ok(Self {
            address,
            stream,
            answered: false,
        })
    }

    /// Sends a request without a body, and writes the answer's body to `out`.
    pub(crate) fn get(&mut self, path: &str, out: &mut dyn Write) -> io::Result<Answer> {
        // A daemon may close the connection at the very moment.
        match self.exchange("GET", path, None, out) {
            Err(error) if self.answered && is_closed(&error) => {
                self.stream = None;
                self.exchange("GET", path, None, out)
            }
            other => other,
        }
    }

    /// Sends a request with a body, and writes the answer's body to `out`.
    pub(crate) fn post(&mut self, path: &str, body: Body<'_>, out: &mut dyn Write) -> io::Result<Answer> {
        self.exchange("POST", path, Some(body), out)
    }

    fn exchange(
        &mut self,
        method: &str,
        path: &str,
        body: Option<Body<'_>>,
        out: &mut dyn Write,
    ) -> io::Result<Answer> {
        // Only a connection that has answered can have been closed since; one that is closed before its first answer
        // would be closed again.
        let kept = self.stream.take().and_then(|mut stream| {
            let is_usable = !self.answered || stream.get_mut().is_open();
            is_usable.then_some(stream)
        });
        let mut stream = match kept {
            Some(stream) => stream,
            None => BufReader::new(Stream::open(&self.address)?),
        };
        let sent = send(stream.get_mut(), method, path, body);
        // A daemon that refuses a body answers before it has read all of it.
        let head = match (sent, read_head(&mut stream)) {
            (_, Ok(head)) => head,
            (Err(error), Err(_)) | (Ok(()), Err(error)) => return Err(self.told(error)),
        };
        self.answered = true;
        let ends_with_connection = read_body(&mut stream, &head, out)?;
        if !ends_with_connection && !head.closes {
            self.stream = Some(stream);
        }
        Ok(head.answer)
    }

    /// How a close shows depends on how far we were; without any answer it says nothing about the daemon.
    fn told(&self, error: io::Error) -> io::Error {
        if self.answered || !is_closed(&error) {
            return error;
        }
        io::Error::new(error.kind(), "the connection was closed before an answer came")
    }
}

impl Stream {
    fn open(address: &Address) -> io::Result<Self> {
        match address {
            Address::Unix(path) => UnixStream::connect(path).map(Self::Unix),
            Address::Tcp(host, None) => TcpStream::connect(host).map(Self::Tcp),
            Address::Tcp(host, Some(tls)) => {
                let stream = tls.begin(host, TcpStream::connect(host)?)?;
                Ok(Self::Tls(Box::new(stream)))
            }
            Address::Ssh(ssh) => ssh.start().map(Self::Tunnel),
        }
    }

    /// Whether the other side has not closed it since the last answer: nothing is to be read then, not even the end.
    ///
    /// What TLS itself has to say there (tickets) is taken in on the way.
    fn is_open(&mut self) -> bool {
        let mut byte = [0];
        let looked = self.set_nonblocking(true).and_then(|()| self.read(&mut byte));
        let waits = looked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        self.set_nonblocking(false).is_ok() && waits
    }

    fn set_nonblocking(&self, on: bool) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.set_nonblocking(on),
            Self::Tcp(stream) => stream.set_nonblocking(on),
            Self::Tls(stream) => stream.sock.set_nonblocking(on),
            Self::Tunnel(tunnel) => tunnel.stream.set_nonblocking(on),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(bytes),
            Self::Tcp(stream) => stream.read(bytes),
            Self::Tls(stream) => stream.read(bytes),
            Self::Tunnel(tunnel) => tunnel.stream.read(bytes),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write(bytes),
            Self::Tcp(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
            Self::Tunnel(tunnel) => tunnel.stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.flush(),
            Self::Tcp(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
            Self::Tunnel(tunnel) => tunnel.stream.flush(),
        }
    }
}

fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof
    )
}

fn send(stream: &mut Stream, method: &str, path: &str, body: Option<Body<'_>>) -> io::Result<()> {
    let head = format!("{method} {path} HTTP/1.1\r\nHost: daemon\r\nUser-Agent: lifecycle\r\n");
    let Some(body) = body else {
        stream.write_all(format!("{head}\r\n").as_bytes())?;
        return stream.flush();
    };
    let head = format!("{head}Content-Type: application/x-tar\r\nTransfer-Encoding: chunked\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let mut chunks = Chunks {
        stream,
        pending: Vec::with_capacity(CHUNK),
    };
    body(&mut chunks)?;
    chunks.flush()?;
    stream.write_all(b"0\r\n\r\n")?;
    stream.flush()
}

/// Cuts what is written into chunks.
struct Chunks<'a> {
    stream: &'a mut Stream,
    pending: Vec<u8>,
}

impl Write for Chunks<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = CHUNK - self.pending.len();
        let taken = bytes.len().min(room);
        self.pending.extend_from_slice(&bytes[..taken]);
        if self.pending.len() == CHUNK {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        write!(self.stream, "{:x}\r\n", self.pending.len())?;
        self.stream.write_all(&self.pending)?;
        self.stream.write_all(b"\r\n")?;
        self.pending.clear();
        Ok(())
    }
}

/// The head of an answer.
#[derive(Debug)]
struct Head {
    answer: Answer,
    length: Length,
    closes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Bytes(u64),
    Chunked,
    UntilEnd,
}

fn read_head(stream: &mut impl BufRead) -> io::Result<Head> {
    loop {
        let head = parse_head(&head_bytes(stream)?)?;
        // 100 and its like only announce the answer.
        if head.answer.status >= 200 {
            return Ok(head);
        }
    }
}

fn head_bytes(stream: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let limit = u64::try_from(LONGEST_HEAD - bytes.len()).unwrap_or(0);
        let read = stream.by_ref().take(limit).read_until(b'\n', &mut bytes)?;
        if read == 0 {
            return Err(if bytes.is_empty() {
                io::ErrorKind::UnexpectedEof.into()
            } else {
                malformed("the head of the answer is cut off or endless")
            });
        }
    }
    Ok(bytes)
}

fn parse_head(bytes: &[u8]) -> io::Result<Head> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut parsed = httparse::Response::new(&mut headers);
    parsed.parse(bytes).map_err(malformed)?;
    let status = parsed.code.ok_or_else(|| malformed("the answer has no status"))?;
    let value = |name: &str| {
        let header = parsed
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(header.value).ok().map(str::trim)
    };
    let length = if value("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        Length::Chunked
    } else if status == 204 || status == 304 {
        Length::Bytes(0)
    } else {
        match value("content-length") {
            Some(text) => Length::Bytes(text.parse().map_err(malformed)?),
            None => Length::UntilEnd,
        }
    };
    Ok(Head {
        answer: Answer {
            status,
            api_version: value("api-version").map(str::to_owned),
        },
        length,
        closes: value("connection").is_some_and(|word| word.eq_ignore_ascii_case("close")),
    })
}

/// Reads a body; says whether the connection ended with it.
fn read_body(stream: &mut impl BufRead, head: &Head, out: &mut dyn Write) -> io::Result<bool> {
    match head.length {
        Length::UntilEnd => io::copy(stream, out).map(|_| true),
        Length::Bytes(length) => copy_exactly(stream, length, out).map(|()| false),
        Length::Chunked => {
            loop {
                let length = chunk_length(stream)?;
                copy_exactly(stream, length, out)?;
                // The line that ends the chunk, or the (empty) trailer.
                let end = line(stream)?;
                if length == 0 {
                    return Ok(false);
                }
                if !end.is_empty() {
                    return Err(malformed("a chunk of the answer is longer than it says"));
                }
            }
        }
    }
}

fn chunk_length(stream: &mut impl BufRead) -> io::Result<u64> {
    let text = line(stream)?;
    let digits = text.split(';').next().unwrap_or_default().trim();
    u64::from_str_radix(digits, 16).map_err(malformed)
}

fn line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut bytes = Vec::new();
    stream
        .by_ref()
        .take(LONGEST_HEAD as u64)
        .read_until(b'\n', &mut bytes)?;
    if !bytes.ends_with(b"\n") {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let text = String::from_utf8(bytes).map_err(malformed)?;
    Ok(text.trim_end().to_owned())
}

fn copy_exactly(stream: &mut impl BufRead, length: u64, out: &mut dyn Write) -> io::Result<()> {
    let copied = io::copy(&mut stream.by_ref().take(length), out)?;
    if copied == length {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

fn malformed(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> io::Result<(u16, String, bool)> {
        let mut stream = text.as_bytes();
        let head = read_head(&mut stream)?;
        let mut body = Vec::new();
        let ended = read_body(&mut stream, &head, &mut body)?;
        Ok((head.answer.status, String::from_utf8(body).unwrap(), ended))
    }

    #[test]
    fn bodies_come_in_three_forms() {
        for (text, expected) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabrest",
                (200, "ab", false),
            ),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\na;x=y\r\n0123456789\r\n0\r\n\r\n",
                (404, "abc0123456789", false),
            ),
            ("HTTP/1.0 200 OK\r\n\r\nall of it", (200, "all of it", true)),
            ("HTTP/1.1 204 No Content\r\n\r\n", (204, "", false)),
        ] {
            let (status, body, ended) = read(text).unwrap();
            assert_eq!((status, &*body, ended), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for text in [
            "",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
            "SSH-2.0-OpenSSH\r\n\r\n",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(LONGEST_HEAD));
        assert!(read(&endless).is_err());
    }
}
