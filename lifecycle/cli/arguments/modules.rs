//! `lifecycle builder …`, `lifecycle buildpack …`, `lifecycle extension …`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use lifecycle_builder::ModuleName;
use lifecycle_spec::{BuildpackApi, BuildpackId, Distro, Target, Version};

use super::{OutputForm, parse_pair};

#[derive(Debug, Subcommand)]
pub(crate) enum BuilderCommand {
    /// Make a builder image from a builder.toml
    #[command(after_help = "Examples:\n  \
        lifecycle builder create -t my-builder builders/debian-12/builder.toml\n  \
        lifecycle builder create -t registry.example.com/builder -o registry --target linux/amd64 --target linux/arm64 ./builder.toml\n\n\
        Modules are directories, archives, `.cnb` files, OCI layouts, http(s) addresses, docker:// packages, or ids of a\n\
        registry index. Several targets make an index of images.")]
    Create(Box<BuilderCreateArguments>),
    /// Show a builder's buildpacks, order and run images
    #[command(after_help = "Example:\n  lifecycle builder inspect my-builder")]
    Inspect {
        /// The builder: a name in the store, or any place
        builder: String,
        /// Form of the result
        #[arg(long, short, value_enum, default_value_t)]
        output: OutputForm,
    },
}

/// `lifecycle builder create`
#[derive(Debug, Args)]
pub(crate) struct BuilderCreateArguments {
    /// An embedded builder's name, a builder.toml under any name, or a directory with one
    pub(crate) definition: String,
    /// Name of the builder; may be given several times
    #[arg(long = "tag", short = 't', value_name = "IMAGE", required = true)]
    pub(crate) tags: Vec<String>,
    /// Where it goes: store, registry, oci:DIR, oci-archive:FILE or docker-archive:FILE
    #[arg(long, short, value_name = "PLACE", default_value = "store")]
    pub(crate) output: String,
    /// Modules that share a layer, as ID@VERSION,ID@VERSION; may be given several times
    #[arg(long, value_name = "MODULES")]
    pub(crate) flatten: Vec<String>,
    #[command(flatten)]
    pub(crate) image: ImageOptions,
}

/// What images of modules have in common.
#[derive(Debug, Args)]
pub(crate) struct ImageOptions {
    /// What the image is for, as linux/arm64 or linux/arm64/v8:debian@12; several make an index [default: what the document says]
    #[arg(long = "target", value_name = "TARGET", value_parser = parse_target)]
    pub(crate) targets: Vec<Target>,
    /// Label of the image
    #[arg(long = "label", short, value_name = "KEY=VALUE", value_parser = parse_pair)]
    pub(crate) labels: Vec<(String, String)>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BuildpackCommand {
    /// Start a new buildpack
    #[command(after_help = "Example:\n  lifecycle buildpack new acme/hello --path buildpacks/hello")]
    New(NewArguments),
    /// Make a buildpackage from a package.toml, or from a directory with a buildpack.toml
    #[command(after_help = "Examples:\n  \
        lifecycle buildpack package -t acme/hello buildpacks/hello\n  \
        lifecycle buildpack package -o hello.cnb buildpacks/hello/package.toml\n  \
        lifecycle buildpack package -t registry.example.com/hello:1 -o registry --target linux/amd64 --target linux/arm64 .")]
    Package(PackageArguments),
    /// Show a buildpackage's modules and what they run on
    #[command(after_help = "Example:\n  lifecycle buildpack inspect hello.cnb")]
    Inspect(ModuleInspectArguments),
    /// Bring a buildpackage into the store
    #[command(after_help = "Example:\n  lifecycle buildpack pull urn:cnb:registry:acme/hello@1.0.0")]
    Pull {
        /// The package: an image, a `.cnb` file, an http(s) address, or an id of a registry index
        package: String,
        /// Name in the store [default: the image's own name]
        #[arg(long = "tag", short = 't', value_name = "NAME")]
        tag: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ExtensionCommand {
    /// Start a new image extension
    #[command(after_help = "Example:\n  lifecycle extension new acme/curl --path extensions/curl")]
    New(NewArguments),
    /// Make a package of an image extension
    #[command(after_help = "Example:\n  lifecycle extension package -t acme/curl extensions/curl")]
    Package(PackageArguments),
    /// Show a package of an extension
    #[command(after_help = "Example:\n  lifecycle extension inspect curl.cnb")]
    Inspect(ModuleInspectArguments),
}

/// `lifecycle buildpack new`
#[derive(Debug, Args)]
pub(crate) struct NewArguments {
    /// Its id
    pub(crate) id: BuildpackId,
    /// Directory for it [default: the id's last part]
    #[arg(long, short, value_name = "DIR")]
    pub(crate) path: Option<PathBuf>,
    /// Buildpack API that it follows
    #[arg(long, short, value_name = "API", default_value = BuildpackApi::LATEST.as_str(), value_parser = parse_api)]
    pub(crate) api: BuildpackApi,
    /// Its version
    #[arg(long, value_name = "VERSION", default_value = "1.0.0")]
    pub(crate) module_version: Version,
    /// What it runs on, as linux/arm64 or linux/arm64/v8:debian@12; may be given several times
    #[arg(long = "targets", visible_alias = "target", short = 't', value_name = "TARGET", value_parser = parse_target)]
    pub(crate) targets: Vec<Target>,
}

/// `lifecycle buildpack package`
#[derive(Debug, Args)]
pub(crate) struct PackageArguments {
    /// A package.toml under any name, or a directory with one or with the module itself
    #[arg(default_value = ".")]
    pub(crate) definition: PathBuf,
    /// Name of the package; may be given several times
    #[arg(long = "tag", short = 't', value_name = "IMAGE")]
    pub(crate) tags: Vec<String>,
    /// Where it goes: FILE.cnb, store, registry, oci:DIR or oci-archive:FILE
    #[arg(long, short, value_name = "PLACE", default_value = "store")]
    pub(crate) output: String,
    /// Put all modules into one layer
    #[arg(long)]
    pub(crate) flatten: bool,
    /// Annotate the package with the commit and the origin of the git repository that it lies in
    #[arg(long)]
    pub(crate) git_metadata: bool,
    /// Module that keeps a layer of its own, as ID@VERSION; may be given several times
    #[arg(long, value_name = "MODULE", requires = "flatten", value_delimiter = ',')]
    pub(crate) flatten_exclude: Vec<ModuleName>,
    #[command(flatten)]
    pub(crate) image: ImageOptions,
}

/// `lifecycle buildpack inspect`
#[derive(Debug, Args)]
pub(crate) struct ModuleInspectArguments {
    /// The package: a `.cnb` file, a directory, an image, an http(s) address, or an id of a registry index
    pub(crate) package: String,
    /// Form of the result
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: OutputForm,
}

/// Reads `os[/arch[/variant]][:distro@version[;distro@version]]` (PKG-08).
fn parse_target(text: &str) -> Result<Target, String> {
    let (platform, distros) = match text.split_once(':') {
        Some((platform, distros)) => (platform, distros),
        None => (text, ""),
    };
    let mut parts = platform.split('/');
    let mut next = || parts.next().unwrap_or_default().to_owned();
    let target = Target {
        os: next(),
        arch: next(),
        variant: next(),
        distros: distros
            .split(';')
            .filter(|distro| !distro.is_empty())
            .map(|distro| {
                let (name, version) = distro.split_once('@').unwrap_or((distro, ""));
                Distro {
                    name: name.to_owned(),
                    version: version.to_owned(),
                }
            })
            .collect(),
        path: None,
    };
    let is_word = |word: &str| word.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if parts.next().is_some()
        || target.os.is_empty()
        || ![&target.os, &target.arch, &target.variant]
            .into_iter()
            .all(|word| is_word(word))
    {
        return Err(
            "expected os/arch[/variant][:distro@version;…], as in linux/arm64/v8:debian@12".to_owned(),
        );
    }
    Ok(target)
}

fn parse_api(text: &str) -> Result<BuildpackApi, String> {
    BuildpackApi::ALL
        .into_iter()
        .find(|api| api.as_str() == text)
        .ok_or_else(|| {
            let known: Vec<&str> = BuildpackApi::ALL.into_iter().map(BuildpackApi::as_str).collect();
            format!("it is one of {}", known.join(", "))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_pkg_08() {
        let target = parse_target("linux/arm64/v8:debian@12;ubuntu@24.04").unwrap();
        assert_eq!(
            (target.os.as_str(), target.arch.as_str(), target.variant.as_str()),
            ("linux", "arm64", "v8")
        );
        assert_eq!(target.distros[1].name, "ubuntu");
        assert_eq!(parse_target("linux").unwrap().arch, "");
        for text in ["", "/amd64", "linux/a/b/c", "linux/..", "linux/amd 64"] {
            assert!(parse_target(text).is_err(), "{text}");
        }
    }
}
