//! The local content-addressed store.
//!
//! A [`Store`] is a directory that holds blobs by digest, images by name, extracted layers by diff ID, build
//! caches by key, and small records that point at them. Any number of processes use one store at the same
//! time: what is written gets a temporary name, is flushed and then renamed, so that readers need no lock and
//! a crash leaves garbage at most. `docs/store.md` describes the directory.
//!
//! - Layers come in by [`Store::pack`], which makes them from files in one pass on a thread of its own while
//!   their bytes are already being read, and by [`Store::fetch`], which copies them from anywhere.
//! - Images come in and go out through the store's [`Source`](lifecycle_image::Source) and
//!   [`Sink`](lifecycle_image::Sink).
//! - [`Store::root`] gives the directories that an image's layers are extracted to, [`Store::cover`] what has to be
//!   laid over them in an overlay.
//! - [`Store::cache`] and [`Store::record`] keep what builds want to remember.
//! - [`Store::prune`] takes away what nobody needs, [`Store::verify`] finds damage, [`Store::usage`] counts.
//!
//! A store belongs to one user and nobody else can look into it: images may hold secrets.

mod blobs;
mod caches;
mod directory;
mod error;
mod fetch;
mod forms;
mod images;
mod leftovers;
mod lock;
mod making;
mod origins;
mod pack;
mod prune;
mod records;
mod scratch;
mod store;
mod trees;
mod upload;
mod usage;
mod verify;

#[cfg(test)]
mod tests;

pub use caches::{Cache, CacheEntry, Sharing};
pub use directory::LiveScratch;
pub use error::StoreError;
pub use images::StoredImage;
pub use pack::Expected;
pub use prune::{Prune, Pruned};
pub use records::Record;
pub use scratch::Scratch;
pub use store::Store;
pub use trees::{CoverTree, Tree, TreeForm};
pub use usage::{Amount, Usage};
pub use verify::{Damage, Verification};
