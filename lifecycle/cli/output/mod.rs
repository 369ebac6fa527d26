//! `--output`: where the result of a build goes, and in which form.
//!
//! Every output is a [`Sink`]. A [`Form`] is put around it: it gives images their compression, media types, annotations
//! and attestations on the way, whoever built them.

mod files;
mod form;
mod formed;

use std::path::PathBuf;

use lifecycle_image::archive::{ArchiveKind, ArchiveSink};
use lifecycle_image::layout::Layout;
use lifecycle_image::{Compression, Family, Reference, Sink};
use lifecycle_layers::Packing;

use crate::attributes::Attributes;
use crate::failure::Failure;
use crate::place::Place;
use crate::session::{Destination, Session};

use self::files::{FilesSink, FilesTo};
pub(crate) use self::form::{Annotations, Attach, Attest, Finish, Form};
use self::formed::FormedSink;

/// What `--output` says, for messages.
const HELP: &str = "--output is store, registry, oci:DIR, oci-archive:FILE, docker-archive:FILE, or attributes: \
                    type=image|registry|oci|docker|local|tar,…";

/// Where a result goes, and in which form.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    place: To,
    pub(crate) form: Form,
    /// Names besides those of `--tag`.
    pub(crate) names: Vec<Reference>,
    /// Times of its files are no later than `SOURCE_DATE_EPOCH`; nothing was said means yes (M6).
    pub(crate) rewrite_timestamp: Option<bool>,
}

#[derive(Debug, Clone)]
enum To {
    Store,
    Registry,
    Place(Place),
    Files(FilesTo),
}

impl Output {
    /// Reads `store`, a place, or `type=…,…`.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let plain = |place| Self {
            place,
            form: Form::default(),
            names: Vec::new(),
            rewrite_timestamp: None,
        };
        match text {
            "store" => Ok(plain(To::Store)),
            "registry" => Ok(plain(To::Registry)),
            text if text.starts_with("type=") || text.contains(",type=") => Self::of_attributes(text),
            text => match Place::parse(text, Place::Nearest) {
                Ok(Place::Nearest(_) | Place::Store(_) | Place::Registry(_)) | Err(_) => Err(Failure::new(
                    "output",
                    format!("{text:?} is no place for an image"),
                )
                .help(format!("{HELP}; --tag names the image"))),
                Ok(place) => Ok(plain(To::Place(place))),
            },
        }
    }

    fn of_attributes(text: &str) -> Result<Self, Failure> {
        let mut attributes = Attributes::parse("--output", text)?;
        let kind = attributes.need("type")?;
        let place = match kind.as_str() {
            "image" if attributes.flag("push")?.unwrap_or(false) => To::Registry,
            "image" => To::Store,
            "registry" => match attributes.flag("push")? {
                Some(false) => {
                    return Err(attributes.wrong("type=registry pushes; without that it is type=image"));
                }
                _ => To::Registry,
            },
            "oci" => {
                let path = attributes.need("dest")?.into();
                To::Place(match attributes.flag("tar")? {
                    Some(false) => Place::Layout(path, None),
                    _ => Place::OciArchive(path, None),
                })
            }
            "docker" => To::Place(Place::DockerArchive(attributes.need("dest")?.into(), None)),
            "local" => To::Files(FilesTo::Directory(attributes.need("dest")?.into())),
            "tar" => To::Files(match attributes.take("dest")?.as_deref() {
                None | Some("-") => FilesTo::Stdout,
                Some(path) => FilesTo::File(PathBuf::from(path)),
            }),
            other => {
                return Err(attributes
                    .wrong(format!("there is no output of type {other:?}"))
                    .help(HELP));
            }
        };
        let is_image = !matches!(place, To::Files(_));
        let mut names = Vec::new();
        let mut form = Form::default();
        let mut rewrite_timestamp = None;
        if is_image {
            for name in attributes.take_all("name") {
                for name in name.split(',').filter(|name| !name.is_empty()) {
                    names.push(name.parse()?);
                }
            }
            form = take_form(&mut attributes)?;
            rewrite_timestamp = attributes.flag("rewrite-timestamp")?;
        }
        attributes.finish()?;
        Ok(Self {
            place,
            form,
            names,
            rewrite_timestamp,
        })
    }

    /// Whether the result goes to a registry.
    pub(crate) fn is_registry(&self) -> bool {
        matches!(self.place, To::Registry)
    }

    /// Whether the result goes to the local store.
    pub(crate) fn is_store(&self) -> bool {
        matches!(self.place, To::Store)
    }

    /// Whether it is files, and needs no name.
    pub(crate) fn is_files(&self) -> bool {
        matches!(self.place, To::Files(_))
    }

    /// Whether its bytes are what goes to standard output.
    pub(crate) fn takes_stdout(&self) -> bool {
        matches!(self.place, To::Files(FilesTo::Stdout))
    }

    /// Makes ready to write.
    pub(crate) fn open(
        &self,
        names: &[Reference],
        finish: Finish,
        session: &Session,
    ) -> Result<Destination, Failure> {
        let progress = session.progress();
        let mut names = names.to_vec();
        for name in &self.names {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        let sink: Box<dyn Sink> = match &self.place {
            To::Store => Box::new(session.store()?.clone()),
            To::Registry => Box::new(session.registry()?.clone()),
            To::Place(Place::Layout(path, inside)) => {
                let layout = Layout::create(path)?.watched(progress);
                match inside {
                    Some(inside) => Box::new(layout.under(inside)),
                    None => Box::new(layout),
                }
            }
            To::Place(Place::OciArchive(path, inside)) => {
                let archive = ArchiveSink::create(ArchiveKind::Oci, path).watched(progress);
                match inside {
                    Some(inside) => Box::new(archive.under(inside)),
                    None => Box::new(archive),
                }
            }
            To::Place(Place::DockerArchive(path, inside)) => {
                // Docker reads nothing but full names.
                if let Some(inside) = inside {
                    names = vec![inside.parse()?];
                }
                Box::new(ArchiveSink::create(ArchiveKind::Docker, path).watched(progress))
            }
            To::Place(Place::Nearest(_) | Place::Store(_) | Place::Registry(_)) => {
                return Err(Failure::new("output", "this is no place for an image").help(HELP));
            }
            To::Files(to) => Box::new(FilesSink::new(
                to.clone(),
                finish.latest,
                session.environment.temporary_directory(),
            )),
        };
        if names.is_empty() && (self.is_store() || self.is_registry()) {
            return Err(Failure::new("name", "the image has no name").help("name it with --tag NAME"));
        }
        let mut form = self.form.clone();
        form.annotations.extend(&finish.annotations);
        form.base = finish.base;
        form.attach = finish.attach;
        let attest = finish.attest;
        if attest.is_some() && form.attach == Attach::Referrers && !self.is_registry() {
            return Err(Failure::new(
                "output",
                "only a registry lists what refers to an image; attach=referrer needs --output registry",
            ));
        }
        if form.is_plain() && attest.is_none() {
            return Ok(Destination { sink, names });
        }
        let formed = FormedSink {
            sink,
            form,
            attest,
            store: session.store()?.clone(),
            progress: session.progress(),
        };
        Ok(Destination {
            sink: Box::new(formed),
            names,
        })
    }
}

/// The attributes that say how an image is written (O1, O7).
fn take_form(attributes: &mut Attributes) -> Result<Form, Failure> {
    let mut form = Form::default();
    let level = attributes.take("compression-level")?;
    let level: Option<i32> = match level.as_deref().map(str::parse) {
        None => None,
        Some(Ok(level)) => Some(level),
        Some(Err(_)) => return Err(attributes.wrong("compression-level is a number")),
    };
    let compression = attributes.take("compression")?;
    let (compression, stargz) = match compression.as_deref() {
        None if level.is_none() => (None, false),
        None | Some("gzip") => (Some(Compression::Gzip), false),
        Some("zstd") => (Some(Compression::Zstd), false),
        Some("uncompressed") => (Some(Compression::None), false),
        Some("estargz") => (Some(Compression::Gzip), true),
        Some(other) => {
            return Err(attributes.wrong(format!(
                "compression is gzip, zstd, estargz or uncompressed, not {other:?}"
            )));
        }
    };
    form.packing = compression.map(|compression| Packing {
        compression,
        level,
        stargz,
        ..Packing::default()
    });
    form.force = attributes.flag("force-compression")?.unwrap_or(false);
    if form.force && form.packing.is_none() {
        form.packing = Some(Packing::default());
    }
    let is_oci = attributes.flag("oci-mediatypes")?;
    form.family = is_oci.map(|is_oci| if is_oci { Family::Oci } else { Family::Docker });
    let annotations = &mut form.annotations;
    annotations
        .manifest
        .extend(attributes.take_prefixed("annotation."));
    annotations
        .manifest
        .extend(attributes.take_prefixed("annotation-manifest."));
    let descriptor = attributes.take_prefixed("annotation-manifest-descriptor.");
    annotations.descriptor.extend(descriptor);
    annotations
        .index
        .extend(attributes.take_prefixed("annotation-index."));
    Ok(form)
}
