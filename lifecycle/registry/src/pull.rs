//! Reading: documents whole, blobs as streams.

mod blob;
mod manifest;

pub(crate) use self::blob::RemoteLayer;
pub(crate) use self::manifest::{CONTENT_DIGEST, content_digest};
