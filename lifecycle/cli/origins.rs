//! Where modules of builders and packages come from, beyond this machine's disk.

use std::path::PathBuf;

use lifecycle_builder::{ModuleName, OriginError, Origins, RegistryIndex};
use lifecycle_image::Source;

use crate::failure::Failure;
use crate::session::{Nearest, Session};

/// Images, downloads and the registry index of one command.
#[derive(Debug)]
pub(crate) struct SessionOrigins<'a> {
    session: &'a Session,
    images: Nearest,
    scratch: PathBuf,
}

impl<'a> SessionOrigins<'a> {
    pub(crate) fn new(session: &'a Session) -> Result<Self, Failure> {
        Ok(Self {
            session,
            images: session.images()?,
            scratch: session.scratch()?.to_owned(),
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

/// Nothing here fetches files from elsewhere.
#[derive(Debug, thiserror::Error)]
#[error("modules behind http(s) addresses cannot be fetched; download the file and name its path")]
struct NoDownloads;

impl Origins for SessionOrigins<'_> {
    fn images(&self) -> &dyn Source {
        &self.images
    }

    fn download(&self, _: &str) -> Result<PathBuf, OriginError> {
        Err(NoDownloads.into())
    }

    fn registered(&self, name: &ModuleName) -> Result<String, OriginError> {
        let index = self.session.buildpack_registry().ok_or(NoIndex)?;
        let entry = RegistryIndex::new(index).find(name)?;
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
