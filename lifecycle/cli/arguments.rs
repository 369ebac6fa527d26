//! The command line. One struct for each command; `--help` texts come from here.

mod confinement;
mod flows;
mod kubernetes;
mod modules;
mod output;
mod pack;
mod rebase;
mod slug;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::TypedValueParser as _;
use clap::{Args, Parser, Subcommand, ValueEnum};
use lifecycle_image::Platform;
use lifecycle_spec::ExecEnv;

use crate::console::LogFormat;

pub(crate) use self::confinement::ConfinementArguments;
pub(crate) use self::flows::Flow;
pub(crate) use self::kubernetes::{ClusterArguments, JobsCommand, KubernetesArguments, On, PodCommand};
#[cfg(feature = "kubernetes")]
pub(crate) use self::kubernetes::{OnInterrupt, SendSource};
pub(crate) use self::modules::{
    BuilderCommand, BuilderCreateArguments, BuildpackCommand, ExtensionCommand, ModuleInspectArguments,
    NewArguments, PackageArguments,
};
pub(crate) use self::output::OutputArguments;
pub(crate) use self::pack::PackArguments;
pub(crate) use self::rebase::RebaseArguments;
pub(crate) use self::slug::{SlugBuildArguments, SlugCommand, SlugRunArguments, SlugStackArguments};

/// Source code to OCI images, without a daemon.
#[derive(Debug, Parser)]
#[command(
    name = "lifecycle",
    version,
    max_term_width = 100,
    propagate_version = true,
    after_help = "Examples:\n  \
        lifecycle build . -t demo         build the app in this directory into the local store\n  \
        lifecycle run demo -p 8000        start it\n  \
        lifecycle push demo registry.example.com/me/demo:1\n\n\
        Invoked as analyzer, detector, restorer, builder, exporter, creator, rebaser or launcher, the program is that\n\
        phase of the Cloud Native Buildpacks platform specification."
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Directory of the local store [default: $LIFECYCLE_STORE, else /var/lib/lifecycle for root and the user's data directory for others]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) store: Option<PathBuf>,
    /// Form of messages on stderr
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORM")]
    pub(crate) log_format: LogFormat,
    /// Say more
    #[arg(long, short, global = true)]
    pub(crate) verbose: bool,
    /// Say only what went wrong; results still go to stdout
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// No colours; so does a NO_COLOR variable
    #[arg(long, global = true)]
    pub(crate) no_color: bool,
    /// When images that others name (builders, run images, packages) are looked for in their registry
    #[arg(long, global = true, value_enum, default_value_t, value_name = "POLICY")]
    pub(crate) pull_policy: PullPolicy,
    /// Index that ids of buildpacks are looked up in: a directory, or a git repository [default: $LIFECYCLE_BUILDPACK_REGISTRY]
    #[arg(long, global = true, value_name = "INDEX")]
    pub(crate) buildpack_registry: Option<String>,
    #[command(flatten)]
    pub(crate) registry: RegistryArguments,
}

/// How registries are spoken to.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Registry options")]
pub(crate) struct RegistryArguments {
    /// Registry (host or host/prefix) that may be spoken to without verified TLS; loopback needs no mention
    #[arg(long, global = true, value_name = "REGISTRY", value_delimiter = ',')]
    pub(crate) insecure_registry: Vec<String>,
    /// File of CA certificates (PEM) to trust besides the system's
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) registry_ca: Vec<PathBuf>,
    /// Ask MIRROR before REGISTRY when reading
    #[arg(long, global = true, value_name = "REGISTRY=MIRROR", value_parser = parse_pair)]
    pub(crate) registry_mirror: Vec<(String, String)>,
}

/// When images are looked for in their registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum PullPolicy {
    /// Before the store.
    Always,
    /// When the store does not have them.
    #[default]
    IfNotPresent,
    /// Not at all.
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build an image from application source
    Build(Box<BuildArguments>),
    /// Run a process of an image
    Run(RunArguments),
    /// Show what an image is made of
    Inspect(InspectArguments),
    /// Print or save the SBOM of an app image
    Sbom(SbomArguments),
    /// Push an image of the store to a registry
    Push(PushArguments),
    /// Pull an image into the store
    Pull(PullArguments),
    /// Copy an image between store, registry, layout and archive
    Copy(CopyArguments),
    /// Exchange the run image below an app image
    Rebase(RebaseArguments),
    /// Give an image of the store another name
    Tag(TagArguments),
    /// List the images of the store
    Images(ImagesArguments),
    /// Remove names from the store
    Rmi(RmiArguments),
    /// Look at, verify or shrink the local store
    #[command(subcommand)]
    Cache(CacheCommand),
    /// Make and look at stacks: a build image and a run image
    #[command(subcommand)]
    Stack(StackCommand),
    /// Make and look at builders: buildpacks and their order on a stack
    #[command(subcommand)]
    Builder(BuilderCommand),
    /// Make, package and look at buildpacks
    #[command(subcommand)]
    Buildpack(BuildpackCommand),
    /// Make, package and look at image extensions
    #[command(subcommand)]
    Extension(ExtensionCommand),
    /// Build and run slugs with classic Heroku buildpacks
    #[command(subcommand)]
    Slug(SlugCommand),
    /// Look at and end builds on a cluster
    #[command(subcommand)]
    Jobs(JobsCommand),
    /// The steps of a build's pod that are no phases
    #[command(subcommand, hide = true)]
    Pod(PodCommand),
    /// Build a Dockerfile with kaniko's command line; `lifecycle executor --help` lists its flags
    #[command(
        after_help = "Example:\n  lifecycle executor --context . --destination registry.example.com/me/app:1 --cache"
    )]
    Executor,
    /// Bring base images for `executor`, with the command line of kaniko's warmer
    #[command(after_help = "Example:\n  lifecycle warmer --cache-dir /cache --image debian:12")]
    Warmer,
    /// Say what this machine allows, and what would allow more
    #[command(
        after_help = "Examples:\n  lifecycle doctor\n  lifecycle doctor --output json\n  lifecycle doctor --on kubernetes --namespace builds"
    )]
    Doctor {
        /// Look at a cluster in place of this machine
        #[arg(long, value_enum, value_name = "PLACE")]
        on: Option<On>,
        #[command(flatten)]
        cluster: ClusterArguments,
        /// Form of the result
        #[arg(long, short, value_enum, default_value_t)]
        output: OutputForm,
    },
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  lifecycle completions bash > /etc/bash_completion.d/lifecycle")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a directory
    #[command(after_help = "Example:\n  lifecycle man ~/.local/share/man/man1")]
    Man {
        /// The directory
        directory: PathBuf,
    },
}

/// `lifecycle build`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    lifecycle build . -t demo\n  \
    lifecycle build app/ -t registry.example.com/me/app:1 -t registry.example.com/me/app:latest -o registry\n  \
    lifecycle build . -t demo -o oci-archive:demo.tar --env BP_PYTHON_VERSION=3.11\n  \
    lifecycle build . -t demo --dockerfile --build-arg VERSION=1 --target final\n  \
    lifecycle build . -t demo -f Dockerfile --cache-from example.com/demo:cache --cache-to \
    type=registry,ref=example.com/demo:cache,mode=max\n  \
    lifecycle build . -f Dockerfile --platform linux/amd64,linux/arm64 --sbom --provenance=mode=max \
    -o type=registry,name=example.com/demo:1,compression=zstd\n\n\
    Without --builder the embedded builder is used; it makes its stack on first use (see `lifecycle stack`).\n\
    A Dockerfile is used when it is named, or when the source has one and no buildpack or builder is asked for.")]
pub(crate) struct BuildArguments {
    // Before the others, which take their values away.
    #[command(flatten)]
    pub(crate) given: flows::Given,
    /// Directory with the application's source; a Dockerfile's context may also be a tar, an address, or `-` for
    /// standard input [default: .]
    pub(crate) source: Option<String>,
    /// Name of the image; may be given several times
    #[arg(long = "tag", short = 't', value_name = "IMAGE", required_unless_present_any = ["dry_run", "check", "output"])]
    pub(crate) tags: Vec<String>,
    /// Where the image goes: store, registry, oci:DIR, oci-archive:FILE, docker-archive:FILE, or attributes
    #[arg(
        long,
        short,
        value_name = "PLACE",
        default_value = "store",
        long_help = "Where the image goes, and in which form\n\n\
            store, registry, oci:DIR, oci-archive:FILE or docker-archive:FILE; or attributes: type=image[,push=true], \
            type=registry, type=oci,dest=FILE[,tar=false], type=docker,dest=FILE, with name=, compression=gzip|zstd|estargz|uncompressed, \
            compression-level=, force-compression=, oci-mediatypes=, annotation.KEY=, rewrite-timestamp=; \
            type=local,dest=DIR and type=tar,dest=FILE|- are the files of the image."
    )]
    pub(crate) output: String,
    /// Builder image, or a directory with a builder.toml
    #[arg(long, short = 'B', value_name = "BUILDER")]
    pub(crate) builder: Option<String>,
    /// Buildpack to use in place of the builder's order: an id of the builder, a directory, an archive, a package
    #[arg(
        long = "buildpack",
        short = 'b',
        value_name = "BUILDPACK",
        value_delimiter = ','
    )]
    pub(crate) buildpacks: Vec<String>,
    /// Buildpack to put in front of every group of the builder's order
    #[arg(
        long = "pre-buildpack",
        value_name = "BUILDPACK",
        value_delimiter = ',',
        conflicts_with = "buildpacks"
    )]
    pub(crate) pre_buildpacks: Vec<String>,
    /// Buildpack to put behind every group of the builder's order
    #[arg(
        long = "post-buildpack",
        value_name = "BUILDPACK",
        value_delimiter = ',',
        conflicts_with = "buildpacks"
    )]
    pub(crate) post_buildpacks: Vec<String>,
    /// Image extension to use in place of the builder's
    #[arg(long = "extension", value_name = "EXTENSION", value_delimiter = ',')]
    pub(crate) extensions: Vec<String>,
    /// Execution environment of the app, as production, test or development [default: production]
    #[arg(long, value_name = "NAME")]
    pub(crate) exec_env: Option<ExecEnv>,
    /// Variable for the buildpacks; without a value it is taken from the environment
    #[arg(long = "env", short = 'e', value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// File of such variables, one a line
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
    /// Build cache: a name in the store, a directory, or `none` [default: one for each image name]
    #[arg(long, value_name = "CACHE")]
    pub(crate) cache: Option<String>,
    /// Forget what earlier builds left in the cache
    #[arg(long)]
    pub(crate) clear_cache: bool,
    /// Platform of the image, os/architecture[/variant]; several make an index: of a Dockerfile's images, or on a cluster
    /// [default: this machine's]
    #[arg(long = "platform", value_name = "PLATFORM", value_delimiter = ',')]
    pub(crate) platforms: Vec<Platform>,
    /// Run image in place of the builder's
    #[arg(long, value_name = "IMAGE")]
    pub(crate) run_image: Option<String>,
    /// Process type that the image starts by default
    #[arg(long, short = 'D', visible_alias = "default-process", value_name = "TYPE")]
    pub(crate) process: Option<String>,
    /// Image to reuse layers from [default: the first tag]
    #[arg(long, value_name = "IMAGE")]
    pub(crate) previous_image: Option<String>,
    /// Project descriptor [default: SOURCE/project.toml]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) descriptor: Option<PathBuf>,
    /// Record the commit of the source's git repository in the label io.buildpacks.project.metadata
    #[arg(long)]
    pub(crate) git_metadata: bool,
    /// Directory or file to show to the buildpacks
    #[arg(long, value_name = "HOST:PATH[:ro|rw]")]
    pub(crate) volume: Vec<String>,
    /// Time the image is said to be made at, seconds since 1970 or `now`
    #[arg(long, value_name = "TIME")]
    pub(crate) creation_time: Option<String>,
    /// Write the digest of the image into a file
    #[arg(long, value_name = "FILE")]
    pub(crate) digest_file: Option<PathBuf>,
    /// Resolve everything, print the plan and stop
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Use buildpacks though the source has a Dockerfile
    #[arg(long, conflicts_with = "dockerfile")]
    pub(crate) buildpacks_only: bool,
    /// File that the digest and the tags are written into as JSON [default: /dev/termination-log in a pod]
    #[arg(long, value_name = "FILE")]
    pub(crate) termination_message: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) result: OutputArguments,
    #[command(flatten)]
    pub(crate) pack: PackArguments,
    #[command(flatten)]
    pub(crate) dockerfile: DockerfileArguments,
    #[command(flatten)]
    pub(crate) kubernetes: Box<KubernetesArguments>,
}

impl BuildArguments {
    /// The directory, tar or address with the source.
    pub(crate) fn source(&self) -> &str {
        self.source
            .as_deref()
            .or(self.pack.path.as_deref())
            .unwrap_or(".")
    }

    /// Where the image goes.
    pub(crate) fn output(&self) -> &str {
        if self.pack.publish {
            "registry"
        } else {
            &self.output
        }
    }
}

/// What only a build of a Dockerfile knows.
#[derive(Debug, Args)]
#[command(next_help_heading = "Dockerfile options")]
pub(crate) struct DockerfileArguments {
    /// Build this Dockerfile [default: SOURCE/Dockerfile]
    #[arg(
        id = "dockerfile",
        long = "dockerfile",
        short = 'f',
        value_name = "FILE",
        num_args = 0..=1,
        default_missing_value = "",
        // An ordinary parser of paths refuses the empty one, which stands for the usual file here.
        value_parser = clap::builder::OsStringValueParser::new().map(PathBuf::from),
        conflicts_with_all = ["builder", "buildpacks"]
    )]
    pub(crate) file: Option<PathBuf>,
    /// Value of an ARG; without a value it is taken from the environment
    #[arg(long = "build-arg", value_name = "NAME[=VALUE]")]
    pub(crate) build_args: Vec<String>,
    /// Stage to build [default: the last]
    #[arg(long, value_name = "STAGE")]
    pub(crate) target: Option<String>,
    /// Label of the image
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_pair)]
    pub(crate) labels: Vec<(String, String)>,
    /// Secret for RUN --mount=type=secret
    #[arg(long = "secret", value_name = "id=ID[,src=FILE|,env=NAME]")]
    pub(crate) secrets: Vec<String>,
    /// Socket of an ssh agent for RUN --mount=type=ssh
    #[arg(long = "ssh", value_name = "ID[=SOCKET]")]
    pub(crate) ssh: Vec<String>,
    /// Directory or image that a stage, an image or a --from of this name stands for
    #[arg(long = "build-context", value_name = "NAME=VALUE", value_parser = parse_pair)]
    pub(crate) contexts: Vec<(String, String)>,
    /// Stack that the images `stack/build` and `stack/run` are of [default: debian-12]
    #[arg(long, value_name = "STACK")]
    pub(crate) stack: Option<String>,
    /// Take no result of an earlier build: none at all, or none of these stages
    #[arg(long, value_name = "STAGE", num_args = 0..=1, default_missing_value = "", value_delimiter = ',')]
    pub(crate) no_cache: Option<Vec<String>>,
    /// Take results of earlier builds from a registry or a directory, or from an image that holds its own
    #[arg(long, value_name = "type=registry,ref=IMAGE|type=local,src=DIR")]
    pub(crate) cache_from: Vec<String>,
    /// Keep the results for other machines: mode=max with those of all stages, mounts=true with cache mounts
    #[arg(
        long,
        value_name = "type=registry,ref=IMAGE|type=local,dest=DIR|type=inline",
        long_help = "Keep the results of this build for other machines\n\n\
            type=registry,ref=IMAGE as an artifact in a registry; type=local,dest=DIR in an OCI layout; type=inline in the \
            image itself. mode=min (default) keeps what is in the image, mode=max all stages; mounts=true saves cache mounts, \
            too; ttl=14d lets go of what no build used for so long; ignore-error=true makes a failure a warning."
    )]
    pub(crate) cache_to: Vec<String>,
    /// Network of RUN and of buildpacks
    #[arg(long, value_enum, default_value_t, value_name = "NETWORK")]
    pub(crate) network: NetworkArgument,
    /// What instructions may ask for beyond the usual
    #[arg(long, value_enum, value_name = "POWER")]
    pub(crate) allow: Vec<Power>,
    #[command(flatten)]
    pub(crate) confinement: ConfinementArguments,
    /// Run the build checks and stop
    #[arg(long)]
    pub(crate) check: bool,
}

/// The network of RUN instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum NetworkArgument {
    /// This machine's.
    #[default]
    #[value(alias = "host")]
    Default,
    /// Loopback only.
    None,
}

/// What instructions may ask for beyond the usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Power {
    /// `RUN --network=host`
    #[value(name = "network.host")]
    NetworkHost,
    /// `RUN --security=insecure`
    #[value(name = "security.insecure")]
    SecurityInsecure,
}

/// `lifecycle run`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    lifecycle run demo\n  \
    lifecycle run demo release\n  \
    lifecycle run demo -p 3000 -e DEBUG=1 -- python manage.py shell\n\n\
    The process runs isolated, on the host's network, with a writable root that is gone afterwards.")]
pub(crate) struct RunArguments {
    /// The image: a name in the store, or a place that is pulled first
    pub(crate) image: String,
    /// Process type of the image
    pub(crate) process: Option<String>,
    /// Sets PORT, which the sample buildpacks' processes listen on
    #[arg(long, short, value_name = "PORT")]
    pub(crate) port: Option<u16>,
    /// Variable for the process; without a value it is taken from the environment
    #[arg(long = "env", short = 'e', value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// Directory or file to show to the process
    #[arg(long, value_name = "HOST:PATH[:ro|rw]")]
    pub(crate) volume: Vec<String>,
    /// Program in place of the image's
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) entrypoint: Option<String>,
    /// User in place of the image's
    #[arg(long, short, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,
    /// Arguments for the process
    #[arg(last = true)]
    pub(crate) arguments: Vec<OsString>,
}

/// `lifecycle inspect`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    lifecycle inspect demo\n  \
    lifecycle inspect oci-archive:demo.tar --output json | jq .layers\n  \
    lifecycle inspect registry.example.com/me/demo:1 --platform linux/arm64")]
pub(crate) struct InspectArguments {
    /// The image: a name in the store, or any place
    pub(crate) image: String,
    /// Form of the result
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: OutputForm,
    /// Which image of an index
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<Platform>,
}

/// The form of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum OutputForm {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// `lifecycle sbom`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lifecycle sbom demo > demo.cdx.json\n  lifecycle sbom demo --directory sboms/"
)]
pub(crate) struct SbomArguments {
    /// The app image: a name in the store, or any place
    pub(crate) image: String,
    /// Save every SBOM file below this directory in place of printing a merged list
    #[arg(long, value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
    /// Which image of an index
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<Platform>,
}

/// `lifecycle push`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    lifecycle push registry.example.com/me/demo:1\n  \
    lifecycle push demo registry.example.com/me/demo:1 registry.example.com/me/demo:latest\n\n\
    Prints the digest reference of each repository that was written.")]
pub(crate) struct PushArguments {
    /// Name of the image in the store
    pub(crate) image: String,
    /// Names in registries [default: the same name]
    pub(crate) destinations: Vec<String>,
}

/// `lifecycle pull`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    lifecycle pull registry.example.com/me/demo:1\n  \
    lifecycle pull docker-archive:demo.tar --tag demo\n  \
    lifecycle pull registry.example.com/base:1 --platform linux/arm64")]
pub(crate) struct PullArguments {
    /// The image: a registry name, or any other place
    pub(crate) image: String,
    /// Name in the store [default: the same name]
    #[arg(long = "tag", short = 't', value_name = "NAME")]
    pub(crate) tag: Option<String>,
    /// Only the image for this platform; otherwise an index is pulled whole
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<Platform>,
}

/// `lifecycle copy`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    lifecycle copy store:demo oci-archive:demo.tar\n  \
    lifecycle copy registry.example.com/a:1 other.example.com/b:1\n\n\
    Places: NAME or registry:NAME, store:NAME, oci:DIR[:NAME], oci-archive:FILE[:NAME], docker-archive:FILE[:NAME].")]
pub(crate) struct CopyArguments {
    /// Where the image is
    pub(crate) from: String,
    /// Where it shall go
    #[arg(required = true)]
    pub(crate) to: Vec<String>,
    /// Only the image for this platform; otherwise an index is copied whole
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<Platform>,
}

/// `lifecycle tag`
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  lifecycle tag demo registry.example.com/me/demo:1")]
pub(crate) struct TagArguments {
    /// Present name or digest
    pub(crate) image: String,
    /// New names
    #[arg(required = true)]
    pub(crate) names: Vec<String>,
}

/// `lifecycle images`
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  lifecycle images --output json")]
pub(crate) struct ImagesArguments {
    /// Form of the result
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: OutputForm,
}

/// `lifecycle rmi`
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  lifecycle rmi demo && lifecycle cache prune")]
pub(crate) struct RmiArguments {
    /// Names to remove; blobs go with the next `lifecycle cache prune`
    #[arg(required = true)]
    pub(crate) images: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// List what the store holds and how much it takes
    #[command(after_help = "Example:\n  lifecycle cache ls --output json | jq .bytes")]
    Ls {
        /// Form of the result
        #[arg(long, short, value_enum, default_value_t)]
        output: OutputForm,
    },
    /// Remove what no image and no cache needs
    #[command(after_help = "Examples:\n  \
        lifecycle cache prune\n  \
        lifecycle cache prune --max-size 10GB\n  \
        lifecycle cache prune --older-than 30 --dry-run\n\n\
        Images keep their names and blobs; `lifecycle rmi` lets go of them.")]
    Prune {
        /// Then remove caches and extracted layers, oldest first, until the store is no larger than this (as in 10GB)
        #[arg(long, value_name = "SIZE", value_parser = parse_size)]
        max_size: Option<u64>,
        /// Also remove build caches that were not used for this many days
        #[arg(long, value_name = "DAYS")]
        older_than: Option<u32>,
        /// Also remove every build cache and extracted layer
        #[arg(long, conflicts_with = "older_than")]
        all: bool,
        /// Only say what would be removed
        #[arg(long)]
        dry_run: bool,
    },
    /// Check every blob against its digest
    #[command(after_help = "Example:\n  lifecycle cache verify --repair")]
    Verify {
        /// Remove what is damaged
        #[arg(long)]
        repair: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum StackCommand {
    /// Make a stack's build and run image from distribution packages, in the store
    #[command(
        after_help = "Examples:\n  lifecycle stack create debian-12\n  lifecycle stack create ./my-stack"
    )]
    Create {
        /// An embedded stack's name, or a directory with a stack.toml
        stack: String,
        /// Make it again though it is there
        #[arg(long)]
        force: bool,
    },
    /// List the embedded stacks, and whether their images are in the store
    #[command(after_help = "Example:\n  lifecycle stack list")]
    List {
        /// Form of the result
        #[arg(long, short, value_enum, default_value_t)]
        output: OutputForm,
    },
    /// Show a stack's definition and images
    #[command(after_help = "Example:\n  lifecycle stack inspect debian-12")]
    Inspect {
        /// An embedded stack's name, or a directory with a stack.toml
        stack: String,
        /// Form of the result
        #[arg(long, short, value_enum, default_value_t)]
        output: OutputForm,
    },
}

/// Reads `KEY=VALUE`.
fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && !value.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected two names with `=` between them".to_owned()),
    }
}

/// Reads a number of bytes with an optional unit: `500MB`, `10G`, `2GiB`.
fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "t" | "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        unit => {
            return Err(format!(
                "{unit:?} is not a unit of size, as kB, MB, GB or GiB are"
            ));
        }
    };
    let number: u64 = digits
        .trim()
        .parse()
        .map_err(|_| format!("{digits:?} is not a whole number"))?;
    number
        .checked_mul(factor)
        .ok_or_else(|| "the size is too large".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_size("10GB"), Ok(10_000_000_000));
        assert_eq!(parse_size("2GiB"), Ok(2 << 30));
        assert_eq!(parse_size("512"), Ok(512));
        for text in ["", "GB", "1.5G", "10 parsecs", "99999999999999TB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
