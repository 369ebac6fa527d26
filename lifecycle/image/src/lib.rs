//! What an OCI or Docker image is, without network.
