//! Which layers the app image has on top of its base, in order (EXP-06, lifecycle.md 3.2).

use std::sync::Arc;

use lifecycle_image::{DiffId, History, Layer};
use lifecycle_layers::{AppLayer, Contents, DirectoryLayer, FilesLayer, Glob, Owners, Parents, Style};
use lifecycle_spec::label::{AppLayers, LayerMetadata};
use lifecycle_spec::{GroupModule, LayerName, PlatformApi, StoreToml};

use super::config::{LAUNCHER, PROCESS_DIRECTORY};
use super::intact::IntactLayers;
use super::{ExportError, ExportOptions, Inputs, extension, previous_layer};
use crate::cache::Cache;
use crate::contributed::{self, ContributedLayer};
use crate::{FileError, Place, files, sboms};

/// The layers, and what buildpacks left.
pub(super) struct Parts {
    pub(super) all: Vec<Part>,
    pub(super) buildpacks: Vec<Buildpack>,
    pub(super) intact: IntactLayers,
}

/// A layer of the image.
pub(super) struct Part {
    pub(super) role: Role,
    /// What it is called in messages.
    pub(super) name: String,
    /// The buildpack that made it, as `id@version`.
    pub(super) buildpack: Option<String>,
    /// Its line of history.
    pub(super) created_by: String,
    pub(super) source: Source,
    /// Whether the previous image had a layer in this place.
    pub(super) was_there: bool,
    /// The diff ID, if it is known already.
    pub(super) diff_id: Option<DiffId>,
}

/// What a layer is, for the label.
pub(super) enum Role {
    Launch {
        /// Index of the buildpack in the group.
        buildpack: usize,
        name: LayerName,
        /// Without its diff ID.
        metadata: LayerMetadata,
    },
    /// Of an extension.
    Extension,
    Sbom,
    App,
    Launcher,
    Config,
    ProcessTypes,
}

/// What a layer is made from.
pub(super) enum Source {
    Contents(Arc<dyn Contents>),
    /// The buildpack wants what it made for the previous image (LYR-05).
    Previous(Arc<dyn Layer>),
}

/// A layer in the making, and what it is.
pub(super) struct Made<'a> {
    pub(super) part: &'a Part,
    pub(super) layer: Arc<dyn Layer>,
}

/// What a buildpack left.
pub(super) struct Buildpack {
    pub(super) module: GroupModule,
    pub(super) layers: Vec<ContributedLayer>,
    pub(super) store: Option<StoreToml>,
}

impl Part {
    /// Its line in the image's history; before Platform API 0.12 these say nothing (OWN-05).
    pub(super) fn history(&self, api: PlatformApi) -> History {
        let created_by = api.has_history().then(|| self.created_by.clone());
        History {
            created_by,
            ..History::default()
        }
    }
}

impl Parts {
    pub(super) fn find(options: &ExportOptions, inputs: &Inputs, cache: &Cache) -> Result<Self, ExportError> {
        // The one file that is not there for certain, and would be missed only when all else is sent.
        fs_err::metadata(&options.launcher).map_err(FileError::from)?;
        let buildpacks = inputs
            .group
            .buildpacks
            .iter()
            .map(|module| {
                let directory = options.layers.here.join(module.id.directory());
                Ok(Buildpack {
                    module: module.clone(),
                    layers: contributed::layers(&directory)?,
                    store: files::read_if_there(&directory.join("store.toml"), StoreToml::parse)?,
                })
            })
            .collect::<Result<Vec<_>, ExportError>>()?;
        let intact = IntactLayers::find(options, &buildpacks, cache);
        let extended = inputs.extended.as_ref();
        let mut all = extended.map_or_else(Vec::new, |extended| extension::parts(&inputs.base, extended));
        all.extend(launch_layers(options, inputs, &buildpacks, &intact)?);
        let before = &inputs.analyzed.metadata;
        if options.api.has_sbom_layers() && sboms::has(&options.layers.here, "launch") {
            let place = options.layers.join("sbom").join("launch");
            let contents = directory(options, &place);
            let was_there = before.sbom.is_some();
            all.push(part(
                Role::Sbom,
                "launch.sbom",
                "Software Bill-of-Materials",
                contents,
                was_there,
            ));
        }
        all.extend(app_layers(options, inputs)?);
        let launcher =
            FilesLayer::new("the launcher", Style::Reference).copy(LAUNCHER, 0o755, &options.launcher);
        let was_there = !before.launcher.sha.is_empty();
        let text = "Buildpacks Application Launcher";
        all.push(part(
            Role::Launcher,
            "buildpacksio/lifecycle:launcher",
            text,
            Arc::new(launcher),
            was_there,
        ));
        let contents = directory(options, &options.layers.join("config"));
        let was_there = !before.config.sha.is_empty();
        all.push(part(
            Role::Config,
            "buildpacksio/lifecycle:config",
            "Buildpacks Launcher Config",
            contents,
            was_there,
        ));
        if !inputs.metadata.processes.is_empty() {
            let contents = process_types(inputs);
            let was_there = !before.process_types.sha.is_empty();
            let name = "buildpacksio/lifecycle:process-types";
            all.push(part(
                Role::ProcessTypes,
                name,
                "Buildpacks Process Types",
                Arc::new(contents),
                was_there,
            ));
        }
        Ok(Self {
            all,
            buildpacks,
            intact,
        })
    }
}

fn part(role: Role, name: &str, created_by: &str, contents: Arc<dyn Contents>, was_there: bool) -> Part {
    Part {
        role,
        name: name.to_owned(),
        buildpack: None,
        created_by: created_by.to_owned(),
        source: Source::Contents(contents),
        was_there,
        diff_id: None,
    }
}

/// Layers for launch, in group order, then by name.
fn launch_layers(
    options: &ExportOptions,
    inputs: &Inputs,
    buildpacks: &[Buildpack],
    intact: &IntactLayers,
) -> Result<Vec<Part>, ExportError> {
    let mut parts = Vec::new();
    for (at, buildpack) in buildpacks.iter().enumerate() {
        let module = &buildpack.module;
        let previous = inputs
            .analyzed
            .metadata
            .buildpack(&module.id)
            .map(|layers| &layers.layers);
        for layer in buildpack.layers.iter().filter(|layer| layer.toml.types.launch) {
            let name = format!("{}:{}", module.id, layer.name);
            let previous = previous.and_then(|layers| layers.get(layer.name.as_str()));
            let missing = |reason| ExportError::NoContents {
                layer: name.clone(),
                reason,
            };
            let source = if layer.has_contents() {
                Source::Contents(directory(options, &place_of(options, module, &layer.name)))
            } else if layer.toml.types.cache {
                return Err(missing("it is for the cache, so its contents must be there"));
            } else {
                let previous = previous
                    .filter(|layer| layer.launch)
                    .ok_or_else(|| missing("the previous image does not have it either"))?;
                let reused = previous_layer(inputs, &previous.sha);
                Source::Previous(
                    reused.ok_or_else(|| missing("the previous image names it, but does not hold it"))?,
                )
            };
            parts.push(Part {
                created_by: format!(
                    "Layer: '{}', Created by buildpack: {}",
                    layer.name,
                    module.label()
                ),
                role: Role::Launch {
                    buildpack: at,
                    name: layer.name.clone(),
                    metadata: metadata(layer),
                },
                name,
                buildpack: Some(module.label()),
                diff_id: intact.diff_id(&module.id, layer.name.as_str()).cloned(),
                source,
                was_there: previous.is_some(),
            });
        }
    }
    Ok(parts)
}

/// The app directory: one layer, or one for each slice and one for the rest (SLC-04).
fn app_layers(options: &ExportOptions, inputs: &Inputs) -> Result<Vec<Part>, ExportError> {
    let app = AppLayer::new(&options.app.here, &options.app.shown)
        .owners(Owners::Fixed(options.owner))
        .parents(parents(options, &options.app))
        .shared(options.app.is_shared());
    let was_there = match &inputs.analyzed.metadata.app {
        AppLayers::Layers(layers) => !layers.is_empty(),
        AppLayers::Other(_) => false,
    };
    if inputs.metadata.slices.is_empty() {
        return Ok(vec![part(
            Role::App,
            "app",
            "Application Layer",
            Arc::new(app),
            was_there,
        )]);
    }
    let globs = |paths: &[String]| -> Result<Vec<Glob>, ExportError> {
        let globs = paths.iter().map(|path| Glob::new(path, &options.app.shown));
        // A pattern for somewhere outside of the app matches nothing.
        Ok(globs.filter_map(Result::transpose).collect::<Result<_, _>>()?)
    };
    let slices = inputs
        .metadata
        .slices
        .iter()
        .map(|slice| globs(&slice.paths))
        .collect::<Result<_, _>>()?;
    let slice = |(at, contents)| {
        let (name, text) = (
            format!("slice-{}", at + 1),
            format!("Application Slice: {}", at + 1),
        );
        part(Role::App, &name, &text, Arc::new(contents), was_there)
    };
    Ok(app.slice(slices).into_iter().enumerate().map(slice).collect())
}

/// One link to the launcher for each process type. The metadata has them sorted.
fn process_types(inputs: &Inputs) -> FilesLayer {
    let empty = FilesLayer::new("the process types", Style::Reference);
    inputs.metadata.processes.iter().fold(empty, |layer, process| {
        layer.symlink(
            format!("{PROCESS_DIRECTORY}/{}", process.process_type),
            LAUNCHER,
            0o755,
        )
    })
}

pub(super) fn place_of(options: &ExportOptions, module: &GroupModule, name: &LayerName) -> Place {
    options.layers.join(module.id.directory()).join(name.as_str())
}

/// A directory below the layers directory as a layer.
pub(super) fn directory(options: &ExportOptions, place: &Place) -> Arc<dyn Contents> {
    let layer = DirectoryLayer::new(&place.here, &place.shown)
        .owners(Owners::Fixed(options.owner))
        .parents(parents(options, place))
        .shared(options.layers.is_shared());
    Arc::new(layer)
}

/// Directories above the app and above the layers directory are those of the builder image, where they are the same here
/// and there (OWN-01). Where they are not, they mean nothing here, and the image gets what a builder image has.
///
/// So it does for the layers directory itself and a buildpack's directory in it: they show what volume the layers lie on,
/// and as whom the phases run (PS-05).
fn parents(options: &ExportOptions, place: &Place) -> Parents {
    let (mode, owner) = (0o755, options.owner);
    if place.here != place.shown {
        Parents::Fixed { mode, owner }
    } else if place.shown.starts_with(&options.layers.shown) {
        // Without the root and without the layers directory.
        let depth = options.layers.shown.components().count().saturating_sub(2);
        Parents::FixedBelow { depth, mode, owner }
    } else {
        Parents::OnDisk
    }
}

/// What is said about a layer, without its diff ID.
pub(super) fn metadata(layer: &ContributedLayer) -> LayerMetadata {
    let types = layer.toml.types;
    LayerMetadata {
        sha: String::new(),
        data: layer.toml.metadata.clone(),
        build: types.build,
        launch: types.launch,
        cache: types.cache,
    }
}
