//! Reads images to their last byte.

use std::io;

use lifecycle_image::{Artifact, Image, Platform, TransferError};

/// Reads what has one of `names` or none, and the layers of those that are images.
pub fn read(names: Vec<String>, named: impl Fn(Option<&str>) -> Result<Artifact, TransferError>) {
    let names = names.iter().map(|name| Some(name.as_str()));
    for name in names.chain([None]) {
        match named(name) {
            Ok(Artifact::Image(image)) => read_image(&image),
            Ok(Artifact::Index(index)) => {
                index.select(&Platform::linux("amd64"));
                index.platforms();
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

fn read_image(image: &Image) {
    image.encode_config().ok();
    image.encode_manifest().ok();
    for layer in image.layers() {
        if let Ok(mut bytes) = layer.open(0) {
            io::copy(&mut bytes, &mut io::sink()).ok();
        }
    }
}
