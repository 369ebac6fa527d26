//! A registry that can be told to fail.
//!
//! It speaks enough of the distribution protocol to take and give images, and records every request. [`Rule`]s make it
//! misbehave: answer with errors, cut streams, lie, redirect, drip.

mod routes;
mod serve;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lifecycle_image::Digest;

use super::wire::{self, Request, Server};

/// A registry on a loopback port of its own, for as long as the value lives.
pub struct FakeRegistry {
    server: Server,
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
    /// Every page of its lists leads to another one, and is this many bytes long.
    pub endless: Option<usize>,
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
    /// Takes the request and does nothing with it until [`FakeRegistry::release`].
    Hold,
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
    /// Targets of requests that are answered later.
    delayed: Vec<String>,
    /// How often held requests were released.
    releases: usize,
    seen: Vec<Seen>,
    blobs: BTreeMap<(String, Digest), Vec<u8>>,
    manifests: BTreeMap<(String, String), (String, Vec<u8>)>,
    tags: BTreeMap<String, Vec<String>>,
    sessions: BTreeMap<String, Vec<u8>>,
    tokens: BTreeMap<String, Vec<String>>,
    counter: usize,
}

impl FakeRegistry {
    /// A registry that lets everybody in and does everything right.
    pub fn start() -> Self {
        Self::start_with(Options::default())
    }

    /// A registry made so.
    pub fn start_with(options: Options) -> Self {
        let state = Arc::new(Mutex::new(State {
            options,
            ..State::default()
        }));
        let own = Arc::clone(&state);
        let server = Server::start(move |connection, request| serve::serve(connection, request, &own));
        server.address().clone_into(&mut state.lock().unwrap().host);
        Self { server, state }
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        self.server.address()
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
        let mut state = self.state.lock().unwrap();
        state.seen.clear();
        state.delayed.clear();
    }

    /// How many requests of a method had this in their path or query.
    pub fn count(&self, method: &str, part: &str) -> usize {
        let fits = |seen: &&Seen| (method.is_empty() || seen.method == method) && seen.target.contains(part);
        self.seen().iter().filter(fits).count()
    }

    /// How many requests have come that it takes its time with, with this in their path or query.
    pub fn waiting(&self, part: &str) -> usize {
        let state = self.state.lock().unwrap();
        state
            .delayed
            .iter()
            .filter(|target| target.contains(part))
            .count()
    }

    /// Lets requests that are held go on.
    pub fn release(&self) {
        self.state.lock().unwrap().releases += 1;
    }

    /// The names and digests of the manifests that are there, of all repositories.
    pub fn manifests(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state.manifests.keys().map(|(_, name)| name.clone()).collect()
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

    /// Loses a blob, as a collection of garbage does that came too early.
    pub fn lose_blob(&self, repository: &str, digest: &Digest) {
        let key = (repository.to_owned(), digest.clone());
        self.state.lock().unwrap().blobs.remove(&key);
    }

    /// Forgets the uploads that have begun.
    pub fn forget_uploads(&self) {
        self.state.lock().unwrap().sessions.clear();
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

impl State {
    fn take_rule(&mut self, request: &Request) -> Option<Action> {
        let fits = |rule: &&mut Rule| {
            rule.times > 0
                && (rule.method.is_empty() || rule.method == request.method)
                && request.target.contains(&rule.part)
        };
        let rule = self.rules.iter_mut().find(fits)?;
        if rule.skip > 0 {
            rule.skip -= 1;
            return None;
        }
        rule.times -= 1;
        Some(rule.action.clone())
    }

    fn record(&mut self, request: &Request, body: Vec<u8>, status: u16) {
        let Request {
            method,
            target,
            headers,
        } = request.clone();
        self.seen.push(Seen {
            method,
            target,
            headers,
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
}
