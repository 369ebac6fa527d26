//! Which part of an image made each of its layers.
//!
//! An app image says it in its label; other images in their history.

use std::collections::BTreeMap;

use lifecycle_image::{DiffId, Image, ImageError};
use lifecycle_spec::label::{AppLayers, LifecycleLabel};
use serde::Serialize;

/// A layer in a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LayerReport {
    /// Who made it.
    #[serde(flatten)]
    pub(crate) origin: Origin,
    /// The digest of its tar.
    pub(crate) diff_id: String,
    /// The digest of its stored bytes.
    pub(crate) digest: String,
    /// How many bytes are stored.
    pub(crate) size: u64,
    /// What its history says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) created_by: Option<String>,
}

/// Who made a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "origin", rename_all = "kebab-case")]
pub(crate) enum Origin {
    /// The run image.
    Base,
    /// A buildpack.
    Buildpack {
        /// As `id@version`.
        buildpack: String,
        /// The layer's name.
        name: String,
    },
    /// The app's own files.
    App,
    /// The SBOM files.
    Sbom,
    /// The launcher.
    Launcher,
    /// The launcher's configuration.
    Config,
    /// The links for process types.
    ProcessTypes,
    /// Nobody knows.
    Unknown,
}

/// The layers of an image, lowest first.
pub(crate) fn report(image: &Image, label: Option<&LifecycleLabel>) -> Result<Vec<LayerReport>, ImageError> {
    let origins = label.map(origins).unwrap_or_default();
    let diff_ids: Vec<DiffId> = image
        .layers()
        .iter()
        .map(|layer| layer.diff_id())
        .collect::<Result<_, _>>()?;
    // A label that names a top layer which is not there says nothing about the base.
    let base = label.and_then(|label| {
        let top = &label.run_image.top_layer;
        diff_ids.iter().position(|diff_id| diff_id.as_str() == top)
    });
    let history = image.config().history.iter().filter(|entry| !entry.empty_layer);
    let mut created_by = history.map(|entry| entry.created_by.clone().filter(|text| !text.is_empty()));
    let mut reports = Vec::new();
    for (position, (layer, diff_id)) in image.layers().iter().zip(&diff_ids).enumerate() {
        let diff_id = diff_id.to_string();
        let descriptor = layer.descriptor()?;
        let origin = match base {
            Some(top) if position <= top => Origin::Base,
            _ => origins.get(&diff_id).cloned().unwrap_or(Origin::Unknown),
        };
        reports.push(LayerReport {
            origin,
            diff_id,
            digest: descriptor.digest.to_string(),
            size: descriptor.size,
            created_by: created_by.next().flatten(),
        });
    }
    Ok(reports)
}

/// What the label says, by diff ID.
fn origins(label: &LifecycleLabel) -> BTreeMap<String, Origin> {
    let mut origins = BTreeMap::new();
    if let AppLayers::Layers(layers) = &label.app {
        origins.extend(layers.iter().map(|layer| (layer.sha.clone(), Origin::App)));
    }
    for buildpack in &label.buildpacks {
        for (name, layer) in &buildpack.layers {
            let buildpack = format!("{}@{}", buildpack.key, buildpack.version);
            origins.insert(
                layer.sha.clone(),
                Origin::Buildpack {
                    buildpack,
                    name: name.clone(),
                },
            );
        }
    }
    let own = [
        (label.sbom.as_ref(), Origin::Sbom),
        (Some(&label.config), Origin::Config),
        (Some(&label.launcher), Origin::Launcher),
        (Some(&label.process_types), Origin::ProcessTypes),
    ];
    for (layer, origin) in own {
        origins.extend(layer.map(|layer| (layer.sha.clone(), origin)));
    }
    origins.remove("");
    origins
}

impl LayerReport {
    /// Who made it, in words.
    pub(crate) fn maker(&self) -> String {
        match &self.origin {
            Origin::Base => "base".to_owned(),
            Origin::Buildpack { buildpack, name } => format!("{buildpack}  {name}"),
            Origin::App => "application".to_owned(),
            Origin::Sbom => "SBOM".to_owned(),
            Origin::Launcher => "launcher".to_owned(),
            Origin::Config => "launcher's configuration".to_owned(),
            Origin::ProcessTypes => "process types".to_owned(),
            Origin::Unknown => {
                let text = self.created_by.as_deref().unwrap_or("–");
                // The first line of a RUN says enough.
                text.lines().next().unwrap_or_default().chars().take(80).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lifecycle_image::{BytesLayer, Digest, History, MediaType, Platform, mutate};

    use super::*;

    fn image(names: &[&str]) -> Image {
        names
            .iter()
            .fold(Image::empty(&Platform::linux("amd64")), |image, name| {
                let media_type = MediaType::new("application/vnd.oci.image.layer.v1.tar");
                let layer = BytesLayer::new(media_type, name.as_bytes(), DiffId(Digest::of(name.as_bytes())));
                let history = History {
                    created_by: Some(format!("made {name}")),
                    ..History::default()
                };
                mutate::append(image, Arc::new(layer), history)
            })
    }

    fn sha(name: &str) -> String {
        Digest::of(name.as_bytes()).to_string()
    }

    #[test]
    fn layers_are_attributed_by_the_label() {
        let json = format!(
            r#"{{"app":[{{"sha":"{}"}}],"sbom":{{"sha":"{}"}},"buildpacks":[{{"key":"a/b","version":"1","layers":{{"deps":{{"sha":"{}"}}}}}}],
            "config":{{"sha":""}},"launcher":{{"sha":""}},"runImage":{{"topLayer":"{}","reference":"r"}}}}"#,
            sha("app"),
            sha("sbom"),
            sha("deps"),
            sha("base-2"),
        );
        let label = LifecycleLabel::parse(&json).unwrap();
        let image = image(&["base-1", "base-2", "deps", "sbom", "app", "odd"]);
        let makers: Vec<_> = report(&image, Some(&label))
            .unwrap()
            .iter()
            .map(LayerReport::maker)
            .collect();
        assert_eq!(
            makers,
            ["base", "base", "a/b@1  deps", "SBOM", "application", "made odd"]
        );
    }

    #[test]
    fn without_a_label_history_speaks() {
        let makers: Vec<_> = report(&image(&["one"]), None)
            .unwrap()
            .iter()
            .map(LayerReport::maker)
            .collect();
        assert_eq!(makers, ["made one"]);
    }
}
