//! The form of an image: compression, media types, annotations.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use lifecycle_attestation::Statement;
use lifecycle_image::{DiffId, Family, Image, TransferError};
use lifecycle_layers::Packing;

use crate::failure::Failure;

/// How an image is written. What is absent stays as it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Form {
    /// How layers are packed.
    pub(crate) packing: Option<Packing>,
    /// The layers of the base, too (O7).
    pub(crate) force: bool,
    /// Media types.
    pub(crate) family: Option<Family>,
    pub(crate) annotations: Annotations,
    /// Layers that were not made in this build: they are not packed anew unless that is forced.
    pub(crate) base: Vec<DiffId>,
    pub(crate) attach: Attach,
}

/// What is known about a result only when it is written.
#[derive(Debug, Default)]
pub(crate) struct Finish {
    /// The latest time of files.
    pub(crate) latest: Option<i64>,
    /// Annotations besides those of the output.
    pub(crate) annotations: Annotations,
    /// Layers that were not made in this build.
    pub(crate) base: Vec<DiffId>,
    /// What is said about the result, and how it is tied to it.
    pub(crate) attest: Option<Arc<dyn Attest>>,
    pub(crate) attach: Attach,
}

/// Annotations by what they are on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Annotations {
    /// The image's manifest.
    pub(crate) manifest: BTreeMap<String, String>,
    /// The manifest's descriptor in the index.
    pub(crate) descriptor: BTreeMap<String, String>,
    /// The index.
    pub(crate) index: BTreeMap<String, String>,
}

/// Says what there is to say about an image that is about to be written.
pub(crate) trait Attest: Send + Sync + fmt::Debug {
    /// The statements about `image`.
    fn statements(&self, image: &Image) -> Result<Vec<Statement>, TransferError>;
}

/// How attestations are tied to their image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Attach {
    /// Members of an index next to the image (P3, P4), and referrers as well.
    #[default]
    Index,
    /// Referrers only: the image stays what it is.
    Referrers,
}

impl Form {
    /// Whether images stay as they are.
    pub(crate) fn is_plain(&self) -> bool {
        self.packing.is_none() && self.family.is_none() && self.annotations == Annotations::default()
    }

    /// How a build packs its layers from the start. A table of contents is only added on the way out: it makes other
    /// layers of them, and no later build would find those.
    pub(crate) fn packing_of_builds(&self) -> Packing {
        match self.packing {
            Some(packing) if packing.stargz => Packing::default(),
            Some(packing) => packing,
            None => Packing::default(),
        }
    }
}

impl Annotations {
    /// Adds `[KIND[,KIND]:]KEY=VALUE`, where KIND is `manifest`, `manifest-descriptor` or `index`.
    pub(crate) fn add(&mut self, text: &str) -> Result<(), Failure> {
        let wrong = |reason: &str| {
            Failure::new("annotation", format!("--annotation {text}: {reason}"))
                .help("write [manifest:|index:|manifest-descriptor:]KEY=VALUE")
        };
        let (key, value) = text.split_once('=').ok_or_else(|| wrong("it has no value"))?;
        let (kinds, key) = key.split_once(':').unwrap_or(("manifest", key));
        if key.is_empty() {
            return Err(wrong("it has no key"));
        }
        for kind in kinds.split(',') {
            let of = match kind {
                "manifest" => &mut self.manifest,
                "manifest-descriptor" => &mut self.descriptor,
                "index" => &mut self.index,
                other => return Err(wrong(&format!("{other:?} cannot be annotated"))),
            };
            of.insert(key.to_owned(), value.to_owned());
        }
        Ok(())
    }

    /// Adds what another list has.
    pub(crate) fn extend(&mut self, other: &Self) {
        self.manifest.extend(other.manifest.clone());
        self.descriptor.extend(other.descriptor.clone());
        self.index.extend(other.index.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_say_what_they_are_on_o1() {
        let mut annotations = Annotations::default();
        annotations.add("a=1").unwrap();
        annotations.add("index,manifest-descriptor:b=x=y").unwrap();
        assert_eq!(annotations.manifest["a"], "1");
        assert_eq!(annotations.index["b"], "x=y");
        assert_eq!(annotations.descriptor["b"], "x=y");
        for text in ["a", "=1", "index:=1", "config:a=1"] {
            assert!(annotations.add(text).is_err(), "{text}");
        }
    }
}
