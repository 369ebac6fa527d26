//! The labels of the app image (cnb.md 1.12, lifecycle.md 3.5).

use std::collections::BTreeMap;

use lifecycle_spec::label::{
    self, AppLayers, BuildLabel, BuildpackLayers, LayerMetadata, LayerSha, LifecycleLabel, RunImageLabel,
};
use lifecycle_spec::{RunImageEntry, RunToml, StackToml};

use super::parts::{Buildpack, Made, Role};
use super::{ExportError, ExportOptions, Inputs, diff_id};
use crate::files;

/// All labels, in the order in which they are set: buildpacks may overwrite ours (EXP-10, LCH-03).
///
/// Waits until the last layer is made.
pub(super) fn of(
    options: &ExportOptions,
    inputs: &Inputs,
    buildpacks: &[Buildpack],
    made: &[Made<'_>],
) -> Result<Vec<(String, String)>, ExportError> {
    let own = |key: &str, value: String| (key.to_owned(), value);
    let mut labels = vec![
        own(
            label::LIFECYCLE,
            lifecycle(options, inputs, buildpacks, made)?.to_json(),
        ),
        own(
            label::BUILD,
            BuildLabel::json_of(&inputs.metadata, &options.launcher_version, options.api),
        ),
        own(label::PROJECT, inputs.project.to_json()),
    ];
    if options.api.has_exec_env() {
        labels.push(own(label::EXEC_ENV, options.exec_env.to_string()));
    }
    labels.extend(
        inputs
            .metadata
            .labels
            .iter()
            .map(|label| (label.key.clone(), label.value.clone())),
    );
    Ok(labels)
}

/// Which layers are what.
fn lifecycle(
    options: &ExportOptions,
    inputs: &Inputs,
    buildpacks: &[Buildpack],
    made: &[Made<'_>],
) -> Result<LifecycleLabel, ExportError> {
    let mut label = LifecycleLabel::default();
    let mut app = Vec::new();
    let mut launch: BTreeMap<(usize, String), LayerMetadata> = BTreeMap::new();
    for made in made {
        let sha = diff_id(&*made.layer)?;
        match &made.part.role {
            Role::Launch {
                buildpack,
                name,
                metadata,
            } => {
                let metadata = LayerMetadata {
                    sha,
                    ..metadata.clone()
                };
                launch.insert((*buildpack, name.to_string()), metadata);
            }
            // The labels say nothing about them.
            Role::Extension => {}
            Role::Sbom => label.sbom = Some(LayerSha::new(sha)),
            Role::App => app.push(LayerSha::new(sha)),
            Role::Launcher => label.launcher = LayerSha::new(sha),
            Role::Config => label.config = LayerSha::new(sha),
            Role::ProcessTypes => label.process_types = LayerSha::new(sha),
        }
    }
    label.app = AppLayers::Layers(app);
    for (at, buildpack) in buildpacks.iter().enumerate() {
        let own = launch.iter().filter(|((buildpack, _), _)| *buildpack == at);
        label.buildpacks.push(BuildpackLayers {
            key: buildpack.module.id.clone(),
            version: buildpack.module.version.to_string(),
            layers: own
                .map(|((_, name), metadata)| (name.clone(), metadata.clone()))
                .collect(),
            store: buildpack.store.clone(),
        });
    }
    let top_layer = inputs
        .base
        .config()
        .rootfs
        .diff_ids
        .last()
        .map(ToString::to_string)
        .unwrap_or_default();
    label.run_image = RunImageLabel {
        top_layer,
        reference: inputs.run_image.reference.clone(),
        source: RunImageEntry::default(),
    };
    let stack = if options.api.labels_run_image_name() {
        label.run_image.source = run_image_source(options, inputs)?;
        StackToml {
            run_image: label.run_image.source.clone(),
        }
    } else {
        files::read_if_there(&options.stack, StackToml::parse)?.unwrap_or_default()
    };
    label.stack = Some(stack);
    label.exec_env = options.api.has_exec_env().then(|| options.exec_env.to_string());
    Ok(label)
}

/// The run image with its mirrors, for rebasing: the entry of `run.toml` that names it, else the first one, unless an
/// extension may have chosen another image (RUN-02).
fn run_image_source(options: &ExportOptions, inputs: &Inputs) -> Result<RunImageEntry, ExportError> {
    let run = files::read_if_there(&options.run, RunToml::parse)?.unwrap_or_default();
    let name = inputs.run_image.image.clone().unwrap_or_default();
    let names_it = |entry: &&RunImageEntry| entry.image == name || entry.mirrors.contains(&name);
    let found = run.images.iter().find(names_it);
    let first = run.images.first().filter(|_| inputs.group.extensions.is_empty());
    let alone = || RunImageEntry {
        image: name.clone(),
        mirrors: Vec::new(),
    };
    Ok(found.or(first).cloned().unwrap_or_else(alone))
}
