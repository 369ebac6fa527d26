//! in-toto statements (in-toto Attestation Framework, "Statement v1").

use lifecycle_image::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The media type of a statement.
pub const IN_TOTO: &str = "application/vnd.in-toto+json";
/// The annotation that says what a statement is about, so that it need not be read to know.
pub const PREDICATE_TYPE: &str = "in-toto.io/predicate-type";
/// How something was built.
pub const SLSA_PROVENANCE: &str = "https://slsa.dev/provenance/v1";
/// What is in it, as an SPDX document.
pub const SPDX_DOCUMENT: &str = "https://spdx.dev/Document";

/// Something that is said, of a known type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The type of the predicate, a URI.
    pub predicate_type: String,
    /// What is said.
    pub predicate: Value,
}

/// What it is said about: a name and a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// A package URL, as `pkg:docker/name@tag`.
    pub name: String,
    /// The image's digest.
    pub digest: Digest,
}

#[derive(Debug, Serialize, Deserialize)]
struct Written {
    #[serde(rename = "_type")]
    kind: String,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    subject: Vec<WrittenSubject>,
    predicate: Value,
}

#[derive(Debug, Serialize, Deserialize)]
struct WrittenSubject {
    name: String,
    digest: std::collections::BTreeMap<String, String>,
}

impl Statement {
    /// The statement about these subjects, as JSON.
    ///
    /// # Errors
    /// When the predicate cannot be told in JSON.
    pub fn encode(&self, subjects: &[Subject]) -> Result<Vec<u8>, serde_json::Error> {
        let subject = subjects.iter().map(|subject| WrittenSubject {
            name: subject.name.clone(),
            digest: [(
                subject.digest.algorithm().to_owned(),
                subject.digest.hex().to_owned(),
            )]
            .into(),
        });
        serde_json::to_vec(&Written {
            kind: "https://in-toto.io/Statement/v1".to_owned(),
            predicate_type: self.predicate_type.clone(),
            subject: subject.collect(),
            predicate: self.predicate.clone(),
        })
    }

    /// Reads a statement.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let written: Written = serde_json::from_slice(bytes)?;
        Ok(Self {
            predicate_type: written.predicate_type,
            predicate: written.predicate,
        })
    }
}
