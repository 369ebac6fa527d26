//! A proxy that knows hosts which nobody else knows, and can be told to ask for a password.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::wire::{Answer, Connection, Request, Server};

/// A proxy on a loopback port of its own, for as long as the value lives.
#[derive(Debug)]
pub(crate) struct Proxy {
    server: Server,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    /// `host:port` and where that really is.
    routes: BTreeMap<String, String>,
    /// The `Proxy-Authorization` that everybody needs.
    authorization: Option<&'static str>,
    seen: Mutex<Vec<String>>,
}

impl Proxy {
    /// One that leads to these places.
    pub(crate) fn start(routes: &[(&str, &str)], authorization: Option<&'static str>) -> Self {
        let routes = routes
            .iter()
            .map(|(name, place)| ((*name).to_owned(), (*place).to_owned()));
        let state = Arc::new(State {
            routes: routes.collect(),
            authorization,
            seen: Mutex::default(),
        });
        let own = Arc::clone(&state);
        let server = Server::start(move |connection, request| own.serve(connection, request));
        Self { server, state }
    }

    /// Its address, with what is before the host.
    pub(crate) fn url(&self, user: &str) -> String {
        format!("http://{user}{}", self.server.address())
    }

    /// Methods and targets that it was asked for since the last call.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.state.seen.lock().unwrap())
    }
}

impl State {
    /// Deals with one request; false ends the connection.
    fn serve(&self, connection: &mut Connection, request: &Request) -> io::Result<bool> {
        let Request {
            method,
            target,
            headers,
        } = request;
        self.seen.lock().unwrap().push(format!("{method} {target}"));
        let said = headers.get("proxy-authorization").map(String::as_str);
        if self.authorization.is_some() && said != self.authorization {
            let answer = Answer::new(407).header("Proxy-Authenticate", "Basic realm=\"proxy\"");
            connection.send(request, &answer)?;
            return Ok(false);
        }
        let (host, path) = match target.strip_prefix("http://") {
            Some(rest) => {
                let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
                (format!("{host}:80"), format!("/{path}"))
            }
            None => (target.clone(), String::new()),
        };
        let Some(place) = self.routes.get(&host) else {
            connection.send(request, &Answer::new(502).body("no such host"))?;
            return Ok(false);
        };
        let mut there = TcpStream::connect(place)?;
        if method == "CONNECT" {
            connection.stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n")?;
            let (mut back, mut out) = (there.try_clone()?, connection.stream.try_clone()?);
            let answers = thread::spawn(move || {
                drop(io::copy(&mut back, &mut out));
                out.shutdown(Shutdown::Write)
            });
            drop(io::copy(&mut connection.stream, &mut there));
            drop(there.shutdown(Shutdown::Write));
            drop(answers.join());
            return Ok(false);
        }
        let body = connection.body(request)?;
        let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        let own = [
            "proxy-authorization",
            "connection",
            "expect",
            "transfer-encoding",
            "content-length",
        ];
        for (name, value) in headers.iter().filter(|(name, _)| !own.contains(&name.as_str())) {
            head.extend([name, ": ", value, "\r\n"]);
        }
        if !body.is_empty() || headers.contains_key("content-length") {
            head.extend(["content-length: ", &body.len().to_string(), "\r\n"]);
        }
        there.write_all(&[head.as_bytes(), b"\r\n", &body].concat())?;
        there.shutdown(Shutdown::Write)?;
        let mut answer = Vec::new();
        there.read_to_end(&mut answer)?;
        connection.stream.write_all(&answer)?;
        Ok(false)
    }
}
