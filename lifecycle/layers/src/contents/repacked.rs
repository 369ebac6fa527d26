//! A layer that is there already, as contents: what packs it anew reads it through this.

use std::io::{self, Read, Write};
use std::sync::Arc;

use lifecycle_image::Layer;

use crate::extract::decoder;
use crate::{Contents, PackError};

/// The tar of a packed layer, byte for byte.
#[derive(Debug, Clone)]
pub struct RepackedLayer(Arc<dyn Layer>);

impl RepackedLayer {
    /// The tar of `layer`.
    pub fn new(layer: Arc<dyn Layer>) -> Self {
        Self(layer)
    }
}

impl Contents for RepackedLayer {
    fn name(&self) -> String {
        let known = self.0.known();
        known.map_or_else(|| "a layer".to_owned(), |known| known.digest.to_string())
    }

    fn write(&self, tar: &mut dyn Write) -> Result<(), PackError> {
        let failed = |cause| PackError::Io {
            path: self.name(),
            cause,
        };
        let mut plain = open_tar(&*self.0).map_err(failed)?;
        let mut buffer = vec![0; 256 << 10];
        loop {
            match plain.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => tar.write_all(&buffer[..count]).map_err(PackError::Output)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }
}

/// Opens the tar of a packed layer.
///
/// # Errors
/// When the layer cannot be read or is compressed in a way that layers are not.
pub fn open_tar(layer: &dyn Layer) -> io::Result<Box<dyn Read>> {
    decoder(layer.open(0)?, layer.media_type().compression())
}
