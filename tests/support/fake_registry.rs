//! A registry that can be told to fail.
//!
//! It speaks enough of the distribution protocol to take and give images, on threads and sockets of the standard
//! library only, so that nothing of what it tests is part of it. It records every request. [`Rule`]s make it
//! misbehave: answer with errors, cut streams, lie, redirect, drip.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use lifecycle_image::Digest;

/// A registry on a loopback port of its own, for as long as the value lives.
pub struct FakeRegistry {
    address: String,
    state: Arc<Mutex<State>>,
}

/// How the registry is made.
#[derive(Clone, Default)]
pub struct Options {
    /// Whom it lets in.
    pub auth: Auth,
    /// What it does when asked to mount.
    pub mount: Mount,
    /// The scheme and host its upload locations begin with, when they are not relative.
    pub locations: Option<String>,
    /// Whether it keeps lists of referrers.
    pub referrers: bool,
    /// Tags on one page of the list, if it has pages.
    pub page: Option<usize>,
    /// The smallest piece it takes.
    pub smallest_piece: Option<u64>,
    /// It sends blobs whole, whatever range was asked for.
    pub no_ranges: bool,
    /// It does not say which digest a manifest has.
    pub no_digest_header: bool,
}

/// Whom a registry lets in.
#[derive(Clone, Default)]
pub enum Auth {
    /// Everybody.
    #[default]
    Nobody,
    /// One user.
    Basic(String, String),
    /// Who has a token.
    Token(Tokens),
}

/// A token server, at `/token` of the same port.
#[derive(Clone, Default)]
pub struct Tokens {
    /// Its address in the challenge, if it is another.
    pub realm: Option<String>,
    /// Who gets a token that allows pushing; nobody else may do more than pull.
    pub user: Option<(String, String)>,
    /// The refresh token that is as good as the user.
    pub refresh: Option<String>,
    /// Whether tokens are given to those who do not say who they are.
    pub anonymous: bool,
    /// Seconds a token lives, as told to the client.
    pub lifetime: u64,
    /// Repositories of which it refuses to speak, besides what was asked for.
    pub forbidden: BTreeSet<String>,
}

/// What a registry does when asked to mount.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Mount {
    /// Mounts.
    #[default]
    Created,
    /// Begins an upload instead.
    Accepted,
    /// Answers that it cannot.
    Refused,
}

/// What to do once, or several times, instead of what is right.
#[derive(Clone)]
pub struct Rule {
    /// The method it is about; empty for all.
    pub method: &'static str,
    /// A part of path and query that it is about.
    pub part: String,
    /// Requests that are let through first.
    pub skip: usize,
    /// How often it is followed.
    pub times: usize,
    /// What is done.
    pub action: Action,
}

/// Misbehaviour.
#[derive(Clone)]
pub enum Action {
    /// Answers with this status, these headers and this body.
    Answer(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// Breaks the connection after so many bytes of the answer's body.
    CutAnswer(usize),
    /// Takes so many bytes of the request's body and breaks the connection.
    CutRequest(usize),
    /// Breaks the connection after the request was dealt with, before the answer.
    LoseAnswer,
    /// Changes the first byte of the body.
    FlipByte,
    /// Sends so many bytes of nonsense after the body, and counts them in the length.
    Append(usize),
    /// Adds or replaces a header of the right answer.
    Header(&'static str, String),
    /// Waits before it answers.
    Delay(Duration),
    /// Sends the body in so many parts with pauses between them.
    Drip(usize, Duration),
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
    /// The status it was answered with.
    pub status: u16,
}

#[derive(Default)]
struct State {
    options: Options,
    host: String,
    rules: Vec<Rule>,
    seen: Vec<Seen>,
    blobs: BTreeMap<(String, Digest), Vec<u8>>,
    manifests: BTreeMap<(String, String), (String, Vec<u8>)>,
    tags: BTreeMap<String, Vec<String>>,
    sessions: BTreeMap<String, Vec<u8>>,
    tokens: BTreeMap<String, Vec<String>>,
    counter: usize,
}

struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    fn error(status: u16, code: &str, message: &str) -> Self {
        let body = format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#);
        Self::new(status)
            .header("Content-Type", "application/json")
            .body(body)
    }

    fn header(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }
}

impl FakeRegistry {
    /// A registry that lets everybody in and does everything right.
    pub fn start() -> Self {
        Self::start_with(Options::default())
    }

    /// A registry made so.
    pub fn start_with(options: Options) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(Mutex::new(State {
            options,
            host: address.clone(),
            ..State::default()
        }));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(stream), state) = (stream, Arc::clone(&shared)) else {
                    return;
                };
                // The value that stood for the registry is gone.
                if state.lock().unwrap().host.is_empty() {
                    return;
                }
                thread::spawn(move || serve(stream, &state));
            }
        });
        Self { address, state }
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// From now on, or from the first request that fits on, misbehaves.
    pub fn rule(&self, method: &'static str, part: &str, times: usize, action: Action) {
        self.rule_after(0, method, part, times, action);
    }

    /// The same, but lets the first requests that fit through.
    pub fn rule_after(&self, skip: usize, method: &'static str, part: &str, times: usize, action: Action) {
        self.state.lock().unwrap().rules.push(Rule {
            method,
            part: part.to_owned(),
            skip,
            times,
            action,
        });
    }

    /// Changes how it is made.
    pub fn change(&self, change: impl FnOnce(&mut Options)) {
        change(&mut self.state.lock().unwrap().options);
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.state.lock().unwrap().seen.clone()
    }

    /// Forgets the requests so far.
    pub fn forget(&self) {
        self.state.lock().unwrap().seen.clear();
    }

    /// How many requests of a method had this in their path or query.
    pub fn count(&self, method: &str, part: &str) -> usize {
        let fits = |seen: &&Seen| (method.is_empty() || seen.method == method) && seen.target.contains(part);
        self.seen().iter().filter(fits).count()
    }

    /// The requests as `METHOD target status` lines, for messages.
    pub fn log(&self) -> String {
        let mut log = String::new();
        for seen in self.seen() {
            writeln!(log, "{} {} {}", seen.method, seen.target, seen.status).unwrap();
        }
        log
    }

    /// Forgets all tokens it has given out, as if they had been revoked.
    pub fn revoke_tokens(&self) {
        self.state.lock().unwrap().tokens.clear();
    }

    /// Puts a blob there.
    pub fn put_blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let key = (repository.to_owned(), digest.clone());
        self.state.lock().unwrap().blobs.insert(key, bytes.to_vec());
        digest
    }

    /// A blob that is there.
    pub fn blob(&self, repository: &str, digest: &Digest) -> Option<Vec<u8>> {
        let key = (repository.to_owned(), digest.clone());
        self.state.lock().unwrap().blobs.get(&key).cloned()
    }

    /// Puts a manifest there, under a tag and its digest.
    pub fn put_manifest(&self, repository: &str, tag: &str, media_type: &str, bytes: &[u8]) -> Digest {
        self.state
            .lock()
            .unwrap()
            .keep_manifest(repository, tag, media_type, bytes)
    }

    /// The manifest under a tag or digest.
    pub fn manifest(&self, repository: &str, name: &str) -> Option<Vec<u8>> {
        let key = (repository.to_owned(), name.to_owned());
        self.state
            .lock()
            .unwrap()
            .manifests
            .get(&key)
            .map(|(_, bytes)| bytes.clone())
    }

    /// The tags of a repository.
    pub fn tags(&self, repository: &str) -> Vec<String> {
        self.state
            .lock()
            .unwrap()
            .tags
            .get(repository)
            .cloned()
            .unwrap_or_default()
    }
}

impl Drop for FakeRegistry {
    fn drop(&mut self) {
        self.state.lock().unwrap().host.clear();
        // Wakes the listener, which sees that nobody is left.
        drop(TcpStream::connect(&self.address));
    }
}

fn serve(stream: TcpStream, state: &Mutex<State>) {
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

/// Query or form fields, decoded.
fn fields(text: &str) -> Vec<(String, String)> {
    let decode = |text: &str| {
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            bytes.push(match byte {
                b'+' => b' ',
                b'%' => {
                    let digits = [rest.next().unwrap(), rest.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                other => other,
            });
        }
        String::from_utf8(bytes).unwrap()
    };
    let pair = |field: &str| {
        let (name, value) = field.split_once('=').unwrap_or((field, ""));
        (decode(name), decode(value))
    };
    text.split('&')
        .filter(|field| !field.is_empty())
        .map(pair)
        .collect()
}

fn basic(user: &str, password: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = "Basic ".to_owned();
    for group in format!("{user}:{password}").as_bytes().chunks(3) {
        let bits = group
            .iter()
            .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place)) as usize & 63];
            encoded.push(if place <= group.len() {
                char::from(digit)
            } else {
                '='
            });
        }
    }
    encoded
}

impl State {
    fn take_rule(&mut self, method: &str, target: &str) -> Option<Action> {
        let fits = |rule: &&mut Rule| {
            rule.times > 0 && (rule.method.is_empty() || rule.method == method) && target.contains(&rule.part)
        };
        let rule = self.rules.iter_mut().find(fits)?;
        if rule.skip > 0 {
            rule.skip -= 1;
            return None;
        }
        rule.times -= 1;
        Some(rule.action.clone())
    }

    fn record(
        &mut self,
        method: &str,
        target: &str,
        headers: &BTreeMap<String, String>,
        body: Vec<u8>,
        status: u16,
    ) {
        self.seen.push(Seen {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: headers.clone(),
            body,
            status,
        });
    }

    fn keep_manifest(&mut self, repository: &str, name: &str, media_type: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        for name in [name, digest.as_str()] {
            let key = (repository.to_owned(), name.to_owned());
            self.manifests
                .insert(key, (media_type.to_owned(), bytes.to_vec()));
        }
        let tags = self.tags.entry(repository.to_owned()).or_default();
        if !name.contains(':') && !tags.iter().any(|tag| tag == name) {
            tags.push(name.to_owned());
        }
        digest
    }

    fn answer(
        &mut self,
        method: &str,
        target: &str,
        headers: &BTreeMap<String, String>,
        body: &[u8],
    ) -> Answer {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query = fields(query);
        if path == "/token" {
            return self.give_token(method, &query, headers, body);
        }
        let Some(route) = path.strip_prefix("/v2/") else {
            return Answer::error(404, "NOT_FOUND", "no such page");
        };
        if let Some(refusal) = self.refuse(method, route, &query, headers) {
            return refusal;
        }
        if route.is_empty() {
            return Answer::new(200).body("{}");
        }
        for part in [
            "/blobs/uploads/",
            "/blobs/",
            "/manifests/",
            "/tags/list",
            "/referrers/",
        ] {
            if let Some((repository, rest)) = route.split_once(part) {
                return match part {
                    "/blobs/uploads/" => self.upload(method, repository, rest, &query, headers, body),
                    "/blobs/" => self.give_blob(repository, rest, headers),
                    "/manifests/" => self.manifests(method, repository, rest, headers, body),
                    "/tags/list" => self.list_tags(repository, &query),
                    _ => self.list_referrers(repository, rest, &query),
                };
            }
        }
        Answer::error(404, "NOT_FOUND", "no such route")
    }

    /// What keeps a request out, if anything does.
    fn refuse(
        &self,
        method: &str,
        route: &str,
        query: &[(String, String)],
        headers: &BTreeMap<String, String>,
    ) -> Option<Answer> {
        let sent = headers.get("authorization");
        let unauthorized = |challenge: String| {
            Some(
                Answer::error(401, "UNAUTHORIZED", "authentication required")
                    .header("WWW-Authenticate", challenge),
            )
        };
        match &self.options.auth {
            Auth::Nobody => None,
            Auth::Basic(user, password) if sent == Some(&basic(user, password)) => None,
            Auth::Basic(..) => unauthorized("Basic realm=\"fake\"".to_owned()),
            Auth::Token(tokens) => {
                let markers = ["/blobs/", "/manifests/", "/tags/", "/referrers/"];
                let repository = markers
                    .iter()
                    .find_map(|marker| route.split_once(marker))
                    .map_or("", |found| found.0);
                let mut wanted = match method {
                    _ if repository.is_empty() => Vec::new(),
                    "GET" | "HEAD" if !route.contains("/uploads/") => {
                        vec![format!("repository:{repository}:pull")]
                    }
                    "DELETE" if !route.contains("/uploads/") => {
                        vec![format!("repository:{repository}:delete")]
                    }
                    _ => vec![format!("repository:{repository}:push")],
                };
                if let Some((_, from)) = query.iter().find(|(name, _)| name == "from") {
                    wanted.push(format!("repository:{from}:pull"));
                }
                let granted = sent
                    .and_then(|sent| sent.strip_prefix("Bearer "))
                    .and_then(|token| self.tokens.get(token));
                if granted.is_some_and(|granted| wanted.iter().all(|scope| granted.contains(scope))) {
                    return None;
                }
                let realm = tokens
                    .realm
                    .clone()
                    .unwrap_or_else(|| format!("http://{}/token", self.host));
                let scope = wanted
                    .first()
                    .map(|scope| format!(",scope=\"{}\"", scope.replace(":push", ":pull,push")));
                let scope = scope.unwrap_or_default();
                unauthorized(format!("Bearer realm=\"{realm}\",service=\"fake\"{scope}"))
            }
        }
    }

    fn give_token(
        &mut self,
        method: &str,
        query: &[(String, String)],
        headers: &BTreeMap<String, String>,
        body: &[u8],
    ) -> Answer {
        let Auth::Token(tokens) = self.options.auth.clone() else {
            return Answer::error(404, "NOT_FOUND", "no token server here");
        };
        let form = fields(std::str::from_utf8(body).unwrap());
        let given = |name: &str| {
            form.iter()
                .find(|(field, _)| field == name)
                .map(|(_, value)| value.clone())
        };
        let sent = headers.get("authorization").cloned();
        let known = match (method, &sent) {
            ("POST", _) => {
                given("grant_type").as_deref() == Some("refresh_token")
                    && tokens.refresh.is_some()
                    && given("refresh_token") == tokens.refresh
            }
            (_, Some(sent)) => tokens
                .user
                .as_ref()
                .is_some_and(|(user, password)| *sent == basic(user, password)),
            (_, None) => false,
        };
        let anonymous = method == "GET" && sent.is_none() && tokens.anonymous;
        if !known && !anonymous {
            return Answer::error(401, "UNAUTHORIZED", "incorrect username or password");
        }
        let asked = query.iter().chain(&form).filter(|(name, _)| name == "scope");
        let mut granted = Vec::new();
        for scope in asked.flat_map(|(_, scopes)| scopes.split(' ')) {
            let (resource, actions) = scope.rsplit_once(':').unwrap();
            if tokens
                .forbidden
                .iter()
                .any(|name| resource.ends_with(name.as_str()))
            {
                continue;
            }
            let allowed = |action: &&str| known || *action == "pull";
            granted.extend(
                actions
                    .split(',')
                    .filter(allowed)
                    .map(|action| format!("{resource}:{action}")),
            );
        }
        self.counter += 1;
        let token = format!("token-{}", self.counter);
        self.tokens.insert(token.clone(), granted);
        let key = if method == "POST" { "access_token" } else { "token" };
        let lifetime = tokens.lifetime.max(1);
        Answer::new(200).body(format!(r#"{{"{key}":"{token}","expires_in":{lifetime}}}"#))
    }

    fn give_blob(&self, repository: &str, digest: &str, headers: &BTreeMap<String, String>) -> Answer {
        let found = digest
            .parse()
            .ok()
            .and_then(|digest: Digest| self.blobs.get(&(repository.to_owned(), digest)));
        let Some(bytes) = found else {
            return Answer::error(404, "BLOB_UNKNOWN", "blob unknown to registry");
        };
        let start = headers
            .get("range")
            .and_then(|range| {
                range
                    .strip_prefix("bytes=")?
                    .strip_suffix('-')?
                    .parse::<usize>()
                    .ok()
            })
            .filter(|_| !self.options.no_ranges);
        match start {
            Some(start) if start < bytes.len() => Answer::new(206)
                .header(
                    "Content-Range",
                    format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len()),
                )
                .body(&bytes[start..]),
            Some(_) => Answer::new(416),
            None => Answer::new(200).body(bytes.clone()),
        }
    }

    fn upload(
        &mut self,
        method: &str,
        repository: &str,
        id: &str,
        query: &[(String, String)],
        headers: &BTreeMap<String, String>,
        body: &[u8],
    ) -> Answer {
        let given = |name: &str| {
            query
                .iter()
                .find(|(field, _)| field == name)
                .map(|(_, value)| value.as_str())
        };
        let prefix = self.options.locations.clone().unwrap_or_default();
        let location = |id: &str| format!("{prefix}/v2/{repository}/blobs/uploads/{id}?state=x");
        if method == "POST" {
            if let (Some(digest), Some(from)) = (given("mount"), given("from")) {
                let digest: Digest = digest.parse().unwrap();
                let found = self.blobs.get(&(from.to_owned(), digest.clone())).cloned();
                match (self.options.mount, found) {
                    (Mount::Created, Some(bytes)) => {
                        self.blobs.insert((repository.to_owned(), digest), bytes);
                        return Answer::new(201).header("Location", "/v2/done");
                    }
                    (Mount::Refused, _) => return Answer::error(405, "UNSUPPORTED", "no mounts"),
                    _ => {}
                }
            }
            self.counter += 1;
            let id = format!("session-{}", self.counter);
            self.sessions.insert(id.clone(), Vec::new());
            let answer = Answer::new(202).header("Location", location(&id));
            return match self.options.smallest_piece {
                Some(smallest) => answer.header("OCI-Chunk-Min-Length", smallest),
                None => answer,
            };
        }
        let Some(session) = self.sessions.get_mut(id) else {
            return Answer::error(404, "BLOB_UPLOAD_UNKNOWN", "upload unknown");
        };
        let range = |length: usize| format!("0-{}", length.max(1) - 1);
        match method {
            "GET" => Answer::new(204)
                .header("Range", range(session.len()))
                .header("Location", location(id)),
            "DELETE" => {
                self.sessions.remove(id);
                Answer::new(204)
            }
            "PATCH" => {
                let start = headers
                    .get("content-range")
                    .and_then(|range| range.split('-').next()?.parse().ok());
                if start.is_some_and(|start: usize| start != session.len()) {
                    return Answer::error(416, "RANGE_INVALID", "out of order")
                        .header("Range", range(session.len()));
                }
                session.extend_from_slice(body);
                Answer::new(202)
                    .header("Range", range(session.len()))
                    .header("Location", location(id))
            }
            "PUT" => {
                session.extend_from_slice(body);
                let digest: Digest = given("digest").unwrap().parse().unwrap();
                let bytes = self.sessions.remove(id).unwrap();
                let actual = Digest::of(&bytes);
                if actual != digest {
                    return Answer::error(400, "DIGEST_INVALID", "the digest is not that of the content");
                }
                self.blobs.insert((repository.to_owned(), digest), bytes);
                Answer::new(201).header("Docker-Content-Digest", actual)
            }
            _ => Answer::error(405, "UNSUPPORTED", "no such method"),
        }
    }

    fn manifests(
        &mut self,
        method: &str,
        repository: &str,
        name: &str,
        headers: &BTreeMap<String, String>,
        body: &[u8],
    ) -> Answer {
        let key = (repository.to_owned(), name.to_owned());
        match method {
            "PUT" => {
                let digest = self.keep_manifest(repository, name, &headers["content-type"], body);
                let answer = Answer::new(201).header("Docker-Content-Digest", &digest);
                match subject(body) {
                    Some(subject) if self.options.referrers => answer.header("OCI-Subject", subject),
                    _ => answer,
                }
            }
            "DELETE" => match self.manifests.remove(&key) {
                Some((_, bytes)) => {
                    self.manifests
                        .retain(|(other, _), (_, kept)| other != repository || *kept != bytes);
                    Answer::new(202)
                }
                None => Answer::error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
            },
            _ => match self.manifests.get(&key) {
                Some((media_type, bytes)) => {
                    let answer = Answer::new(200)
                        .header("Content-Type", media_type)
                        .body(bytes.clone());
                    if self.options.no_digest_header {
                        return answer;
                    }
                    answer.header("Docker-Content-Digest", Digest::of(bytes))
                }
                None => Answer::error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
            },
        }
    }

    fn list_tags(&self, repository: &str, query: &[(String, String)]) -> Answer {
        let Some(tags) = self.tags.get(repository) else {
            return Answer::error(404, "NAME_UNKNOWN", "repository name not known to registry");
        };
        let last = query
            .iter()
            .find(|(name, _)| name == "last")
            .map(|(_, value)| value);
        let after = last
            .and_then(|last| tags.iter().position(|tag| tag == last))
            .map_or(0, |place| place + 1);
        let page = self.options.page.unwrap_or(usize::MAX);
        let shown: Vec<&String> = tags.iter().skip(after).take(page).collect();
        let list: Vec<String> = shown.iter().map(|tag| format!("\"{tag}\"")).collect();
        let answer = Answer::new(200).body(format!(
            r#"{{"name":"{repository}","tags":[{}]}}"#,
            list.join(",")
        ));
        match shown.last() {
            Some(last) if after + shown.len() < tags.len() => {
                let link = format!("</v2/{repository}/tags/list?n={page}&last={last}>; rel=\"next\"");
                answer.header("Link", link)
            }
            _ => answer,
        }
    }

    fn list_referrers(&self, repository: &str, digest: &str, query: &[(String, String)]) -> Answer {
        if !self.options.referrers {
            return Answer::error(404, "NOT_FOUND", "no such route");
        }
        let wanted = query
            .iter()
            .find(|(name, _)| name == "artifactType")
            .map(|(_, value)| value.as_str());
        let mut members = Vec::new();
        for ((other, name), (media_type, bytes)) in &self.manifests {
            if other != repository || !name.contains(':') || subject(bytes).as_deref() != Some(digest) {
                continue;
            }
            let kind = text_field(bytes, "artifactType").unwrap_or_default();
            if wanted.is_none_or(|wanted| wanted == kind) {
                members.push(format!(
                    r#"{{"mediaType":"{media_type}","digest":"{name}","size":{},"artifactType":"{kind}"}}"#,
                    bytes.len()
                ));
            }
        }
        let body = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{}]}}"#,
            members.join(",")
        );
        Answer::new(200)
            .header("Content-Type", "application/vnd.oci.image.index.v1+json")
            .body(body)
    }
}

/// The digest of a manifest's subject. Read by hand: what is tested reads JSON with a library.
fn subject(manifest: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(manifest).ok()?;
    let (_, rest) = text.split_once("\"subject\":")?;
    text_field(rest.as_bytes(), "digest")
}

fn text_field(document: &[u8], name: &str) -> Option<String> {
    let text = std::str::from_utf8(document).ok()?;
    let (_, rest) = text.split_once(&format!("\"{name}\":\""))?;
    Some(rest.split('"').next()?.to_owned())
}
