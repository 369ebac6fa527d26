//! The options of the phases that run in this process.

use lifecycle_layers::Owner;
use lifecycle_phases::{AnalyzeOptions, CacheOptions, ExportOptions, RestoreOptions, UnpackedLayers};
use lifecycle_sandbox::Rung;
use lifecycle_spec::label::LauncherVersion;

use super::workspace::{ANALYZED, GROUP, Workspace};
use super::{API, BuildOptions, RunImages};
use crate::Isolation;

/// For each phase that runs in this process its options, and the caches that they share.
#[derive(Debug)]
pub(super) struct Inputs<'a> {
    pub(super) analyze: AnalyzeOptions,
    pub(super) restore: RestoreOptions,
    pub(super) export: ExportOptions,
    pub(super) cache: CacheOptions<'a>,
}

impl<'a> Inputs<'a> {
    pub(super) fn new(
        options: &BuildOptions<'a>,
        isolation: &Isolation,
        owner: Owner,
        workspace: &Workspace,
    ) -> Self {
        let layers = workspace.layers();
        let file = |name: &str| workspace.document(name);
        let run_image = match &options.run_images {
            RunImages::Fixed(reference) => Some(reference.to_string()),
            RunImages::OfBuilder(_) => None,
        };
        Self {
            analyze: AnalyzeOptions {
                api: API,
                image: options.name.clone(),
                tags: options.more_names.clone(),
                previous_image: options.previous.as_ref().map(ToString::to_string),
                run_image,
                run: file("run.toml"),
                stack: file("stack.toml"),
                layers: layers.clone(),
                launch_cache: None,
                skip_layers: options.clear_cache,
                analyzed: file(ANALYZED),
            },
            restore: RestoreOptions {
                api: API,
                layers: layers.clone(),
                group: file(GROUP),
                analyzed: file(ANALYZED),
                run: file("run.toml"),
                build_image: None,
                skip_layers: options.clear_cache,
            },
            export: ExportOptions {
                api: API,
                images: [&options.name]
                    .into_iter()
                    .chain(&options.more_names)
                    .cloned()
                    .collect(),
                app: workspace.app(),
                layers: layers.clone(),
                extended: layers.here.join("extended"),
                analyzed: file(ANALYZED),
                group: file(GROUP),
                run: file("run.toml"),
                stack: file("stack.toml"),
                project_metadata: file("project-metadata.toml"),
                report: file("report.toml"),
                launcher: workspace.launcher(),
                launcher_version: LauncherVersion {
                    version: options.program.version.clone(),
                    ..LauncherVersion::default()
                },
                launcher_sbom: Some(workspace.launcher_sboms()),
                launcher_sbom_is_default: false,
                process_type: options.process.clone(),
                owner,
                source_date_epoch: options.created.map(|seconds| seconds.to_string()),
                exec_env: options.exec_env.clone(),
                parallel: options.cache.is_some() || options.cache_image.is_some(),
                launch_cache: None,
                packing: options.packing,
            },
            cache: CacheOptions {
                directory: options.cache.clone(),
                image: options.cache_image.clone(),
                unpacked: unpacked(options, isolation, owner),
            },
        }
    }
}

/// Where layers of the cache stay unpacked. That it cannot be used costs time only.
fn unpacked(options: &BuildOptions<'_>, isolation: &Isolation, owner: Owner) -> Option<UnpackedLayers> {
    let directory = options.unpacked.as_ref()?;
    // Where this process has one id only, that owns what the build makes.
    let owner = match isolation.rung() {
        Rung::SingleId => Owner::ROOT,
        _ => owner,
    };
    UnpackedLayers::open(directory, owner).ok()
}
