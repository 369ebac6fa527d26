//! A slug as an image: the app on the stack's run image, and the launcher of buildpack images beside it, so that
//! everything that starts buildpack images starts slugs too.

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Arc;

use lifecycle_image::{History, Image, Layer, Progress, mutate};
use lifecycle_layers::{
    DirectoryLayer, ExtractOptions, FilesLayer, Owner, Owners, Ownership, Packing, Parents, Style, Whiteouts,
    extract,
};
use lifecycle_spec::label::{
    self, AppLayers, BuildLabel, BuildpackLayers, LauncherVersion, LayerMetadata, LayerSha, LifecycleLabel,
    RunImageLabel,
};
use lifecycle_spec::{
    BuildpackId, GroupModule, MetadataToml, NameError, PlatformApi, Process, ProjectMetadataToml,
    RunImageEntry, StackToml, Version,
};
use lifecycle_store::{Expected, Store};

use crate::build::APP;
use crate::fetch::NoMeter;
use crate::shell::{in_any_shell, with_exec};
use crate::{HerokuError, Procfile, slug};

/// Who the image says it was built by.
const BUILDPACK: &str = "lifecycle/classic";
const BUILDPACK_VERSION: &str = "0.1.0";
const BUILDPACK_API: &str = "0.11";
/// Sources `.profile.d` when a process starts; the bundled buildpack has the same program.
const PROFILE: &[u8] = include_bytes!("../../../buildpacks/classic/lib/profile");
/// Where that lies.
const PROFILE_LAYER: &str = "/layers/lifecycle_classic/profile";
const LAUNCHER: &str = "/cnb/lifecycle/launcher";
const PROCESSES: &str = "/cnb/process";
/// The port that a web process listens on when the platform names none (SR-02).
pub(crate) const DEFAULT_PORT: &str = "5000";

/// What a slug is put on.
#[derive(Debug, Clone)]
pub struct ImageOptions {
    /// The stack's run image.
    pub run: Image,
    /// Its name, for rebasing.
    pub run_name: String,
    /// Its digest reference.
    pub run_reference: String,
    /// The launcher program.
    pub launcher: Arc<[u8]>,
    /// Its version.
    pub launcher_version: String,
    /// Times of files later than this become this (SL-02).
    pub latest: Option<i64>,
    /// When the image is said to be made, RFC 3339.
    pub created: String,
    /// How layers are packed.
    pub packing: Packing,
}

/// Makes the image of the slug in `directory`. Its layers may still be in the making when this returns; `directory` must
/// stay until they are done.
///
/// # Errors
/// When a process type cannot be one of an image, or a layer cannot be made.
pub fn image(
    directory: &Path,
    processes: &Procfile,
    options: &ImageOptions,
    store: &Store,
    progress: &Arc<dyn Progress>,
) -> Result<Image, HerokuError> {
    let owner = owner_of(&options.run);
    let metadata = metadata(processes)?;
    let pack = |contents: Arc<dyn lifecycle_layers::Contents>| {
        store.pack(contents, options.packing, Expected::here(), Arc::clone(progress))
    };
    let style = Style::Oci {
        latest: options.latest,
    };
    let app = DirectoryLayer::new(directory, APP)
        .owners(Owners::Fixed(owner))
        .parents(Parents::Absent)
        .style(style);
    let profile = FilesLayer::new("profile", Style::Reference)
        .directory(format!("{PROFILE_LAYER}/exec.d"), 0o755)
        .file(format!("{PROFILE_LAYER}/exec.d/profile"), 0o755, PROFILE);
    let launcher =
        FilesLayer::new("launcher", Style::Reference).file(LAUNCHER, 0o755, Arc::clone(&options.launcher));
    let toml = metadata.to_toml(PlatformApi::LATEST);
    let config = FilesLayer::new("configuration", Style::Reference).file(
        "/layers/config/metadata.toml",
        0o644,
        toml.into_bytes(),
    );
    let links = FilesLayer::new("process types", Style::Reference).directory(PROCESSES, 0o755);
    let links = processes.iter().fold(links, |links, (name, _)| {
        links.symlink(format!("{PROCESSES}/{name}"), LAUNCHER, 0o777)
    });
    let app = pack(Arc::new(app));
    let [profile, launcher, config, links] =
        [profile, launcher, config, links].map(|layer| pack(Arc::new(layer)));

    let labels = labels(options, &metadata, [&app, &profile, &launcher, &config, &links])?;
    let named = [
        (app, "Application of the slug"),
        (profile, "Start of .profile.d"),
        (launcher, "Application launcher"),
        (config, "Buildpack configuration"),
        (links, "Process types"),
    ];
    let image = named.into_iter().fold(
        mutate::align_history(options.run.clone()),
        |image, (layer, line)| {
            let history = History {
                created: Some(options.created.clone()),
                created_by: Some(line.to_owned()),
                ..History::default()
            };
            mutate::append(image, layer, history)
        },
    );
    Ok(configure(image, options, &metadata, labels))
}

/// Unpacks the app of an image that [`image()`] made into an empty directory, from which it can be packed as a slug again.
///
/// # Errors
/// When the image was not made from a slug, or there is something in the directory.
pub fn unpack_image(image: &Image, into: &Path) -> Result<(), HerokuError> {
    let layer = app_layer(image)?;
    slug::require_empty(into)?;
    let directory = fs_err::File::open(into).map_err(HerokuError::io("open", into))?;
    let options = ExtractOptions {
        whiteouts: Whiteouts::Literal,
        ownership: Ownership::Squash,
        below: APP.trim_start_matches('/').as_bytes(),
        ..ExtractOptions::default()
    };
    let failed = |cause| HerokuError::Extract {
        archive: "the layer of the app".to_owned(),
        cause,
    };
    extract(layer.open(0)?, None, directory.as_fd(), &options, &NoMeter).map_err(failed)?;
    Ok(())
}

/// The layer with the app of an image that [`image()`] made; the members of the tar lie below `app`.
fn app_layer(image: &Image) -> Result<Arc<dyn Layer>, HerokuError> {
    let fault = |reason: &str| HerokuError::File {
        file: "the image".to_owned(),
        reason: reason.to_owned(),
    };
    let text = image
        .config()
        .label(label::LIFECYCLE)
        .ok_or_else(|| fault("it was made neither from a slug nor by buildpacks"))?;
    let label = LifecycleLabel::parse(text).map_err(|flaw| fault(&flaw.to_string()))?;
    if !label
        .buildpacks
        .iter()
        .any(|buildpack| buildpack.key.as_str() == BUILDPACK)
        || image.config().config.env("CNB_APP_DIR") != Some(APP)
    {
        return Err(fault("it was not made from a slug"));
    }
    let AppLayers::Layers(layers) = label.app else {
        return Err(fault("its label names no layer of the app"));
    };
    let wanted = layers.first().map(|layer| layer.sha.as_str()).unwrap_or_default();
    let is_it = |layer: &&Arc<dyn Layer>| layer.diff_id().is_ok_and(|own| own.to_string() == wanted);
    image
        .layers()
        .iter()
        .find(is_it)
        .cloned()
        .ok_or_else(|| fault("it lacks the layer of the app that its label names"))
}

/// Who the run image's processes run as, as far as the configuration says it in numbers; else root.
fn owner_of(run: &Image) -> Owner {
    let config = &run.config().config;
    let number = |text: Option<&str>| text.and_then(|text| text.parse().ok());
    let user = config.user.as_deref().unwrap_or_default();
    let (uid, gid) = user.split_once(':').unwrap_or((user, ""));
    let uid: Option<u32> = number(Some(uid)).or_else(|| number(config.env("CNB_USER_ID")));
    let gid = number(Some(gid))
        .or_else(|| number(config.env("CNB_GROUP_ID")))
        .or(uid);
    Owner::new(uid.unwrap_or(0), gid.unwrap_or(0))
}

fn metadata(processes: &Procfile) -> Result<MetadataToml, HerokuError> {
    let name = |error: NameError| HerokuError::File {
        file: "the image".to_owned(),
        reason: error.to_string(),
    };
    let buildpack = GroupModule {
        id: BuildpackId::new(BUILDPACK).map_err(name)?,
        version: Version::new(BUILDPACK_VERSION).map_err(name)?,
        homepage: None,
        api: BUILDPACK_API.to_owned(),
    };
    let mut written: Vec<_> = processes
        .iter()
        .map(|(name, command)| Process {
            process_type: name.to_owned(),
            command: in_any_shell(&with_exec(command)),
            direct: true,
            buildpack_id: Some(BUILDPACK.to_owned()),
            ..Process::default()
        })
        .collect();
    written.sort_by(|a, b| a.process_type.cmp(&b.process_type));
    Ok(MetadataToml {
        default_process: processes.default_type().map(str::to_owned),
        buildpacks: vec![buildpack],
        processes: written,
        ..MetadataToml::default()
    })
}

/// Waits for the layers.
fn labels(
    options: &ImageOptions,
    metadata: &MetadataToml,
    layers: [&Arc<dyn Layer>; 5],
) -> Result<Vec<(&'static str, String)>, HerokuError> {
    let mut shas = Vec::new();
    for layer in layers {
        shas.push(layer.diff_id()?.to_string());
    }
    let [app, profile, launcher, config, links] = shas.try_into().unwrap_or_default();
    let layer = LayerMetadata {
        sha: profile,
        launch: true,
        ..LayerMetadata::default()
    };
    let buildpacks = metadata.buildpacks.iter().map(|module| BuildpackLayers {
        key: module.id.clone(),
        version: module.version.to_string(),
        layers: BTreeMap::from([("profile".to_owned(), layer.clone())]),
        store: None,
    });
    let top_layer = options
        .run
        .config()
        .rootfs
        .diff_ids
        .last()
        .map(ToString::to_string);
    let source = RunImageEntry {
        image: options.run_name.clone(),
        mirrors: Vec::new(),
    };
    let lifecycle = LifecycleLabel {
        app: AppLayers::Layers(vec![LayerSha::new(app)]),
        buildpacks: buildpacks.collect(),
        config: LayerSha::new(config),
        launcher: LayerSha::new(launcher),
        process_types: LayerSha::new(links),
        run_image: RunImageLabel {
            top_layer: top_layer.unwrap_or_default(),
            reference: options.run_reference.clone(),
            source: source.clone(),
        },
        stack: Some(StackToml { run_image: source }),
        ..LifecycleLabel::default()
    };
    let version = LauncherVersion {
        version: options.launcher_version.clone(),
        ..LauncherVersion::default()
    };
    Ok(vec![
        (label::LIFECYCLE, lifecycle.to_json()),
        (
            label::BUILD,
            BuildLabel::json_of(metadata, &version, PlatformApi::LATEST),
        ),
        (label::PROJECT, ProjectMetadataToml::default().to_json()),
    ])
}

fn configure(
    image: Image,
    options: &ImageOptions,
    metadata: &MetadataToml,
    labels: Vec<(&str, String)>,
) -> Image {
    mutate::configure(image, |config| {
        let container = &mut config.config;
        container.set_env("HOME", APP);
        if container.env("PORT").is_none() {
            container.set_env("PORT", DEFAULT_PORT);
        }
        container.set_env("CNB_LAYERS_DIR", "/layers");
        container.set_env("CNB_APP_DIR", APP);
        container.set_env("CNB_PLATFORM_API", PlatformApi::LATEST.as_str());
        let path = container.env("PATH").filter(|path| !path.is_empty());
        let path = path.map_or_else(String::new, |path| format!(":{path}"));
        container.set_env("PATH", &format!("{PROCESSES}:/cnb/lifecycle{path}"));
        container.working_dir = Some(APP.to_owned());
        container.entrypoint = Some(vec![match &metadata.default_process {
            Some(name) => format!("{PROCESSES}/{name}"),
            None => LAUNCHER.to_owned(),
        }]);
        container.cmd = None;
        for (key, value) in labels {
            config.set_label(key, value);
        }
        config.created = Some(options.created.clone());
    })
}
