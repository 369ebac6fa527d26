//! Messages that point into a source text, for people and as JSON.
