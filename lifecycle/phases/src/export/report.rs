//! What was exported.

use lifecycle_image::{Digest, Layer, Receipt};
use lifecycle_spec::{BomEntry, BuildToml, ReportToml};

use super::parts::Made;
use super::{ExportError, ExportOptions, Inputs, previous_layer};
use crate::contributed::signed;
use crate::files;

/// The image that was written.
#[derive(Debug, Clone)]
pub struct ExportReport {
    /// What was sent.
    pub receipt: Receipt,
    /// The image's id: the digest of its configuration.
    pub image_id: Digest,
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
pub(super) fn layers(inputs: &Inputs, made: &[Made<'_>]) -> Result<Vec<ExportedLayer>, ExportError> {
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
    let own = made.iter().map(|made| {
        let reused = previous_layer(inputs, made.layer.diff_id()?.as_str()).is_some();
        let origin = if reused {
            LayerOrigin::Reused
        } else {
            LayerOrigin::Built
        };
        line(
            made.part.name.clone(),
            made.part.buildpack.clone(),
            &*made.layer,
            origin,
        )
    });
    base.chain(own).collect()
}

/// What the build was made with, which was part of the report before Platform API 0.9 (FILE-04).
pub(super) fn legacy_bom(options: &ExportOptions, inputs: &Inputs) -> Result<Vec<BomEntry>, ExportError> {
    let mut bom = Vec::new();
    if !options.api.has_legacy_bom_in_metadata() {
        return Ok(bom);
    }
    for module in &inputs.group.buildpacks {
        let path = options.layers.here.join(module.id.directory()).join("build.toml");
        let build = files::read_if_there(&path, BuildToml::parse)?.unwrap_or_default();
        bom.extend(
            build
                .bom
                .into_iter()
                .map(|entry| signed(entry, &module.id, &module.version)),
        );
    }
    Ok(bom)
}
