//! From inputs to the function of a phase.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lifecycle_image::Reference;
use lifecycle_phases::{
    AnalyzeOptions, BuildOptions, Cancellation, CreateOptions, ExtendKind, RebaseOptions, Reporter,
};
use lifecycle_sandbox::Users;
use lifecycle_spec::{Environment as Variables, ExitCode};
use lifecycle_store::Store;

use super::PhaseError;
use super::extension;
use super::inputs::Inputs;
use super::kind::PhaseName;
use super::log::Log;
use super::places::RegistryAccess;
use super::privileges::{self, User};
use crate::environment::Environment;
use crate::failure;
use crate::signals::Interruption;

/// Runs the phase that the inputs are for.
pub(super) fn run(inputs: &Inputs<'_>, environment: &Environment, log: Log) -> Result<(), PhaseError> {
    let interruption = Interruption::default();
    interruption
        .listen_saying(move |text| log.warning(text))
        .map_err(|error| PhaseError::new("listen for signals", error.to_string(), ExitCode::Generic))?;
    let phase = Phase {
        inputs,
        environment,
        log,
        interruption,
    };
    let result = match inputs.phase {
        PhaseName::Analyze => phase.analyze(),
        PhaseName::Detect => phase.detect(),
        PhaseName::Restore => phase.restore(),
        PhaseName::Build => phase.build(),
        PhaseName::Export => phase.export(),
        PhaseName::Create => phase.create(),
        PhaseName::Rebase => phase.rebase(),
        PhaseName::Extend => phase.extend(),
    };
    result.map_err(|error| PhaseError {
        code: phase.interruption.code(error.code),
        ..error
    })
}

/// A phase about to run.
pub(super) struct Phase<'a> {
    pub(super) inputs: &'a Inputs<'a>,
    pub(super) environment: &'a Environment,
    pub(super) log: Log,
    interruption: Interruption,
}

impl Phase<'_> {
    fn analyze(&self) -> Result<(), PhaseError> {
        let options = self.analyze_options()?;
        let dealings = self.deal(&[references(&options), self.known_images()].concat())?;
        self.become_user()?;
        let access = RegistryAccess(dealings.registry.clone());
        let cache = self.cache(&dealings, &access)?;
        lifecycle_phases::analyze(
            &options,
            &dealings.place.images(),
            cache.image.as_ref(),
            &self.log,
        )
        .map(drop)
        .map_err(|error| self.failed(&error, error.exit_code()))
    }

    fn detect(&self) -> Result<(), PhaseError> {
        self.inputs.no_arguments()?;
        let options = self.detect_options()?;
        self.become_user()?;
        self.stoppable(|cancellation| {
            lifecycle_phases::detect(&options, cancellation, &self.log)
                .map(drop)
                .map_err(|error| self.failed(&error, error.exit_code()))
        })
    }

    fn restore(&self) -> Result<(), PhaseError> {
        self.inputs.no_arguments()?;
        let options = self.restore_options();
        let dealings = self.deal(&self.known_images())?;
        self.become_user()?;
        let access = RegistryAccess(dealings.registry.clone());
        let cache = self.cache(&dealings, &access)?;
        let bases = dealings.bases();
        lifecycle_phases::restore(
            &options,
            Some(&dealings.place.images()),
            bases.as_ref(),
            &cache,
            &self.log,
        )
        .map(drop)
        .map_err(|error| self.failed(&error, error.exit_code()))
    }

    fn build(&self) -> Result<(), PhaseError> {
        self.inputs.no_arguments()?;
        let options = self.build_options()?;
        self.become_user()?;
        self.run_buildpacks(&options)
    }

    fn run_buildpacks(&self, options: &BuildOptions) -> Result<(), PhaseError> {
        self.stoppable(|cancellation| {
            lifecycle_phases::build(options, cancellation, &self.log)
                .map(drop)
                .map_err(|error| {
                    let cause = failure::sentence(&error);
                    PhaseError::new(PhaseName::Build.verb(), cause, error.exit_code())
                })
        })
    }

    /// Applies Dockerfiles as root; a build image is then built in, in the same container (EXT-03).
    fn extend(&self) -> Result<(), PhaseError> {
        self.inputs.no_arguments()?;
        let options = extension::options(self.inputs, self.environment)?;
        // Before anything is changed that could not be used then.
        let mut build = match options.kind {
            ExtendKind::Build => Some(self.build_options()?),
            ExtendKind::Run => None,
        };
        let store = extension::store(self.inputs)?;
        let reporter: Arc<dyn Reporter> = Arc::new(self.log);
        let extended = self.stoppable(|cancellation| {
            lifecycle_phases::extend(&options, &store, cancellation, &reporter).map_err(|error| {
                let action = format!("extend {} image", options.kind.word());
                PhaseError::new(action, failure::sentence(&error), error.exit_code())
            })
        })?;
        drop(store);
        let Some(build) = &mut build else {
            return Ok(());
        };
        let user = self.become_user()?;
        let own = self
            .environment
            .all()
            .map(|(name, value)| (name.clone(), value.clone()));
        let of_image = extended
            .environment
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()));
        build.surroundings.inherited = Variables::for_buildpacks(own.chain(of_image));
        build.surroundings.uid = user.uid;
        set_home(&mut build.surroundings.inherited, user);
        self.run_buildpacks(build)
    }

    fn export(&self) -> Result<(), PhaseError> {
        for refused in ["run-image", "image"] {
            if self.inputs.text(refused).is_some() {
                return Err(PhaseError::inputs(format!("-{refused} is unsupported")));
            }
        }
        let options = self.export_options(self.inputs.images()?)?;
        let dealings = self.deal(&[options.images.clone(), self.known_images()].concat())?;
        self.become_user()?;
        let access = RegistryAccess(dealings.registry.clone());
        let cache = self.cache(&dealings, &access)?;
        let reporter: Arc<dyn Reporter> = Arc::new(self.log);
        self.with_store(|store| {
            lifecycle_phases::export(&options, &dealings.place.images(), &cache, store, &reporter)
                .map(|exported| self.log.images(&exported.report))
                .map_err(|error| self.failed(&error, error.exit_code()))
        })
    }

    fn create(&self) -> Result<(), PhaseError> {
        let analyze = self.analyze_options()?;
        let names = references(&analyze);
        let export = self.export_options(names.clone())?;
        let dealings = self.deal(&[names, self.known_images()].concat())?;
        let user = self.become_user()?;
        let mut detect = self.detect_options()?;
        let mut build = self.build_options()?;
        for surroundings in [&mut detect.surroundings, &mut build.surroundings] {
            surroundings.uid = user.uid;
            set_home(&mut surroundings.inherited, user);
        }
        let options = CreateOptions {
            analyze,
            detect,
            restore: self.restore_options(),
            build,
            export,
        };
        let access = RegistryAccess(dealings.registry.clone());
        let cache = self.cache(&dealings, &access)?;
        let reporter: Arc<dyn Reporter> = Arc::new(self.log);
        self.with_store(|store| {
            self.stoppable(|cancellation| {
                let images = dealings.place.images();
                lifecycle_phases::create(&options, &images, &cache, store, cancellation, &reporter)
                    .map(|created| self.log.images(&created.exported.report))
                    .map_err(|error| failed(&error.phase().to_string(), &error, error.exit_code()))
            })
        })
    }

    fn rebase(&self) -> Result<(), PhaseError> {
        let inputs = self.inputs;
        let run_image = match (inputs.image_name("run-image")?, inputs.image_name("image")?) {
            (Some(_), Some(_)) => {
                return Err(PhaseError::inputs(
                    "supply only one of -run-image or (deprecated) -image",
                ));
            }
            (run_image, image) => run_image.or(image),
        };
        let options = RebaseOptions {
            api: inputs.api,
            images: inputs.images()?,
            previous_image: inputs.image_name("previous-image")?,
            run_image,
            force: inputs.boolean("force"),
            report: inputs.file("report"),
        };
        let dealings = self.deal(&[options.images.clone(), self.known_images()].concat())?;
        self.become_user()?;
        lifecycle_phases::rebase(&options, &dealings.place.images(), &self.log)
            .map(|rebased| self.log.images(&rebased.report))
            .map_err(|error| self.failed(&error, error.exit_code()))
    }

    /// Becomes the build's user, if that is somebody else. Detector and builder take no ids: they run as who they are.
    fn become_user(&self) -> Result<User, PhaseError> {
        let user = self.user();
        let kaniko = (self.inputs.phase == PhaseName::Restore).then(|| PathBuf::from(extension::KANIKO));
        let directories = [
            Some(self.inputs.layers()),
            self.inputs.directory("cache-dir"),
            self.launch_cache(),
            kaniko,
        ];
        privileges::assume(
            user,
            &directories.into_iter().flatten().collect::<Vec<_>>(),
            self.log,
        )?;
        Ok(user)
    }

    /// Runs work that starts programs: a signal has them stopped.
    fn stoppable<T>(
        &self,
        work: impl FnOnce(&Cancellation) -> Result<T, PhaseError>,
    ) -> Result<T, PhaseError> {
        let cancellation = Cancellation::default();
        let told = self.interruption.during({
            let cancellation = cancellation.clone();
            move || cancellation.cancel()
        });
        let result = work(&cancellation);
        drop(told);
        result
    }

    /// Runs work with a store for layers on their way, which is gone afterwards.
    fn with_store(&self, work: impl FnOnce(&Store) -> Result<(), PhaseError>) -> Result<(), PhaseError> {
        let parent = self.environment.temporary_directory();
        let store = Store::temporary(&parent).map_err(|error| {
            PhaseError::new("create a store", failure::sentence(&error), ExitCode::Generic)
        })?;
        self.interruption.remove_at_end(store.path());
        work(&store)
    }

    fn failed(&self, error: &(dyn std::error::Error + 'static), code: ExitCode) -> PhaseError {
        failed(self.inputs.phase.verb(), error, code)
    }
}

/// How a phase failed. What is wrong with its inputs is told in the same words whoever finds out (lifecycle.md 1.3).
fn failed(action: &str, error: &(dyn std::error::Error + 'static), code: ExitCode) -> PhaseError {
    let cause = failure::sentence(error);
    if code == ExitCode::InvalidArguments {
        PhaseError::inputs(cause)
    } else {
        PhaseError::new(action, cause, code)
    }
}

/// All names of the image.
fn references(options: &AnalyzeOptions) -> Vec<Reference> {
    [&options.image]
        .into_iter()
        .chain(&options.tags)
        .cloned()
        .collect()
}

/// The creator starts as root, whose home is of no use to buildpacks (lifecycle.md 1.12). Platforms may run it as a
/// user that the image does not know; such a user keeps the variables that there are.
fn set_home(variables: &mut Variables, user: User) {
    let users = std::fs::File::open("/")
        .ok()
        .and_then(|root| Users::read(root).ok());
    let account = users.and_then(|users| users.resolve(&user.uid.to_string()).ok());
    if let Some(account) = account.filter(|account| account.home != Path::new("/")) {
        variables.set("HOME", account.home);
    }
}
