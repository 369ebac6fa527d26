//! `lifecycle build`

use std::path::PathBuf;

use clap::Args;
use lifecycle_image::Platform;
use lifecycle_spec::ExecEnv;

use super::flows::Given;
use super::{DockerfileArguments, KubernetesArguments, OutputArguments, PackArguments};

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
    pub(crate) given: Given,
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
    /// Builder image, or a builder.toml or a directory with one
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
