//! What is done with images: `lifecycle inspect`, `sbom`, `push`, `pull`, `copy`, `tag`, `images`, `rmi`

use std::path::PathBuf;

use clap::Args;
use lifecycle_image::Platform;

use super::OutputForm;

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
