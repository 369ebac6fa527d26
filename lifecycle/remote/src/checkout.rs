//! A checkout, from whoever fetches: what it is made from, who we are for which host, and how its files lie in the end.

use std::fs::FileTimes;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use fs_err as fs;
use lifecycle_registry::{Secret, Web};

use crate::git::Git;
use crate::library::Library;
use crate::repository::{Address, check_reference};
use crate::{Checkout, GitAuthorization, GitSettings, RemoteError, Repository};

/// One repository that is to be checked out.
#[derive(Debug)]
pub(crate) struct Order<'a> {
    pub(crate) settings: &'a GitSettings,
    pub(crate) repository: &'a Repository,
    pub(crate) address: Address,
}

impl<'a> Order<'a> {
    pub(crate) fn new(settings: &'a GitSettings, repository: &'a Repository) -> Result<Self, RemoteError> {
        let address = Address::parse(&repository.url, settings.local)?;
        let order = Self {
            settings,
            repository,
            address,
        };
        if let Some(reference) = &repository.reference {
            check_reference(reference)
                .map_err(|reason| order.missing(format!("reference `{reference}`: {reason}")))?;
        }
        Ok(order)
    }

    /// Brings the files into an empty directory: by the program where there is one, for people's credentials, proxies and
    /// keys live in its configuration, else by the library.
    pub(crate) fn carry_out(&self, web: &Web, into: &Path) -> Result<Checkout, RemoteError> {
        let place = tempfile::Builder::new()
            .prefix(".checkout-")
            .tempdir_in(into)
            .map_err(RemoteError::io("create a directory in", into))?;
        let here = place.path();
        let checkout = if self.settings.has_program()? {
            Git::new(self, here).check_out()?
        } else {
            Library::new(self, web)?.check_out(here)?
        };
        self.settle(here, checkout.time)?;
        let wanted = self.subdirectory(here)?;
        for entry in fs::read_dir(&wanted).map_err(RemoteError::io("read", &wanted))? {
            let entry = entry.map_err(RemoteError::io("read", &wanted))?;
            let target = into.join(entry.file_name());
            fs::rename(entry.path(), &target).map_err(RemoteError::io("move", &target))?;
        }
        place.close().map_err(RemoteError::io("empty", into))?;
        Ok(checkout)
    }

    /// Whether `.git` stays. It belongs to the whole repository.
    pub(crate) fn keeps_git(&self) -> bool {
        self.repository.keep_git_directory && self.repository.subdirectory.is_none()
    }

    /// Who we are: what the address says, then the repository, then the settings; and for which origin.
    pub(crate) fn authorization(&self) -> Option<(&str, &GitAuthorization)> {
        let own = self.address.authorization.as_ref();
        let own = own.or(self.repository.authorization.as_ref());
        Some((
            self.address.origin.as_deref()?,
            own.or(self.settings.authorization.as_ref())?,
        ))
    }

    pub(crate) fn missing(&self, what: String) -> RemoteError {
        RemoteError::Missing {
            repository: self.address.shown.clone(),
            what,
        }
    }

    /// The error for what whoever fetches said, in one line and without a password.
    pub(crate) fn failed(&self, said: &str) -> RemoteError {
        let mut said = said.replace(&self.address.url, &self.address.shown);
        if let Some((_, authorization)) = self.authorization() {
            said = match authorization {
                GitAuthorization::Basic { password, .. } => password.scrub(said),
                GitAuthorization::Header(header) => {
                    let token = header.reveal().rsplit(' ').next().map(Secret::new);
                    token.map_or(header.scrub(said.clone()), |token| token.scrub(said))
                }
            };
        }
        let printable = |line: &str| {
            line.trim()
                .chars()
                .filter(|c| !c.is_control())
                .collect::<String>()
        };
        let lines: Vec<String> = said
            .lines()
            .map(printable)
            .filter(|line| !line.is_empty())
            .collect();
        RemoteError::Git {
            repository: self.address.shown.clone(),
            said: if lines.is_empty() {
                "git gave no reason".to_owned()
            } else {
                lines.join("; ")
            },
        }
    }

    /// Gives every file its mode and time, and removes `.git` wherever a submodule has one.
    fn settle(&self, here: &Path, time: i64) -> Result<(), RemoteError> {
        let seconds = Duration::from_secs(time.unsigned_abs());
        let times = FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + seconds);
        let mut directories = vec![here.to_owned()];
        let mut next = 0;
        while let Some(directory) = directories.get(next).cloned() {
            next += 1;
            for entry in fs::read_dir(&directory).map_err(RemoteError::io("read", &directory))? {
                let path = entry.map_err(RemoteError::io("read", &directory))?.path();
                let metadata = fs::symlink_metadata(&path).map_err(RemoteError::io("read", &path))?;
                if path.file_name().is_some_and(|name| name == ".git") {
                    if self.keeps_git() {
                        continue;
                    }
                    let removed = if metadata.is_dir() {
                        fs::remove_dir_all(&path)
                    } else {
                        fs::remove_file(&path)
                    };
                    removed.map_err(RemoteError::io("remove", &path))?;
                } else if metadata.is_dir() {
                    directories.push(path);
                } else if metadata.is_file() {
                    let mode = if metadata.permissions().mode() & 0o100 == 0 {
                        0o644
                    } else {
                        0o755
                    };
                    fs::set_permissions(&path, PermissionsExt::from_mode(mode))
                        .map_err(RemoteError::io("set the mode of", &path))?;
                    if self.repository.commit_time {
                        set_times(&path, times)?;
                    }
                } else if self.repository.commit_time {
                    set_link_time(&path, time)?;
                }
            }
        }
        for directory in directories.iter().rev() {
            if directory != here {
                fs::set_permissions(directory, PermissionsExt::from_mode(0o755))
                    .map_err(RemoteError::io("set the mode of", directory))?;
            }
            if self.repository.commit_time {
                set_times(directory, times)?;
            }
        }
        Ok(())
    }

    /// The directory that is wanted.
    fn subdirectory(&self, here: &Path) -> Result<PathBuf, RemoteError> {
        match &self.repository.subdirectory {
            Some(wanted) => self.directory(here, wanted),
            None => Ok(here.to_owned()),
        }
    }

    /// A directory of the repository itself: no link leads there (CVE-2026-33748).
    pub(crate) fn directory(&self, here: &Path, wanted: &str) -> Result<PathBuf, RemoteError> {
        let mut directory = here.to_owned();
        let missing = || self.missing(format!("directory {wanted}"));
        for component in Path::new(wanted).components() {
            match component {
                Component::RootDir | Component::CurDir => continue,
                Component::Normal(name) => directory.push(name),
                _ => return Err(missing()),
            }
            if !fs::symlink_metadata(&directory).is_ok_and(|metadata| metadata.is_dir()) {
                return Err(missing());
            }
        }
        Ok(directory)
    }
}

fn set_times(path: &Path, times: FileTimes) -> Result<(), RemoteError> {
    std::fs::File::open(path)
        .and_then(|file| file.set_times(times))
        .map_err(RemoteError::io("set the time of", path))
}

fn set_link_time(path: &Path, seconds: i64) -> Result<(), RemoteError> {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|cause| RemoteError::io("set the time of", path)(cause.into()))
}
