//! File system to layer and back.
//!
//! [`Contents`] is anything that can write itself as a tar: a directory, a change set, a list of generated
//! files. [`hash`] reads contents once and says which layer they are; [`pack`] reads them once and makes the
//! layer: tar, diff ID, block-parallel compression and digest in a single pass, with bytes that do not depend
//! on the number of cores.

mod pack;

pub use pack::{Contents, PackError, Packed, Packing, hash, pack};
