//! The manifest that carries statements about an image.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::Arc;

use lifecycle_image::{
    BytesLayer, DescribedLayer, Descriptor, DiffId, Digest, Image, Layer, LayerError, MediaType, Platform,
    RawDocument, mutate,
};

use crate::statement::{IN_TOTO, PREDICATE_TYPE, Statement, Subject};

/// What kind of artifact such a manifest is (P3).
pub const ATTESTATION_TYPE: &str = "application/vnd.docker.attestation.manifest.v1+json";
/// The annotation of an index's member that says what it is, and its value.
pub const REFERENCE_TYPE: (&str, &str) = ("vnd.docker.reference.type", "attestation-manifest");
/// The annotation of an index's member that says which image it is about.
pub const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";

const EMPTY_CONFIG: &[u8] = b"{}";
const EMPTY_CONFIG_TYPE: &str = "application/vnd.oci.empty.v1+json";
/// A statement larger than this is not read (P3).
const LARGEST: u64 = 40 << 20;

/// The manifest that carries `statements` about the image that `about` points at.
///
/// # Errors
/// When a predicate cannot be told in JSON.
pub fn attach(
    about: &Descriptor,
    subjects: &[Subject],
    statements: &[Statement],
) -> Result<Image, serde_json::Error> {
    let mut layers: Vec<Arc<dyn Layer>> = Vec::new();
    for statement in statements {
        let bytes = statement.encode(subjects)?;
        let diff_id = DiffId(Digest::of(&bytes));
        let layer = BytesLayer::new(MediaType::new(IN_TOTO), bytes, diff_id);
        let remark = (PREDICATE_TYPE.to_owned(), statement.predicate_type.clone());
        layers.push(Arc::new(
            DescribedLayer::new(Arc::new(layer)).annotated([remark].into()),
        ));
    }
    let config = RawDocument::new(MediaType::new(EMPTY_CONFIG_TYPE), EMPTY_CONFIG);
    let subject = Descriptor::new(about.media_type.clone(), about.digest.clone(), about.size);
    Ok(mutate::refer(
        Image::artifact(ATTESTATION_TYPE, config, layers),
        subject,
    ))
}

/// How an index names such a manifest, which `document` points at.
pub fn statement_member(document: &Descriptor, about: &Digest) -> Descriptor {
    Descriptor {
        platform: Some(Platform::unknown()),
        annotations: BTreeMap::from([
            (REFERENCE_TYPE.0.to_owned(), REFERENCE_TYPE.1.to_owned()),
            (REFERENCE_DIGEST.to_owned(), about.to_string()),
        ]),
        ..document.clone()
    }
}

/// The statements that a manifest carries; other files are passed over.
///
/// # Errors
/// When a layer cannot be read, is too large, or is no statement.
pub fn read(carrier: &Image) -> Result<Vec<Statement>, LayerError> {
    let mut statements = Vec::new();
    for layer in carrier.layers() {
        let descriptor = layer.descriptor()?;
        if descriptor.media_type.as_str() != IN_TOTO {
            continue;
        }
        let failed = |cause| LayerError::new(descriptor.digest.as_str(), cause);
        if descriptor.size > LARGEST {
            return Err(failed(std::io::ErrorKind::FileTooLarge.into()));
        }
        let mut bytes = Vec::new();
        layer.open(0)?.read_to_end(&mut bytes).map_err(failed)?;
        statements.push(Statement::decode(&bytes).map_err(|error| failed(error.into()))?);
    }
    Ok(statements)
}
