//! The images that slugs are built and run on.

use std::error::Error;
use std::sync::Arc;

use lifecycle_builder::Folder;
use lifecycle_builder::stack::{Definition, Part};
use lifecycle_heroku::Room;
use lifecycle_image::{Image, Platform, Progress};
use lifecycle_platform::{ImageRoot, Isolation, network_files};
use lifecycle_sandbox::{Content, Mount, Root, Rung};
use lifecycle_store::Store;

use crate::arguments::SlugStackArguments;
use crate::commands::stack as stacks;
use crate::environment::Environment;
use crate::failure::Failure;
use crate::session::Session;

/// The build image and the run image of a stack, by name.
pub(super) struct Stacks<'a> {
    arguments: &'a SlugStackArguments,
}

impl<'a> Stacks<'a> {
    pub(super) fn new(arguments: &'a SlugStackArguments) -> Self {
        Self { arguments }
    }

    /// Makes an embedded stack unless the store has it, or the images that are needed are named.
    pub(super) fn make(&mut self, needed: &[Part], session: &Session) -> Result<(), Failure> {
        let is_named = |part: &Part| match part {
            Part::Build => self.arguments.build_image.is_some(),
            Part::Run => self.arguments.run_image.is_some(),
        };
        if needed.iter().all(is_named) {
            return Ok(());
        }
        let Some(definition) = self.embedded()? else {
            return Ok(());
        };
        stacks::make_apart(&definition, session)
    }

    pub(super) fn build_image(&self, session: &Session) -> Result<Image, Failure> {
        let name = self.name(Part::Build, self.arguments.build_image.as_ref())?;
        session.find(&name)?.image(&Platform::host())
    }

    /// The run image and its name.
    pub(super) fn run_image(&self, session: &Session) -> Result<(String, Image), Failure> {
        let name = self.name(Part::Run, self.arguments.run_image.as_ref())?;
        let image = session.find(&name)?.image(&Platform::host())?;
        Ok((name, image))
    }

    fn name(&self, part: Part, named: Option<&String>) -> Result<String, Failure> {
        if let Some(name) = named {
            return Ok(name.clone());
        }
        if let Some(definition) = self.embedded()? {
            return Ok(definition.reference(part)?.familiar());
        }
        let stack = &self.arguments.stack;
        match (stack.strip_prefix("heroku-"), part) {
            (Some(release), Part::Build) => Ok(format!("heroku/heroku:{release}-build")),
            (Some(release), Part::Run) => Ok(format!("heroku/heroku:{release}")),
            (None, _) => Err(Failure::new("stack", format!("{stack:?} is no stack that is known here"))
                .help("name its images with --build-image and --run-image; `lifecycle stack list` shows the embedded ones")),
        }
    }

    fn embedded(&self) -> Result<Option<Definition>, Failure> {
        for folder in Folder::embedded("stack") {
            let definition = Definition::read(&folder)?;
            if definition.id == self.arguments.stack {
                return Ok(Some(definition));
            }
        }
        Ok(None)
    }
}

/// Fresh roots of an image.
#[derive(Debug)]
pub(super) struct Rooms<'a> {
    root: ImageRoot,
    isolation: &'a Isolation,
    store: &'a Store,
    progress: Arc<dyn Progress>,
    /// The authorities that downloads are checked with.
    certificates: Option<Vec<u8>>,
}

/// Where scripts find this machine's certificate authorities.
const CERTIFICATES: &str = "/run/lifecycle/ca-certificates.crt";
/// The variable that names them; buildpacks derive those of their tools from it.
const CERTIFICATES_VARIABLE: &str = "SSL_CERT_FILE";

impl<'a> Rooms<'a> {
    pub(super) fn new(
        image: &Image,
        isolation: &'a Isolation,
        session: &'a Session,
    ) -> Result<Self, Failure> {
        let (store, progress) = (session.store()?, session.progress());
        let root = ImageRoot::prepare(image, store, isolation, &*progress)?;
        Ok(Self {
            root,
            isolation,
            store,
            progress,
            certificates: None,
        })
    }

    /// Shows scripts the certificate authorities of this machine, which whoever stands between it and the network may have
    /// added to, and says by which variable they find them.
    pub(super) fn show_certificates(
        &mut self,
        environment: &Environment,
    ) -> Result<Option<(String, String)>, Failure> {
        let Some(path) = environment.certificates() else {
            return Ok(None);
        };
        self.certificates = Some(fs_err::read(path)?);
        Ok(Some((CERTIFICATES_VARIABLE.to_owned(), CERTIFICATES.to_owned())))
    }
}

impl lifecycle_heroku::Rooms for Rooms<'_> {
    fn open(&self) -> Result<Room, Box<dyn Error + Send + Sync>> {
        let mut fresh = self.root.fresh(self.store, &*self.progress)?;
        let certificates = self.certificates.clone().map(|bytes| Mount {
            target: CERTIFICATES.into(),
            content: Content::File {
                bytes,
                mode: 0o644,
                uid: 0,
                gid: 0,
            },
        });
        Ok(Room {
            isolation: self.isolation.of_command(),
            root: std::mem::replace(&mut fresh.root, Root::Host),
            users: std::mem::take(&mut fresh.users),
            one_user: self.isolation.rung() == Rung::SingleId,
            mounts: network_files().into_iter().chain(certificates).collect(),
            // The root's changes go when the command has ended.
            keep: Some(Box::new(fresh)),
        })
    }
}
