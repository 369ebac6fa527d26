//! `lifecycle run`

use std::ffi::OsString;

use clap::Args;

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
