//! The directories of one build.

use std::ffi::OsStr;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use fs_err as fs;
use lifecycle_layers::{Owner, tree};
use lifecycle_phases::Place;
use lifecycle_store::{Scratch, Store};

use crate::PlatformError;

/// Where it shows the layers.
pub(super) const LAYERS: &str = "/layers";
/// Where it shows the platform's files.
pub(super) const PLATFORM: &str = "/platform";
/// Where it shows what restorer and extender share (EXT-07).
pub(super) const KANIKO: &str = "/kaniko";
/// Where the extender keeps results, below that directory.
pub(super) const EXTENDED: &str = "cache/lifecycle";

/// What is known about the images: this process finds it out, and steps read it.
pub(super) const ANALYZED: &str = "analyzed.toml";
/// Which modules take part, as detection decided.
pub(super) const GROUP: &str = "group.toml";

/// The directories that a build's phases share. They go when the build ends.
#[derive(Debug)]
pub(super) struct Workspace {
    scratch: Scratch,
    owner: Option<Owner>,
    /// Where the build shows the app (P§Build).
    app: PathBuf,
}

impl Workspace {
    /// Makes the directories, for a build that runs as `owner` and shows the app at `app`; without an owner, this process
    /// has only one id.
    pub(super) fn create(store: &Store, owner: Option<Owner>, app: PathBuf) -> Result<Self, PlatformError> {
        let workspace = Self {
            scratch: store.scratch()?,
            owner,
            app,
        };
        for directory in [
            "workspace",
            "layers",
            "documents",
            "platform",
            "platform/env",
            "lifecycle",
            "lifecycle/sbom",
        ] {
            workspace.directory(directory)?;
        }
        // The extender is root; what is in here is nothing for buildpacks.
        for directory in [workspace.base_images(), workspace.kaniko().join(EXTENDED)] {
            fs::create_dir_all(&directory).map_err(|cause| PlatformError::io("create", &directory, cause))?;
        }
        Ok(workspace)
    }

    /// Leaves the directories for the next build to remove.
    pub(super) fn abandon(self) {
        self.scratch.abandon();
    }

    /// Who the build runs as, if files can be given away.
    pub(super) fn owner(&self) -> Option<Owner> {
        self.owner
    }

    pub(super) fn app(&self) -> Place {
        self.place("workspace", &self.app)
    }

    pub(super) fn layers(&self) -> Place {
        self.place("layers", LAYERS.as_ref())
    }

    /// A file that the phases of this process hand to each other, where no buildpack can reach it: it decides which
    /// servers are asked for which images with this machine's credentials.
    pub(super) fn document(&self, name: &str) -> PathBuf {
        self.scratch.path().join("documents").join(name)
    }

    pub(super) fn platform(&self) -> PathBuf {
        self.scratch.path().join("platform")
    }

    /// The directory with what the exporter puts into the image on the lifecycle's behalf.
    pub(super) fn lifecycle(&self) -> PathBuf {
        self.scratch.path().join("lifecycle")
    }

    /// The directory that restorer and extender share.
    pub(super) fn kaniko(&self) -> PathBuf {
        self.scratch.path().join("kaniko")
    }

    /// Where the restorer puts the images that are extended.
    pub(super) fn base_images(&self) -> PathBuf {
        self.kaniko().join("cache/base")
    }

    /// The launcher's program.
    pub(super) fn launcher(&self) -> PathBuf {
        self.lifecycle().join("launcher")
    }

    /// The directory of the launcher's SBOMs, and of nothing else.
    pub(super) fn launcher_sboms(&self) -> PathBuf {
        self.lifecycle().join("sbom")
    }

    /// A copy of this program, made when it is first asked for.
    pub(super) fn copy_of_program(&self, running: &Path) -> Result<PathBuf, PlatformError> {
        let copy = self.lifecycle().join("lifecycle");
        if !copy.exists() {
            fs::copy(running, &copy).map_err(|cause| PlatformError::io("copy", running, cause))?;
            self.hand_over(&copy, 0o755)?;
        }
        Ok(copy)
    }

    fn place(&self, here: &str, shown: &Path) -> Place {
        Place {
            here: self.scratch.path().join(here),
            shown: PathBuf::from(shown),
        }
    }

    /// Sets a variable for the buildpacks: a file below `platform/env` (ENV-04).
    pub(super) fn set_variable(&self, name: &str, value: &OsStr) -> Result<(), PlatformError> {
        if name.is_empty() || name.contains(['/', '=', '\0']) || name.starts_with('.') {
            let reason = format!("{name:?} is not a name of a variable");
            return Err(PlatformError::Source {
                path: self.platform().join("env"),
                reason,
            });
        }
        self.write(
            &self.platform().join("env").join(name),
            std::os::unix::ffi::OsStrExt::as_bytes(value),
        )
    }

    /// Writes a file that the build may read.
    pub(super) fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), PlatformError> {
        fs::write(path, bytes).map_err(|cause| PlatformError::io("write", path, cause))?;
        self.hand_over(path, 0o644)
    }

    /// Writes a file that phases of this process read.
    pub(super) fn write_document(&self, name: &str, text: &str) -> Result<(), PlatformError> {
        let path = self.document(name);
        fs::write(&path, text).map_err(|cause| PlatformError::io("write", &path, cause))
    }

    /// Shows the next step a copy of a document, in place of whatever is there.
    pub(super) fn show(&self, name: &str) -> Result<(), PlatformError> {
        let (own, shown) = (self.document(name), self.layers().here.join(name));
        tree::remove_path(&shown).map_err(|cause| PlatformError::io("replace", &shown, cause))?;
        let bytes = fs::read(&own).map_err(|cause| PlatformError::io("read", &own, cause))?;
        self.write(&shown, &bytes)
    }

    /// Gives the app directory itself to the build, whatever mode and owner the source had.
    pub(super) fn give_away_app(&self) -> Result<(), PlatformError> {
        self.hand_over(&self.app().here, 0o755)
    }

    /// Gives everything that was restored to the build, which may change it. A layer that stayed unpacked is all its own
    /// already, and not to be touched.
    pub(super) fn give_away_layers(&self) -> Result<(), PlatformError> {
        let (Some(owner), layers) = (self.owner, self.layers().here) else {
            return Ok(());
        };
        let give_away = || tree::give_away(fs::File::open(&layers)?.file().as_fd(), owner);
        give_away().map_err(|cause| PlatformError::io("give away what is in", &layers, cause))
    }

    fn directory(&self, name: &str) -> Result<(), PlatformError> {
        let path = self.scratch.path().join(name);
        fs::create_dir(&path).map_err(|cause| PlatformError::io("create", &path, cause))?;
        self.hand_over(&path, 0o755)
    }

    fn hand_over(&self, path: &Path, mode: u32) -> Result<(), PlatformError> {
        let failed = |cause| PlatformError::io("give away", path, cause);
        // Whatever the umask says: another user reads it.
        fs::set_permissions(path, PermissionsExt::from_mode(mode)).map_err(failed)?;
        match self.owner {
            Some(owner) => lchown(path, Some(owner.uid), Some(owner.gid)).map_err(failed),
            None => Ok(()),
        }
    }
}
