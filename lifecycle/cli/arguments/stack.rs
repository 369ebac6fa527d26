//! `lifecycle stack …`

use clap::Subcommand;

use super::OutputForm;

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
