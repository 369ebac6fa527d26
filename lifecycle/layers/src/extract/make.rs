//! Makes the file, directory, link or device that an entry describes.

use std::fs::File;
use std::io::{self, BufRead, Seek as _, SeekFrom, Write as _};
use std::os::fd::AsFd as _;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, chmodat, fchmod, fchown, futimens, linkat, mkdirat, mknodat, openat,
    statat, symlinkat, utimensat,
};
use rustix::io::Errno;

use super::directories::Finish;
use super::place::{At, Place, Placer, c_name, check_limit, ids, is_refusal, times, timespec, traveling};
use super::{Devices, ExtractError, Whiteouts, stream};
use crate::descent::Identity;
use crate::entry::{show, split};
use crate::walk::is_whiteout;
use crate::{Device, Entry, Kind, ReadEntry, TarReader, xattrs};

impl Placer<'_> {
    pub(super) fn file<R: BufRead>(
        &mut self,
        at: &At<'_>,
        size: u64,
        entry: &ReadEntry,
        reader: &mut TarReader<R>,
    ) -> Result<(), ExtractError> {
        self.bytes = self.bytes.saturating_add(size);
        check_limit("bytes", self.bytes, self.options.limits.bytes)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || openat(at.directory, at.name, flags, Mode::RUSR | Mode::WUSR);
        let mut file = File::from(self.make(at, open)?);
        let fail = |cause| ExtractError::Io {
            path: show(at.path),
            cause,
        };
        match &entry.sparse {
            None => copy(reader, &mut file, u64::MAX, at.path)?,
            Some(segments) => {
                file.set_len(size).map_err(fail)?;
                for segment in segments {
                    file.seek(SeekFrom::Start(segment.offset)).map_err(fail)?;
                    copy(reader, &mut file, segment.length, at.path)?;
                }
            }
        }
        if let Some(owner) = self.owner(at.path, entry.owner)? {
            let (user, group) = ids(owner);
            fchown(&file, user, group).map_err(|error| at.error(error))?;
        }
        fchmod(&file, Mode::from_raw_mode(entry.mode)).map_err(|error| at.error(error))?;
        for xattr in traveling(&entry.xattrs) {
            let result = xattrs::set(file.as_fd(), &xattr.name, &xattr.value);
            self.allow(at.path, &show(&xattr.name), result)?;
        }
        futimens(&file, &times(timespec(entry.mtime))).map_err(|error| at.error(error))
    }

    pub(super) fn directory(&mut self, at: &At<'_>, entry: &ReadEntry) -> Result<(), ExtractError> {
        match mkdirat(at.directory, at.name, Mode::RWXU) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let existing = at.stat()?;
                if FileType::from_raw_mode(existing.st_mode) != FileType::Directory {
                    // A link to a directory is replaced too, never followed (CVE-2021-32760).
                    self.clear(at)?;
                    mkdirat(at.directory, at.name, Mode::RWXU).map_err(|error| at.error(error))?;
                    if let Whiteouts::Overlay(_) = self.options.whiteouts
                        && is_whiteout(&existing)
                    {
                        self.make_opaque(at)?;
                    }
                }
            }
            Err(error) => return Err(at.error(error)),
        }
        self.give(at, entry.owner)?;
        self.implied.remove(at.path);
        self.directories
            .insert(at.path.to_vec(), Finish::of(entry.clone()));
        Ok(())
    }

    pub(super) fn symlink(
        &mut self,
        at: &At<'_>,
        target: &[u8],
        entry: &ReadEntry,
    ) -> Result<(), ExtractError> {
        self.make(at, || symlinkat(target, at.directory, at.name))?;
        self.give(at, entry.owner)?;
        self.finish_node(at, entry)
    }

    /// Makes another name for a file of this tree. The target's directory is found beneath the root like any
    /// other, so neither the working directory nor links outside matter (CVE-2026-50163).
    pub(super) fn hard_link(&mut self, at: &At<'_>, raw: &[u8]) -> Result<(), ExtractError> {
        let fail = |cause: io::Error| ExtractError::HardLink {
            path: show(at.path),
            target: show(raw),
            cause,
        };
        let Place::Path(target) = self.locate(raw)? else {
            return Err(fail(Errno::ISDIR.into()));
        };
        let (above, name) = split(&target);
        let name = c_name(&target, name)?;
        let missing = || fail(io::ErrorKind::NotFound.into());
        let directory = self.find_directory(above)?.ok_or_else(missing)?;
        let link = || {
            linkat(
                &*directory,
                name.as_c_str(),
                at.directory,
                at.name,
                AtFlags::empty(),
            )
        };
        match link() {
            Err(Errno::EXIST) => {}
            other => return other.map_err(|error| fail(error.into())),
        }
        let target = statat(&*directory, name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| fail(error.into()))?;
        if Identity::of(&target) == Identity::of(&at.stat()?) {
            return Ok(());
        }
        self.clear(at)?;
        link().map_err(|error| fail(error.into()))
    }

    /// Makes a pipe or a device.
    pub(super) fn node(
        &mut self,
        at: &At<'_>,
        kind: FileType,
        device: Option<Device>,
        entry: &ReadEntry,
    ) -> Result<(), ExtractError> {
        if device.is_some() && self.options.devices == Devices::Refuse {
            return Err(ExtractError::Device { path: show(at.path) });
        }
        let number = device.unwrap_or(Device { major: 0, minor: 0 });
        let node = device.map(|device| match kind {
            FileType::BlockDevice => Kind::BlockDevice(device),
            _ => Kind::CharDevice(device),
        });
        if kind == FileType::CharacterDevice && number == (Device { major: 0, minor: 0 }) {
            return Err(ExtractError::WhiteoutDevice { path: show(at.path) });
        }
        let number = rustix::fs::makedev(number.major, number.minor);
        let mode = Mode::from_raw_mode(entry.mode);
        match self.make(at, || mknodat(at.directory, at.name, kind, mode, number)) {
            Err(ExtractError::Io { cause, .. }) if is_refusal(&cause) && node.is_some() => {
                self.allow(at.path, "device", Err(cause))?;
                self.devices.extend(node.map(|kind| Entry {
                    path: at.path.to_vec().into(),
                    kind,
                    mode: entry.mode,
                    owner: entry.owner,
                    mtime: entry.mtime,
                    xattrs: Vec::new(),
                }));
                return Ok(());
            }
            other => other?,
        }
        self.give(at, entry.owner)?;
        // It was made a moment ago and is no link, so this changes it and nothing else. The mask of the
        // process and the change of owner may have taken bits away.
        chmodat(at.directory, at.name, mode, AtFlags::empty()).map_err(|error| at.error(error))?;
        self.finish_node(at, entry)
    }

    /// Gives what cannot be opened its attributes and time.
    fn finish_node(&mut self, at: &At<'_>, entry: &ReadEntry) -> Result<(), ExtractError> {
        for xattr in traveling(&entry.xattrs) {
            let result = xattrs::set_at(at.directory, at.name, &xattr.name, &xattr.value);
            self.allow(at.path, &show(&xattr.name), result)?;
        }
        let times = times(timespec(entry.mtime));
        utimensat(at.directory, at.name, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(|error| at.error(error))
    }

    /// Makes something under a name that must be free, and frees the name when it is not.
    fn make<T>(&mut self, at: &At<'_>, call: impl Fn() -> rustix::io::Result<T>) -> Result<T, ExtractError> {
        match call() {
            Err(Errno::EXIST) => {
                self.clear(at)?;
                call()
            }
            other => other,
        }
        .map_err(|error| at.error(error))
    }
}

/// Copies at most `most` bytes of the current entry straight from the decompressed block.
fn copy<R: BufRead>(
    reader: &mut TarReader<R>,
    file: &mut File,
    most: u64,
    path: &[u8],
) -> Result<(), ExtractError> {
    let mut left = most;
    while left > 0 {
        let chunk = reader.chunk().map_err(stream::error)?;
        if chunk.is_empty() {
            return Ok(());
        }
        let count = usize::try_from(left).map_or(chunk.len(), |left| left.min(chunk.len()));
        file.write_all(&chunk[..count])
            .map_err(|cause| ExtractError::Io {
                path: show(path),
                cause,
            })?;
        reader.consume(count);
        left -= count as u64;
    }
    Ok(())
}
