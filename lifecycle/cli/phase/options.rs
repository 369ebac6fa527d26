//! From inputs to the options of a phase.

use std::path::{Path, PathBuf};

use lifecycle_image::{Compression, Reference};
use lifecycle_layers::{Owner, Packing};
use lifecycle_phases::{
    AnalyzeOptions, BuildOptions, DetectOptions, ExportOptions, Place, RestoreOptions, Surroundings,
};
use lifecycle_spec::label::LauncherVersion;
use lifecycle_spec::{Environment as Variables, ExecEnv, ExperimentalMode};

use super::PhaseError;
use super::privileges::User;
use super::run::Phase;
use super::table;

impl Phase<'_> {
    pub(super) fn analyze_options(&self) -> Result<AnalyzeOptions, PhaseError> {
        let inputs = self.inputs;
        Ok(AnalyzeOptions {
            api: inputs.api,
            image: inputs.image()?,
            tags: inputs.references("tag")?,
            previous_image: inputs.image_name("previous-image")?,
            run_image: inputs.image_name("run-image")?,
            run: inputs.file("run"),
            stack: inputs.file("stack"),
            layers: Place::same(inputs.layers()),
            launch_cache: self.launch_cache(),
            // The creator restores the SBOM with the layers.
            skip_layers: inputs.skips_layers(),
            analyzed: inputs.file("analyzed"),
        })
    }

    pub(super) fn detect_options(&self) -> Result<DetectOptions, PhaseError> {
        let inputs = self.inputs;
        Ok(DetectOptions {
            surroundings: self.surroundings()?,
            buildpacks: inputs.directory_or_default("buildpacks"),
            extensions: inputs.directory_or_default("extensions"),
            order: inputs.file("order"),
            system: inputs.file("system"),
            run: inputs.file("run"),
            analyzed: inputs.file("analyzed"),
            group: inputs.file("group"),
            plan: inputs.file("plan"),
            generated: inputs.directory_or_default("generated"),
            experimental: self.experimental()?,
        })
    }

    pub(super) fn restore_options(&self) -> RestoreOptions {
        let inputs = self.inputs;
        RestoreOptions {
            api: inputs.api,
            layers: Place::same(inputs.layers()),
            group: inputs.file("group"),
            analyzed: inputs.file("analyzed"),
            run: inputs.file("run"),
            build_image: inputs.text("build-image"),
            skip_layers: inputs.skips_layers(),
        }
    }

    pub(super) fn build_options(&self) -> Result<BuildOptions, PhaseError> {
        let inputs = self.inputs;
        Ok(BuildOptions {
            surroundings: self.surroundings()?,
            buildpacks: inputs.directory_or_default("buildpacks"),
            layers: inputs.layers(),
            group: inputs.file("group"),
            plan: inputs.file("plan"),
            analyzed: inputs.file("analyzed"),
        })
    }

    pub(super) fn export_options(&self, images: Vec<Reference>) -> Result<ExportOptions, PhaseError> {
        let inputs = self.inputs;
        let user = self.user();
        let launcher_sbom = inputs.directory_or_default("launcher-sbom");
        Ok(ExportOptions {
            api: inputs.api,
            images,
            app: Place::same(inputs.directory_or_default("app")),
            layers: Place::same(inputs.layers()),
            extended: inputs.directory_or_default("extended"),
            analyzed: inputs.file("analyzed"),
            group: inputs.file("group"),
            run: inputs.file("run"),
            stack: inputs.file("stack"),
            project_metadata: inputs.file("project-metadata"),
            report: inputs.file("report"),
            launcher: inputs.file("launcher"),
            launcher_version: LauncherVersion {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                ..LauncherVersion::default()
            },
            launcher_sbom_is_default: launcher_sbom == Path::new(table::LAUNCHER_SBOM),
            launcher_sbom: Some(launcher_sbom),
            process_type: inputs.text("process-type"),
            owner: Owner::new(user.uid, user.gid),
            source_date_epoch: inputs.text("source-date-epoch"),
            exec_env: self.exec_env()?,
            parallel: inputs.boolean("parallel"),
            launch_cache: self.launch_cache(),
            packing: self.packing(),
        })
    }

    fn surroundings(&self) -> Result<Surroundings, PhaseError> {
        let inputs = self.inputs;
        let own = self
            .environment
            .all()
            .map(|(name, value)| (name.clone(), value.clone()));
        Ok(Surroundings {
            api: inputs.api,
            app: inputs.directory_or_default("app"),
            platform: inputs.directory_or_default("platform"),
            build_config: inputs.directory_or_default("build-config"),
            inherited: Variables::for_buildpacks(own),
            exec_env: self.exec_env()?,
            os_release: PathBuf::from("/etc/os-release"),
            uid: self.user().uid,
        })
    }

    fn exec_env(&self) -> Result<ExecEnv, PhaseError> {
        let name = self.inputs.text("exec-env").unwrap_or_default();
        ExecEnv::new(name).map_err(|error| PhaseError::inputs(error.to_string()))
    }

    pub(super) fn experimental(&self) -> Result<ExperimentalMode, PhaseError> {
        let mode = self.inputs.text("experimental").unwrap_or_default();
        mode.parse()
            .map_err(|error: lifecycle_spec::ModeError| PhaseError::inputs(error.to_string()))
    }

    /// Only a daemon needs it (AN-13).
    pub(super) fn launch_cache(&self) -> Option<PathBuf> {
        let directory = self.inputs.directory("launch-cache");
        directory.filter(|_| self.inputs.boolean("daemon"))
    }

    /// A daemon unpacks what it gets; compressing that would be for nothing. A cache image goes to a registry.
    fn packing(&self) -> Packing {
        let mut packing = Packing::default();
        if self.inputs.boolean("daemon") && self.inputs.text("cache-image").is_none() {
            packing.compression = Compression::None;
        }
        packing
    }

    pub(super) fn user(&self) -> User {
        User::wanted(self.inputs.number("uid"), self.inputs.number("gid"))
    }
}
