//! What only a build of a Dockerfile knows.

use std::path::PathBuf;

use clap::builder::TypedValueParser as _;
use clap::{Args, ValueEnum};

use super::{ConfinementArguments, parse_pair};

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
    /// What instructions may ask for beyond the usual: network.host, security.insecure, device[=DEVICE]
    #[arg(long, value_name = "POWER")]
    pub(crate) allow: Vec<Power>,
    /// Directory with specifications of devices (CDI) for RUN --device [default: /etc/cdi and /var/run/cdi]
    #[arg(long, value_name = "DIR")]
    pub(crate) cdi_spec_dir: Vec<PathBuf>,
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Power {
    /// `RUN --network=host`
    NetworkHost,
    /// `RUN --security=insecure`
    SecurityInsecure,
    /// `RUN --device`, for devices with this name, of this kind or class; all without one.
    Device(Option<String>),
}

impl std::fmt::Display for Power {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NetworkHost => f.write_str("network.host"),
            Self::SecurityInsecure => f.write_str("security.insecure"),
            Self::Device(None) => f.write_str("device"),
            Self::Device(Some(name)) => write!(f, "device={name}"),
        }
    }
}

impl std::str::FromStr for Power {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match (text, text.split_once('=')) {
            ("network.host", _) => Ok(Self::NetworkHost),
            ("security.insecure", _) => Ok(Self::SecurityInsecure),
            ("device", _) => Ok(Self::Device(None)),
            (_, Some(("device", name))) if !name.is_empty() => Ok(Self::Device(Some(name.to_owned()))),
            _ => Err("it is one of network.host, security.insecure, device and device=DEVICE"),
        }
    }
}
