//! What the programs of buildpacks and extensions see (cnb.md 1.18).

use std::io;
use std::path::PathBuf;

use lifecycle_spec::{EnvDirectory, Environment, ExecEnv, PlatformApi, TargetData};

use crate::modules::{Kind, Module};
use crate::targets;

/// Where the programs of buildpacks run and what they are told. The same for detection, generation and build.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The Platform API that rules.
    pub api: PlatformApi,
    /// The app directory, in which programs run. Absolute, as are all directories here.
    pub app: PathBuf,
    /// The platform directory, with the user's variables in `env`.
    pub platform: PathBuf,
    /// The operator's directory, with variables in `env`. Since Platform API 0.11. Those in `env.NAME` are for the
    /// execution environment NAME only, since 0.15; that is ours, other lifecycles do not know it.
    pub build_config: PathBuf,
    /// The lifecycle's own variables, of which buildpacks see what [`Environment::for_buildpacks`] keeps.
    pub inherited: Environment,
    /// The execution environment. Since Platform API 0.15.
    pub exec_env: ExecEnv,
    /// The `os-release` file of the build image, for what the run image's labels do not say (FILE-01).
    pub os_release: PathBuf,
    /// The user that the phase runs as; 0 is refused (DET-13, BLD-05).
    pub uid: u32,
}

/// The variables of [`Surroundings`], read once.
#[derive(Debug)]
pub(crate) struct Variables<'a> {
    surroundings: &'a Surroundings,
    target: Option<&'a TargetData>,
    user: EnvDirectory,
    operator: Vec<EnvDirectory>,
}

impl<'a> Variables<'a> {
    pub(crate) fn read(surroundings: &'a Surroundings, target: Option<&'a TargetData>) -> io::Result<Self> {
        let mut directories = Vec::new();
        if surroundings.api.has_build_config() {
            directories.push("env".to_owned());
        }
        if surroundings.api.has_exec_env() {
            directories.push(format!("env.{}", surroundings.exec_env.as_str()));
        }
        let operator = directories
            .iter()
            .map(|name| EnvDirectory::read(&surroundings.build_config.join(name)))
            .collect::<io::Result<_>>()?;
        let user = EnvDirectory::read(&surroundings.platform.join("env"))?;
        Ok(Self {
            surroundings,
            target,
            user,
            operator,
        })
    }

    /// The environment of one of a module's programs, on top of what earlier buildpacks contributed: the user's
    /// variables, the operator's, the lifecycle's (ENV-05 to ENV-08).
    pub(crate) fn of(&self, module: &Module, contributed: &Environment) -> Environment {
        let mut environment = contributed.clone();
        if !module.info.clear_env {
            environment.apply_user(&self.user);
        }
        for directory in &self.operator {
            environment.apply_operator(directory);
        }
        let directory = match module.kind {
            Kind::Buildpack => "CNB_BUILDPACK_DIR",
            Kind::Extension => "CNB_EXTENSION_DIR",
        };
        environment.set(directory, &module.root);
        if module.api.has_input_variables() {
            environment.set("CNB_PLATFORM_DIR", &self.surroundings.platform);
        }
        if let Some(target) = self.target.filter(|_| module.api.has_target_variables()) {
            targets::announce(target, &mut environment);
        }
        if module.api.has_exec_env() {
            environment.set("CNB_EXEC_ENV", self.surroundings.exec_env.as_str());
        }
        environment
    }
}
