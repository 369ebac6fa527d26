//! A daemon as a source of images.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lifecycle_image::archive::Archive;
use lifecycle_image::{
    Artifact, DiffId, Digest, Family, Image, ImageConfig, Layer, MediaType, RawDocument, Reference, Source,
    TransferError, TransferErrorKind,
};
use serde::de::DeserializeOwned;

use crate::address::Address;
use crate::connection::{Answer, Body, Connection};
use crate::inspect::{HistoryLine, Inspected};
use crate::layer::DaemonLayer;

/// A daemon cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Nobody answers.
    #[error("cannot reach a daemon at {address}; is it running, and may this user open its socket?")]
    Unreachable {
        /// Where it should be.
        address: Address,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// Somebody answers who is no daemon.
    #[error(
        "what answers at {address} is no docker or podman daemon: it answers a ping with status {status}"
    )]
    NoDaemon {
        /// Where it is.
        address: Address,
        /// How it answered.
        status: u16,
    },
}

/// The images of a daemon. Clones share its connection.
#[derive(Debug, Clone)]
pub struct Daemon(pub(crate) Arc<Shared>);

#[derive(Debug)]
pub(crate) struct Shared {
    address: Address,
    connection: Mutex<Connection>,
    /// In front of every path, if a version of the interface was asked for.
    prefix: String,
    /// Where images are saved to when their layers are needed.
    spool: PathBuf,
    /// The ids of images that were looked at, by the digest of the configuration that we made of what was told.
    pub(crate) ids: Mutex<HashMap<Digest, String>>,
    /// The layers of images that were looked at.
    chains: Mutex<Vec<Vec<DiffId>>>,
    /// Images that were saved, by id.
    saved: Mutex<HashMap<String, Archive>>,
}

/// The most bytes of an answer that is read into memory.
const LARGEST_ANSWER: usize = 32 << 20;

impl Daemon {
    /// Connects. `version` is that of the daemon's interface, if one was asked for (`DOCKER_API_VERSION`); `spool` is a
    /// directory for images that have to be saved.
    pub fn connect(
        address: &Address,
        version: Option<&str>,
        spool: impl Into<PathBuf>,
    ) -> Result<Self, DaemonError> {
        let unreachable = |cause| DaemonError::Unreachable {
            address: address.clone(),
            cause,
        };
        let mut connection = Connection::open(address.clone()).map_err(unreachable)?;
        let answer = connection.get("/_ping", &mut io::sink()).map_err(unreachable)?;
        if answer.status != 200 {
            return Err(DaemonError::NoDaemon {
                address: address.clone(),
                status: answer.status,
            });
        }
        Ok(Self(Arc::new(Shared {
            address: address.clone(),
            connection: Mutex::new(connection),
            prefix: version
                .map(|version| format!("/v{}", version.trim_start_matches('v')))
                .unwrap_or_default(),
            spool: spool.into(),
            ids: Mutex::default(),
            chains: Mutex::default(),
            saved: Mutex::default(),
        })))
    }

    /// What names exactly an image that came from here or was written here: its id, without an algorithm.
    pub fn id(&self, image: &Image) -> Result<String, TransferError> {
        let digest = image.encode_config()?.descriptor.digest;
        let known = lock(&self.0.ids).get(&digest).cloned();
        Ok(known.unwrap_or_else(|| digest.hex().to_owned()))
    }

    /// The image that a daemon's name or id stands for.
    fn look_at(&self, name: &str) -> Result<Image, TransferError> {
        let shared = &self.0;
        let inspected: Inspected = shared.ask(&format!("/images/{name}/json"), name)?;
        let id = inspected.id.clone();
        // podman cannot tell the history of images whose lines have no time. Then the lines are blank, as they are for
        // every image whose history does not fit its layers.
        let lines: Vec<HistoryLine> = match shared.ask(&format!("/images/{id}/history"), name) {
            Ok(lines) => lines,
            Err(error) if error.kind == TransferErrorKind::Unavailable && error.cause.is_none() => Vec::new(),
            Err(error) => return Err(error),
        };
        let config = inspected.config(lines);
        let chain = config.rootfs.diff_ids.clone();
        let layers = chain.iter().map(|diff_id| {
            let layer = DaemonLayer::new(self.clone(), id.clone(), diff_id.clone());
            Arc::new(layer) as Arc<dyn Layer>
        });
        let document = RawDocument::new(MediaType::config(Family::Docker), encode(&config)?);
        lock(&shared.ids).insert(document.descriptor.digest.clone(), hex(&id));
        let image = Image::assemble(document, layers.collect())?;
        lock(&shared.chains).push(chain);
        Ok(image)
    }
}

impl Source for Daemon {
    fn artifact(&self, reference: &Reference) -> Result<Artifact, TransferError> {
        self.look_at(&reference.familiar())
            .map(|image| Artifact::Image(Box::new(image)))
    }

    /// The image with an id, whatever its name.
    fn member(&self, _: &Reference, digest: &Digest) -> Result<Image, TransferError> {
        self.look_at(digest.as_str())
    }
}

impl Shared {
    /// Asks for a document about an image.
    fn ask<T: DeserializeOwned>(&self, path: &str, name: &str) -> Result<T, TransferError> {
        let mut body = Bounded(Vec::new());
        let answer = self.get(path, &mut body)?;
        self.check(&answer, &body.0, name)?;
        serde_json::from_slice(&body.0).map_err(|cause| {
            let text = format!(
                "the daemon at {} answers {path} with what makes no sense",
                self.address
            );
            TransferError::caused(TransferErrorKind::Unsupported, text, cause)
        })
    }

    fn get(&self, path: &str, out: &mut dyn io::Write) -> Result<Answer, TransferError> {
        let path = format!("{}{path}", self.prefix);
        lock(&self.connection)
            .get(&path, out)
            .map_err(|cause| self.lost(cause))
    }

    /// Sends an archive of images; gives what the daemon answered.
    pub(crate) fn load(&self, body: Body<'_>) -> Result<(Answer, Vec<u8>), TransferError> {
        let path = format!("{}/images/load?quiet=1", self.prefix);
        let mut out = Bounded(Vec::new());
        let answer = lock(&self.connection)
            .post(&path, body, &mut out)
            .map_err(|cause| self.lost(cause))?;
        Ok((answer, out.0))
    }

    /// An image with all of its layers, which is saved once.
    pub(crate) fn saved(&self, id: &str) -> Result<Archive, TransferError> {
        let mut saved = lock(&self.saved);
        if let Some(archive) = saved.get(id) {
            return Ok(archive.clone());
        }
        let local =
            |cause| TransferError::from_io(format!("cannot save the image {id} of the daemon"), cause);
        let mut file = tempfile::tempfile_in(&self.spool).map_err(local)?;
        let answer = self.get(&format!("/images/{id}/get"), &mut file)?;
        if answer.status != 200 {
            return Err(self.refused(answer.status, &[], &format!("to save the image {id}")));
        }
        io::Seek::rewind(&mut file).map_err(local)?;
        let archive = Archive::read(file, &self.spool)?;
        saved.insert(id.to_owned(), archive.clone());
        Ok(archive)
    }

    /// The lowest layers of an image that the daemon has in this order, as far as we have seen.
    pub(crate) fn known_layers(&self, diff_ids: &[DiffId]) -> usize {
        let common = |chain: &Vec<DiffId>| chain.iter().zip(diff_ids).take_while(|(a, b)| a == b).count();
        lock(&self.chains).iter().map(common).max().unwrap_or(0)
    }

    fn check(&self, answer: &Answer, body: &[u8], name: &str) -> Result<(), TransferError> {
        match answer.status {
            200 => Ok(()),
            404 => Err(TransferError::new(
                TransferErrorKind::NotFound,
                format!("the daemon at {} has no image {name}", self.address),
            )),
            status => Err(self.refused(status, body, &format!("to show the image {name}"))),
        }
    }

    pub(crate) fn refused(&self, status: u16, body: &[u8], what: &str) -> TransferError {
        #[derive(serde::Deserialize)]
        struct Told {
            message: String,
        }
        let told = serde_json::from_slice::<Told>(body).map(|told| told.message);
        let reason = told.unwrap_or_else(|_| format!("status {status}"));
        TransferError::new(
            TransferErrorKind::Unavailable,
            format!("the daemon at {} refuses {what}: {reason}", self.address),
        )
    }

    fn lost(&self, cause: io::Error) -> TransferError {
        let text = format!("lost the daemon at {}", self.address);
        TransferError::caused(TransferErrorKind::Unavailable, text, cause)
    }
}

/// An answer that is kept in memory, up to a bound.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > LARGEST_ANSWER {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the answer is too large",
            ));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn encode(config: &ImageConfig) -> Result<Vec<u8>, TransferError> {
    serde_json::to_vec(config).map_err(|cause| {
        TransferError::caused(TransferErrorKind::Local, "cannot write a configuration", cause)
    })
}

/// An id without its algorithm; podman has none in the first place.
pub(crate) fn hex(id: &str) -> String {
    id.strip_prefix("sha256:").unwrap_or(id).to_owned()
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
