//! Configuration and history (sections G and L).
