//! HTTP/1.1 and WebSockets on a socket, and the faults that break them.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tungstenite::Message;
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::{Role, WebSocket};

use super::routes::{Answer, Request, route};
use super::{Fault, Seen, Shared};

pub(super) fn serve(stream: TcpStream, shared: &Shared) {
    let Ok(reading) = stream.try_clone() else { return };
    let mut reader = BufReader::new(reading);
    // A client that goes away ends the connection, which is all there is to do.
    while let Ok(true) = serve_one(&mut reader, &stream, shared) {}
    drop(stream.shutdown(Shutdown::Both));
}

/// Deals with one request; false ends the connection.
fn serve_one(reader: &mut BufReader<TcpStream>, mut stream: &TcpStream, shared: &Shared) -> io::Result<bool> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 || shared.world.lock().unwrap().is_down {
        return Ok(false);
    }
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
    let mut body = Vec::new();
    if let Some(length) = headers.get("content-length") {
        let length: u64 = length.parse().map_err(io::Error::other)?;
        reader.by_ref().take(length).read_to_end(&mut body)?;
    }
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let fault = {
        let mut world = shared.world.lock().unwrap();
        world.seen.push(Seen {
            method: method.clone(),
            target: target.clone(),
            body: body.clone(),
        });
        world.take_fault(&method, &target)
    };
    shared.changed.notify_all();
    let cut = match &fault {
        None | Some(Fault::DropAnswer) => None,
        Some(Fault::Drop) => return Ok(false),
        Some(Fault::Stall(pause)) => {
            thread::sleep(*pause);
            return Ok(false);
        }
        Some(Fault::Answer(status, reason, message)) => {
            let body = super::routes::failure(*status, reason, message);
            send(stream, *status, &body)?;
            return Ok(true);
        }
        Some(Fault::Cut(bytes)) => Some(*bytes),
    };
    let token = headers
        .get("authorization")
        .map(|value| value.replace("Bearer ", ""));
    let request = Request {
        method: &method,
        target: &target,
        token: token.as_deref().unwrap_or_default(),
        body: &body,
    };
    let answer = route(&request, &mut shared.world.lock().unwrap());
    shared.changed.notify_all();
    if matches!(fault, Some(Fault::DropAnswer)) {
        return Ok(false);
    }
    match answer {
        Answer::Object(status, object) => {
            send(stream, status, &object)?;
            Ok(true)
        }
        Answer::Watch(watch) => {
            let mut stream = Chunks::begin(stream, cut)?;
            let mut from = watch.version;
            follow(
                shared,
                |world| {
                    let mut new = Vec::new();
                    for (version, kind, object) in &world.history {
                        if *version > from {
                            from = *version;
                            if watch.wants(object) {
                                new.push(format!("{}\n", json!({ "type": kind, "object": object })));
                            }
                        }
                    }
                    (new, false)
                },
                &mut stream,
            )
        }
        Answer::Log(log) => {
            let mut stream = Chunks::begin(stream, cut)?;
            let mut sent = 0;
            follow(
                shared,
                |world| {
                    let lines = world.logs.get(&format!("{}/{}", log.pod, log.container));
                    let lines = lines.map(Vec::as_slice).unwrap_or_default();
                    let new = lines[sent.min(lines.len())..].iter();
                    let new = new.filter_map(|line| log.wants(line)).collect();
                    sent = lines.len();
                    (new, !log.follow || world.is_ended(&log.pod, &log.container))
                },
                &mut stream,
            )
        }
        Answer::Exec(exec) => {
            let key = headers.get("sec-websocket-key").cloned().unwrap_or_default();
            write!(
                stream,
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n",
                derive_accept_key(key.as_bytes())
            )?;
            receive(
                WebSocket::from_raw_socket(stream.try_clone()?, Role::Server, None),
                exec.size,
                cut,
                shared,
            );
            Ok(false)
        }
    }
}

/// Takes a source as the receiver in a pod does.
fn receive(mut socket: WebSocket<TcpStream>, size: usize, cut: Option<usize>, shared: &Shared) {
    let mut received = Vec::new();
    let limit = cut.unwrap_or(usize::MAX);
    while received.len() < size {
        match socket.read() {
            Ok(Message::Binary(frame)) if frame.first() == Some(&0) => received.extend(&frame[1..]),
            Ok(_) => {}
            Err(_) => return,
        }
        if received.len() >= limit {
            drop(socket.get_ref().shutdown(Shutdown::Both));
            return;
        }
    }
    shared.world.lock().unwrap().uploads.push(received);
    shared.changed.notify_all();
    let status =
        json!({"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Success"}).to_string();
    for (channel, text) in [(1, "received\n"), (3, status.as_str())] {
        let frame: Vec<u8> = std::iter::once(channel).chain(text.bytes()).collect();
        drop(socket.send(Message::Binary(frame.into())));
    }
    drop(socket.close(None));
    drop(socket.flush());
    // The client closes in its turn.
    drop(socket.read());
}

/// Sends what comes until it ends, the client goes, or the server stops.
fn follow(
    shared: &Shared,
    mut look: impl FnMut(&mut super::World) -> (Vec<String>, bool),
    stream: &mut Chunks<'_>,
) -> io::Result<bool> {
    let mut world = shared.world.lock().unwrap();
    loop {
        if world.is_down {
            return Ok(false);
        }
        let (new, is_over) = look(&mut world);
        drop(world);
        for text in new {
            if !stream.send(text.as_bytes())? {
                return Ok(false);
            }
        }
        if is_over {
            stream.end()?;
            return Ok(true);
        }
        world = shared.world.lock().unwrap();
        world = shared
            .changed
            .wait_timeout(world, Duration::from_millis(100))
            .unwrap()
            .0;
    }
}

fn send(mut stream: &TcpStream, status: u16, object: &Value) -> io::Result<()> {
    let text = object.to_string();
    write!(
        stream,
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{text}",
        text.len()
    )
}

/// A body of unknown length, which may be cut.
struct Chunks<'a> {
    stream: &'a TcpStream,
    left: Option<usize>,
}

impl<'a> Chunks<'a> {
    fn begin(mut stream: &'a TcpStream, left: Option<usize>) -> io::Result<Self> {
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )?;
        Ok(Self { stream, left })
    }

    /// Sends bytes; false when the stream is to be cut here.
    fn send(&mut self, mut bytes: &[u8]) -> io::Result<bool> {
        let mut is_cut = false;
        if let Some(left) = &mut self.left {
            if bytes.len() >= *left {
                bytes = &bytes[..*left];
                is_cut = true;
            }
            *left -= bytes.len();
        }
        if !bytes.is_empty() {
            write!(self.stream, "{:x}\r\n", bytes.len())?;
            self.stream.write_all(bytes)?;
            self.stream.write_all(b"\r\n")?;
        }
        Ok(!is_cut)
    }

    fn end(&mut self) -> io::Result<()> {
        self.stream.write_all(b"0\r\n\r\n")
    }
}
