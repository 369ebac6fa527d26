//! What to build, and how.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use lifecycle_dockerfile::{BuildArgs, Platforms};
use lifecycle_image::{Reference, Source};
use lifecycle_layers::Packing;
use lifecycle_sandbox::{Host, Limits, Resource, Rlimit, Rung};

use crate::cache::CacheSource;
use crate::live_root::LiveRoot;

/// A build. Everything that decides about its result is here or in what the sources give.
#[derive(Debug, Clone)]
pub struct Options {
    /// The Dockerfile's name, for messages.
    pub name: String,
    /// The Dockerfile.
    pub dockerfile: Vec<u8>,
    /// Where COPY and ADD take local files from.
    pub context: BuildContext,
    /// Which paths of the context are left out (J1).
    pub ignore: IgnoreFile,
    /// `--build-arg`
    pub build_args: BuildArgs,
    /// `--target`; the last stage if not given (F5).
    pub target: Option<String>,
    /// Where the build runs and what the image is for. [`build_all`](crate::build_all) is for several.
    pub platforms: Platforms,
    /// `--label`: set last, without history (G5).
    pub labels: Vec<(String, String)>,
    /// `--build-context`: by `name` or `name::platform` (F9).
    pub contexts: BTreeMap<String, NamedContext>,
    /// Secrets by id (I11).
    pub secrets: BTreeMap<String, Secret>,
    /// Sockets of ssh agents by id (I12).
    pub ssh: BTreeMap<String, PathBuf>,
    /// The network of RUN instructions that do not choose one.
    pub network: NetworkMode,
    /// What instructions may ask for beyond the usual.
    pub allow: Entitlements,
    /// Directories with the specifications of devices (Container Device Interface); later ones go before earlier ones.
    pub device_specifications: Vec<PathBuf>,
    /// How RUN is kept apart from the host.
    pub isolation: IsolationMode,
    /// What this process may do, if that was found out on the store's file system and nothing has changed since.
    pub host: Option<Host>,
    /// The base's files, if they are not in its layers but in a root file system that the build changes. There is one
    /// stage then, and RUN runs in that root.
    pub live_root: Option<LiveRoot>,
    /// Host name inside of RUN; part of the cache key (K1).
    pub hostname: String,
    /// `/etc/hosts` inside of RUN; nothing leaves the image's own.
    pub hosts: Option<Vec<u8>>,
    /// `/etc/resolv.conf` inside of RUN; nothing leaves the image's own.
    pub resolv_conf: Option<Vec<u8>>,
    /// Size of /dev/shm inside of RUN in bytes, if not the usual.
    pub shm_size: Option<u64>,
    /// `--ulimit` for RUN (I17); not part of the cache key.
    pub ulimits: Vec<(Resource, Rlimit)>,
    /// Processor and memory limits for RUN (I17); not part of the cache key.
    pub limits: Option<Limits>,
    /// Prefix of the names of cache mounts (`BUILDKIT_CACHE_MOUNT_NS` if that is given).
    pub cache_namespace: String,
    /// Which results of earlier builds may not be taken (K6).
    pub no_cache: NoCache,
    /// Paths below which RUN's changes do not become part of the layer. Later steps may see them all the same.
    pub ignored_paths: Vec<PathBuf>,
    /// Where results can be had from besides the store (Q1).
    pub imports: Vec<CacheSource>,
    /// The time of the build in seconds since the epoch: what is made without a time of its own gets it.
    pub now: i64,
    /// No time in the image is later than this (M5, M6). A `SOURCE_DATE_EPOCH` build argument wins.
    pub epoch: Option<i64>,
    /// How layers are packed.
    pub packing: Packing,
    /// RUN instructions at the same time.
    pub parallelism: NonZero<usize>,
    /// Stops the build from outside.
    pub cancellation: Cancellation,
}

/// Where local files come from.
#[derive(Debug, Clone)]
pub enum BuildContext {
    /// Nothing.
    Empty,
    /// A directory. An archive becomes one with [`crate::unpack_context`].
    Directory(PathBuf),
}

/// What is left out of the context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IgnoreFile {
    /// What `.dockerignore` at the root of the context says.
    Usual,
    /// What these bytes say, whatever the context.
    Given {
        /// The name for messages.
        name: String,
        /// The content.
        bytes: Vec<u8>,
    },
    /// Nothing.
    Absent,
}

/// What a named context stands for (F9).
#[derive(Debug, Clone)]
pub enum NamedContext {
    /// A directory.
    Directory {
        /// Where it is.
        path: PathBuf,
        /// What is left out of it: usually its own `.dockerignore` says so, and nothing says so in one that was fetched
        /// (J6).
        ignore: IgnoreFile,
    },
    /// An image of a source: `docker-image://` with the build's own, `oci-layout://` with a layout.
    Image {
        /// Where it is; nothing is the build's own source of images.
        source: Option<Arc<dyn Source>>,
        /// Its name there.
        reference: Reference,
    },
}

/// A secret's value. It does not show in debug output.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

/// The most bytes of a secret (I11).
pub const LARGEST_SECRET: usize = 500 << 10;

impl Secret {
    /// A secret; nothing if it is larger than [`LARGEST_SECRET`].
    pub fn new(value: impl Into<Vec<u8>>) -> Option<Self> {
        let value = value.into();
        (value.len() <= LARGEST_SECRET).then_some(Self(value))
    }

    /// The value itself, to be used and not to be shown.
    pub fn value(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What a RUN sees of the network (I14).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NetworkMode {
    /// The network of this process.
    #[default]
    Shared,
    /// Only loopback.
    None,
}

/// What instructions may ask for beyond the usual (I14 to I16).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entitlements {
    /// `RUN --network=host`
    pub network_host: bool,
    /// `RUN --security=insecure`
    pub security_insecure: bool,
    /// `RUN --device`
    pub devices: DeviceEntitlement,
}

/// Which devices of the host instructions may ask for (I16).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceEntitlement {
    /// All that are described.
    All,
    /// Those of these kinds, classes or full names (`vendor/class=name`).
    These(BTreeSet<String>),
}

impl Default for DeviceEntitlement {
    fn default() -> Self {
        Self::These(BTreeSet::new())
    }
}

impl DeviceEntitlement {
    /// Whether the device `name` may be used, which an instruction asked for as `wish`.
    pub(crate) fn allows(&self, wish: &str, name: &str) -> bool {
        let Self::These(names) = self else {
            return true;
        };
        let kind = name.split_once('=').map(|(kind, _)| kind);
        [Some(wish), Some(name), kind]
            .into_iter()
            .flatten()
            .any(|known| names.contains(known))
    }
}

/// How RUN is kept apart from the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IsolationMode {
    /// The strongest way that works here.
    #[default]
    Automatic,
    /// This one; an error if it does not work here.
    Forced(Rung),
    /// RUN is refused; everything else builds (T16).
    NoRun,
}

/// Which results of earlier builds may not be taken (K6). Cache mounts stay either way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum NoCache {
    /// All may be taken.
    #[default]
    Off,
    /// None.
    All,
    /// Not those of RUN.
    Runs,
    /// Not those of these stages, by lower-case name.
    Stages(BTreeSet<String>),
}

impl NoCache {
    pub(crate) fn covers(&self, stage: Option<&str>) -> bool {
        match self {
            Self::Off | Self::Runs => false,
            Self::All => true,
            Self::Stages(names) => stage.is_some_and(|stage| names.contains(stage)),
        }
    }
}

/// Stops a build: commands that run are ended, nothing new begins.
#[derive(Debug, Clone, Default)]
pub struct Cancellation {
    cancelled: Arc<AtomicBool>,
    commands: Arc<AtomicUsize>,
}

/// While this lives, a command runs that ends when the build is stopped.
#[derive(Debug)]
pub struct Attendance(Arc<AtomicUsize>);

impl Drop for Attendance {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Cancellation {
    /// Stops the build, and says whether a command runs that is worth waiting for: all other work may end with the process
    /// at any moment. May be called from a signal handler's thread, any number of times.
    pub fn cancel(&self) -> bool {
        self.cancelled.store(true, Ordering::SeqCst);
        self.commands.load(Ordering::SeqCst) > 0
    }

    /// Says that a command is about to run which will be ended.
    #[must_use]
    pub fn attend(&self) -> Attendance {
        self.commands.fetch_add(1, Ordering::SeqCst);
        Attendance(Arc::clone(&self.commands))
    }

    /// Whether the build was stopped.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }
}

impl Options {
    /// A build of this Dockerfile for one platform, with everything else as usual.
    pub fn new(
        name: impl Into<String>,
        dockerfile: impl Into<Vec<u8>>,
        context: BuildContext,
        platforms: Platforms,
    ) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self {
            name: name.into(),
            dockerfile: dockerfile.into(),
            context,
            ignore: IgnoreFile::Usual,
            build_args: BuildArgs::default(),
            target: None,
            platforms,
            labels: Vec::new(),
            contexts: BTreeMap::new(),
            secrets: BTreeMap::new(),
            ssh: BTreeMap::new(),
            network: NetworkMode::Shared,
            allow: Entitlements::default(),
            device_specifications: ["/etc/cdi", "/var/run/cdi"].map(PathBuf::from).to_vec(),
            isolation: IsolationMode::Automatic,
            host: None,
            live_root: None,
            hostname: "buildkitsandbox".to_owned(),
            hosts: None,
            resolv_conf: None,
            shm_size: None,
            ulimits: Vec::new(),
            limits: None,
            cache_namespace: String::new(),
            no_cache: NoCache::Off,
            ignored_paths: Vec::new(),
            imports: Vec::new(),
            now: 0,
            epoch: None,
            packing: Packing::default(),
            // Steps wait for disk, network and each other more than they compute.
            parallelism: NonZero::new(cores.max(4)).unwrap_or(NonZero::<usize>::MIN),
            cancellation: Cancellation::default(),
        }
    }
}
