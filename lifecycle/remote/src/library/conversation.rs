//! What is said to a git server and what it answers, as one stream each way: how the library speaks to all servers.
//!
//! Behind HTTP every question is a request of its own. What is written is collected until somebody reads; then it is posted, and
//! the answer is read from a file, so that a connection that breaks is made again without anybody noticing.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use lifecycle_image::{TransferError, TransferErrorKind};
use lifecycle_registry::{Answered, Pace, Question, Secret, Web, WebFile};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use url::Url;

use crate::checkout::Order;
use crate::{GitAuthorization, RemoteError};

/// The service that gives objects, and what its address ends with before the first question.
const SERVICE: &str = "git-upload-pack";
const BEGINNING: &str = "info/refs?service=git-upload-pack";
/// What the first line says where a web server passes the service on.
const ANNOUNCEMENT: &[u8] = b"# service=git-upload-pack";
/// The version that is asked for; whoever does not know it answers in an older one.
const VERSION: &str = "version=2";
/// A server has much to do before it sends much: 64 KiB may take so many times the patience for silence.
const PATIENCES: u32 = 10;
/// The port of `git://`.
const PORT: u16 = 9418;

/// A conversation through HTTP.
#[derive(Debug)]
pub(super) struct Conversation {
    web: Web,
    /// The repository's address, to which a redirect at the beginning may have led.
    base: Url,
    /// Who we are, and for which origin.
    authorization: Option<(String, GitAuthorization)>,
    /// Whether the server asked who we are. A password is not given before.
    is_asked: bool,
    /// Whether the server speaks the version that was asked for.
    is_current: bool,
    /// What was written since somebody read.
    question: Vec<u8>,
    answer: File,
    /// What went wrong, which is more than a stream can say.
    failure: Option<TransferError>,
}

/// A hand of a conversation: one reads, one writes, one asks for what went wrong.
#[derive(Debug, Clone)]
pub(super) struct Hand(Rc<RefCell<Conversation>>);

impl Conversation {
    /// Begins one about the repository of an order. What is read first is what the server says of itself.
    pub(super) fn begin(order: &Order<'_>, web: &Web, scratch: &Path) -> Result<Hand, RemoteError> {
        let fault = |reason: String| RemoteError::Address {
            address: order.address.shown.clone(),
            reason,
        };
        let base = Url::parse(&order.address.url).map_err(|error| fault(error.to_string()))?;
        let own = order.authorization();
        let mut conversation = Self {
            web: web.clone(),
            base,
            authorization: own.map(|(origin, own)| (origin.to_owned(), own.clone())),
            is_asked: false,
            is_current: false,
            question: Vec::new(),
            answer: tempfile::tempfile_in(scratch).map_err(RemoteError::io("create a file in", scratch))?,
            failure: None,
        };
        let answered = conversation.ask(BEGINNING, None)?;
        if answered.content_type.as_deref() != Some("application/x-git-upload-pack-advertisement") {
            return Err(RemoteError::NoGit {
                repository: order.address.shown.clone(),
                reason: "the server gives files and does not speak git's protocol".to_owned(),
                instead: "or take the repository from a server that does",
            });
        }
        let address = answered.url.as_str();
        let base = address.strip_suffix(BEGINNING);
        let base = base.and_then(|base| Url::parse(base.trim_end_matches('/')).ok());
        conversation.base = base.ok_or_else(|| {
            fault(format!(
                "it redirects to {}, which is no repository",
                crate::repository::shown(address)
            ))
        })?;
        conversation
            .skip_announcement()
            .map_err(RemoteError::io("read", Path::new("the server's answer")))?;
        Ok(Hand(Rc::new(RefCell::new(conversation))))
    }

    /// Asks for something below the repository; the answer can be read then.
    fn ask(&mut self, below: &str, body: Option<Vec<u8>>) -> Result<Answered, TransferError> {
        let mut headers = HeaderMap::new();
        if body.is_none() || self.is_current {
            headers.insert(
                HeaderName::from_static("git-protocol"),
                HeaderValue::from_static(VERSION),
            );
        }
        if body.is_some() {
            let kind = HeaderValue::from_static("application/x-git-upload-pack-request");
            headers.insert(CONTENT_TYPE, kind);
            let kind = HeaderValue::from_static("application/x-git-upload-pack-result");
            headers.insert(ACCEPT, kind);
        }
        let body = body.map(Into::into);
        loop {
            let (url, header) = self.address(below)?;
            let question = Question {
                to: WebFile {
                    url: &url,
                    authorization: header.as_ref(),
                    limit: u64::MAX,
                },
                headers: headers.clone(),
                body: body.clone(),
            };
            let answered = match self.web.ask(&question, &self.answer) {
                Err(error) if error.kind == TransferErrorKind::Unauthorized && self.may_say_more() => {
                    self.is_asked = true;
                    continue;
                }
                answered => answered?,
            };
            self.answer
                .seek(SeekFrom::Start(0))
                .map_err(|cause| TransferError::from_io("cannot read an answer", cause))?;
            return Ok(answered);
        }
    }

    /// An address below the repository, with what we say of ourselves there. Another origin learns nothing about us.
    fn address(&self, below: &str) -> Result<(Url, Option<Secret>), TransferError> {
        let base = self.base.as_str().trim_end_matches('/');
        let fault =
            |_| TransferError::new(TransferErrorKind::Unsupported, "a repository has no such address");
        let mut url = Url::parse(&format!("{base}/{below}")).map_err(fault)?;
        match self.own() {
            Some(GitAuthorization::Header(header)) => return Ok((url, Some(header.clone()))),
            Some(GitAuthorization::Basic { username, password }) if self.is_asked => {
                let set = url
                    .set_username(username)
                    .and_then(|()| url.set_password(Some(password.reveal())));
                if set.is_err() {
                    let message = "a repository has no host that a password could be for";
                    return Err(TransferError::new(TransferErrorKind::Unsupported, message));
                }
            }
            _ => {}
        }
        Ok((url, None))
    }

    /// Who we are for the server that is spoken to.
    fn own(&self) -> Option<&GitAuthorization> {
        let (origin, own) = self.authorization.as_ref()?;
        (self.base.origin().ascii_serialization() == *origin).then_some(own)
    }

    fn may_say_more(&self) -> bool {
        !self.is_asked && matches!(self.own(), Some(GitAuthorization::Basic { .. }))
    }

    /// Goes to where the service itself begins to speak, and takes note of the version.
    fn skip_announcement(&mut self) -> io::Result<()> {
        let mut line = self.line()?;
        if line.starts_with(ANNOUNCEMENT) {
            // An empty one ends the announcement.
            self.line()?;
            let begin = self.answer.stream_position()?;
            line = self.line()?;
            self.answer.seek(SeekFrom::Start(begin))?;
        } else {
            self.answer.seek(SeekFrom::Start(0))?;
        }
        self.is_current = line.starts_with(b"version 2");
        Ok(())
    }

    /// The next line of the answer: four digits that say how long it is, themselves included, and so much text.
    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut digits = [0; 4];
        self.answer.read_exact(&mut digits)?;
        let digits = std::str::from_utf8(&digits).map_err(io::Error::other)?;
        let length = u64::from_str_radix(digits, 16).map_err(io::Error::other)?;
        let mut line = Vec::new();
        (&self.answer)
            .take(length.saturating_sub(4))
            .read_to_end(&mut line)?;
        Ok(line)
    }
}

impl Hand {
    /// What went wrong with the conversation itself, if anything did.
    pub(super) fn failure(&self) -> Option<TransferError> {
        self.0.borrow_mut().failure.take()
    }
}

impl Write for Hand {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().question.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Hand {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut conversation = self.0.borrow_mut();
        if !conversation.question.is_empty() {
            let question = std::mem::take(&mut conversation.question);
            if let Err(error) = conversation.ask(SERVICE, Some(question)) {
                conversation.failure = Some(error);
                return Err(io::Error::other("the server did not answer"));
            }
        }
        conversation.answer.read(into)
    }
}

/// A connection to a server that speaks git's protocol itself (`git://`).
#[derive(Debug)]
pub(super) struct Line {
    stream: TcpStream,
    pace: Pace,
}

impl Line {
    /// Connects; who is silent for longer than `patience` is given up.
    pub(super) fn connect(addresses: &[IpAddr], port: Option<u16>, patience: Duration) -> io::Result<Self> {
        let mut last = io::ErrorKind::NotFound.into();
        for address in addresses {
            let address = SocketAddr::new(*address, port.unwrap_or(PORT));
            match TcpStream::connect_timeout(&address, patience) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(patience))?;
                    stream.set_write_timeout(Some(patience))?;
                    let pace = Pace::new(patience * PATIENCES);
                    return Ok(Self { stream, pace });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The same connection, to write to.
    pub(super) fn writer(&self) -> io::Result<TcpStream> {
        self.stream.try_clone()
    }
}

impl Read for Line {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let begun = Instant::now();
        let came = self.stream.read(into)?;
        if self.pace.note(begun.elapsed(), came) {
            return Ok(came);
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "too little came"))
    }
}
