//! Tests that go across the crate's modules.

mod documents;
mod properties;
pub(crate) mod samples;
mod tools;
