//! The index over what the pods of several platforms made: as a build of all of them here would have made it.

use lifecycle_attestation::REFERENCE_TYPE;
use lifecycle_image::{Artifact, Descriptor, Image, Index, Receipt, Reference, Sink, Source, TransferError};
use lifecycle_registry::Registry;

use crate::failure::Failure;
use crate::output::Annotations;
use crate::transfer;

/// Writes the index under `names`. `made` is what each pod made: an image, or an index of one and of what is said about it.
pub(super) fn assemble(
    made: &[Reference],
    names: &[Reference],
    annotations: &Annotations,
    registry: &Registry,
) -> Result<Receipt, Failure> {
    let mut upload = registry.begin(names)?;
    let (mut images, mut statements) = (Vec::new(), Vec::new());
    let mut family = None;
    for name in made {
        for (image, descriptor) in parts(name, registry)? {
            transfer::send_layers(&mut *upload, &image);
            upload.member(&image)?;
            if is_statement(&descriptor) {
                statements.push(descriptor);
                continue;
            }
            family.get_or_insert(image.family());
            images.push(Descriptor {
                platform: Some(image.platform()),
                annotations: annotations.descriptor.clone(),
                ..descriptor
            });
        }
    }
    let family = family.ok_or_else(|| Failure::new("index", "no image was made"))?;
    images.extend(statements);
    let mut index = Index::new(family, images);
    index.annotations.clone_from(&annotations.index);
    Ok(upload.finish_index(&index)?)
}

/// The manifests of what one pod made.
fn parts(name: &Reference, registry: &Registry) -> Result<Vec<(Image, Descriptor)>, Failure> {
    match registry.artifact(name)? {
        Artifact::Image(image) => {
            let descriptor = image.encode_manifest().map_err(TransferError::from)?.descriptor;
            Ok(vec![(*image, descriptor)])
        }
        Artifact::Index(index) => {
            let part = |member: &Descriptor| Ok((registry.member(name, &member.digest)?, member.clone()));
            index.manifests.iter().map(part).collect()
        }
    }
}

fn is_statement(descriptor: &Descriptor) -> bool {
    let kind = descriptor.annotations.get(REFERENCE_TYPE.0);
    kind.is_some_and(|kind| kind == REFERENCE_TYPE.1)
}
