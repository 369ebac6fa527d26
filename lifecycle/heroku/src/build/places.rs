//! The directories of one build, and where scripts see them.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use lifecycle_layers::tree;
use lifecycle_store::Scratch;

use crate::HerokuError;
use crate::fetch::copy_tree;
use crate::workshop::Workshop;

/// Where an app runs.
pub(crate) const APP: &str = "/app";

/// The directories of one build. All but the cache go with the scratch directory.
#[derive(Debug)]
pub(crate) struct Places {
    scratch: Scratch,
    /// BUILD_DIR.
    pub(crate) build: PathBuf,
    /// `/app`, which is not BUILD_DIR, empty and writable (HC-05).
    pub(crate) app: PathBuf,
    /// ENV_DIR.
    pub(crate) env: PathBuf,
    /// The buildpacks, one directory for each.
    pub(crate) buildpacks: PathBuf,
    /// CACHE_DIR: a copy of the cache, which takes its place when the build has succeeded.
    pub(crate) cache: PathBuf,
    kept: Option<PathBuf>,
    _next: Next,
}

/// A copy of the cache that goes unless it has taken the cache's place.
#[derive(Debug)]
struct Next(PathBuf);

impl Drop for Next {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next build.
        drop(remove(&self.0));
    }
}

impl Places {
    /// BUILD_DIR below the scratch directory.
    pub(crate) const BUILD: &str = "build";
    /// ENV_DIR below it.
    pub(crate) const ENV: &str = "env";
    /// The buildpacks below it.
    pub(crate) const BUILDPACKS: &str = "buildpacks";

    pub(crate) fn make(scratch: Scratch, kept: Option<&Path>) -> Result<Self, HerokuError> {
        let below = |name: &str| scratch.path().join(name);
        let (build, app, env, buildpacks) = (
            below(Self::BUILD),
            below("app"),
            below(Self::ENV),
            below(Self::BUILDPACKS),
        );
        let cache = match kept {
            // Beside the cache, so that it can take its place by two renames.
            Some(kept) => beside(kept, ".next"),
            None => below("cache"),
        };
        // A build that was killed may have left one.
        remove(&cache)?;
        for directory in [&build, &app, &env, &buildpacks, &cache] {
            fs::create_dir_all(directory).map_err(HerokuError::io("create", directory))?;
            // Whatever the umask says: another user works in it.
            let permissions = PermissionsExt::from_mode(0o755);
            fs::set_permissions(directory, permissions).map_err(HerokuError::io("create", directory))?;
        }
        if let Some(kept) = kept.filter(|kept| kept.is_dir()) {
            copy_tree(kept, &cache)?;
        }
        let (kept, next) = (kept.map(Path::to_owned), Next(cache.clone()));
        Ok(Self {
            scratch,
            build,
            app,
            env,
            buildpacks,
            cache,
            kept,
            _next: next,
        })
    }

    /// Shows them to scripts under the names that buildpacks know. Where nothing can be shown in another place, `/app`
    /// must be there already (HC-05).
    pub(crate) fn share(&self, workshop: &mut Workshop<'_>) -> Result<(), HerokuError> {
        if workshop.is_in_place() {
            let app = Path::new(APP);
            if rustix::fs::access(app, rustix::fs::Access::WRITE_OK).is_err() {
                return Err(HerokuError::NoAppDirectory(app.to_owned()));
            }
        } else {
            workshop.share(&self.app, APP, false)?;
        }
        workshop.share(&self.build, "/tmp/build", false)?;
        workshop.share(&self.cache, "/tmp/cache", false)?;
        workshop.share(&self.env, "/tmp/env", true)?;
        workshop.share(&self.buildpacks, "/tmp/buildpacks", false)
    }

    /// HOME of scripts.
    pub(crate) fn home(&self, workshop: &Workshop<'_>) -> OsString {
        if workshop.is_in_place() {
            APP.into()
        } else {
            workshop.shown(&self.app).into_os_string()
        }
    }

    /// Lets the new cache take the place of the old one.
    pub(crate) fn keep_cache(mut self) -> Result<Scratch, HerokuError> {
        if let Some(kept) = self.kept.take() {
            let previous = beside(&kept, ".previous");
            remove(&previous)?;
            if kept.exists() {
                fs::rename(&kept, &previous).map_err(HerokuError::io("move", &kept))?;
            }
            fs::rename(&self.cache, &kept).map_err(HerokuError::io("move", &self.cache))?;
            remove(&previous)?;
        }
        Ok(self.scratch)
    }
}

/// A path with a longer last name.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn remove(directory: &Path) -> Result<(), HerokuError> {
    tree::remove_path(directory).map_err(HerokuError::io("remove", directory))
}
