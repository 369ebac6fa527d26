//! Moving an image, or a whole index, from one place to another.

use std::sync::Arc;

use lifecycle_image::{Artifact, Image, Index, Receipt, TransferError, Upload};

use crate::failure::Failure;
use crate::session::{Destination, Found};

/// Copies what was found as it is: documents byte for byte, so that digests stay.
pub(crate) fn copy(found: &Found, to: &Destination) -> Result<Receipt, Failure> {
    match &found.artifact {
        Artifact::Image(image) => write(image, to),
        Artifact::Index(index) => {
            let mut upload = to.sink.begin(&to.names)?;
            for member in &index.manifests {
                let image = found.member(&member.digest)?;
                send_layers(&mut *upload, &image);
                upload.member(&image)?;
            }
            Ok(upload.finish_index(index)?)
        }
    }
}

/// Writes an image.
pub(crate) fn write(image: &Image, to: &Destination) -> Result<Receipt, Failure> {
    let mut upload = to.sink.begin(&to.names)?;
    send_layers(&mut *upload, image);
    Ok(upload.finish(image)?)
}

/// Writes an image, or the images of several platforms as an index.
pub(crate) fn write_all(images: &[Image], to: &Destination) -> Result<Receipt, Failure> {
    let [first, _, ..] = images else {
        return images.first().map_or_else(
            || {
                Err(Failure::new(
                    "no-platform",
                    "there is no target to make an image for",
                ))
            },
            |image| write(image, to),
        );
    };
    let mut upload = to.sink.begin(&to.names)?;
    let mut members = Vec::new();
    for image in images {
        send_layers(&mut *upload, image);
        upload.member(image)?;
        let mut member = image.encode_manifest().map_err(TransferError::from)?.descriptor;
        member.platform = Some(image.platform());
        members.push(member);
    }
    Ok(upload.finish_index(&Index::new(first.family(), members))?)
}

/// Starts to move all layers of an image.
pub(crate) fn send_layers(upload: &mut dyn Upload, image: &Image) {
    for layer in image.layers() {
        upload.layer(Arc::clone(layer));
    }
}
