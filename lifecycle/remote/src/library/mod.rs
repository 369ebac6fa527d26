//! The library `gix` in place of the program git, where there is none.
//!
//! It gets as little of this machine as it needs: no configuration, no variables, no credential helpers, and nothing that it
//! could start. What it says to a server goes through our own [`Web`], with the guards that hold for files: proxies,
//! authorities, patience, redirects, passwords for their own host alone. Objects are named by what they hold when they come,
//! so that no server can give another content for a commit.

mod conversation;
mod directory;
mod submodules;
mod tree;

use std::io::{Read, Write};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;
use gix::ObjectId;
use gix::protocol::handshake::Ref;
use gix::protocol::ls_refs::RefPrefixes;
use gix::protocol::transport::client::git::ConnectMode;
use gix::protocol::transport::client::git::blocking_io::Connection;
use gix::protocol::transport::{Protocol, Service};
use lifecycle_registry::{Pem, Web};
use url::Url;

use self::conversation::{Conversation, Hand, Line};
use self::directory::Directory;
use self::tree::{Beyond, Fault};
use crate::checkout::Order;
use crate::wanted::{Offered, Wanted};
use crate::{Checkout, Depth, RemoteError};

/// What we say we are.
const AGENT: &str = concat!("lifecycle/", env!("CARGO_PKG_VERSION"));

/// One checkout by the library.
#[derive(Debug)]
pub(crate) struct Library<'a> {
    order: &'a Order<'a>,
    web: Web,
}

/// What was fetched.
#[derive(Debug)]
struct Fetched {
    commit: ObjectId,
    /// The names that the repository here gets.
    names: Vec<(String, ObjectId)>,
}

/// What is said to a server, and what it says.
type Stream = Connection<Box<dyn Read>, Box<dyn Write>>;

/// A server that has said what it can do.
struct Server {
    connection: Stream,
    handshake: gix::protocol::Handshake,
    /// Where HTTP's errors are.
    hand: Option<Hand>,
}

impl<'a> Library<'a> {
    pub(crate) fn new(order: &'a Order<'a>, web: &Web) -> Result<Self, RemoteError> {
        let settings = order.settings;
        let read = |path: &PathBuf| {
            let text = fs::read(path).map_err(RemoteError::io("read", path))?;
            let origin = path.display().to_string();
            Ok::<_, RemoteError>(Pem { origin, text })
        };
        let authorities = settings.authorities.as_ref().map(read).transpose()?;
        let web = if authorities.is_none() && settings.verify {
            web.clone()
        } else {
            web.trusting(authorities, settings.verify)?
        };
        Ok(Self { order, web })
    }

    pub(crate) fn check_out(&self, here: &Path) -> Result<Checkout, RemoteError> {
        self.check_out_beside(here, &here.join(".git"))
    }

    /// Puts the files here, and what git knows of them into a directory of its `own`.
    fn check_out_beside(&self, here: &Path, own: &Path) -> Result<Checkout, RemoteError> {
        let directory = Directory::create(own)?;
        let fetched = self.fetch(own)?;
        directory.write(self.order, here, &fetched)?;
        let repository = tree::open(own).map_err(|error| self.failed(error))?;
        let time = tree::check_out(&repository, fetched.commit, here).map_err(|error| self.failed(error))?;
        if self.order.repository.submodules {
            self.check_out_submodules(&repository, fetched.commit, here, &directory)?;
        }
        Ok(Checkout {
            commit: fetched.commit.to_string(),
            time,
        })
    }

    /// Fetches what is wanted into a new repository.
    fn fetch(&self, own: &Path) -> Result<Fetched, RemoteError> {
        let wanted = match self.find(own) {
            Ok(wanted) => wanted,
            Err(RemoteError::Missing { .. }) if self.order.may_be_commit() => {
                return self.fetch_everything(own);
            }
            Err(error) => return Err(error),
        };
        let object = self.object(&wanted.object)?;
        let fetched = || {
            let names = wanted.local.iter().cloned();
            // As everybody knows a branch of somebody else.
            let names = names.chain(wanted.local.as_deref().and_then(tracking));
            Ok(Fetched {
                commit: self.resolve(own, object)?,
                names: names.map(|name| (name, object)).collect(),
            })
        };
        if let Depth::Commits(depth) = self.order.repository.depth {
            match self.receive(own, &[object], Some(depth)) {
                Ok(()) => return fetched(),
                // Some servers have whole histories only, and some do not give a commit by its name.
                Err(error) => tracing::debug!(%error, "fetching without a depth"),
            }
        }
        match self.receive(own, &[object], None) {
            Ok(()) => fetched(),
            Err(_) if wanted.local.is_none() => self.fetch_everything(own),
            Err(error) => Err(error),
        }
    }

    /// Asks the other side what the reference stands for.
    fn find(&self, own: &Path) -> Result<Wanted, RemoteError> {
        if let Some(commit) = self.order.commit() {
            return Ok(commit);
        }
        let prefixes = match self.order.repository.reference.as_deref() {
            Some(reference) => vec![
                format!("refs/heads/{reference}"),
                format!("refs/tags/{reference}"),
                reference.to_owned(),
            ],
            None => vec!["HEAD".to_owned()],
        };
        let mut server = self.meet(own)?;
        self.order.choose(&self.list(&mut server, &prefixes)?)
    }

    /// Fetches the whole history, to find a commit by the beginning of its name.
    fn fetch_everything(&self, own: &Path) -> Result<Fetched, RemoteError> {
        let mut server = self.meet(own)?;
        let prefixes = ["refs/heads/", "refs/tags/"];
        let mut offered = self.list(&mut server, &prefixes.map(str::to_owned))?;
        offered.retain(|offered| prefixes.iter().any(|prefix| offered.name.starts_with(prefix)));
        let mut names = Vec::new();
        for offered in offered {
            let object = self.object(&offered.object)?;
            let name = tracking(&offered.name).unwrap_or(offered.name);
            names.push((name, object));
        }
        let mut objects: Vec<ObjectId> = names.iter().map(|(_, object)| *object).collect();
        objects.sort_unstable();
        objects.dedup();
        self.receive(own, &objects, None)?;
        let reference = self.order.repository.reference.as_deref().unwrap_or_default();
        let repository = tree::open(own).map_err(|error| self.failed(error))?;
        let commit = tree::commit_of_prefix(&repository, reference).map_err(|error| self.failed(error))?;
        Ok(Fetched {
            commit: commit.ok_or_else(|| self.order.unknown())?,
            names,
        })
    }

    /// The commit that an object is, or that a tag leads to.
    fn resolve(&self, own: &Path, object: ObjectId) -> Result<ObjectId, RemoteError> {
        let repository = tree::open(own).map_err(|error| self.failed(error))?;
        tree::commit_of(&repository, object).map_err(|error| self.failed(error))
    }

    fn object(&self, name: &str) -> Result<ObjectId, RemoteError> {
        if name.len() == 64 {
            return Err(self.names_too_long());
        }
        ObjectId::from_hex(name.as_bytes()).map_err(|error| self.failed(error))
    }

    fn names_too_long(&self) -> RemoteError {
        self.needs_program(
            "its objects are named by SHA-256",
            "for the library that takes its place knows SHA-1 alone",
        )
    }

    /// Begins to speak to the server.
    fn meet(&self, own: &Path) -> Result<Server, RemoteError> {
        let (mut connection, hand) = self.connect(own)?;
        let nobody = |_| Ok(None);
        let handshake = gix::protocol::handshake(
            &mut connection,
            Service::UploadPack,
            nobody,
            Vec::new(),
            &mut gix::progress::Discard,
        );
        let handshake = handshake.map_err(|error| self.broken(hand.as_ref(), error))?;
        let format = handshake.capabilities.capability("object-format");
        let format = format.and_then(|format| format.value().map(ToString::to_string));
        if format.is_some_and(|format| format != "sha1") {
            return Err(self.names_too_long());
        }
        Ok(Server {
            connection,
            handshake,
            hand,
        })
    }

    fn connect(&self, scratch: &Path) -> Result<(Stream, Option<Hand>), RemoteError> {
        let url = self.order.address.url.as_str();
        match url.split_once("://").map(|(scheme, _)| scheme) {
            Some("http" | "https") => {
                let hand = Conversation::begin(self.order, &self.web, scratch)?;
                let connection = Connection::new(
                    Box::new(hand.clone()) as _,
                    Box::new(hand.clone()) as _,
                    Protocol::V2,
                    "",
                    None::<(&str, _)>,
                    ConnectMode::Process,
                    false,
                );
                Ok((connection, Some(hand)))
            }
            Some("git") => {
                let fault = |reason: String| RemoteError::Address {
                    address: self.order.address.shown.clone(),
                    reason,
                };
                let url = Url::parse(url).map_err(|error| fault(error.to_string()))?;
                let host = url.host_str().ok_or_else(|| fault("it has no host".to_owned()))?;
                let patience = Duration::from_secs(self.order.settings.patience.into());
                let line = Line::connect(&self.web.addresses(host)?, url.port(), patience);
                let parts = line.and_then(|line| Ok((line.writer()?, line)));
                let (writer, line) = parts.map_err(|error| self.failed(error))?;
                let connection = Connection::new(
                    Box::new(line) as _,
                    Box::new(writer) as _,
                    Protocol::V2,
                    url.path(),
                    Some((host, url.port())),
                    ConnectMode::Daemon,
                    false,
                );
                Ok((connection, None))
            }
            Some("file") => Err(self.needs_program(
                "a repository of this machine is read by it alone",
                "or name the directory of its files",
            )),
            _ if url.contains("://") || url.contains('@') => Err(self.needs_program(
                "ssh is a program that only git starts",
                "and ssh, or take the address that the repository has with https://",
            )),
            _ => Err(self.needs_program(
                "a repository of this machine is read by it alone",
                "or name the directory of its files",
            )),
        }
    }

    /// The names that the server has, of those that begin so.
    fn list(&self, server: &mut Server, prefixes: &[String]) -> Result<Vec<Offered>, RemoteError> {
        let names = if let Some(names) = server.handshake.refs.take() {
            names
        } else {
            let mut wanted = RefPrefixes::new();
            wanted.extend(prefixes.iter().map(|prefix| prefix.as_str().into()));
            let agent = ("agent", Some(AGENT.into()));
            gix::protocol::LsRefsCommand::new(Some(wanted), &server.handshake.capabilities, agent)
                .invoke_blocking(&mut server.connection, &mut gix::progress::Discard, false)
                .map_err(|error| self.broken(server.hand.as_ref(), error))?
        };
        Ok(names.into_iter().filter_map(offered).collect())
    }

    /// Receives objects, with as much of their history.
    fn receive(
        &self,
        own: &Path,
        objects: &[ObjectId],
        depth: Option<NonZeroU32>,
    ) -> Result<(), RemoteError> {
        let mut server = self.meet(own)?;
        let received = tree::receive(&mut server.connection, &mut server.handshake, own, objects, depth);
        received.map_err(|error| self.broken(server.hand.as_ref(), error))
    }

    /// The error for what the library said.
    fn failed(&self, fault: impl Into<Fault>) -> RemoteError {
        let fault = fault.into();
        if let Some(beyond) = fault.downcast_ref::<Beyond>() {
            return self.needs_program(
                &beyond.to_string(),
                "which knows all that repositories may ask for",
            );
        }
        let (mut said, mut cause) = (fault.to_string(), fault.source());
        while let Some(below) = cause {
            said = format!("{said}: {below}");
            cause = below.source();
        }
        self.order.failed(&said)
    }

    /// The error for a conversation that ended too early: its own, if it has one.
    fn broken(&self, hand: Option<&Hand>, fault: impl Into<Fault>) -> RemoteError {
        match hand.and_then(Hand::failure) {
            Some(failure) => failure.into(),
            None => self.failed(fault),
        }
    }

    fn needs_program(&self, reason: &str, instead: &'static str) -> RemoteError {
        RemoteError::NoGit {
            repository: self.order.address.shown.clone(),
            reason: reason.to_owned(),
            instead,
        }
    }
}

/// A name as the server says it. One that is no text is none that can be asked for.
fn offered(name: Ref) -> Option<Offered> {
    let (name, object, target) = match name {
        Ref::Peeled {
            full_ref_name, tag, ..
        } => (full_ref_name, tag, None),
        Ref::Direct {
            full_ref_name,
            object,
        } => (full_ref_name, object, None),
        Ref::Symbolic {
            full_ref_name,
            target,
            tag,
            object,
        } => (full_ref_name, tag.unwrap_or(object), Some(target)),
        Ref::Unborn { .. } => return None,
    };
    Some(Offered {
        name: String::from_utf8(name.into()).ok()?,
        object: object.to_string(),
        target: target.and_then(|target| String::from_utf8(target.into()).ok()),
    })
}

/// What a branch of the server is called here.
fn tracking(name: &str) -> Option<String> {
    let branch = name.strip_prefix("refs/heads/")?;
    Some(format!("refs/remotes/origin/{branch}"))
}
