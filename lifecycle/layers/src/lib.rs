//! File system to layer and back.
