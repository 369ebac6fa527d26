//! The phases of the Cloud Native Buildpacks platform specification.
