//! `lifecycle slug …`

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{OutputForm, parse_size};

#[derive(Debug, Subcommand)]
pub(crate) enum SlugCommand {
    /// Build a slug or its image with classic buildpacks
    Build(Box<SlugBuildArguments>),
    /// Start processes of a slug
    Run(SlugRunArguments),
    /// Write the slug that an image was made of
    #[command(after_help = "Example:\n  lifecycle slug export demo -o slug.tgz")]
    Export {
        /// The image: a name in the store, or any place
        image: String,
        /// Where the slug goes; `-` is stdout
        #[arg(long, short, value_name = "FILE")]
        output: PathBuf,
    },
    /// Make an image of a slug
    #[command(after_help = "Example:\n  lifecycle slug import slug.tgz -t demo")]
    Import {
        /// The slug: a file, a directory, a URL, or `-` for stdin
        slug: PathBuf,
        /// Name of the image; may be given several times
        #[arg(long = "tag", short = 't', value_name = "IMAGE", required = true)]
        tags: Vec<String>,
        /// Where the image goes: store, registry, oci:DIR, oci-archive:FILE or docker-archive:FILE
        #[arg(long, short, value_name = "PLACE", default_value = "store")]
        output: String,
        #[command(flatten)]
        stack: SlugStackArguments,
    },
    /// Show the process types and variables of a slug
    #[command(after_help = "Example:\n  lifecycle slug inspect slug.tgz")]
    Inspect {
        /// The slug: a file, a directory, a URL, or `-` for stdin
        slug: PathBuf,
        /// Form of the result
        #[arg(long, short, value_enum, default_value_t)]
        output: OutputForm,
    },
    /// Show how large a slug is, and its largest directories
    #[command(after_help = "Example:\n  lifecycle slug size slug.tgz")]
    Size {
        /// The slug: a file, a directory, a URL, or `-` for stdin
        slug: PathBuf,
        /// Form of the result
        #[arg(long, short, value_enum, default_value_t)]
        output: OutputForm,
    },
}

/// The system that a slug is for.
#[derive(Debug, Clone, Args)]
pub(crate) struct SlugStackArguments {
    /// An embedded stack, or heroku-22, heroku-24, … for the images of that name
    #[arg(long, value_name = "STACK", default_value = "debian-12")]
    pub(crate) stack: String,
    /// Image to build on, in place of the stack's
    #[arg(long, value_name = "IMAGE")]
    pub(crate) build_image: Option<String>,
    /// Image to run on, in place of the stack's
    #[arg(long, value_name = "IMAGE")]
    pub(crate) run_image: Option<String>,
}

/// `lifecycle slug build`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    lifecycle slug build . -b https://git.example.com/buildpack.git#v1 -o slug.tgz\n  \
    lifecycle slug build . -t demo && lifecycle run demo web\n  \
    lifecycle slug build https://git.example.com/app.git#main -b buildpack.tgz -o s3://slugs/app.tgz\n  \
    tar c . | lifecycle slug build - --stack heroku-24 -b ./buildpack -o - > slug.tgz\n\n\
    Without --buildpack, `.buildpacks` and `app.json` of the app choose.")]
pub(crate) struct SlugBuildArguments {
    /// The app: a directory, a tar, the URL of an archive, an object (s3://, gs://, az://) or a git repository, or `-` for a
    /// tar on stdin
    #[arg(default_value = ".")]
    pub(crate) source: PathBuf,
    /// Where the slug goes: a file, a URL that takes a PUT, an object, or `-` for stdout
    #[arg(long, short, value_name = "FILE", required_unless_present_any = ["tags", "test"])]
    pub(crate) output: Option<PathBuf>,
    /// Name of an image to make of the slug; may be given several times
    #[arg(long = "tag", short = 't', value_name = "IMAGE")]
    pub(crate) tags: Vec<String>,
    /// Where that image goes: store, registry, oci:DIR, oci-archive:FILE or docker-archive:FILE
    #[arg(long, value_name = "PLACE", default_value = "store")]
    pub(crate) image_output: String,
    #[command(flatten)]
    pub(crate) stack: SlugStackArguments,
    /// Buildpack, in order: a directory, an archive or the URL of one, or of a git repository with #branch, #tag or #commit
    #[arg(long = "buildpack", short = 'b', value_name = "BUILDPACK")]
    pub(crate) buildpacks: Vec<String>,
    /// Buildpack to try when neither --buildpack nor the app chooses; the first that takes the app is used
    #[arg(long = "detect", value_name = "BUILDPACK")]
    pub(crate) defaults: Vec<String>,
    /// Config var; without a value it is taken from the environment
    #[arg(long = "env", short = 'e', value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// Directory with one file for each config var
    #[arg(long, value_name = "DIR")]
    pub(crate) env_dir: Option<PathBuf>,
    /// Build cache: a name in the store, a directory, or `none` [default: one for each source directory]
    #[arg(long, value_name = "CACHE")]
    pub(crate) cache: Option<String>,
    /// The most compressed bytes that the slug may have
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "500MB")]
    pub(crate) limit: u64,
    /// The most seconds that the scripts may take
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout: Option<u64>,
    /// Let .slugignore act when the slug is packed, not before the build
    #[arg(long)]
    pub(crate) late_slugignore: bool,
    /// Commit or version of the source, for the buildpacks
    #[arg(long, value_name = "VERSION")]
    pub(crate) source_version: Option<String>,
    /// Run the app's tests in place of making a slug
    #[arg(long, conflicts_with_all = ["output", "tags"])]
    pub(crate) test: bool,
}

/// `lifecycle slug run`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    lifecycle slug run slug.tgz\n  \
    lifecycle slug run slug.tgz -p 3000 start web=2 worker\n  \
    lifecycle slug run slug.tgz -- bash -l")]
pub(crate) struct SlugRunArguments {
    /// The slug: a file, a directory, a URL, or `-` for stdin
    pub(crate) slug: PathBuf,
    /// `start TYPE[=COUNT]…`, a process type alone, or a command [default: the default process type]
    #[arg(trailing_var_arg = true)]
    pub(crate) words: Vec<OsString>,
    #[command(flatten)]
    pub(crate) stack: SlugStackArguments,
    /// PORT of the first process; the next of its type has the one above, the next type 100 above [default: 5000]
    #[arg(long, short, value_name = "PORT")]
    pub(crate) port: Option<u16>,
    /// Config var; without a value it is taken from the environment
    #[arg(long = "env", short = 'e', value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,
}
