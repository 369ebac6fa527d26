//! Results of earlier builds that are kept elsewhere: in a registry, in a layout, in an image itself (section Q).
//!
//! A cache is one artifact. Its layers are the layers of the results, as they are in images, so any registry takes them
//! and mounts them across repositories; its configuration (`document`) says which key each layer is the result of.
//! One request for the manifest and one for the configuration answer every look-up of a build, whatever it asks and in
//! whatever order. Blobs are only fetched by whoever reads a layer.
//!
//! What a cache says is not believed further than it can be checked: a hit is looked for at once, its bytes are
//! verified when they are read, and a cache that turns out to be broken is left out and the build done again
//! (`import`).

mod document;
mod export;
mod import;

pub use export::{CacheError, CacheMode, CacheReceipt, CacheTarget, export};
pub use import::CacheSource;

pub(crate) use export::inline;
pub(crate) use import::{Import, Imports};
