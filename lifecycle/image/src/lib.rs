//! What an image is, without network.
//!
//! The nouns are those of the OCI image specification: a [`Reference`] names an image, a [`Digest`]
//! names bytes, a [`DiffId`] names the uncompressed bytes of a layer, a [`Descriptor`] points at a blob.
//! [`Manifest`] and [`Index`] are the documents that tie blobs together; [`ImageConfig`] says how the
//! image runs and keeps the fields it does not know.
//!
//! An [`Image`] is a view: a configuration and a list of [`Layer`]s that open their bytes only when
//! somebody reads them. [`mutate`] makes new views from old ones. Nothing is copied, compressed or
//! hashed until an image is written, and what a document's author wrote is passed on byte for byte.
//!
//! Images come from a [`Source`] and go to a [`Sink`]. [`layout`] and [`archive`] implement both for
//! OCI layout directories and for OCI and Docker archives; the registry and the store do so elsewhere.
//! [`blobs`] is what the local ones have in common: blobs by digest, and the images that they make.
//! A sink takes layers while they are still being made, so that compressing and moving overlap.

pub mod archive;
pub mod blobs;
mod config;
mod crew;
mod digest;
mod given;
mod image;
mod json;
mod layer;
pub mod layout;
mod manifest;
mod media_type;
pub mod mutate;
mod platform;
mod progress;
mod reference;
mod transfer;

#[cfg(test)]
mod tests;

pub use blobs::{Blob, Blobs, StoredLayer};
pub use config::{ContainerConfig, Healthcheck, History, ImageConfig, RootFs};
pub use crew::Crew;
pub use digest::{ChainId, DiffId, Digest, Hasher, Hashing, InvalidDigest, Verifying};
pub use given::GivenLayers;
pub use image::{Image, ImageError};
pub use json::canonical_json;
pub use layer::{BlobReader, BytesLayer, DescribedLayer, Layer, LayerError};
pub use manifest::{Artifact, Descriptor, Index, Manifest, ManifestError, RawDocument};
pub use media_type::{Compression, Family, MediaType};
pub use platform::{InvalidPlatform, Platform};
pub use progress::{Meter, NoProgress, Outcome, Progress, Step};
pub use reference::{InvalidReference, Reference, Repository};
pub use transfer::{Documents, Receipt, Sink, Source, TransferError, TransferErrorKind, Upload};
