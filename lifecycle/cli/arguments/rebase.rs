//! `lifecycle rebase`

use std::path::PathBuf;

use clap::Args;
use lifecycle_image::Platform;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    lifecycle rebase registry.example.com/me/app:1 registry.example.com/me/worker:1\n  \
    lifecycle rebase demo --run-image registry.example.com/stack/run:2\n  \
    lifecycle rebase demo --tag demo:rebased --report report.toml\n\n\
    Exchanges the run image below an app by labels alone: no layer is read, and those of the app stay as they are.\n\
    With CNB_PLATFORM_API set, `lifecycle rebase` is the rebaser phase of the platform specification.")]
pub(crate) struct RebaseArguments {
    /// App images, each a name in the store or any place; each is rebased on its own
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<String>,
    /// New run image [default: the one that the app image names, or a mirror of it]
    #[arg(long, value_name = "IMAGE")]
    pub(crate) run_image: Option<String>,
    /// Name of the result in place of the app's own; may be given several times
    #[arg(long = "tag", short = 't', value_name = "IMAGE")]
    pub(crate) tags: Vec<String>,
    /// Where the result goes: store, registry, oci:DIR, oci-archive:FILE or docker-archive:FILE [default: where the app is]
    #[arg(long, short, value_name = "PLACE")]
    pub(crate) output: Option<String>,
    /// Rebase although the app is not labelled as rebasable, or the run image is for another target
    #[arg(long)]
    pub(crate) force: bool,
    /// Only this image of an index, under a name of its own [default: all of them]
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<Platform>,
    /// Write a report.toml
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
}
