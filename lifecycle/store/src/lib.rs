//! The local content-addressed store.
