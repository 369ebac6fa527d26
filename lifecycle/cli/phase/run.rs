//! From inputs to the function of a phase.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lifecycle_image::{Compression, Platform, Reference};
use lifecycle_layers::{Owner, Packing};
use lifecycle_phases::{
    AnalyzeOptions, BaseImages, BuildOptions, CacheImage, CacheOptions, Cancellation, CreateOptions,
    DetectOptions, ExportOptions, ExtendKind, Place, RebaseOptions, Reporter, RestoreOptions, Surroundings,
};
use lifecycle_registry::Registry;
use lifecycle_sandbox::Users;
use lifecycle_spec::label::LauncherVersion;
use lifecycle_spec::{
    AnalyzedToml, Environment as Variables, ExecEnv, ExitCode, ExperimentalMode, Flaw, RunToml, StackToml,
};
use lifecycle_store::Store;

use super::PhaseError;
use super::daemon;
use super::extension;
use super::inputs::{Inputs, reference};
use super::kind::PhaseName;
use super::log::Log;
use super::places::{ReadyPlace, RegistryAccess};
use super::privileges::{self, User};
use super::table;
use crate::arguments::RegistryArguments;
use crate::environment::Environment;
use crate::failure;
use crate::registry;
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
struct Phase<'a> {
    inputs: &'a Inputs<'a>,
    environment: &'a Environment,
    log: Log,
    interruption: Interruption,
}

/// What phases that deal with images need besides their options.
struct Dealings {
    place: ReadyPlace,
    registry: Registry,
    host: Platform,
}

impl Dealings {
    /// Where the extender looks for images, if the platform has mounted it (RES-05).
    fn bases(&self) -> Option<BaseImages<'_>> {
        Path::new(extension::KANIKO).is_dir().then(|| BaseImages {
            directory: extension::base_images(),
            source: self.place.images_to_extend(&self.registry),
            platform: &self.host,
        })
    }
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
                return Err(PhaseError::arguments(format!("-{refused} is unsupported")));
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
                    .map_err(|error| {
                        let cause = failure::sentence(&error);
                        PhaseError::new(error.phase().to_string(), cause, error.exit_code())
                    })
            })
        })
    }

    fn rebase(&self) -> Result<(), PhaseError> {
        let inputs = self.inputs;
        let run_image = match (inputs.text("run-image"), inputs.text("image")) {
            (Some(_), Some(_)) => {
                return Err(PhaseError::arguments(
                    "supply only one of -run-image or (deprecated) -image",
                ));
            }
            (run_image, image) => run_image.or(image),
        };
        let options = RebaseOptions {
            api: inputs.api,
            images: inputs.images()?,
            previous_image: inputs.text("previous-image"),
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

    fn analyze_options(&self) -> Result<AnalyzeOptions, PhaseError> {
        let inputs = self.inputs;
        Ok(AnalyzeOptions {
            api: inputs.api,
            image: inputs.image()?,
            tags: inputs.references("tag")?,
            previous_image: inputs.text("previous-image"),
            run_image: inputs.text("run-image"),
            run: inputs.file("run"),
            stack: inputs.file("stack"),
            layers: Place::same(inputs.layers()),
            launch_cache: self.launch_cache(),
            // The creator restores the SBOM with the layers.
            skip_layers: inputs.boolean("skip-layers") || inputs.boolean("skip-restore"),
            analyzed: inputs.file("analyzed"),
        })
    }

    fn detect_options(&self) -> Result<DetectOptions, PhaseError> {
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

    fn restore_options(&self) -> RestoreOptions {
        let inputs = self.inputs;
        RestoreOptions {
            api: inputs.api,
            layers: Place::same(inputs.layers()),
            group: inputs.file("group"),
            analyzed: inputs.file("analyzed"),
            run: inputs.file("run"),
            build_image: inputs.text("build-image"),
            // The variable of the creator counts for the restorer, too.
            skip_layers: inputs.boolean("skip-layers")
                || inputs.boolean("skip-restore")
                || (inputs.phase == PhaseName::Restore && self.environment.flag("CNB_SKIP_RESTORE")),
        }
    }

    fn build_options(&self) -> Result<BuildOptions, PhaseError> {
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

    fn export_options(&self, images: Vec<Reference>) -> Result<ExportOptions, PhaseError> {
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
        ExecEnv::new(name).map_err(|error| resolving(error.to_string()))
    }

    fn experimental(&self) -> Result<ExperimentalMode, PhaseError> {
        let mode = self.inputs.text("experimental").unwrap_or_default();
        mode.parse()
            .map_err(|error: lifecycle_spec::ModeError| resolving(error.to_string()))
    }

    /// Only a daemon needs it (AN-13).
    fn launch_cache(&self) -> Option<PathBuf> {
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

    fn user(&self) -> User {
        User::wanted(self.inputs.number("uid"), self.inputs.number("gid"))
    }

    /// Every image that inputs and files name, as far as they can be read: the phase itself says what is wrong with
    /// them. Looking up credentials for one too many costs little, for one too few the build.
    fn known_images(&self) -> Vec<Reference> {
        let inputs = self.inputs;
        let mut names: Vec<String> = [
            "previous-image",
            "run-image",
            "image",
            "build-image",
            "cache-image",
        ]
        .into_iter()
        .filter_map(|name| inputs.text(name))
        .collect();
        if let Some(analyzed) = read(&inputs.file("analyzed"), AnalyzedToml::parse) {
            names.extend(analyzed.previous_image);
            names.extend(analyzed.run_image.map(|image| image.reference));
        }
        let run = read(&inputs.file("run"), RunToml::parse)
            .map(|run| run.images)
            .unwrap_or_default();
        let stack = read(&inputs.file("stack"), StackToml::parse).map(|stack| stack.run_image);
        for entry in run.into_iter().chain(stack) {
            names.push(entry.image);
            names.extend(entry.mirrors);
        }
        names.iter().filter_map(|name| name.parse().ok()).collect()
    }

    /// The place of images, with credentials looked up while whoever holds them can be asked (AUTH-04).
    fn deal(&self, names: &[Reference]) -> Result<Dealings, PhaseError> {
        let inputs = self.inputs;
        let (daemon, layout) = (inputs.boolean("daemon"), inputs.boolean("layout"));
        if daemon && layout {
            return Err(resolving("-daemon and -layout exclude each other"));
        }
        if inputs.text("launch-cache").is_some() && !daemon {
            self.log
                .warning("Ignoring -launch-cache, only intended for use with -daemon");
        }
        let arguments = RegistryArguments {
            insecure_registry: inputs.list("insecure-registry"),
            registry_ca: Vec::new(),
            registry_mirror: Vec::new(),
        };
        let settings = registry::settings(&arguments, self.environment).map_err(|error| {
            PhaseError::new("resolve keychain", failure::sentence(&error), ExitCode::Generic)
        })?;
        let registry = Registry::new(settings).map_err(|error| {
            PhaseError::new("resolve keychain", failure::sentence(&error), ExitCode::Generic)
        })?;
        let place = if daemon {
            // Only whoever the phase begins as may be allowed to.
            ReadyPlace::daemon(daemon::connect(self.environment)?)
        } else if layout {
            self.check_layout()?;
            let directory = inputs.directory("layout-dir");
            let directory = directory.ok_or_else(|| resolving("-layout-dir is required with -layout"))?;
            ReadyPlace::layouts(directory)
        } else {
            ReadyPlace::registry(registry.clone())
        };
        if !layout {
            // With a daemon, cache images and images to extend are in registries all the same (CACHE-02).
            let mut repositories: Vec<_> = names.iter().map(|name| name.repository().clone()).collect();
            repositories.sort();
            repositories.dedup();
            registry.look_up_credentials(&repositories).map_err(|error| {
                PhaseError::new("resolve keychain", failure::sentence(&error), ExitCode::Generic)
            })?;
        }
        Ok(Dealings {
            place,
            registry,
            host: Platform::host(),
        })
    }

    /// OCI layouts are an experiment (MODE-01).
    fn check_layout(&self) -> Result<(), PhaseError> {
        const REQUESTED: &str = "Platform requested experimental feature 'export to OCI layout format'";
        match self.experimental()? {
            ExperimentalMode::Silent => Ok(()),
            ExperimentalMode::Warn => {
                self.log.warning(REQUESTED);
                Ok(())
            }
            ExperimentalMode::Error => {
                self.log.warning(REQUESTED);
                let cause = "experimental features are disabled by CNB_EXPERIMENTAL_MODE=error";
                Err(PhaseError::new("resolve inputs", cause, ExitCode::Generic))
            }
        }
    }

    fn cache<'a>(
        &self,
        dealings: &'a Dealings,
        access: &'a RegistryAccess,
    ) -> Result<CacheOptions<'a>, PhaseError> {
        let image = self
            .inputs
            .text("cache-image")
            .map(|name| reference(&name))
            .transpose()?;
        Ok(CacheOptions {
            directory: self.inputs.directory("cache-dir"),
            image: image.map(|reference| CacheImage {
                reference,
                source: &dealings.registry,
                sink: &dealings.registry,
                access: Some(access),
                platform: &dealings.host,
            }),
            unpacked: None,
        })
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
        PhaseError::new(self.inputs.phase.verb(), failure::sentence(error), code)
    }
}

/// A document, if it is there and right.
fn read<T>(path: &Path, parse: impl FnOnce(&Path, &[u8]) -> Result<T, Flaw>) -> Option<T> {
    parse(path, &fs_err::read(path).ok()?).ok()
}

/// All names of the image.
fn references(options: &AnalyzeOptions) -> Vec<Reference> {
    [&options.image]
        .into_iter()
        .chain(&options.tags)
        .cloned()
        .collect()
}

fn resolving(cause: impl Into<String>) -> PhaseError {
    PhaseError::new("resolve inputs", cause, ExitCode::InvalidArguments)
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
