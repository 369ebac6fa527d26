//! One request after another, streams among them, and the faults that break them.

use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tungstenite::Message;
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::{Role, WebSocket};

use super::routes::{Answer, failure, route};
use super::wire::{self, Connection, Request};
use super::{Fault, Seen, Shared};

/// Deals with one request; false ends the connection.
pub(super) fn serve(connection: &mut Connection, request: &Request, shared: &Shared) -> io::Result<bool> {
    if shared.world.lock().unwrap().is_down {
        return Ok(false);
    }
    let body = connection.body(request)?;
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let fault = {
        let mut world = shared.world.lock().unwrap();
        world.seen.push(Seen {
            method: request.method.clone(),
            target: request.target.clone(),
            body: body.clone(),
        });
        world.take_fault(&request.method, &request.target)
    };
    shared.changed.notify_all();
    let cut = match &fault {
        None | Some(Fault::DropAnswer) => None,
        Some(Fault::Hold) => {
            hold(shared);
            None
        }
        Some(Fault::Drop) => return Ok(false),
        Some(Fault::Stall(pause)) => {
            thread::sleep(*pause);
            return Ok(false);
        }
        Some(Fault::Answer(status, reason, message)) => {
            let status = object(*status, &failure(*status, reason, message));
            connection.send(request, &status)?;
            return Ok(true);
        }
        Some(Fault::Cut(bytes)) => Some(*bytes),
    };
    let answer = route(request, &body, &mut shared.world.lock().unwrap());
    shared.changed.notify_all();
    if matches!(fault, Some(Fault::DropAnswer)) {
        return Ok(false);
    }
    match answer {
        Answer::Object(status, answer) => {
            connection.send(request, &object(status, &answer))?;
            Ok(true)
        }
        Answer::Watch(watch) => {
            let mut stream = Chunks::begin(&connection.stream, cut)?;
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
            let mut stream = Chunks::begin(&connection.stream, cut)?;
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
            let mut stream = &connection.stream;
            let key = request
                .headers
                .get("sec-websocket-key")
                .cloned()
                .unwrap_or_default();
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

/// Waits for the next release.
fn hold(shared: &Shared) {
    let mut world = shared.world.lock().unwrap();
    world.held += 1;
    let releases = world.releases;
    drop(
        shared
            .changed
            .wait_while(world, |world| world.releases == releases),
    );
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

fn object(status: u16, object: &Value) -> wire::Answer {
    wire::Answer::new(status)
        .header("Content-Type", "application/json")
        .body(object.to_string())
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
