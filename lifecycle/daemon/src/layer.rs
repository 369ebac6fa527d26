//! A layer of an image in a daemon.

use std::io;

use lifecycle_image::{
    Artifact, BlobReader, Compression, Descriptor, DiffId, Family, Image, Layer, LayerError, MediaType,
    TransferError,
};

use crate::daemon::Daemon;

/// A layer that the daemon has. Its bytes are fetched when somebody wants them: that saves the whole image.
#[derive(Debug)]
pub(crate) struct DaemonLayer {
    daemon: Daemon,
    id: String,
    diff_id: DiffId,
}

impl DaemonLayer {
    pub(crate) fn new(daemon: Daemon, id: String, diff_id: DiffId) -> Self {
        Self { daemon, id, diff_id }
    }

    fn stored(&self) -> Result<std::sync::Arc<dyn Layer>, LayerError> {
        let failed = |cause: TransferError| LayerError::new(self.diff_id.as_str(), io::Error::other(cause));
        let archive = self.daemon.0.saved(&self.id).map_err(failed)?;
        let image: Image = match archive.named(None).map_err(failed)? {
            Artifact::Image(image) => *image,
            Artifact::Index(_) => return Err(self.missing()),
        };
        let found = image
            .layers()
            .iter()
            .find(|layer| layer.diff_id().is_ok_and(|own| own == self.diff_id));
        found.cloned().ok_or_else(|| self.missing())
    }

    fn missing(&self) -> LayerError {
        let text = format!("the daemon saved the image {} without it", self.id);
        LayerError::new(
            self.diff_id.as_str(),
            io::Error::new(io::ErrorKind::NotFound, text),
        )
    }
}

impl Layer for DaemonLayer {
    /// Nobody knows how the daemon would pack it.
    fn known(&self) -> Option<Descriptor> {
        None
    }

    fn descriptor(&self) -> Result<Descriptor, LayerError> {
        self.stored()?.descriptor()
    }

    fn diff_id(&self) -> Result<DiffId, LayerError> {
        Ok(self.diff_id.clone())
    }

    fn open(&self, offset: u64) -> Result<BlobReader, LayerError> {
        self.stored()?.open(offset)
    }

    fn media_type(&self) -> MediaType {
        MediaType::layer(Family::Docker, Compression::None)
    }
}
