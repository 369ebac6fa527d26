//! Moves blobs and manifests over HTTP.
