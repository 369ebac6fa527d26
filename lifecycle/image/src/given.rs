//! The layers of an upload, of which each moves once.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::{Digest, Layer};

/// The layers that an upload was given so far.
#[derive(Debug, Default)]
pub struct GivenLayers {
    digests: BTreeSet<Digest>,
    /// Layers in the making have no digest yet; they are told apart by being the same object.
    making: Vec<Arc<dyn Layer>>,
}

impl GivenLayers {
    /// Notes a layer, and says whether it has yet to be moved.
    pub fn is_new(&mut self, layer: &Arc<dyn Layer>) -> bool {
        // A layer that was in the making when it was given may be known by now.
        if self.making.iter().any(|other| Arc::ptr_eq(other, layer)) {
            return false;
        }
        if let Some(descriptor) = layer.known() {
            return self.digests.insert(descriptor.digest);
        }
        self.making.push(Arc::clone(layer));
        true
    }
}
