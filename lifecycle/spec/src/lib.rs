//! Files and labels of the buildpack and platform specifications as plain data.
//!
//! The lifecycle, buildpacks and platforms talk through TOML files and image labels. Here is one module per file,
//! one type per label, and nothing that acts on them: phases do that.
//!
//! - [`PlatformApi`] and [`BuildpackApi`] say what each API version turns on; no other code compares versions, except the
//!   command line's table of the inputs that each phase takes.
//! - Every file is a type named after it ([`GroupToml`], [`LaunchToml`], …) with `parse(path, bytes)` and, where the
//!   lifecycle writes it, `to_toml()`. What is wrong with a file is a [`Flaw`]: path, text, bytes and words.
//! - Every label is a type in [`label`], with `parse(text)` and `to_json()`.
//! - Written bytes are those of the reference implementation, because layer and image digests depend on them.
//! - [`Environment`] has the rules by which files change variables, for the build phase and the launcher alike.
//! - [`ExitCode`] has every number that a phase may end with.
//!
//! ```
//! use std::path::Path;
//! use lifecycle_spec::MetadataToml;
//!
//! let flaw = MetadataToml::parse(Path::new("m.toml"), b"[[buildpacks]]\nid = 'a b'").unwrap_err();
//! assert!(flaw.to_string().starts_with("m.toml:2:6: `id`: `a b` is not a buildpack id"));
//! ```
//!
//! Without the feature `documents` only the launcher's slice remains: versions, exit codes, names, environment and
//! `config/metadata.toml`, on a TOML parser and the standard library.

mod api;
mod document;
mod environment;
mod exec_d;
mod exit;
mod group;
mod metadata;
mod name;

#[cfg(feature = "documents")]
mod analyzed;
#[cfg(feature = "documents")]
mod bom;
#[cfg(feature = "documents")]
mod build;
#[cfg(feature = "documents")]
mod build_plan;
#[cfg(feature = "documents")]
mod builder;
#[cfg(feature = "documents")]
mod buildpack;
#[cfg(feature = "documents")]
mod buildpack_plan;
#[cfg(feature = "documents")]
mod extend_config;
#[cfg(feature = "documents")]
mod extension;
#[cfg(feature = "documents")]
mod json;
#[cfg(feature = "documents")]
pub mod label;
#[cfg(feature = "documents")]
mod launch;
#[cfg(feature = "documents")]
mod layer;
#[cfg(feature = "documents")]
mod lifecycle;
#[cfg(feature = "documents")]
mod mode;
#[cfg(feature = "documents")]
mod order;
#[cfg(feature = "documents")]
mod package;
#[cfg(feature = "documents")]
mod plan;
#[cfg(feature = "documents")]
mod project;
#[cfg(feature = "documents")]
mod project_metadata;
#[cfg(feature = "documents")]
mod report;
#[cfg(feature = "documents")]
mod run;
#[cfg(feature = "documents")]
mod sbom;
#[cfg(feature = "documents")]
mod stack;
#[cfg(feature = "documents")]
mod store;
#[cfg(feature = "documents")]
mod system;
#[cfg(feature = "documents")]
mod target;

pub use api::{ApiError, BuildpackApi, PlatformApi};
pub use document::Flaw;
pub use environment::{EnvDirectory, Environment, INHERITED_BY_BUILDPACKS, Moment, PATH_VARIABLES};
pub use exec_d::read_exec_d;
pub use exit::ExitCode;
pub use group::GroupModule;
pub use metadata::{MetadataToml, Process};
pub use name::{BuildpackId, ExecEnv, ExecEnvs, LayerName, NameError, ProcessType, Version};

#[cfg(feature = "documents")]
pub use {
    analyzed::{AnalyzedToml, BuildImage, RunImage},
    bom::{BomBuildpack, BomEntry},
    build::BuildToml,
    build_plan::{BuildPlan, PlanSections, Requirement},
    builder::{
        BuildEnv, BuilderEntry, BuilderLifecycle, BuilderModule, BuilderStack, BuilderSystem, BuilderToml,
        EnvSuffix,
    },
    buildpack::{BuildpackToml, License, ModuleInfo, Stack},
    buildpack_plan::BuildpackPlan,
    document::{Value, ValueTable},
    extend_config::{BuildArg, ExtendConfigToml},
    extension::ExtensionToml,
    group::GroupToml,
    launch::{ImageLabel, LaunchProcess, LaunchToml, Slice},
    layer::{LayerToml, LayerTypes},
    lifecycle::{ApiList, Apis, LifecycleToml},
    mode::{ExperimentalMode, ModeError},
    order::{OrderEntry, OrderGroup, OrderToml},
    package::{Dependency, PackageModule, PackageToml},
    plan::{PlanEntry, PlanToml, Provider},
    project::{ProjectBuildpack, ProjectEnv, ProjectSchema, ProjectToml, Script},
    project_metadata::{ProjectMetadataToml, ProjectSource},
    report::ReportToml,
    run::{RunImageEntry, RunToml},
    sbom::{SbomFormat, sbom_path},
    stack::StackToml,
    store::StoreToml,
    system::SystemToml,
    target::{Distro, Target, TargetData},
};
