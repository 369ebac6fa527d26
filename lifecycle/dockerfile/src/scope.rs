//! What instructions inherit: from the base image, from the parent stage, and from the lines above.

use std::sync::Arc;

use crate::environment::Environment;
use crate::platform::Platform;

/// The `PATH` that a base without one gets (E10).
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The parts of a base image's configuration that the language looks at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BaseConfig {
    /// `Env`: `NAME=value` texts.
    pub env: Vec<String>,
    /// `WorkingDir`; may be empty.
    pub working_dir: String,
    /// `User`; may be empty.
    pub user: String,
    /// `Shell`; may be empty.
    pub shell: Vec<String>,
    /// What the image says it is for.
    pub platform: Option<Platform>,
}

/// What a stage is evaluated on.
#[derive(Debug, Clone, Copy)]
pub enum Parent<'a> {
    /// Nothing.
    Scratch,
    /// An image.
    Image(&'a BaseConfig),
    /// A stage of this file, evaluated before.
    Stage(&'a Scope),
    /// An image that nobody has looked at. Good for checks and outlines only: variables it may define are taken as
    /// undefined, and nothing is said about that.
    Unknown,
}

/// The state of a stage behind its last instruction: what a child stage starts with (E5, F8).
#[derive(Debug, Clone)]
pub struct Scope {
    /// ENV and ARG as instructions see them. Order decides which of two wins (E4).
    pub(crate) environment: Arc<Environment>,
    /// ENV alone: what the configuration holds.
    pub(crate) config_env: Arc<Environment>,
    /// ARGs in scope, in order of first declaration; one without value is empty here (L1).
    pub(crate) args: Environment,
    pub(crate) working_directory: String,
    pub(crate) user: String,
    /// Empty if the configuration says nothing.
    pub(crate) shell: Vec<String>,
    /// Whether a WORKDIR was given in this file.
    pub(crate) workdir_was_set: bool,
    /// Whether the base is one that nobody has looked at.
    pub(crate) is_partial: bool,
    /// Whether the configuration gets [`DEFAULT_PATH`], because the base has no `PATH`.
    pub(crate) adds_path: bool,
}

impl Scope {
    /// The state before the first instruction of a stage.
    pub(crate) fn on(parent: Parent<'_>) -> Self {
        let nothing = BaseConfig::default();
        let config = match parent {
            Parent::Stage(scope) => return scope.child(),
            Parent::Image(config) => config,
            Parent::Scratch | Parent::Unknown => &nothing,
        };
        let mut environment = Environment::from_assignments(&config.env);
        let adds_path = environment.get("PATH").is_none();
        if adds_path {
            environment.set("PATH", DEFAULT_PATH);
        }
        let environment = Arc::new(environment);
        Self {
            config_env: environment.clone(),
            environment,
            args: Environment::default(),
            working_directory: crate::path::working_directory("/", &config.working_dir),
            user: config.user.clone(),
            shell: config.shell.clone(),
            workdir_was_set: false,
            is_partial: matches!(parent, Parent::Unknown),
            adds_path,
        }
    }

    /// What a child stage starts with: everything, but where an ARG had replaced a value of the configuration, the
    /// configuration's value is back (E4, E5).
    fn child(&self) -> Self {
        let mut child = Self {
            adds_path: false,
            ..self.clone()
        };
        for (name, value) in self.config_env.iter() {
            if self.environment.get(name) != Some(value) {
                Arc::make_mut(&mut child.environment).set(name, value);
            }
        }
        child
    }

    /// ENV values: what the configuration's `Env` holds.
    pub fn config_env(&self) -> &Environment {
        &self.config_env
    }

    /// ENV and ARG values in force.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The working directory, absolute.
    pub fn working_directory(&self) -> &str {
        &self.working_directory
    }

    /// The user as written; empty if none was set.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// A command in shell form with the shell in front (G1, I1).
    pub(crate) fn with_shell(&self, text: String) -> Vec<String> {
        let default = || vec!["/bin/sh".to_owned(), "-c".to_owned()];
        let mut arguments = if self.shell.is_empty() {
            default()
        } else {
            self.shell.clone()
        };
        arguments.push(text);
        arguments
    }
}
