//! The process launcher that lies in every app image.
