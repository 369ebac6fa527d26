//! Names inside of what somebody else packed.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

/// A regular file of `root`; links that lead out of it lead to its top.
pub(super) fn file(root: &Path, path: &Path) -> io::Result<File> {
    // A pipe would wait for a writer that never comes.
    let file = open(root, path, OFlags::RDONLY | OFlags::NONBLOCK)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is not a regular file"))
    }
}

/// Where a directory of `root` really is; links that lead out of it lead to its top.
pub(super) fn directory(root: &Path, path: &Path) -> io::Result<PathBuf> {
    let found = open(root, path, OFlags::PATH | OFlags::DIRECTORY)?;
    fs_err::read_link(format!("/proc/self/fd/{}", found.as_raw_fd()))
}

fn open(root: &Path, path: &Path, flags: OFlags) -> io::Result<File> {
    let root = fs_err::File::open(root)?;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    Ok(openat2(&root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)?.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_end_inside_cve_2026_44517() {
        let room = tempfile::tempdir().unwrap();
        let (outside, root) = (room.path().join("outside"), room.path().join("root"));
        fs_err::create_dir(&outside).unwrap();
        fs_err::write(outside.join("canary"), "CANARY").unwrap();
        fs_err::create_dir_all(root.join("d")).unwrap();
        fs_err::write(root.join("d/f"), "inside").unwrap();
        symlink(&outside, root.join("out")).unwrap();
        symlink("/d", root.join("in")).unwrap();
        symlink("/", root.join("top")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        let real = fs_err::canonicalize(&root).unwrap();
        for (path, expected) in [("in", "d"), ("top/top/d", "d"), ("../../d", "d"), ("/d", "d")] {
            assert_eq!(
                directory(&root, Path::new(path)).unwrap(),
                real.join(expected),
                "{path}"
            );
        }
        for path in ["out", "../outside", "loop", "d/f", "/proc/self"] {
            assert!(directory(&root, Path::new(path)).is_err(), "{path}");
        }
        assert!(file(&root, Path::new("in/f")).is_ok());
        for path in ["out/canary", "../outside/canary", "d"] {
            assert!(file(&root, Path::new(path)).is_err(), "{path}");
        }
    }

    #[test]
    fn a_pipe_in_place_of_a_file_is_not_waited_for() {
        let root = tempfile::tempdir().unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            root.path().join("Dockerfile"),
            rustix::fs::FileType::Fifo,
            Mode::RUSR | Mode::WUSR,
            0,
        )
        .unwrap();
        let error = file(root.path(), Path::new("Dockerfile")).unwrap_err();
        assert_eq!(error.to_string(), "it is not a regular file");
    }
}
