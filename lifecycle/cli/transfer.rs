//! Moving an image, or a whole index, from one place to another.

use std::sync::Arc;

use lifecycle_image::{Artifact, Image, Receipt, Upload};

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

fn send_layers(upload: &mut dyn Upload, image: &Image) {
    for layer in image.layers() {
        upload.layer(Arc::clone(layer));
    }
}
