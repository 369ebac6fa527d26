//! `lifecycle cache …`

use clap::Subcommand;

use super::{OutputForm, parse_size};

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
