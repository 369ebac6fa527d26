//! Which crates are in a program of this project, and the documents that say so (LCI-04).
//!
//! [`Crates::of`] asks cargo, while a program is built or a release is made. The program carries the lists as text, its own and
//! its launcher's, and writes [`Crates::documents`] where it puts one of the two into an image; the release has the same documents as files.

mod cargo;
#[cfg(feature = "documents")]
mod documents;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

pub use cargo::{CargoError, Package};
#[cfg(feature = "documents")]
pub use documents::Document;

/// The crates that are linked into a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crates {
    /// The program's own.
    root: Identity,
    /// All, in the order of their identities.
    all: Vec<Crate>,
}

/// Name and version of a crate. There is one of each in a lock file without sources other than the registry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Identity {
    name: String,
    version: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Crate {
    #[serde(flatten)]
    identity: Identity,
    /// The licence as an SPDX expression.
    license: Option<String>,
    /// SHA-256 of the crate's archive; our own have none.
    checksum: Option<String>,
    /// The crates it uses, among those that are linked.
    uses: BTreeSet<Identity>,
}

impl Crates {
    /// Reads what [`Crates::to_text`] wrote.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The list as a text, for a program to carry.
    pub fn to_text(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}
