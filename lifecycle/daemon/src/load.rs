//! Writing images into a daemon.

use std::io::{self, Write};
use std::sync::Arc;

use lifecycle_image::{
    DiffId, Digest, Image, Index, Layer, Receipt, Reference, Sink, Source as _, TransferError,
    TransferErrorKind, Upload,
};
use serde::Serialize;

use crate::daemon::{Daemon, hex, lock};

impl Sink for Daemon {
    fn begin(&self, names: &[Reference]) -> Result<Box<dyn Upload>, TransferError> {
        if let Some(name) = names.iter().find(|name| name.digest().is_some()) {
            return Err(TransferError::new(
                TransferErrorKind::Unsupported,
                format!("{name} cannot be written: a daemon names images by tags"),
            ));
        }
        Ok(Box::new(DaemonUpload {
            daemon: self.clone(),
            names: names.to_vec(),
        }))
    }
}

/// An image on its way into a daemon. Sizes stand in front of contents in the archive, so sending begins when all layers
/// are made.
struct DaemonUpload {
    daemon: Daemon,
    names: Vec<Reference>,
}

/// `manifest.json` of the archive.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

/// How an attempt to load ended.
enum Attempt {
    Loaded { sent: u64 },
    Refused(TransferError),
}

impl DaemonUpload {
    /// Sends the image without the bytes of its lowest `left_out` layers.
    fn attempt(&self, image: &Image, left_out: usize) -> Result<Attempt, TransferError> {
        let config = image.encode_config()?;
        let name = format!("{}.json", config.descriptor.digest.hex());
        let mut layers = Vec::new();
        for (at, layer) in image.layers().iter().enumerate() {
            let content = if at < left_out {
                None
            } else {
                // Opened before the connection is busy: the bytes of one may have to come through it, too.
                let size = layer.descriptor()?.size;
                Some((size, layer.open(0)?))
            };
            layers.push(content);
        }
        let names = |at: usize| format!("layer-{at}.tar");
        let manifest = [Entry {
            config: name.clone(),
            repo_tags: self.names.iter().map(tag_of).collect(),
            layers: (0..layers.len()).map(names).collect(),
        }];
        let manifest = serde_json::to_vec(&manifest).map_err(|cause| {
            TransferError::caused(TransferErrorKind::Local, "cannot write manifest.json", cause)
        })?;
        let mut sent = 0;
        let mut body = |out: &mut dyn Write| -> io::Result<()> {
            let mut tar = tar::Builder::new(out);
            append(&mut tar, &name, config.bytes.len() as u64, &mut &config.bytes[..])?;
            for (at, content) in layers.iter_mut().enumerate() {
                match content {
                    None => append(&mut tar, &names(at), 0, &mut io::empty())?,
                    Some((size, reader)) => {
                        append(&mut tar, &names(at), *size, reader)?;
                        sent += *size;
                    }
                }
            }
            append(
                &mut tar,
                "manifest.json",
                manifest.len() as u64,
                &mut &manifest[..],
            )?;
            tar.into_inner()?.flush()
        };
        let (answer, told) = self.daemon.0.load(&mut body)?;
        let what = "to load the image";
        if answer.status != 200 {
            return Ok(Attempt::Refused(self.daemon.0.refused(
                answer.status,
                &told,
                what,
            )));
        }
        // What goes wrong while loading is told in the stream of what happens.
        match error_in(&told) {
            Some(message) => {
                let body = serde_json::json!({ "message": message }).to_string();
                Ok(Attempt::Refused(self.daemon.0.refused(
                    200,
                    body.as_bytes(),
                    what,
                )))
            }
            None => Ok(Attempt::Loaded { sent }),
        }
    }
}

impl Upload for DaemonUpload {
    /// They are read from the image when all are made.
    fn layer(&mut self, _: Arc<dyn Layer>) {}

    fn member(&mut self, _: &Image) -> Result<Receipt, TransferError> {
        Err(no_index())
    }

    fn finish(self: Box<Self>, image: &Image) -> Result<Receipt, TransferError> {
        let diff_ids = image
            .layers()
            .iter()
            .map(|layer| layer.diff_id())
            .collect::<Result<Vec<DiffId>, _>>()?;
        let known = self.daemon.0.known_layers(&diff_ids);
        let mut existed = known;
        let sent = match self.attempt(image, known)? {
            Attempt::Loaded { sent } => sent,
            // Not every daemon does without what it has: those that keep images as registries do want all of it.
            Attempt::Refused(_) if known > 0 => match self.attempt(image, 0)? {
                Attempt::Loaded { sent } => {
                    existed = 0;
                    sent
                }
                Attempt::Refused(error) => return Err(error),
            },
            Attempt::Refused(error) => return Err(error),
        };
        // Only the daemon knows what it calls the image.
        let config = image.encode_config()?.descriptor.digest;
        let digest = match self.names.first() {
            Some(name) => self.daemon.loaded(name, &config)?,
            None => config,
        };
        Ok(Receipt {
            names: self.names,
            digest,
            manifest_size: 0,
            sent,
            existed,
            mounted: 0,
        })
    }

    fn finish_index(self: Box<Self>, _: &Index) -> Result<Receipt, TransferError> {
        Err(no_index())
    }
}

impl Daemon {
    /// The id that the daemon gave to an image with this configuration.
    fn loaded(&self, name: &Reference, config: &Digest) -> Result<Digest, TransferError> {
        let image = self.image(name, &lifecycle_image::Platform::host())?;
        let id = self.id(&image)?;
        lock(&self.0.ids).insert(config.clone(), hex(&id));
        format!("sha256:{id}").parse().map_err(|cause| {
            let text = format!("the daemon calls {name} {id:?}, which is no id");
            TransferError::caused(TransferErrorKind::Unsupported, text, Box::new(cause))
        })
    }
}

/// The name with its tag, which archives need to have.
fn tag_of(name: &Reference) -> String {
    format!(
        "{}:{}",
        name.repository().familiar(),
        name.tag().unwrap_or("latest")
    )
}

fn append<W: Write>(
    tar: &mut tar::Builder<W>,
    name: &str,
    size: u64,
    content: &mut dyn io::Read,
) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o644);
    header.set_size(size);
    let mut counted = Counted { content, left: size };
    tar.append_data(&mut header, name, &mut counted)?;
    if counted.left == 0 {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// As many bytes as were announced.
struct Counted<'a> {
    content: &'a mut dyn io::Read,
    left: u64,
}

impl io::Read for Counted<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let most = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.content.read(&mut bytes[..most])?;
        self.left -= count as u64;
        Ok(count)
    }
}

/// The error in a stream of JSON objects, if there is one.
fn error_in(told: &[u8]) -> Option<String> {
    let stream = serde_json::Deserializer::from_slice(told).into_iter::<serde_json::Value>();
    let mut objects = stream.map_while(Result::ok);
    objects.find_map(|object| object.get("error")?.as_str().map(str::to_owned))
}

fn no_index() -> TransferError {
    let text = "a daemon holds images for one platform each, not indexes";
    TransferError::new(TransferErrorKind::Unsupported, text)
}
