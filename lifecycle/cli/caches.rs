//! `--cache-from` and `--cache-to`: where results of builds are had from and kept, besides the store.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lifecycle_executor::BuildReport;
use lifecycle_executor::cache::{CacheMode, CacheSource, CacheTarget, export};
use lifecycle_image::layout::Layout;
use lifecycle_image::{Artifact, Digest, Image, Reference, Repository, Sink, Source, TransferError};

use crate::attestations::now;
use crate::attributes::{Attributes, parse_span};
use crate::console::human_size;
use crate::failure::Failure;
use crate::session::Session;

/// What no build has used for this long goes, as with kaniko.
const KEPT: Duration = Duration::from_hours(14 * 24);

/// The kinds there are, for messages.
const KINDS: &str = "write type=registry,ref=IMAGE or type=local,src=DIR";

/// `--cache-from type=registry,ref=IMAGE | type=local,src=DIR[,tag=TAG]`, or just `IMAGE`.
pub(crate) fn source(text: &str, session: &Session) -> Result<CacheSource, Failure> {
    if !text.contains('=') {
        return Ok(CacheSource {
            source: Arc::new(session.registry()?.clone()),
            reference: text.parse()?,
            max_age: None,
            mounts: false,
        });
    }
    let mut attributes = Attributes::parse("--cache-from", text)?;
    let (source, reference): (Arc<dyn Source>, Reference) = match attributes.need("type")?.as_str() {
        "registry" => (
            Arc::new(session.registry()?.clone()),
            attributes.need("ref")?.parse()?,
        ),
        "local" => {
            let directory = attributes.need("src")?;
            let reference = local_name(&mut attributes)?;
            (Arc::new(LazyLayout(directory.into())), reference)
        }
        other => {
            return Err(attributes
                .wrong(format!("there is no cache of type {other:?}"))
                .help(KINDS));
        }
    };
    let max_age = span(&mut attributes, "ttl")?;
    let mounts = attributes.flag("mounts")?.unwrap_or(false);
    attributes.finish()?;
    Ok(CacheSource {
        source,
        reference,
        max_age,
        mounts,
    })
}

/// One `--cache-to`.
#[derive(Debug)]
pub(crate) enum Keeping {
    /// In the image itself.
    Inline,
    /// As an artifact.
    Elsewhere {
        target: Box<CacheTarget>,
        /// A failure is only a warning.
        ignore_error: bool,
    },
}

/// `--cache-to type=registry,ref=IMAGE | type=local,dest=DIR[,tag=TAG] | type=inline`, with `mode`, `mounts`, `ttl` and
/// `ignore-error`.
pub(crate) fn keeping(text: &str, session: &Session) -> Result<Keeping, Failure> {
    let mut attributes = Attributes::parse("--cache-to", text)?;
    let (sink, source, reference): (Arc<dyn Sink>, Arc<dyn Source>, Reference) = match attributes
        .need("type")?
        .as_str()
    {
        "inline" => {
            if attributes.take("mode")?.is_some_and(|mode| mode != "min") {
                return Err(attributes.wrong("an image holds the results of its own layers only (mode=min)"));
            }
            attributes.finish()?;
            return Ok(Keeping::Inline);
        }
        "registry" => {
            let registry = session.registry()?.clone();
            let reference = attributes.need("ref")?.parse()?;
            (Arc::new(registry.clone()), Arc::new(registry), reference)
        }
        "local" => {
            let layout = Layout::create(attributes.need("dest")?)?.watched(session.progress());
            let reference = local_name(&mut attributes)?;
            (Arc::new(layout.clone()), Arc::new(layout), reference)
        }
        other => {
            return Err(attributes
                .wrong(format!("there is no cache of type {other:?}"))
                .help("write type=registry,ref=IMAGE, type=local,dest=DIR or type=inline"));
        }
    };
    let mode = match attributes.take("mode")?.as_deref() {
        None | Some("min") => CacheMode::Min,
        Some("max") => CacheMode::Max,
        Some(other) => return Err(attributes.wrong(format!("mode is min or max, not {other:?}"))),
    };
    // What other builders offer for old registries: here it is always so.
    for always in ["image-manifest", "oci-mediatypes"] {
        if attributes.flag(always)? == Some(false) {
            return Err(attributes.wrong(format!(
                "{always} cannot be switched off: a cache is an OCI artifact"
            )));
        }
    }
    let keep = span(&mut attributes, "ttl")?.unwrap_or(KEPT);
    let mounts = attributes.flag("mounts")?.unwrap_or(false);
    let ignore_error = attributes.flag("ignore-error")?.unwrap_or(false);
    attributes.finish()?;
    Ok(Keeping::Elsewhere {
        target: Box::new(CacheTarget {
            sink,
            source,
            reference,
            mode,
            mounts,
            keep,
            now: now(),
            image: None,
        }),
        ignore_error,
    })
}

/// Writes all caches that are not in the image. `image` is a repository that has the image by now.
pub(crate) fn keep(
    keepings: Vec<Keeping>,
    reports: &[&BuildReport],
    image: Option<&Repository>,
    session: &Session,
) -> Result<(), Failure> {
    for keeping in keepings {
        let Keeping::Elsewhere { target, ignore_error } = keeping else {
            continue;
        };
        let target = CacheTarget {
            image: image.cloned(),
            ..*target
        };
        match export(reports, session.store()?, &target) {
            Ok(receipt) => {
                if let Some(reason) = &receipt.replaced {
                    session.console.warning(format!(
                        "the cache {} is written anew: {reason}",
                        target.reference
                    ));
                }
                let sent = if receipt.unchanged {
                    "nothing new".to_owned()
                } else {
                    format!("sent {}", human_size(receipt.sent))
                };
                session.console.info(format!(
                    "Cache: {} holds {} results; {sent}",
                    target.reference, receipt.records
                ));
            }
            Err(error) if ignore_error => session.console.warning(format!(
                "the cache {} is not written: {}",
                target.reference,
                crate::failure::sentence(&error)
            )),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn span(attributes: &mut Attributes, key: &'static str) -> Result<Option<Duration>, Failure> {
    let Some(text) = attributes.take(key)? else {
        return Ok(None);
    };
    match parse_span(&text) {
        Some(span) => Ok(Some(span)),
        None => Err(attributes.wrong(format!("{key} is a time span such as 336h or 14d, not {text:?}"))),
    }
}

/// What a cache is called in a layout.
fn local_name(attributes: &mut Attributes) -> Result<Reference, Failure> {
    let tag = attributes.take("tag")?.unwrap_or_else(|| "latest".to_owned());
    Ok(format!("build-cache:{tag}").parse()?)
}

/// A layout that need not be there yet: the first build finds no cache.
#[derive(Debug)]
pub(crate) struct LazyLayout(pub(crate) PathBuf);

impl Source for LazyLayout {
    fn artifact(&self, reference: &Reference) -> Result<Artifact, TransferError> {
        Layout::open(&self.0)?.artifact(reference)
    }

    fn member(&self, reference: &Reference, digest: &Digest) -> Result<Image, TransferError> {
        Layout::open(&self.0)?.member(reference, digest)
    }
}
