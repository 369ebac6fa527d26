//! HTTP/1.1 on a socket, and the rules that break it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use super::{Action, State};

/// What a request is answered with.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub(super) fn error(status: u16, code: &str, message: &str) -> Self {
        let body = format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#);
        Self::new(status)
            .header("Content-Type", "application/json")
            .body(body)
    }

    pub(super) fn header(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub(super) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }
}

pub(super) fn serve(stream: TcpStream, state: &Mutex<State>) {
    let Ok(reading) = stream.try_clone() else { return };
    let mut reader = BufReader::new(reading);
    // A client that goes away ends the connection, which is all there is to do.
    while let Ok(true) = serve_one(&mut reader, &stream, state) {}
    drop(stream.shutdown(Shutdown::Both));
}

/// Deals with one request; false ends the connection.
fn serve_one(
    reader: &mut BufReader<TcpStream>,
    mut stream: &TcpStream,
    state: &Mutex<State>,
) -> io::Result<bool> {
    let mut line = String::new();
    // A TLS greeting is no text, and ends the connection here.
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Ok(false);
    };
    let (method, target) = (method.to_owned(), target.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let action = state.lock().unwrap().take_rule(&method, &target);
    if let Some(Action::CutRequest(limit)) = action {
        let mut body = vec![0; limit];
        let mut taken = 0;
        if headers.contains_key("transfer-encoding") {
            let mut whole = Vec::new();
            read_chunked(reader, &mut whole, limit)?;
            whole.truncate(limit);
            body = whole;
        } else {
            while taken < limit {
                match reader.read(&mut body[taken..])? {
                    0 => break,
                    length => taken += length,
                }
            }
        }
        let mut state = state.lock().unwrap();
        if let Some(session) = session_of(&target).and_then(|id| state.sessions.get_mut(&id)) {
            session.extend(&body);
        }
        state.record(&method, &target, &headers, body, 0);
        return Ok(false);
    }
    let mut body = Vec::new();
    match (headers.get("content-length"), headers.get("transfer-encoding")) {
        (Some(length), _) => {
            let length: u64 = length.parse().map_err(io::Error::other)?;
            if reader.by_ref().take(length).read_to_end(&mut body)? as u64 != length {
                return Ok(false);
            }
        }
        (None, Some(_)) => read_chunked(reader, &mut body, usize::MAX)?,
        (None, None) => {}
    }
    if let Some(Action::Delay(pause)) = action {
        thread::sleep(pause);
    }
    let mut answer = match &action {
        Some(Action::Answer(status, headers, body)) => Answer {
            status: *status,
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
            body: body.clone(),
        },
        _ => state.lock().unwrap().answer(&method, &target, &headers, &body),
    };
    state
        .lock()
        .unwrap()
        .record(&method, &target, &headers, body, answer.status);
    let mut cut = None;
    let mut drip = None;
    match action {
        Some(Action::LoseAnswer) => return Ok(false),
        Some(Action::FlipByte) => answer.body[0] ^= 1,
        Some(Action::Append(extra)) => answer.body.extend(vec![b'x'; extra]),
        Some(Action::Header(name, value)) => {
            answer
                .headers
                .retain(|(other, _)| !other.eq_ignore_ascii_case(name));
            answer.headers.push((name.to_owned(), value));
        }
        Some(Action::CutAnswer(limit)) => cut = Some(limit),
        Some(Action::Drip(parts, pause)) => drip = Some((parts, pause)),
        _ => {}
    }
    let mut head = format!("HTTP/1.1 {} X\r\n", answer.status);
    for (name, value) in &answer.headers {
        write!(head, "{name}: {value}\r\n").map_err(io::Error::other)?;
    }
    if method == "HEAD" {
        let has_length = answer
            .headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        if !has_length {
            write!(head, "Content-Length: {}\r\n", answer.body.len()).map_err(io::Error::other)?;
        }
        answer.body.clear();
    } else if answer.status != 204 {
        write!(head, "Content-Length: {}\r\n", answer.body.len()).map_err(io::Error::other)?;
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    if let Some(limit) = cut {
        stream.write_all(&answer.body[..limit.min(answer.body.len())])?;
        return Ok(false);
    }
    let (parts, pause) = drip.unwrap_or((1, Duration::ZERO));
    for part in answer.body.chunks(answer.body.len().div_ceil(parts).max(1)) {
        stream.write_all(part)?;
        thread::sleep(pause);
    }
    stream.flush()?;
    Ok(true)
}

fn read_chunked(reader: &mut BufReader<TcpStream>, body: &mut Vec<u8>, limit: usize) -> io::Result<()> {
    while body.len() < limit {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let size = u64::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        if reader.by_ref().take(size).read_to_end(body)? as u64 != size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut end = String::new();
        reader.read_line(&mut end)?;
        if size == 0 {
            return Ok(());
        }
    }
    Ok(())
}

fn session_of(target: &str) -> Option<String> {
    let (_, rest) = target.split_once("/blobs/uploads/")?;
    let id = rest.split('?').next()?;
    (!id.is_empty()).then(|| id.to_owned())
}
