//! OCI and Docker archives.
