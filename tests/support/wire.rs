//! HTTP/1.1 on a socket, for the servers that tests tell to fail.
//!
//! Threads and sockets of the standard library only, so that nothing of what is tested is part of it. A server says what
//! is done with a [`Connection`] that has a request; how requests and answers look on the wire is said here.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// A port of loopback that is listened to for as long as the value lives.
#[derive(Debug)]
pub(crate) struct Server {
    address: String,
    is_over: Arc<AtomicBool>,
}

impl Server {
    /// Deals with the requests of each connection on a thread of its own; `answer` says whether there may be another.
    pub(crate) fn start(
        answer: impl Fn(&mut Connection, &Request) -> io::Result<bool> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, answer) = (Arc::clone(&is_over), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let answer = Arc::clone(&answer);
                thread::spawn(move || {
                    let mut connection = Connection::new(stream).unwrap();
                    // A client that goes away ends the connection, which is all there is to do.
                    while let Ok(Some(request)) = connection.request()
                        && let Ok(true) = answer(&mut connection, &request)
                    {}
                    drop(connection.stream.shutdown(Shutdown::Both));
                });
            }
        });
        Self { address, is_over }
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // Wakes the listener, which sees that nobody is left.
        drop(TcpStream::connect(&self.address));
    }
}

/// A request, up to its body.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
}

/// What a request is answered with.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub(crate) fn header(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub(crate) fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Self {
            body: body.into(),
            ..self
        }
    }
}

/// A client's connection.
#[derive(Debug)]
pub(crate) struct Connection {
    reader: BufReader<TcpStream>,
    pub(crate) stream: TcpStream,
}

impl Connection {
    fn new(stream: TcpStream) -> io::Result<Self> {
        Ok(Self {
            reader: BufReader::new(stream.try_clone()?),
            stream,
        })
    }

    /// The next request; none when there will be no more. A TLS greeting is no text, and an error.
    fn request(&mut self) -> io::Result<Option<Request>> {
        let line = self.line()?;
        let mut words = line.split_whitespace().map(str::to_owned);
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            return Ok(None);
        };
        let mut headers = BTreeMap::new();
        while let Some((name, value)) = self.line()?.trim_end().split_once(':') {
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        Ok(Some(Request {
            method,
            target,
            headers,
        }))
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        Ok(line)
    }

    /// The whole body of a request; an error when the client goes away before its end.
    pub(crate) fn body(&mut self, request: &Request) -> io::Result<Vec<u8>> {
        if request.headers.contains_key("expect") {
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        match request.headers.get("content-length") {
            Some(length) => {
                let length = length.parse().map_err(io::Error::other)?;
                let body = self.up_to(length)?;
                if body.len() < length {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Ok(body)
            }
            None if request.headers.contains_key("transfer-encoding") => self.chunks(usize::MAX),
            None => Ok(Vec::new()),
        }
    }

    /// The first `limit` bytes of a request's body, or what comes of it.
    pub(crate) fn beginning(&mut self, request: &Request, limit: usize) -> io::Result<Vec<u8>> {
        if !request.headers.contains_key("transfer-encoding") {
            return self.up_to(limit);
        }
        let mut body = self.chunks(limit)?;
        body.truncate(limit);
        Ok(body)
    }

    fn up_to(&mut self, limit: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.reader.by_ref().take(limit as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Chunks until there are `limit` bytes or it ends.
    fn chunks(&mut self, limit: usize) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        while body.len() < limit {
            let size = usize::from_str_radix(self.line()?.trim(), 16).map_err(io::Error::other)?;
            let chunk = self.up_to(size)?;
            if chunk.len() < size {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            body.extend(chunk);
            self.line()?;
            if size == 0 {
                break;
            }
        }
        Ok(body)
    }

    /// Sends an answer, without the body if only its head was asked for.
    pub(crate) fn send(&mut self, request: &Request, answer: &Answer) -> io::Result<()> {
        self.send_head(answer)?;
        if request.method != "HEAD" {
            self.stream.write_all(&answer.body)?;
        }
        Ok(())
    }

    /// Sends what is before the body of an answer, with the body's length if the answer has no header for that.
    pub(crate) fn send_head(&mut self, answer: &Answer) -> io::Result<()> {
        let mut head = format!("HTTP/1.1 {} X\r\n", answer.status);
        let mut says_length = answer.status == 204;
        for (name, value) in &answer.headers {
            says_length |= name.eq_ignore_ascii_case("content-length");
            write!(head, "{name}: {value}\r\n").map_err(io::Error::other)?;
        }
        if !says_length {
            write!(head, "Content-Length: {}\r\n", answer.body.len()).map_err(io::Error::other)?;
        }
        head.push_str("\r\n");
        self.stream.write_all(head.as_bytes())
    }
}
