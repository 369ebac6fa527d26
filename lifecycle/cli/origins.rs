//! Where modules of builders and packages come from, beyond this machine's disk.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use lifecycle_builder::{ModuleName, OriginError, Origins, RegistryIndex};
use lifecycle_image::Source;
use lifecycle_remote::{File, GitSettings, Repository};

use crate::failure::Failure;
use crate::session::{Nearest, Session};

/// Images, downloads and the registry index of one command.
#[derive(Debug)]
pub(crate) struct SessionOrigins<'a> {
    session: &'a Session,
    images: Nearest,
    scratch: PathBuf,
    index: OnceCell<RegistryIndex>,
}

impl<'a> SessionOrigins<'a> {
    pub(crate) fn new(session: &'a Session) -> Result<Self, Failure> {
        Ok(Self {
            session,
            images: session.images()?,
            scratch: session.scratch()?.to_owned(),
            index: OnceCell::new(),
        })
    }
}

/// There is no index to look a name up in.
#[derive(Debug, thiserror::Error)]
#[error(
    "no registry index is set; name one with --buildpack-registry or LIFECYCLE_BUILDPACK_REGISTRY: a directory, or the \
     address of a git repository"
)]
struct NoIndex;

/// What cannot be set up says so through whoever asked.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct NotSetUp(String);

impl From<Failure> for NotSetUp {
    fn from(failure: Failure) -> Self {
        Self(
            failure
                .diagnostic
                .map(|diagnostic| diagnostic.to_string())
                .unwrap_or_default(),
        )
    }
}

impl SessionOrigins<'_> {
    /// The registry index: a directory as it is, a git repository checked out once for each command.
    fn index(&self) -> Result<RegistryIndex, OriginError> {
        let place = self.session.buildpack_registry().ok_or(NoIndex)?;
        if Path::new(place).is_dir() && !Path::new(place).join("HEAD").is_file() {
            return Ok(RegistryIndex::new(place));
        }
        if let Some(checkout) = self.index.get() {
            return Ok(checkout.clone());
        }
        let remote = self.session.remote().map_err(NotSetUp::from)?;
        // Whoever runs the program named the index, also one on this machine's disk.
        let git = GitSettings {
            local: true,
            ..remote.git().clone()
        };
        let repository = Repository {
            submodules: false,
            ..Repository::new(place)
        };
        let directory = self.scratch()?;
        remote.clone().with_git(git).check_out(&repository, &directory)?;
        Ok(self.index.get_or_init(|| RegistryIndex::new(directory)).clone())
    }
}

impl Origins for SessionOrigins<'_> {
    fn images(&self) -> &dyn Source {
        &self.images
    }

    fn download(&self, address: &str) -> Result<PathBuf, OriginError> {
        let remote = self.session.remote().map_err(NotSetUp::from)?;
        let path = self.scratch()?.join("download");
        let mut into = std::fs::File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        remote.download(&File::parse(address)?, &mut into)?;
        Ok(path)
    }

    fn registered(&self, name: &ModuleName) -> Result<String, OriginError> {
        let entry = self.index()?.find(name)?;
        if entry.yanked {
            let warning = format!("{name} was taken back by its author, who no longer wants it to be used");
            self.session.console.warning(warning);
        }
        Ok(entry.addr)
    }

    fn scratch(&self) -> Result<PathBuf, OriginError> {
        Ok(tempfile::Builder::new()
            .prefix("module-")
            .tempdir_in(&self.scratch)?
            .keep())
    }
}
