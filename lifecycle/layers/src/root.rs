//! Directories found beneath a root, whatever links lie on the way.
//!
//! The kernel does it with `openat2(RESOLVE_IN_ROOT)`: absolute links and `..` end at the root as they would in
//! a container. Where a seccomp filter or an old kernel has no openat2, the same is done name by name, never
//! following a link in a call.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, openat, openat2, readlinkat, statat};
use rustix::io::Errno;

use crate::descent::DIRECTORY;

/// As many links as the kernel follows in one path.
const MOST_LINKS: usize = 40;

/// The longest path the kernel takes, with its NUL.
const PATH_MAX: usize = 4096;

/// A directory that no path leads out of.
#[derive(Debug)]
pub(crate) struct Root {
    handle: OwnedFd,
    openat2: bool,
}

impl Root {
    /// Takes the directory that `handle` stands for as the root.
    pub(crate) fn new(handle: BorrowedFd<'_>) -> io::Result<Self> {
        let handle = openat(handle, c".", DIRECTORY, Mode::empty())?;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let openat2 = match openat2(&handle, c".", flags, Mode::empty(), ResolveFlags::IN_ROOT) {
            Ok(_) => true,
            Err(Errno::NOSYS | Errno::PERM) => false,
            Err(error) => return Err(error.into()),
        };
        Ok(Self { handle, openat2 })
    }

    /// The same without openat2, as on a machine that lacks it.
    #[cfg(test)]
    pub(crate) fn without_openat2(handle: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self {
            openat2: false,
            ..Self::new(handle)?
        })
    }

    /// The root itself.
    pub(crate) fn handle(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }

    /// Opens the directory that `path` leads to. Links are followed, inside of the root.
    pub(crate) fn directory(&self, path: &[u8]) -> io::Result<OwnedFd> {
        if self.openat2 && path.len() < PATH_MAX {
            let path = if path.is_empty() { b"." } else { path };
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            loop {
                match openat2(&self.handle, path, flags, Mode::empty(), resolve) {
                    // Something was renamed meanwhile, so that the kernel could not be sure.
                    Err(Errno::AGAIN | Errno::INTR) => {}
                    other => return Ok(other?),
                }
            }
        }
        self.resolve(path)
    }

    /// Opens the directory at exactly `path`, without following any link.
    pub(crate) fn exact(&self, path: &[u8]) -> io::Result<OwnedFd> {
        let mut here = openat(&self.handle, c".", DIRECTORY, Mode::empty())?;
        for name in names(path) {
            here = openat(&here, c_string(name)?.as_c_str(), DIRECTORY, Mode::empty())?;
        }
        Ok(here)
    }

    /// What openat2 does, name by name.
    fn resolve(&self, path: &[u8]) -> io::Result<OwnedFd> {
        let mut here = openat(&self.handle, c".", DIRECTORY, Mode::empty())?;
        let mut done: Vec<Vec<u8>> = Vec::new();
        let mut ahead: Vec<Vec<u8>> = names(path).rev().map(<[u8]>::to_vec).collect();
        let mut links = 0;
        while let Some(name) = ahead.pop() {
            if name == b".." {
                done.pop();
                here = self.exact(&done.join(&b'/'))?;
                continue;
            }
            let c_name = c_string(&name)?;
            match openat(&here, c_name.as_c_str(), DIRECTORY, Mode::empty()) {
                Ok(next) => {
                    here = next;
                    done.push(name);
                    continue;
                }
                Err(Errno::LOOP | Errno::NOTDIR) => {}
                Err(error) => return Err(error.into()),
            }
            let stat = statat(&here, c_name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
                return Err(Errno::NOTDIR.into());
            }
            links += 1;
            if links > MOST_LINKS {
                return Err(Errno::LOOP.into());
            }
            let target = readlinkat(&here, c_name.as_c_str(), Vec::new())?.into_bytes();
            if target.starts_with(b"/") {
                done.clear();
                here = openat(&self.handle, c".", DIRECTORY, Mode::empty())?;
            }
            ahead.extend(names(&target).rev().map(<[u8]>::to_vec));
        }
        Ok(here)
    }
}

/// The names of a path, without empty ones and `.`.
fn names(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/')
        .filter(|name| !matches!(*name, b"" | b"."))
}

fn c_string(name: &[u8]) -> io::Result<CString> {
    Ok(CString::new(name)?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;

    /// What both ways of resolving say about a path: the inode, or the kind of error.
    fn inode(root: &Root, path: &str) -> Result<u64, io::ErrorKind> {
        root.directory(path.as_bytes())
            .map(|handle| fs::File::from(handle).metadata().unwrap().ino())
            .map_err(|error| error.kind())
    }

    #[test]
    fn paths_end_beneath_the_root_with_and_without_openat2() {
        let outer = tempfile::tempdir().unwrap();
        let top = outer.path().join("root");
        fs::create_dir_all(top.join("usr/lib/deep")).unwrap();
        fs::create_dir(outer.path().join("outside")).unwrap();
        fs::create_dir(top.join("outside")).unwrap();
        fs::write(top.join("file"), "").unwrap();
        for (link, target) in [
            ("lib", "usr/lib"),
            ("abs", "/usr/lib"),
            ("up", "../../../../outside"),
            ("usr/lib/back", "../.."),
            ("loop", "pool"),
            ("pool", "loop"),
            ("dangling", "nowhere"),
            ("tofile", "file"),
        ] {
            symlink(target, top.join(link)).unwrap();
        }
        let handle = fs::File::open(&top).unwrap();
        let kernel = Root::new(handle.as_fd()).unwrap();
        let manual = Root::without_openat2(handle.as_fd()).unwrap();
        let expect = |path: &str| fs::metadata(top.join(path)).unwrap().ino();
        for (path, expected) in [
            ("", Some("")),
            (".", Some("")),
            ("usr//lib/./deep", Some("usr/lib/deep")),
            ("lib", Some("usr/lib")),
            ("abs/deep", Some("usr/lib/deep")),
            ("up", Some("outside")),
            ("lib/back/abs/deep", Some("usr/lib/deep")),
            ("usr/../../../usr", Some("usr")),
            ("loop/x", None),
            ("dangling", None),
            ("tofile", None),
            ("file/x", None),
            ("absent", None),
        ] {
            let both = [inode(&kernel, path), inode(&manual, path)];
            assert_eq!(both[0], both[1], "{path}");
            assert_eq!(both[0].ok(), expected.map(expect), "{path}");
        }
    }
}
