//! The directories that entries are made in: found, made, kept open, and finished.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{Mode, Timespec, fchmod, fstat, futimens, mkdirat, openat};
use rustix::io::Errno;

use super::ExtractError;
use super::place::{At, Placer, c_name, io_error, times, timespec};
use crate::descent::DIRECTORY;
use crate::entry::{show, split};
use crate::walk::is_whiteout;
use crate::{Owner, ReadEntry, Xattr, xattrs};

/// How many directories stay open: those of a deep path, and some around it.
const OPEN: usize = 64;

/// What a directory gets when nothing is made in it any more.
#[derive(Debug)]
pub(super) struct Finish {
    mode: u32,
    mtime: Timespec,
    xattrs: Vec<Xattr>,
}

impl Finish {
    pub(super) fn of(entry: ReadEntry) -> Self {
        Self {
            mode: entry.mode,
            mtime: timespec(entry.mtime),
            xattrs: entry
                .xattrs
                .into_iter()
                .filter(|xattr| xattrs::travels(&xattr.name))
                .collect(),
        }
    }
}

impl Placer<'_> {
    /// Gives directories their modes, times and access lists, deepest first.
    pub(super) fn finish_directories(&mut self) -> Result<(), ExtractError> {
        while let Some((path, finish)) = self.directories.pop_last() {
            let handle = if path.is_empty() {
                openat(self.root.handle(), c".", DIRECTORY, Mode::empty())
            } else {
                let (above, name) = split(&path);
                let Some(directory) = self.find_directory(above)? else {
                    continue;
                };
                openat(
                    &*directory,
                    c_name(&path, name)?.as_c_str(),
                    DIRECTORY,
                    Mode::empty(),
                )
            };
            let handle = match handle {
                Ok(handle) => handle,
                // Something else has taken its place since.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                Err(error) => return Err(io_error(&path, error)),
            };
            fchmod(&handle, Mode::from_raw_mode(finish.mode)).map_err(|error| io_error(&path, error))?;
            for xattr in &finish.xattrs {
                let result = xattrs::set(handle.as_fd(), &xattr.name, &xattr.value);
                self.allow(&path, &show(&xattr.name), result)?;
            }
            futimens(&handle, &times(finish.mtime)).map_err(|error| io_error(&path, error))?;
        }
        Ok(())
    }

    /// The directory at a path, made with everything above it where it is missing.
    pub(super) fn make_directories(&mut self, path: &[u8]) -> Result<Rc<OwnedFd>, ExtractError> {
        let found = self.walk_down(path, true)?;
        found.ok_or_else(|| io_error(path, Errno::NOENT))
    }

    /// The directory at a path, if there is one.
    pub(super) fn find_directory(&mut self, path: &[u8]) -> Result<Option<Rc<OwnedFd>>, ExtractError> {
        self.walk_down(path, false)
    }

    /// Goes down from the deepest directory above that is open. Each step takes one name and follows no link;
    /// where there is a link, the path so far is resolved beneath the root.
    pub(super) fn walk_down(&mut self, path: &[u8], make: bool) -> Result<Option<Rc<OwnedFd>>, ExtractError> {
        if let Some(at) = self.open.iter().rposition(|(open, _)| open == path) {
            let hit = self.open.remove(at);
            let handle = Rc::clone(&hit.1);
            self.open.push(hit);
            return Ok(Some(handle));
        }
        let is_above = |open: &[u8]| match path.strip_prefix(open) {
            Some(rest) => open.is_empty() || rest.first() == Some(&b'/'),
            None => false,
        };
        let deepest = self
            .open
            .iter()
            .filter(|(open, _)| is_above(open))
            .max_by_key(|(open, _)| open.len());
        let (mut done, mut here) = if let Some((open, handle)) = deepest {
            (open.len(), Rc::clone(handle))
        } else {
            let root = openat(self.root.handle(), c".", DIRECTORY, Mode::empty())
                .map_err(|error| io_error(b"", error))?;
            (0, self.enter(b"", root, false)?)
        };
        while done < path.len() {
            let start = if done == 0 { 0 } else { done + 1 };
            let end = path[start..]
                .iter()
                .position(|&byte| byte == b'/')
                .map_or(path.len(), |length| start + length);
            let so_far = &path[..end];
            let name = c_name(so_far, &path[start..end])?;
            let mut made = false;
            let next = match openat(&*here, name.as_c_str(), DIRECTORY, Mode::empty()) {
                Ok(next) => next,
                Err(Errno::NOENT) if make => {
                    made = true;
                    self.make_implied(&here, &name, so_far)?
                }
                Err(Errno::NOENT) => return Ok(None),
                Err(Errno::NOTDIR) if make && is_whiteout_at(&here, &name, so_far)? => {
                    made = true;
                    self.make_anew(&here, &name, so_far)?
                }
                Err(Errno::LOOP | Errno::NOTDIR) => match self.root.directory(so_far) {
                    Ok(next) => next,
                    Err(error) if !make && error.kind() == io::ErrorKind::NotFound => return Ok(None),
                    Err(cause) => {
                        return Err(ExtractError::Io {
                            path: show(so_far),
                            cause,
                        });
                    }
                },
                Err(error) => return Err(io_error(so_far, error)),
            };
            here = self.enter(so_far, next, made)?;
            done = end;
        }
        Ok(Some(here))
    }

    /// Makes a directory that the archive does not mention.
    pub(super) fn make_implied(
        &mut self,
        above: &OwnedFd,
        name: &CStr,
        path: &[u8],
    ) -> Result<OwnedFd, ExtractError> {
        mkdirat(above, name, Mode::RWXU).map_err(|error| io_error(path, error))?;
        let at = At {
            directory: above.as_fd(),
            name,
            path,
        };
        self.give(&at, Owner::ROOT)?;
        self.implied.insert(path.to_vec());
        self.directories.insert(
            path.to_vec(),
            Finish {
                mode: 0o755,
                mtime: timespec(0),
                xattrs: Vec::new(),
            },
        );
        openat(above, name, DIRECTORY, Mode::empty()).map_err(|error| io_error(path, error))
    }

    /// Makes a directory that the archive does not mention in place of one that it has deleted: lower layers say
    /// nothing about it any more.
    fn make_anew(&mut self, above: &OwnedFd, name: &CStr, path: &[u8]) -> Result<OwnedFd, ExtractError> {
        let at = At {
            directory: above.as_fd(),
            name,
            path,
        };
        self.clear(&at)?;
        let made = self.make_implied(above, name, path)?;
        self.implied.remove(path);
        self.make_opaque(&at)?;
        Ok(made)
    }

    /// Keeps a directory open. One that was there before gets its mode and time back at the end.
    pub(super) fn enter(
        &mut self,
        path: &[u8],
        handle: OwnedFd,
        made: bool,
    ) -> Result<Rc<OwnedFd>, ExtractError> {
        if !made && !self.directories.contains_key(path) {
            let stat = fstat(&handle).map_err(|error| io_error(path, error))?;
            let mode = stat.st_mode & 0o7777;
            if !self.privileged && mode & 0o700 != 0o700 {
                fchmod(&handle, Mode::from_raw_mode(mode | 0o700)).map_err(|error| io_error(path, error))?;
            }
            #[allow(
                clippy::useless_conversion,
                reason = "the fields' types differ between processors"
            )]
            let mtime = Timespec {
                tv_sec: stat.st_mtime.into(),
                tv_nsec: stat.st_mtime_nsec.try_into().unwrap_or(0),
            };
            let finish = Finish {
                mode,
                mtime,
                xattrs: Vec::new(),
            };
            self.directories.insert(path.to_vec(), finish);
        }
        if self.open.len() >= OPEN {
            self.open.remove(0);
        }
        let handle = Rc::new(handle);
        self.open.push((path.to_vec(), Rc::clone(&handle)));
        Ok(handle)
    }
}

fn is_whiteout_at(directory: &OwnedFd, name: &CStr, path: &[u8]) -> Result<bool, ExtractError> {
    let at = At {
        directory: directory.as_fd(),
        name,
        path,
    };
    Ok(is_whiteout(&at.stat()?))
}
