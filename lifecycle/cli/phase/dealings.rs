//! Where a phase finds images and puts them: registry, daemon or layout, with the credentials for them.

use std::path::Path;

use lifecycle_image::{Platform, Reference};
use lifecycle_phases::{BaseImages, CacheImage, CacheOptions, Reporter as _};
use lifecycle_registry::Registry;
use lifecycle_spec::{AnalyzedToml, ExitCode, ExperimentalMode, Flaw, RunToml, StackToml};

use super::PhaseError;
use super::daemon;
use super::extension;
use super::inputs::reference;
use super::places::{ReadyPlace, RegistryAccess};
use super::run::Phase;
use crate::arguments::RegistryArguments;
use crate::failure;
use crate::registry;

/// What phases that deal with images need besides their options.
pub(super) struct Dealings {
    pub(super) place: ReadyPlace,
    pub(super) registry: Registry,
    host: Platform,
}

impl Dealings {
    /// Where the extender looks for images, if the platform has mounted it (RES-05).
    pub(super) fn bases(&self) -> Option<BaseImages<'_>> {
        Path::new(extension::KANIKO).is_dir().then(|| BaseImages {
            directory: extension::base_images(),
            source: self.place.images_to_extend(&self.registry),
            platform: &self.host,
        })
    }
}

impl Phase<'_> {
    /// Every image that inputs and files name, as far as they can be read: the phase itself says what is wrong with
    /// them. Looking up credentials for one too many costs little, for one too few the build.
    pub(super) fn known_images(&self) -> Vec<Reference> {
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
    pub(super) fn deal(&self, names: &[Reference]) -> Result<Dealings, PhaseError> {
        let inputs = self.inputs;
        let (daemon, layout) = (inputs.boolean("daemon"), inputs.boolean("layout"));
        if daemon && layout {
            return Err(PhaseError::inputs("-daemon and -layout exclude each other"));
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
            let directory =
                directory.ok_or_else(|| PhaseError::inputs("-layout-dir is required with -layout"))?;
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

    pub(super) fn cache<'a>(
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
}

/// A document, if it is there and right.
fn read<T>(path: &Path, parse: impl FnOnce(&Path, &[u8]) -> Result<T, Flaw>) -> Option<T> {
    parse(path, &fs_err::read(path).ok()?).ok()
}
