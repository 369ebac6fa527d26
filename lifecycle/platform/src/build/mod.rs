//! From app source to image.

mod cancel;
mod extend;
mod step;
mod workspace;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lifecycle_image::{Image, Reference};
use lifecycle_layers::{Owner, Packing};
use lifecycle_phases::{
    AnalyzeOptions, CacheImage, CacheOptions, Cancellation, ExportOptions, ExportReport, Images, Phase,
    Reporter, RestoreOptions, RestoreReport, UnpackedLayers, analyze, export, restore,
};
use lifecycle_sandbox::{Identity, Network, Rung};
use lifecycle_spec::label::LauncherVersion;
use lifecycle_spec::{ExecEnv, OrderToml, PlatformApi, ProjectMetadataToml, RunToml};
use lifecycle_store::Store;

use self::extend::{Extensions, WithBuilder};
use self::step::Steps;
use self::workspace::{PLATFORM, Workspace};
use crate::run::Volume;
use crate::source::copy_source;
use crate::{ImageRoot, Isolation, PlatformError, Selection};

/// The Platform API that this platform speaks with its own phases.
const API: PlatformApi = PlatformApi::LATEST;

/// What to build, and how.
#[derive(Debug)]
pub struct BuildOptions<'a> {
    /// The directory with the app's source.
    pub source: PathBuf,
    /// Which of its files take part.
    pub selection: Selection,
    /// The name of the image.
    pub name: Reference,
    /// More names for it.
    pub more_names: Vec<Reference>,
    /// The builder's name, for messages.
    pub builder_name: String,
    /// The builder.
    pub builder: Image,
    /// The user that builds and owns what is built, in place of the builder's.
    pub uid: Option<u32>,
    /// The user's group, in place of the builder's.
    pub gid: Option<u32>,
    /// Where the build and the image have the app: an absolute path.
    pub app: PathBuf,
    /// Whether the buildpacks that the builder puts around every group stay away.
    pub without_system_buildpacks: bool,
    /// The order in which buildpacks are tried, in place of the builder's.
    pub order: Option<OrderToml>,
    /// Variables for the buildpacks.
    pub env: Vec<(String, OsString)>,
    /// Variables for the phases themselves: proxies, the execution environment.
    pub variables: Vec<(String, String)>,
    /// Certificates that the buildpacks' downloads are checked with, as a file of this machine.
    pub certificates: Option<PathBuf>,
    /// Directories and files of this machine that buildpacks see.
    pub volumes: Vec<Volume>,
    /// Which run image the app gets.
    pub run_images: RunImages,
    /// The image to reuse layers from; the first name unless another is given.
    pub previous: Option<Reference>,
    /// The process type that the image starts.
    pub process: Option<String>,
    /// What `project.toml` and the like say of the source.
    pub project: ProjectMetadataToml,
    /// When the image is said to be made, in seconds since 1970.
    pub created: Option<i64>,
    /// The directory where layers are kept from one build to the next, if they are.
    pub cache: Option<PathBuf>,
    /// The directory in the store where the layers of the cache stay unpacked, if they do. No other build uses it.
    pub unpacked: Option<PathBuf>,
    /// An image that layers are kept in from one build to the next.
    pub cache_image: Option<CacheImage<'a>>,
    /// The directory in the store where results of the Dockerfiles of extensions stay. No other build uses it.
    pub extended: Option<PathBuf>,
    /// Whether what the cache holds, and what earlier images hold, is forgotten.
    pub clear_cache: bool,
    /// The execution environment.
    pub exec_env: ExecEnv,
    /// The network that buildpacks see.
    pub network: Network,
    /// How layers are compressed.
    pub packing: Packing,
    /// This program.
    pub program: &'a Program,
    /// Whether the phases explain themselves.
    pub debug: bool,
    /// Whether what they and the buildpacks print may be coloured.
    pub color: bool,
}

/// How the run image is chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunImages {
    /// This one.
    Fixed(Reference),
    /// One of the builder's.
    OfBuilder(RunToml),
}

/// This program, which also is the phases.
#[derive(Debug, Clone)]
pub struct Program {
    /// The file that it runs from, whatever has its name by now: a link in /proc.
    pub file: PathBuf,
    /// Its version.
    pub version: String,
    /// The launcher that goes into app images.
    pub launcher: Arc<[u8]>,
}

/// How long a phase took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PhaseTime {
    /// Which phase.
    pub phase: Phase,
    /// Its wall time.
    pub took: Duration,
}

/// What a build made.
#[derive(Debug)]
pub struct BuildReport {
    /// What came back from earlier builds.
    pub restored: RestoreReport,
    /// What was exported.
    pub export: ExportReport,
    /// How long the phases took, in order.
    pub times: Vec<PhaseTime>,
    /// How the buildpacks were kept apart from this machine.
    pub rung: Rung,
}

/// Builds an image from app source.
///
/// `images` is where the previous image and the run image are read, and where the result goes.
pub fn build(
    options: &BuildOptions<'_>,
    images: &Images<'_>,
    store: &Store,
    isolation: &Isolation,
    reporter: &Arc<dyn Reporter>,
    cancellation: &Cancellation,
) -> Result<BuildReport, PlatformError> {
    let identity = build_user(options)?;
    check_rung(isolation)?;
    // Where this process has one id only, everything belongs to it, and the image's owners are set when it is written.
    let owner = Owner::new(identity.uid, identity.gid);
    let given_to = (isolation.rung() != Rung::SingleId).then_some(owner);
    let workspace = Workspace::create(store, given_to, options.app.clone())?;
    let mut times = Times::default();

    prepare(options, &workspace)?;
    let extended = prepare_extended(options)?;
    let root = ImageRoot::prepare(&options.builder, store, isolation, &**reporter)?;
    let steps = Steps {
        root,
        identity: identity.clone(),
        workspace: &workspace,
        options,
        store,
        isolation,
        reporter: &**reporter,
        cancellation,
        extended,
    };
    let inputs = Inputs::new(options, isolation, owner, &workspace);

    times.measure(Phase::Analyze, || {
        analyze(&inputs.analyze, images, inputs.cache.image.as_ref(), &**reporter)
            .map(drop)
            .map_err(PlatformError::Analyze)
    })?;
    // Detection changes analyzed.toml when extensions choose another run image.
    workspace.give_away_layers()?;
    times.measure(Phase::Detect, || {
        reporter.phase(Phase::Detect);
        steps.detect()
    })?;
    let extensions = Extensions::read(&workspace)?;
    let mut restore_to_export = || -> Result<_, PlatformError> {
        let restored = times.measure(Phase::Restore, || {
            let given = options;
            let options = RestoreOptions {
                build_image: extensions.build_image(),
                ..inputs.restore.clone()
            };
            let source = WithBuilder {
                builder: &given.builder,
                others: images.source,
            };
            let bases = source.bases(workspace.base_images(), images.platform);
            restore(&options, Some(images), Some(&bases), &inputs.cache, &**reporter)
                .map_err(PlatformError::Restore)
        })?;
        workspace.give_away_layers()?;
        if extensions.build {
            times.measure(Phase::ExtendBuild, || {
                reporter.phase(Phase::ExtendBuild);
                steps.extend("build")
            })?;
        } else {
            times.measure(Phase::Build, || {
                reporter.phase(Phase::Build);
                steps.build()
            })?;
        }
        if extensions.run && !cancellation.is_cancelled() {
            times.measure(Phase::ExtendRun, || {
                reporter.phase(Phase::ExtendRun);
                let image = extend::run_image(&workspace, images.source, images.platform)?;
                let root = ImageRoot::prepare(&image, store, isolation, &**reporter)?;
                steps.of_image(root).extend("run")
            })?;
        }
        if cancellation.is_cancelled() {
            return Err(PlatformError::Stopped);
        }
        let export = times.measure(Phase::Export, || {
            export(&inputs.export, images, &inputs.cache, store, reporter).map_err(PlatformError::Export)
        })?;
        Ok((restored, export))
    };
    let finished = restore_to_export();
    if let (Err(_), Some(unpacked)) = (&finished, &inputs.cache.unpacked) {
        // What went wrong is known already; what is not put back comes from its tar next time.
        drop(unpacked.put_back(&inputs.export.layers));
    }
    if cancellation.is_cancelled() {
        // Who has pressed Ctrl-C does not want to wait until all files are removed.
        drop(steps);
        workspace.abandon();
    }
    let (restored, export) = finished?;
    Ok(BuildReport {
        restored,
        export,
        times: times.0,
        rung: isolation.rung(),
    })
}

/// Buildpacks need a root of their own: the builder's.
fn check_rung(isolation: &Isolation) -> Result<(), PlatformError> {
    if isolation.rung() == Rung::InPlace {
        return Err(PlatformError::NoRoot);
    }
    Ok(())
}

/// The user that was asked for, else the one that the builder names in two variables (BAS, BU-01).
fn build_user(options: &BuildOptions<'_>) -> Result<Identity, PlatformError> {
    let id = |asked: Option<u32>, variable: &str| {
        if let Some(id) = asked {
            return Ok(id);
        }
        let text = options.builder.config().config.env(variable);
        text.and_then(|text| text.parse().ok())
            .ok_or_else(|| PlatformError::NotABuilder {
                builder: options.builder_name.clone(),
                reason: format!("its variable {variable} is not a number"),
            })
    };
    let uid = id(options.uid, "CNB_USER_ID")?;
    Ok(Identity::new(uid, id(options.gid, "CNB_GROUP_ID")?))
}

/// Fills the directories that the phases start from.
fn prepare(options: &BuildOptions<'_>, workspace: &Workspace) -> Result<(), PlatformError> {
    let copied = copy_source(
        &options.source,
        &options.selection,
        &workspace.app().here,
        workspace.owner(),
    )?;
    if copied == 0 {
        let reason = "there is no file in it, or project.toml leaves none".to_owned();
        return Err(PlatformError::Source {
            path: options.source.clone(),
            reason,
        });
    }
    workspace.give_away_app()?;
    for (name, value) in &options.env {
        workspace.set_variable(name, value)?;
    }
    if let Some(certificates) = &options.certificates {
        let bytes = fs_err::read(certificates);
        let bytes =
            bytes.map_err(|cause| PlatformError::io("read certificates from", certificates, cause))?;
        workspace.write(&workspace.platform().join(CERTIFICATES), &bytes)?;
        if options.env.iter().all(|(name, _)| name != CERTIFICATES_VARIABLE) {
            let path = format!("{PLATFORM}/{CERTIFICATES}");
            workspace.set_variable(CERTIFICATES_VARIABLE, path.as_ref())?;
        }
    }
    let layers = workspace.layers().here;
    if let Some(order) = &options.order {
        workspace.write(&layers.join("order.toml"), order.to_toml().as_bytes())?;
    }
    if let RunImages::OfBuilder(run) = &options.run_images {
        workspace.write(&layers.join("run.toml"), run.to_toml().as_bytes())?;
    }
    workspace.write(
        &layers.join("project-metadata.toml"),
        options.project.to_toml().as_bytes(),
    )?;
    workspace.write(&workspace.launcher(), &options.program.launcher)
}

/// Makes the directory for results of extensions: one for each builder, because its extensions run as root where they are
/// kept, and what they left is not believed under another one. Of other builders, and when all is to be forgotten,
/// nothing stays.
fn prepare_extended(options: &BuildOptions<'_>) -> Result<Option<PathBuf>, PlatformError> {
    let Some(directory) = &options.extended else {
        return Ok(None);
    };
    let failed = |cause| PlatformError::io("prepare", directory, cause);
    let builder = options.builder.digest();
    let builder = builder.map_err(|error| PlatformError::Image(error.to_string()))?;
    let own = directory.join(builder.hex());
    fs_err::create_dir_all(directory).map_err(failed)?;
    for entry in fs_err::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if options.clear_cache || path != own {
            fs_err::remove_dir_all(&path).map_err(failed)?;
        }
    }
    fs_err::create_dir_all(&own).map_err(failed)?;
    Ok(Some(own))
}

/// The certificates that downloads of buildpacks are checked with, below the platform directory.
const CERTIFICATES: &str = "ca-certificates.crt";
/// The variable that names them; the buildpacks of this repository derive those of their tools from it.
const CERTIFICATES_VARIABLE: &str = "SSL_CERT_FILE";

/// The options of the phases that run in this process.
struct Inputs<'a> {
    analyze: AnalyzeOptions,
    restore: RestoreOptions,
    export: ExportOptions,
    cache: CacheOptions<'a>,
}

impl<'a> Inputs<'a> {
    fn new(options: &BuildOptions<'a>, isolation: &Isolation, owner: Owner, workspace: &Workspace) -> Self {
        let layers = workspace.layers();
        let file = |name: &str| layers.here.join(name);
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
                analyzed: file("analyzed.toml"),
            },
            restore: RestoreOptions {
                api: API,
                layers: layers.clone(),
                group: file("group.toml"),
                analyzed: file("analyzed.toml"),
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
                extended: file("extended"),
                analyzed: file("analyzed.toml"),
                group: file("group.toml"),
                run: file("run.toml"),
                stack: file("stack.toml"),
                project_metadata: file("project-metadata.toml"),
                report: file("report.toml"),
                launcher: workspace.launcher(),
                launcher_version: LauncherVersion {
                    version: options.program.version.clone(),
                    ..LauncherVersion::default()
                },
                launcher_sbom: None,
                launcher_sbom_is_default: true,
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

/// How long each phase took.
#[derive(Debug, Default)]
struct Times(Vec<PhaseTime>);

impl Times {
    fn measure<T>(
        &mut self,
        phase: Phase,
        run: impl FnOnce() -> Result<T, PlatformError>,
    ) -> Result<T, PlatformError> {
        let start = Instant::now();
        let result = run();
        self.0.push(PhaseTime {
            phase,
            took: start.elapsed(),
        });
        result
    }
}
