//! A web server that keeps files, counts who asks, and can be told to fail.
//!
//! It gives files, or parts of them, takes files, and knows the requests by which object stores take large ones in parts.

mod repositories;
mod signatures;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::wire::{Answer, Connection, Request, Server};
use repositories::Repository;
use signatures::Asked;

pub use signatures::Signer;

/// A server on a loopback port of its own, for as long as the value lives.
pub struct FileServer {
    server: Server,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Stored>,
    parts: BTreeMap<String, Vec<u8>>,
    rules: Vec<(String, Action)>,
    seen: Vec<Seen>,
    /// The `Authorization` that everybody needs.
    authorization: Option<String>,
    /// Repositories that git itself answers for, by the path of each.
    repositories: Vec<(String, Repository)>,
    /// Who has to sign requests for paths that begin so.
    signers: Vec<(String, Signer)>,
    /// What was wrong with requests that were not signed right.
    forged: Vec<String>,
}

#[derive(Clone, Default)]
struct Stored {
    bytes: Vec<u8>,
    headers: Vec<(String, String)>,
}

/// What to do once with a request in place of what is right.
#[derive(Clone)]
pub enum Action {
    /// Answers with this status and these headers.
    Answer(u16, Vec<(&'static str, String)>),
    /// Breaks the connection after so many bytes of the body.
    Cut(usize),
    /// Sends the body byte by byte with this pause between them, as long as somebody listens.
    Drip(Duration),
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Path and query.
    pub target: String,
    /// Headers, names in lower case.
    pub headers: BTreeMap<String, String>,
}

impl FileServer {
    /// Starts one.
    pub fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let own = Arc::clone(&state);
        let server = Server::start(move |connection, request| serve(connection, request, &own));
        Self { server, state }
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        self.server.address()
    }

    /// The address of a file.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    /// Keeps a file, with an `ETag` and whatever else is said of it.
    pub fn keep(&self, path: &str, bytes: impl Into<Vec<u8>>, headers: &[(&str, &str)]) {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let stored = Stored {
            bytes: bytes.into(),
            headers: headers.collect(),
        };
        self.state.lock().unwrap().files.insert(path.to_owned(), stored);
    }

    /// Keeps all files of a directory.
    pub fn keep_directory(&self, path: &str, directory: &Path) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{path}/{}", entry.file_name().to_string_lossy());
            if entry.path().is_dir() {
                self.keep_directory(&name, &entry.path());
            } else {
                self.keep(&name, std::fs::read(entry.path()).unwrap(), &[]);
            }
        }
    }

    /// Lets git answer for a bare repository at this path, as hosts of repositories do.
    pub fn keep_repository(&self, path: &str, repository: &Path) {
        let mut state = self.state.lock().unwrap();
        state
            .repositories
            .push((path.to_owned(), Repository::new(repository)));
    }

    /// The same, by a host that knows only the first version of the protocol and gives nothing but branches and tags.
    pub fn keep_old_repository(&self, path: &str, repository: &Path) {
        let mut state = self.state.lock().unwrap();
        state
            .repositories
            .push((path.to_owned(), Repository::old(repository)));
    }

    /// A file that is kept.
    pub fn kept(&self, path: &str) -> Option<Vec<u8>> {
        self.state
            .lock()
            .unwrap()
            .files
            .get(path)
            .map(|stored| stored.bytes.clone())
    }

    /// Does something else with the next request that has `part` in its method, path and query.
    pub fn once(&self, part: &str, action: Action) {
        self.state.lock().unwrap().rules.push((part.to_owned(), action));
    }

    /// Lets in only who says this in `Authorization`.
    pub fn require(&self, authorization: &str) {
        self.state.lock().unwrap().authorization = Some(authorization.to_owned());
    }

    /// Lets only requests for paths that begin with `prefix` pass that this one has signed, as a store does.
    pub fn require_signed(&self, prefix: &str, signer: Signer) {
        self.state
            .lock()
            .unwrap()
            .signers
            .push((prefix.to_owned(), signer));
    }

    /// What was wrong with requests that were not signed as they had to be.
    pub fn forged(&self) -> Vec<String> {
        self.state.lock().unwrap().forged.clone()
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.state.lock().unwrap().seen.clone()
    }
}

/// Deals with one request; false ends the connection.
fn serve(connection: &mut Connection, request: &Request, state: &Mutex<State>) -> io::Result<bool> {
    let body = connection.body(request)?;
    let (answer, fault) = {
        let mut state = state.lock().unwrap();
        state.seen.push(Seen {
            target: request.target.clone(),
            headers: request.headers.clone(),
        });
        let line = format!("{} {}", request.method, request.target);
        let rule = state.rules.iter().position(|(part, _)| line.contains(part));
        match rule.map(|at| state.rules.remove(at).1) {
            Some(Action::Answer(status, headers)) => {
                let answer = Answer::new(status).body("no");
                let add = |answer: Answer, (name, value): &(&str, String)| answer.header(name, value);
                (headers.iter().fold(answer, add), None)
            }
            fault => (state.answer(request, body), fault),
        }
    };
    match fault {
        Some(Action::Cut(limit)) => {
            connection.send_head(&answer)?;
            let end = limit.min(answer.body.len());
            connection.stream.write_all(&answer.body[..end])?;
            Ok(false)
        }
        Some(Action::Drip(pause)) => {
            connection.send_head(&answer)?;
            for byte in &answer.body {
                connection.stream.write_all(std::slice::from_ref(byte))?;
                std::thread::sleep(pause);
            }
            Ok(false)
        }
        _ => {
            connection.send(request, &answer)?;
            Ok(true)
        }
    }
}

impl State {
    fn answer(&mut self, request: &Request, body: Vec<u8>) -> Answer {
        let (method, target, headers) = (&*request.method, &*request.target, &request.headers);
        if self.authorization.is_some() && self.authorization.as_ref() != headers.get("authorization") {
            return Answer::new(401).header("WWW-Authenticate", "Basic realm=\"files\"");
        }
        let asked = Asked {
            method,
            target,
            headers,
            body: &body,
        };
        let signer = self
            .signers
            .iter()
            .find(|(prefix, _)| target.starts_with(prefix.as_str()));
        if let Some((_, signer)) = signer
            && let Err(wrong) = signer.check(&asked)
        {
            self.forged.push(format!("{method} {target}: {wrong}"));
            return Answer::new(403).body("<Error><Code>SignatureDoesNotMatch</Code></Error>");
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut repositories = self.repositories.iter();
        let below = |(prefix, _): &&(String, Repository)| {
            path.strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.starts_with('/'))
        };
        if let Some((prefix, repository)) = repositories.find(below) {
            return repository.answer(request, &body, &path[prefix.len()..]);
        }
        // Some clients escape the slashes of a name.
        let path = &path.replace("%2F", "/");
        let query: BTreeMap<&str, &str> = query
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .collect();
        match method {
            "PUT" => self.take(path, &query, body),
            "POST" if query.contains_key("uploads") => Answer::new(200).body(
                "<InitiateMultipartUploadResult><UploadId>one</UploadId></InitiateMultipartUploadResult>",
            ),
            "POST" if query.contains_key("uploadId") => {
                self.join(path);
                let text =
                    "<CompleteMultipartUploadResult><ETag>\"whole\"</ETag></CompleteMultipartUploadResult>";
                Answer::new(200).body(text)
            }
            "DELETE" => Answer::new(204),
            // A service that is posted to always has the same to say.
            "GET" | "HEAD" | "POST" => self.give(path, headers),
            _ => Answer::new(405),
        }
    }

    fn give(&self, path: &str, headers: &BTreeMap<String, String>) -> Answer {
        let Some(stored) = self.files.get(path) else {
            return Answer::new(404).body("there is no such file");
        };
        let tag = format!(
            "\"{}-{}\"",
            stored.bytes.len(),
            stored.bytes.iter().map(|&b| u64::from(b)).sum::<u64>()
        );
        let mut answer = Answer::new(200);
        if !stored.headers.iter().any(|(name, _)| name == "ETag") {
            answer = answer.header("ETag", &tag);
        }
        if !stored.headers.iter().any(|(name, _)| name == "Last-Modified") {
            answer = answer.header("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT");
        }
        for (name, value) in stored.headers.iter().filter(|(_, value)| !value.is_empty()) {
            answer = answer.header(name, value);
        }
        let is_same = headers.get("if-range").is_none_or(|known| *known == tag);
        let range = headers.get("range").filter(|_| is_same);
        let range = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
        let Some((from, to)) = range else {
            return answer.body(stored.bytes.clone());
        };
        let from: usize = from.parse().unwrap();
        let end = to
            .parse()
            .map_or(stored.bytes.len(), |to: usize| (to + 1).min(stored.bytes.len()));
        let whole = stored.bytes.len();
        if from >= whole {
            return Answer::new(416);
        }
        let mut answer = answer.header("Content-Range", format!("bytes {from}-{}/{whole}", end - 1));
        answer.status = 206;
        answer.body(&stored.bytes[from..end])
    }

    fn take(&mut self, path: &str, query: &BTreeMap<&str, &str>, body: Vec<u8>) -> Answer {
        // Parts have numbers; blocks have names, and the list that ends the blob says their order.
        let number = query.get("partNumber").map(|number| format!("{number:0>5}"));
        let part = number.or_else(|| query.get("blockid").map(|&id| id.to_owned()));
        match (part, query.get("comp")) {
            (Some(part), _) => drop(self.parts.insert(part, body)),
            (None, Some(&"blocklist")) => {
                let list = String::from_utf8(body).unwrap();
                let place = |name: &str| {
                    let name = name.replace("%3D", "=").replace("%2F", "/").replace("%2B", "+");
                    list.find(&format!(">{name}<")).unwrap()
                };
                let parts = std::mem::take(&mut self.parts);
                let parts = parts.into_iter();
                self.parts = parts
                    .map(|(name, bytes)| (format!("{:0>10}", place(&name)), bytes))
                    .collect();
                self.join(path);
            }
            (None, _) => {
                let stored = Stored {
                    bytes: body,
                    headers: Vec::new(),
                };
                self.files.insert(path.to_owned(), stored);
            }
        }
        Answer::new(if query.contains_key("comp") { 201 } else { 200 }).header("ETag", "\"one\"")
    }

    fn join(&mut self, path: &str) {
        let parts = std::mem::take(&mut self.parts);
        let stored = Stored {
            bytes: parts.into_values().flatten().collect(),
            headers: Vec::new(),
        };
        self.files.insert(path.to_owned(), stored);
    }
}
