//! Image labels: their names, and the JSON that is in them (cnb.md 1.12, 4.2, 4.3).
//!
//! Readers take what other tools wrote: `null` for empty, and keys that they do not know. Writers keep the key order of
//! the reference.

mod build;
mod builder;
mod cache;
mod lifecycle;
mod modules;

pub use build::{BuildLabel, GitSource, LauncherSource, LauncherVersion};
pub use builder::{BuilderLabel, BuilderModuleLabel, CreatedBy, LifecycleVersions, MinimumApis};
pub use cache::CacheLabel;
pub use lifecycle::{AppLayers, BuildpackLayers, LayerMetadata, LayerSha, LifecycleLabel, RunImageLabel};
pub use modules::{
    ModuleLayer, ModuleLayers, OrderLabel, OrderLabelEntry, OrderLabelGroup, PackageLabel, SystemLabel,
    SystemLabelBuildpacks, parse_mixins,
};

/// [`LifecycleLabel`] of an app image.
pub const LIFECYCLE: &str = "io.buildpacks.lifecycle.metadata";
/// [`BuildLabel`] of an app image.
pub const BUILD: &str = "io.buildpacks.build.metadata";
/// [`ProjectMetadataToml`](crate::ProjectMetadataToml) of an app image.
pub const PROJECT: &str = "io.buildpacks.project.metadata";
/// [`CacheLabel`] of a cache image, and the name of that file in a cache directory.
pub const CACHE: &str = "io.buildpacks.lifecycle.cache.metadata";
/// `true` or `false`: whether the base may be exchanged (EXP-11, REB-03).
pub const REBASABLE: &str = "io.buildpacks.rebasable";
/// The execution environment that an app image was built for.
pub const EXEC_ENV: &str = "io.buildpacks.exec-env";
/// Prefix of the labels that describe a base image; a rebase takes them from the new one.
pub const BASE_PREFIX: &str = "io.buildpacks.base.";
/// The target id of a base image.
pub const BASE_ID: &str = "io.buildpacks.base.id";
/// The distribution of a base image.
pub const BASE_DISTRO_NAME: &str = "io.buildpacks.base.distro.name";
/// The version of that distribution.
pub const BASE_DISTRO_VERSION: &str = "io.buildpacks.base.distro.version";
/// Prefix of the labels that describe a stack; a rebase takes them from the new base.
pub const STACK_PREFIX: &str = "io.buildpacks.stack.";
/// The deprecated stack id.
pub const STACK_ID: &str = "io.buildpacks.stack.id";
/// The deprecated mixins, a JSON list ([`parse_mixins`]).
pub const STACK_MIXINS: &str = "io.buildpacks.stack.mixins";
/// [`BuilderLabel`] of a builder, and of lifecycle images for old platforms.
pub const BUILDER: &str = "io.buildpacks.builder.metadata";
/// [`OrderLabel`] of a builder.
pub const BUILDPACK_ORDER: &str = "io.buildpacks.buildpack.order";
/// [`OrderLabel`] of a builder's extensions.
pub const EXTENSION_ORDER: &str = "io.buildpacks.buildpack.order-extensions";
/// [`ModuleLayers`] of a builder or package.
pub const BUILDPACK_LAYERS: &str = "io.buildpacks.buildpack.layers";
/// [`ModuleLayers`] of a builder's or package's extensions.
pub const EXTENSION_LAYERS: &str = "io.buildpacks.extension.layers";
/// [`SystemLabel`] of a builder.
pub const BUILDPACK_SYSTEM: &str = "io.buildpacks.buildpack.system";
/// [`PackageLabel`] of a buildpackage.
pub const PACKAGE: &str = "io.buildpacks.buildpackage.metadata";
/// The version of the lifecycle in an image.
pub const LIFECYCLE_VERSION: &str = "io.buildpacks.lifecycle.version";
/// [`Apis`](crate::Apis) of the lifecycle in an image.
pub const LIFECYCLE_APIS: &str = "io.buildpacks.lifecycle.apis";

/// Gives a label type `parse` and `to_json`.
macro_rules! label {
    ($type:ident, $name:ident) => {
        impl $type {
            /// Reads the label's text.
            pub fn parse(text: &str) -> Result<Self, crate::Flaw> {
                crate::json::read(crate::label::$name, text)
            }

            /// The label's text.
            #[must_use]
            pub fn to_json(&self) -> String {
                crate::json::write(self)
            }
        }
    };
}

use label;
