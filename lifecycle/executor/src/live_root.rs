//! A root file system that is the base image: a build inside of the image that it extends (cnb.md 3.3, EXT-01).
//!
//! The platform has started this program in a container of the base image, whose layers lie nowhere here. So nothing
//! is unpacked: every step is done in the root that is there, and what it changed becomes its layer.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// The root file system, and what of it does not belong to the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveRoot {
    /// The root; `/` in a container of the image.
    pub path: PathBuf,
    /// Absolute paths within it that are left out of layers with everything below them.
    pub exclude: Vec<PathBuf>,
}

impl LiveRoot {
    /// A root. Other file systems that are mounted in it are left out, as is `exclude`: volumes, `/proc`, the files
    /// that a container engine shows at `/etc/hosts` and the like.
    pub fn new(
        path: impl Into<PathBuf>,
        exclude: impl IntoIterator<Item = PathBuf>,
    ) -> std::io::Result<Self> {
        let path = path.into();
        let mounts = mount_points(&std::fs::read("/proc/self/mountinfo")?, &path);
        let exclude = exclude.into_iter().chain(mounts).collect();
        Ok(Self { path, exclude })
    }

    /// What is left out, relative to the root.
    pub(crate) fn excluded(&self) -> Vec<PathBuf> {
        let relative = |path: &PathBuf| path.strip_prefix("/").unwrap_or(path).to_owned();
        self.exclude.iter().map(relative).collect()
    }
}

/// Where something is mounted below `root`, as paths within it. The fifth field of a line is the place, with spaces
/// and the like as octal numbers.
fn mount_points(mount_info: &[u8], root: &Path) -> Vec<PathBuf> {
    let place = |line: &[u8]| -> Option<PathBuf> {
        let field = line.split(|byte| *byte == b' ').nth(4)?;
        let path = PathBuf::from(OsString::from_vec(unescape(field)));
        let inside = path.strip_prefix(root).ok()?;
        (!inside.as_os_str().is_empty()).then(|| Path::new("/").join(inside))
    };
    mount_info
        .split(|byte| *byte == b'\n')
        .filter_map(place)
        .collect()
}

fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, others @ ..] = rest {
        let number = others
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        rest = if let Some(byte) = number {
            plain.push(byte);
            &others[3..]
        } else {
            plain.push(*first);
            others
        };
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_below_the_root_are_found_ext_08() {
        let text = b"1 0 8:1 / / rw - ext4 a rw\n2 1 0:5 / /proc rw - proc p rw\n\
            3 1 0:6 / /root/my\\040dir rw - tmpfs t rw\n4 1 0:7 / /rooted rw - tmpfs t rw\nbroken\n";
        let found = |root: &str| mount_points(text, Path::new(root));
        assert_eq!(
            found("/"),
            ["/proc", "/root/my dir", "/rooted"].map(PathBuf::from)
        );
        assert_eq!(found("/root"), [PathBuf::from("/my dir")]);
    }
}
