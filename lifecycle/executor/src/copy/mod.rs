//! COPY and ADD: from sources to a layer, without a root file system in between (section H).
//!
//! [`select`] finds what is meant and walks it, [`examine`] reads it once for the cache key, [`place`] decides where
//! everything goes on top of what the stage already has, and [`contents`] writes the layer straight from the
//! sources. [`entries`] are what they hand on, small enough for a context of a million files.

pub(crate) mod archive;
pub(crate) mod contents;
pub(crate) mod entries;
pub(crate) mod examine;
pub(crate) mod item;
pub(crate) mod known;
pub(crate) mod owner;
pub(crate) mod place;
pub(crate) mod select;
