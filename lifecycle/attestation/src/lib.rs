//! What is said about images: how they came about, and what is in them.
//!
//! A [`Statement`] is a predicate of some type, in-toto's form of saying something about digests. [`Provenance`] says how
//! an image was built, in the shape of SLSA 1.0 as BuildKit fills it (dockerfile.md P1). [`packages()`] reads the package
//! database of an image's own files, and [`spdx()`] makes an SPDX document of it.
//!
//! [`attach()`] makes the manifest that carries statements: a member of an index next to its image, as BuildKit and its
//! users want it (P3), and at the same time a referrer of the image, as OCI registries list it.

mod attach;
mod packages;
mod provenance;
mod spdx;
mod statement;

pub use attach::{ATTESTATION_TYPE, REFERENCE_DIGEST, REFERENCE_TYPE, attach, read, statement_member};
pub use packages::{Package, Packages, PackagesError, packages};
pub use provenance::{Material, Provenance};
pub use spdx::spdx;
pub use statement::{IN_TOTO, PREDICATE_TYPE, SLSA_PROVENANCE, SPDX_DOCUMENT, Statement, Subject};
