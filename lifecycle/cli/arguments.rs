//! The command line. One struct for each command; `--help` texts come from here.

mod build;
mod cache;
mod confinement;
mod dockerfile;
mod flows;
mod images;
mod kubernetes;
mod modules;
mod output;
mod pack;
mod rebase;
mod run;
mod slug;
mod stack;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::console::LogFormat;

pub(crate) use self::build::BuildArguments;
pub(crate) use self::cache::CacheCommand;
pub(crate) use self::confinement::ConfinementArguments;
pub(crate) use self::dockerfile::{DockerfileArguments, NetworkArgument, Power};
pub(crate) use self::flows::Flow;
pub(crate) use self::images::{
    CopyArguments, ImagesArguments, InspectArguments, PullArguments, PushArguments, RmiArguments,
    SbomArguments, TagArguments,
};
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
pub(crate) use self::run::RunArguments;
pub(crate) use self::slug::{SlugBuildArguments, SlugCommand, SlugRunArguments, SlugStackArguments};
pub(crate) use self::stack::StackCommand;

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

/// The form of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum OutputForm {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
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
