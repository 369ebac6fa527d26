//! What was exported.

use lifecycle_image::{Layer, Receipt};
use lifecycle_spec::ReportToml;

use super::parts::{Made, Parts};
use super::{ExportError, Inputs, previous_layer};

/// The image that was written.
#[derive(Debug, Clone)]
pub struct ExportReport {
    /// What was sent.
    pub receipt: Receipt,
    /// As written to `report.toml`.
    pub report: ReportToml,
    /// All layers, lowest first.
    pub layers: Vec<ExportedLayer>,
    /// The types of the processes that can be started, sorted.
    pub processes: Vec<String>,
    /// The program that the image starts.
    pub entrypoint: String,
}

/// A layer of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportedLayer {
    /// What it is called: `buildpack:layer`, `app`, `launcher`, …
    pub name: String,
    /// The buildpack that made it, as `id@version`.
    pub buildpack: Option<String>,
    /// Its diff ID.
    pub diff_id: String,
    /// Its compressed size in bytes.
    pub size: u64,
    /// Where it came from.
    pub origin: LayerOrigin,
}

/// Where a layer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerOrigin {
    /// The run image.
    Base,
    /// It was made now.
    Built,
    /// The previous image has the same.
    Reused,
}

/// One line for each layer. Waits until the last is made.
pub(super) fn layers(
    inputs: &Inputs,
    parts: &Parts,
    made: &[Made],
) -> Result<Vec<ExportedLayer>, ExportError> {
    let line = |name: String, buildpack, layer: &dyn Layer, origin| -> Result<_, ExportError> {
        let size = layer.descriptor()?.size;
        Ok(ExportedLayer {
            name,
            buildpack,
            diff_id: layer.diff_id()?.to_string(),
            size,
            origin,
        })
    };
    let base = inputs
        .base
        .layers()
        .iter()
        .map(|layer| line("run image".to_owned(), None, &**layer, LayerOrigin::Base));
    let own = parts.all.iter().zip(made).map(|(part, made)| {
        let reused = previous_layer(inputs, made.layer.diff_id()?.as_str()).is_some();
        let origin = if reused {
            LayerOrigin::Reused
        } else {
            LayerOrigin::Built
        };
        line(part.name.clone(), part.buildpack.clone(), &*made.layer, origin)
    });
    base.chain(own).collect()
}
