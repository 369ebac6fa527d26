//! From app source to image.

mod course;
mod extend;
mod inputs;
mod preparation;
mod remains;
mod step;
mod workspace;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lifecycle_image::{Image, Reference};
use lifecycle_layers::{Owner, Packing};
use lifecycle_phases::{CacheImage, Cancellation, ExportReport, Images, Phase, Reporter, RestoreReport};
use lifecycle_sandbox::{Identity, Network, Rung};
use lifecycle_sbom::Document;
use lifecycle_spec::{ExecEnv, OrderToml, PlatformApi, ProjectMetadataToml, RunToml};
use lifecycle_store::Store;

use self::course::Course;
use self::inputs::Inputs;
use self::preparation::{prepare, prepare_extended};
use self::step::Steps;
use self::workspace::Workspace;
use crate::run::Volume;
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
    /// Its SBOMs, which go there too.
    pub launcher_sboms: Vec<Document>,
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
///
/// # Errors
/// [`PlatformError::Stopped`] when `cancellation` ended it; else with the phase that failed, which [`PlatformError::exit_code`]
/// knows the code of.
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

    prepare(options, &workspace)?;
    let extended = prepare_extended(options)?;
    let root = ImageRoot::prepare(&options.builder, store, isolation, &**reporter)?;
    let inputs = Inputs::new(options, isolation, owner, &workspace);
    let mut course = Course {
        steps: Steps {
            root,
            identity,
            workspace: &workspace,
            options,
            store,
            isolation,
            reporter: &**reporter,
            cancellation,
            extended,
        },
        inputs: &inputs,
        images,
        reporter,
        times: Vec::new(),
    };
    let extensions = course.analyze_and_detect()?;
    let finished = course.restore_to_export(extensions);
    if let (Err(_), Some(unpacked)) = (&finished, &inputs.cache.unpacked) {
        // What went wrong is known already; what is not put back comes from its tar next time.
        drop(unpacked.put_back(&inputs.export.layers));
    }
    let times = course.finish();
    if cancellation.is_cancelled() {
        // Who has pressed Ctrl-C does not want to wait until all files are removed.
        workspace.abandon();
    }
    let (restored, export) = finished?;
    Ok(BuildReport {
        restored,
        export,
        times,
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
