//! Dockerfile text in, typed stages out.
