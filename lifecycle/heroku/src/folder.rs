//! Files of an app, a slug or a buildpack that this program itself reads and writes, outside of any isolation. Whatever
//! links somebody put there, nothing outside of the folder is read or changed (SL-08).

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2, unlinkat};
use rustix::io::Errno;

use crate::HerokuError;

/// More than any file that we read has; a file that goes on forever is none of ours.
const MOST: u64 = 4 << 20;

/// A directory of somebody else's files.
#[derive(Debug)]
pub(crate) struct Folder {
    handle: OwnedFd,
    /// For messages.
    path: PathBuf,
}

impl Folder {
    pub(crate) fn open(path: &Path) -> Result<Self, HerokuError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = openat(CWD, path, flags, Mode::empty())
            .map_err(|error| HerokuError::io("open", path)(error.into()))?;
        Ok(Self {
            handle,
            path: path.to_owned(),
        })
    }

    /// A folder in this one, which is made if it is not there.
    pub(crate) fn inner(&self, name: &str) -> Result<Self, HerokuError> {
        match mkdirat(&self.handle, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(self.failed("create", name, error)),
        }
        self.existing(name)
    }

    /// A folder in this one.
    pub(crate) fn existing(&self, name: &str) -> Result<Self, HerokuError> {
        let handle = self
            .beneath(name, OFlags::DIRECTORY)
            .map_err(|error| self.failed("open", name, error))?;
        Ok(Self {
            handle,
            path: self.path.join(name),
        })
    }

    /// The content of a file; nothing if there is none. A link may lead to another file of the folder.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, HerokuError> {
        let fault = |reason: String| HerokuError::File {
            file: name.to_owned(),
            reason,
        };
        // A pipe is not waited for.
        let file = match self.beneath(name, OFlags::NONBLOCK) {
            Ok(handle) => std::fs::File::from(handle),
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(self.failed("read", name, error)),
        };
        let unread = |error| HerokuError::io("read", &self.path.join(name))(error);
        if !file.metadata().map_err(unread)?.is_file() {
            return Err(fault("it is not a file".to_owned()));
        }
        let mut bytes = Vec::new();
        file.take(MOST + 1).read_to_end(&mut bytes).map_err(unread)?;
        if bytes.len() as u64 > MOST {
            return Err(fault(format!("it is larger than {MOST} bytes")));
        }
        Ok(Some(bytes))
    }

    /// Puts a file there in place of what has its name, a link above all, which is not written through.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<(), HerokuError> {
        match unlinkat(&self.handle, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(self.failed("replace", name, error)),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = openat(&self.handle, name, flags, Mode::from_raw_mode(0o644))
            .map_err(|error| self.failed("write", name, error))?;
        let mut file = std::fs::File::from(handle);
        file.write_all(text.as_bytes())
            // Whatever the caller's umask says: a slug is the same whoever makes it.
            .and_then(|()| file.set_permissions(std::fs::Permissions::from_mode(0o644)))
            .map_err(HerokuError::io("write", &self.path.join(name)))
    }

    /// Gives all files of this folder the execute bit; what links name keeps its bits.
    pub(crate) fn make_executable(&self) -> Result<(), HerokuError> {
        let unread = |error: Errno| HerokuError::io("read", &self.path)(error.into());
        for entry in rustix::fs::Dir::read_from(&self.handle).map_err(unread)? {
            let name = entry.map_err(unread)?.file_name().to_owned();
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = match openat(&self.handle, &name, flags, Mode::empty()) {
                Ok(handle) => std::fs::File::from(handle),
                // A link, or a socket.
                Err(Errno::LOOP | Errno::NXIO) => continue,
                Err(error) => return Err(self.failed("open", &name.to_string_lossy(), error)),
            };
            let failed = |error| {
                HerokuError::io(
                    "make executable",
                    &self.path.join(name.to_string_lossy().as_ref()),
                )(error)
            };
            let metadata = file.metadata().map_err(failed)?;
            let mode = metadata.permissions().mode();
            if metadata.is_file() && mode & 0o111 != 0o111 {
                file.set_permissions(std::fs::Permissions::from_mode(mode | 0o111))
                    .map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Opens one of its entries; links are followed as long as they stay inside.
    fn beneath(&self, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        loop {
            match openat2(&self.handle, name, flags, Mode::empty(), resolve) {
                // Something was renamed meanwhile, so that the kernel could not be sure.
                Err(Errno::AGAIN | Errno::INTR) => {}
                // An old kernel, or a filter that does not know the call: then no link is followed at all.
                Err(Errno::NOSYS | Errno::PERM) => {
                    return openat(&self.handle, name, flags | OFlags::NOFOLLOW, Mode::empty());
                }
                other => return other,
            }
        }
    }

    fn failed(&self, action: &'static str, name: &str, error: Errno) -> HerokuError {
        match error {
            Errno::XDEV | Errno::LOOP => HerokuError::File {
                file: name.to_owned(),
                reason: format!("it is a link that leads out of {}", self.path.display()),
            },
            other => HerokuError::io(action, &self.path.join(name))(other.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_that_lead_out_are_neither_read_nor_written_through_sl_08() {
        let outer = tempfile::tempdir().unwrap();
        let (app, outside) = (outer.path().join("app"), outer.path().join("outside"));
        fs_err::create_dir_all(app.join("deep")).unwrap();
        fs_err::create_dir(&outside).unwrap();
        fs_err::write(outside.join("canary"), "secret").unwrap();
        fs_err::write(app.join("deep/own"), "own").unwrap();
        let folder = Folder::open(&app).unwrap();
        for (name, target) in [
            ("relative", "../outside/canary".to_owned()),
            ("absolute", outside.join("canary").display().to_string()),
            ("process", "/proc/self/root/etc/passwd".to_owned()),
            ("folder", "../outside".to_owned()),
        ] {
            symlink(target, app.join(name)).unwrap();
            let error = folder.read(name).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("{name}: it is a link that leads out of"))
                    && !error.contains("secret"),
                "{error}"
            );
        }
        drop(folder.inner("folder").unwrap_err());
        drop(folder.existing("folder").unwrap_err());
        folder.write("relative", "mine").unwrap();
        assert_eq!(fs_err::read_to_string(app.join("relative")).unwrap(), "mine");
        assert_eq!(fs_err::read_to_string(outside.join("canary")).unwrap(), "secret");
        // One that stays inside is what it names.
        symlink("deep/own", app.join("inside")).unwrap();
        assert_eq!(folder.read("inside").unwrap().as_deref(), Some(&b"own"[..]));
        folder.inner("made").unwrap().write("file", "x").unwrap();
        assert_eq!(fs_err::read_to_string(app.join("made/file")).unwrap(), "x");
    }

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let outer = tempfile::tempdir().unwrap();
        let folder = Folder::open(outer.path()).unwrap();
        assert_eq!(folder.read("missing").unwrap(), None);
        rustix::fs::mknodat(
            CWD,
            outer.path().join("pipe"),
            rustix::fs::FileType::Fifo,
            Mode::RUSR,
            0,
        )
        .unwrap();
        fs_err::create_dir(outer.path().join("directory")).unwrap();
        for name in ["pipe", "directory"] {
            assert_eq!(
                folder.read(name).unwrap_err().to_string(),
                format!("{name}: it is not a file")
            );
        }
        let large = fs_err::File::create(outer.path().join("large")).unwrap();
        large.set_len(MOST + 1).unwrap();
        assert!(
            folder
                .read("large")
                .unwrap_err()
                .to_string()
                .starts_with("large: it is larger than")
        );
    }
}
