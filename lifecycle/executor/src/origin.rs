//! Where files and base images come from: the build context, images, named contexts.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use lifecycle_diagnostics::Diagnostic;
use lifecycle_dockerfile::{Ignore, Platform};
use lifecycle_image::{Image, Reference, Source};
use lifecycle_store::Scratch;

use crate::build::lock;
use crate::configure::image_platform;
use crate::copy::archive;
use crate::copy::select::SourceFiles;
use crate::error::{ExecutorError, StepError};
use crate::files::{DiskFiles, DiskOwners, View, read_bounded};
use crate::options::{BuildContext, IgnoreFile, NamedContext, Options};
use crate::powers::Powers;
use crate::stack::Stack;

/// The largest ignore file that is read.
const LARGEST_IGNORE_FILE: u64 = 4 << 20;

/// What a name stands for.
#[derive(Debug, Clone)]
pub(crate) enum Named {
    /// An image with its layers.
    Image(Arc<NamedImage>),
    /// Files of this machine.
    Files(Arc<SourceFiles>),
}

/// An image with its layers.
#[derive(Debug)]
pub(crate) struct NamedImage {
    pub(crate) image: Image,
    pub(crate) stack: Stack,
    /// It comes from a source of its own.
    pub(crate) is_local: bool,
}

/// Resolves names, each once.
#[derive(Debug)]
pub(crate) struct Origins<'a> {
    options: &'a Options,
    images: &'a dyn Source,
    known: Mutex<HashMap<(String, Platform), Named>>,
}

impl<'a> Origins<'a> {
    pub(crate) fn new(options: &'a Options, images: &'a dyn Source) -> Self {
        Self {
            options,
            images,
            known: Mutex::default(),
        }
    }

    /// What an image name stands for, a named context first (F9). The error is without a place.
    pub(crate) fn named(&self, name: &str, platform: &Platform) -> Result<Named, Diagnostic> {
        let key = (name.to_owned(), platform.clone());
        if let Some(known) = lock(&self.known).get(&key) {
            return Ok(known.clone());
        }
        let named = self.find(name, platform)?;
        // Whoever asked at the same time gets the same.
        Ok(lock(&self.known).entry(key).or_insert(named).clone())
    }

    fn find(&self, name: &str, platform: &Platform) -> Result<Named, Diagnostic> {
        if let Some(context) = self.context_for(name, platform) {
            return match context {
                NamedContext::Directory { path, ignore } => {
                    let files = Self::directory(path, ignore);
                    files
                        .map(|files| Named::Files(Arc::new(files)))
                        .map_err(|error| in_context(name, error))
                }
                NamedContext::Image { source, reference } => {
                    let is_local = source.is_some();
                    let source = source.as_deref().unwrap_or(self.images);
                    image(source, reference, platform, is_local)
                }
            };
        }
        let reference: Reference = name.parse().map_err(|error| {
            Diagnostic::error("invalid-image-name", format!("{name:?} is no image name")).caused_by(&error)
        })?;
        image(self.images, &reference, platform, false)
    }

    /// `name::platform`, then `name`; image names in their familiar form without `:latest` (F9).
    fn context_for(&self, name: &str, platform: &Platform) -> Option<&'a NamedContext> {
        if name == "scratch" || name == "context" {
            return None;
        }
        let familiar = name.parse::<Reference>().map(|reference| {
            let familiar = reference.familiar();
            familiar
                .strip_suffix(":latest")
                .map(str::to_owned)
                .unwrap_or(familiar)
        });
        let names = [Some(name.to_owned()), familiar.ok()];
        names.into_iter().flatten().find_map(|name| {
            let contexts = &self.options.contexts;
            contexts
                .get(&format!("{name}::{platform}"))
                .or_else(|| contexts.get(&name))
        })
    }

    /// The build context.
    pub(crate) fn context(&self) -> Result<SourceFiles, ExecutorError> {
        let failed = |error: StepError| {
            let diagnostic = Diagnostic::error("context", "the build context cannot be read");
            ExecutorError::Failed(diagnostic.caused_by(&error))
        };
        match &self.options.context {
            BuildContext::Empty => Ok(SourceFiles::default()),
            BuildContext::Directory(path) => match Self::directory(path, &self.options.ignore) {
                Ok(files) => Ok(files),
                Err(ContextError::Ignore(diagnostics)) => Err(ExecutorError::Invalid(diagnostics)),
                Err(ContextError::Step(error)) => Err(failed(error)),
            },
        }
    }

    fn directory(path: &Path, ignore: &IgnoreFile) -> Result<SourceFiles, ContextError> {
        let files = DiskFiles::open(path, DiskOwners::Root)
            .map_err(StepError::io(format!("open {}", path.display())))?;
        let ignore = match ignore {
            IgnoreFile::Absent => Ignore::default(),
            IgnoreFile::Given { name, bytes } => {
                Ignore::parse(name.clone(), bytes.clone()).map_err(ContextError::Ignore)?
            }
            IgnoreFile::Usual => usual_ignore(&files)?,
        };
        Ok(SourceFiles {
            view: View::of_disk(files),
            ignore,
        })
    }
}

/// Unpacks an archive that is a build context into an empty directory: a tar, plain or compressed with gzip, bzip2, xz or
/// Zstandard. Nothing in it can lead out of there (CVE-2026-28406). `name` is for messages.
///
/// # Errors
/// When it is no archive, or one that tries to leave the directory.
pub fn unpack_context(archive: std::fs::File, name: &str, into: &Path) -> Result<(), ExecutorError> {
    let unpacked = archive::unpack(archive, name, into, Powers::look());
    unpacked.map(drop).map_err(|error| {
        let diagnostic = Diagnostic::error("context", format!("the build context {name} cannot be unpacked"));
        ExecutorError::Failed(diagnostic.caused_by(&error))
    })
}

/// The files of a directory for the time of the build.
pub(crate) fn open_scratch(scratch: &Scratch, owners: DiskOwners) -> Result<DiskFiles, StepError> {
    let path = scratch.path();
    DiskFiles::open(path, owners).map_err(StepError::io(format!("open {}", path.display())))
}

#[derive(Debug)]
enum ContextError {
    Ignore(Vec<Diagnostic>),
    Step(StepError),
}

impl From<StepError> for ContextError {
    fn from(error: StepError) -> Self {
        Self::Step(error)
    }
}

fn in_context(name: &str, error: ContextError) -> Diagnostic {
    let diagnostic = Diagnostic::error("context", format!("the named context {name} cannot be read"));
    match error {
        ContextError::Step(error) => diagnostic.caused_by(&error),
        ContextError::Ignore(diagnostics) => diagnostics
            .iter()
            .fold(diagnostic, |diagnostic, error| diagnostic.caused_by(error)),
    }
}

/// `.dockerignore`, as a regular file of the context itself: a link is not followed (CVE-2022-4122).
fn usual_ignore(files: &DiskFiles) -> Result<Ignore, ContextError> {
    let failed = |cause| StepError::Io {
        action: "read .dockerignore of the context".to_owned(),
        cause,
    };
    let file = match files.handle(b".dockerignore").open() {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Ignore::default()),
        Err(error) => return Err(failed(error).into()),
    };
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(failed(std::io::Error::other("it is not a regular file")).into());
    }
    let bytes = read_bounded(file, LARGEST_IGNORE_FILE).map_err(failed)?;
    let bytes = bytes.ok_or_else(|| failed(std::io::ErrorKind::FileTooLarge.into()))?;
    Ignore::parse(".dockerignore", bytes).map_err(ContextError::Ignore)
}

fn image(
    source: &dyn Source,
    reference: &Reference,
    platform: &Platform,
    is_local: bool,
) -> Result<Named, Diagnostic> {
    let image = source
        .image(reference, &image_platform(platform))
        .map_err(|error| {
            Diagnostic::error("image", format!("the image {reference} cannot be had")).caused_by(&error)
        })?;
    let stack = Stack::new(image.layers().iter().cloned());
    Ok(Named::Image(Arc::new(NamedImage {
        image,
        stack,
        is_local,
    })))
}
