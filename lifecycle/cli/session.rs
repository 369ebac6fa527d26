//! What the commands of one process share, made when it is first needed.
//!
//! `lifecycle --version` and a command that only looks into the store set up no TLS and open no connection.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use lifecycle_image::archive::{Archive, ArchiveKind, ArchiveSink};
use lifecycle_image::layout::Layout;
use lifecycle_image::{
    Artifact, Digest, Image, Platform, Progress, Reference, Sink, Source, TransferError, TransferErrorKind,
};
use lifecycle_registry::Registry;
use lifecycle_remote::Remote;
use lifecycle_store::Store;
use tempfile::TempDir;

use crate::arguments::{Global, PullPolicy, RegistryArguments};
use crate::console::Console;
use crate::environment::Environment;
use crate::failure::Failure;
use crate::output::{Finish, Output};
use crate::place::Place;
use crate::signals::Interruption;
use crate::{registry, remote};

/// The environment, the console, and what is made from them on demand.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) environment: Environment,
    pub(crate) console: Console,
    pub(crate) interruption: Interruption,
    /// Decided at once: after a namespace is entered, everybody is root.
    store_directory: Option<PathBuf>,
    registry_arguments: RegistryArguments,
    pull_policy: PullPolicy,
    buildpack_registry: Option<String>,
    store: OnceLock<Store>,
    registry: OnceLock<Registry>,
    remote: OnceLock<Remote>,
    scratch: OnceLock<TempDir>,
}

impl Session {
    pub(crate) fn new(global: Global, environment: Environment, console: Console) -> Self {
        let is_root = rustix::process::geteuid().is_root();
        Self {
            store_directory: global.store.or_else(|| environment.store(is_root)),
            registry_arguments: global.registry,
            pull_policy: global.pull_policy,
            buildpack_registry: global.buildpack_registry.or_else(|| {
                environment
                    .text("LIFECYCLE_BUILDPACK_REGISTRY")
                    .map(str::to_owned)
            }),
            environment,
            console,
            interruption: Interruption::default(),
            store: OnceLock::new(),
            registry: OnceLock::new(),
            remote: OnceLock::new(),
            scratch: OnceLock::new(),
        }
    }

    /// A session of a tool that has ways of its own to say where the store is and how registries are spoken to.
    pub(crate) fn with_registry(
        store: Option<PathBuf>,
        settings: lifecycle_registry::Settings,
        environment: Environment,
        console: Console,
        interruption: Interruption,
    ) -> Result<Self, Failure> {
        let registry = Registry::new(settings)?.watched(Arc::new(console.clone()));
        let is_root = rustix::process::geteuid().is_root();
        Ok(Self {
            store_directory: store.or_else(|| environment.store(is_root)),
            registry_arguments: registry::none_given(),
            pull_policy: PullPolicy::default(),
            buildpack_registry: None,
            environment,
            console,
            interruption,
            store: OnceLock::new(),
            registry: OnceLock::from(registry),
            remote: OnceLock::new(),
            scratch: OnceLock::new(),
        })
    }

    /// Whoever watches blobs move.
    pub(crate) fn progress(&self) -> Arc<dyn Progress> {
        Arc::new(self.console.clone())
    }

    /// Where the local store is or will be.
    pub(crate) fn store_directory(&self) -> Result<&Path, Failure> {
        self.store_directory.as_deref().ok_or_else(|| {
            Failure::new(
                "no-store",
                "there is no place for the local store: HOME is not set",
            )
            .help("name a directory with --store or LIFECYCLE_STORE")
        })
    }

    /// The local store.
    pub(crate) fn store(&self) -> Result<&Store, Failure> {
        once(&self.store, || {
            let store = Store::open(self.store_directory()?)?;
            self.interruption.remove_live(store.live_scratch());
            Ok(store.watched(self.progress()))
        })
    }

    /// All registries.
    pub(crate) fn registry(&self) -> Result<&Registry, Failure> {
        once(&self.registry, || {
            let settings = registry::settings(&self.registry_arguments, &self.environment)?;
            Ok(Registry::new(settings)?.watched(self.progress()))
        })
    }

    /// Registries that may be spoken to without verified TLS.
    #[cfg(feature = "kubernetes")]
    pub(crate) fn insecure_registries(&self) -> Vec<String> {
        registry::insecure(&self.registry_arguments, &self.environment)
    }

    /// What lies elsewhere.
    pub(crate) fn remote(&self) -> Result<&Remote, Failure> {
        once(&self.remote, || {
            Ok(remote::everything(self.registry()?.web(), &self.environment))
        })
    }

    /// A directory that is gone when the process ends, for what cannot be streamed.
    pub(crate) fn scratch(&self) -> Result<&Path, Failure> {
        let scratch = once(&self.scratch, || {
            let parent = self.environment.temporary_directory();
            let scratch = tempfile::Builder::new()
                .prefix("lifecycle-")
                .tempdir_in(&parent)
                .and_then(|scratch| {
                    // Whatever the umask: subordinate ids of this user find what is made for them below.
                    fs::set_permissions(scratch.path(), Permissions::from_mode(0o711))?;
                    Ok(scratch)
                });
            let scratch = scratch.map_err(|cause| {
                TransferError::from_io(
                    format!("cannot create a directory in {}", parent.display()),
                    cause,
                )
            })?;
            self.interruption.remove_at_end(scratch.path());
            Ok(scratch)
        })?;
        Ok(scratch.path())
    }

    /// Images by name, from wherever `--pull-policy` looks for them: usually the store, else a registry.
    pub(crate) fn images(&self) -> Result<Nearest, Failure> {
        let store = self.store()?.clone();
        Ok(Nearest {
            registry: self.registry()?.clone().remembering(Arc::new(store.clone())),
            store,
            policy: self.pull_policy,
        })
    }

    /// The index that ids of buildpacks are looked up in, if one is set.
    pub(crate) fn buildpack_registry(&self) -> Option<&str> {
        self.buildpack_registry.as_deref()
    }

    /// Finds what a user names. A name without a prefix is looked for in the store, then in its registry.
    pub(crate) fn find(&self, text: &str) -> Result<Found, Failure> {
        let place = Place::parse(text, Place::Nearest)?;
        self.find_at(&place)
    }

    /// Finds what is at a place.
    pub(crate) fn find_at(&self, place: &Place) -> Result<Found, Failure> {
        let mut is_remote = matches!(place, Place::Registry(_));
        let (source, artifact, name): (Box<dyn Source>, _, _) = match place {
            Place::Nearest(reference) => {
                // In a pod there may be no place for a store, and what is here needs no registry's set-up.
                if self.store_directory.is_none() {
                    return self.find_at(&Place::Registry(reference.clone()));
                }
                let in_store = match self.pull_policy {
                    PullPolicy::Always => None,
                    PullPolicy::IfNotPresent | PullPolicy::Never => self.store()?.artifact(reference).ok(),
                };
                if let Some(artifact) = in_store {
                    (Box::new(self.store()?.clone()), artifact, Some(reference.clone()))
                } else {
                    is_remote = true;
                    let nearest = self.images()?;
                    let artifact = nearest.artifact(reference)?;
                    (Box::new(nearest), artifact, Some(reference.clone()))
                }
            }
            Place::Store(reference) => {
                let store = self.store()?.clone();
                let artifact = store.artifact(reference)?;
                (Box::new(store), artifact, Some(reference.clone()))
            }
            Place::Registry(reference) => {
                let registry = self.registry()?.clone();
                let artifact = registry.artifact(reference)?;
                (Box::new(registry), artifact, Some(reference.clone()))
            }
            Place::Layout(path, name) => {
                let layout = Layout::open(path)?;
                let artifact = layout.named(name.as_deref())?;
                let name = name.as_ref().and_then(|name| name.parse().ok());
                (Box::new(layout), artifact, name)
            }
            Place::OciArchive(path, name) | Place::DockerArchive(path, name) => {
                let archive = Archive::open(path, &self.environment.temporary_directory())?;
                let artifact = archive.named(name.as_deref())?;
                let only = archive.names().into_iter().next();
                let name = name.clone().or(only).and_then(|name| name.parse().ok());
                (Box::new(archive), artifact, name)
            }
        };
        Ok(Found {
            place: place.clone(),
            name,
            artifact,
            is_remote,
            source,
        })
    }

    /// Makes ready to write to a place. `name` is what an image is called there when the place does not say.
    pub(crate) fn destination(
        &self,
        place: &Place,
        name: Option<&Reference>,
    ) -> Result<Destination, Failure> {
        let progress = self.progress();
        let names = || name.cloned().into_iter().collect::<Vec<_>>();
        let (sink, names): (Box<dyn Sink>, _) = match place {
            Place::Store(reference) | Place::Nearest(reference) => {
                (Box::new(self.store()?.clone()), vec![reference.clone()])
            }
            Place::Registry(reference) => (Box::new(self.registry()?.clone()), vec![reference.clone()]),
            Place::Layout(path, inside) => {
                let layout = Layout::create(path)?.watched(progress);
                match inside {
                    Some(inside) => (Box::new(layout.under(inside)), names()),
                    None => (Box::new(layout), names()),
                }
            }
            Place::OciArchive(path, inside) => {
                let archive = ArchiveSink::create(ArchiveKind::Oci, path).watched(progress);
                match inside {
                    Some(inside) => (Box::new(archive.under(inside)), names()),
                    None => (Box::new(archive), names()),
                }
            }
            Place::DockerArchive(path, inside) => {
                let archive = ArchiveSink::create(ArchiveKind::Docker, path).watched(progress);
                // Docker reads nothing but full names.
                let names = match inside {
                    Some(inside) => vec![inside.parse()?],
                    None => names(),
                };
                (Box::new(archive), names)
            }
        };
        Ok(Destination { sink, names })
    }

    /// Where `--output` says that an image goes, under the names of `--tag`.
    pub(crate) fn output(&self, output: &str, names: &[Reference]) -> Result<Destination, Failure> {
        Output::parse(output)?.open(names, Finish::default(), self)
    }
}

/// The value in `cell`, made now if it is not there yet.
fn once<T>(cell: &OnceLock<T>, make: impl FnOnce() -> Result<T, Failure>) -> Result<&T, Failure> {
    if let Some(made) = cell.get() {
        return Ok(made);
    }
    let made = make()?;
    Ok(cell.get_or_init(|| made))
}

/// Images by name: from the store when it has them, else from their registry, unless the policy says otherwise.
#[derive(Debug, Clone)]
pub(crate) struct Nearest {
    store: Store,
    registry: Registry,
    policy: PullPolicy,
}

impl Nearest {
    /// Asks the store, and the registry if the store has nothing; with `always` the other way round, so that an image
    /// that only the store has is still found.
    fn either<T>(
        &self,
        reference: &Reference,
        ask: impl Fn(&dyn Source) -> Result<T, TransferError>,
    ) -> Result<T, TransferError> {
        let stored = |ask: &dyn Fn(&dyn Source) -> Result<T, TransferError>| match ask(&self.store) {
            Err(error) if error.kind == TransferErrorKind::NotFound => Ok(None),
            answer => answer.map(Some),
        };
        let name = reference.familiar();
        match self.policy {
            PullPolicy::Never => stored(&ask)?.ok_or_else(|| {
                let message = format!(
                    "the local store has no {name}, and --pull-policy never keeps from asking its registry"
                );
                TransferError::new(TransferErrorKind::NotFound, message)
            }),
            PullPolicy::IfNotPresent => match stored(&ask)? {
                Some(found) => Ok(found),
                None => ask(&self.registry).map_err(|error| {
                    let message = format!("the local store has no {name}, and its registry gave none");
                    TransferError::caused(error.kind, message, error)
                }),
            },
            PullPolicy::Always => match ask(&self.registry) {
                Ok(found) => Ok(found),
                Err(error) => match stored(&ask) {
                    Ok(Some(found)) if is_absent(&error) => Ok(found),
                    _ => Err(error),
                },
            },
        }
    }
}

/// Whether a registry says that there is no such image. Public ones refuse what is not there.
fn is_absent(error: &TransferError) -> bool {
    matches!(
        error.kind,
        TransferErrorKind::NotFound | TransferErrorKind::Unauthorized
    )
}

impl Source for Nearest {
    fn artifact(&self, reference: &Reference) -> Result<Artifact, TransferError> {
        self.either(reference, |source| source.artifact(reference))
    }

    fn member(&self, reference: &Reference, digest: &Digest) -> Result<Image, TransferError> {
        self.either(reference, |source| source.member(reference, digest))
    }
}

/// An image or an index of images, and where it was found.
#[derive(Debug)]
pub(crate) struct Found {
    /// Where.
    pub(crate) place: Place,
    /// Its name, if it has one there.
    pub(crate) name: Option<Reference>,
    /// What it is.
    pub(crate) artifact: Artifact,
    /// It was found in a registry.
    pub(crate) is_remote: bool,
    source: Box<dyn Source>,
}

impl Found {
    /// Where it was found, for more of it.
    pub(crate) fn source(&self) -> &dyn Source {
        &*self.source
    }

    /// A member of the index.
    pub(crate) fn member(&self, digest: &Digest) -> Result<Image, Failure> {
        // Layouts and archives go by the digest alone.
        let reference = match &self.name {
            Some(name) => name.clone(),
            None => format!("image@{digest}").parse()?,
        };
        Ok(self.source.member(&reference, digest)?)
    }

    /// The image, or the index's image for a platform.
    pub(crate) fn image(&self, platform: &Platform) -> Result<Image, Failure> {
        match &self.artifact {
            Artifact::Image(image) => match image.artifact_type() {
                None => Ok((**image).clone()),
                Some(kind) => Err(TransferError::new(
                    TransferErrorKind::Unsupported,
                    format!("{} is no image but an artifact of type {kind}", self.place),
                )
                .into()),
            },
            Artifact::Index(index) => match index.select(platform) {
                Some(member) => self.member(&member.digest),
                None => Err(TransferError::new(
                    TransferErrorKind::NoPlatform,
                    format!(
                        "{} has no image for {platform}, only for {}",
                        self.place,
                        index.platforms()
                    ),
                )
                .into()),
            },
        }
    }
}

/// Where an image goes, and the names it gets there.
#[derive(Debug)]
pub(crate) struct Destination {
    pub(crate) sink: Box<dyn Sink>,
    pub(crate) names: Vec<Reference>,
}
