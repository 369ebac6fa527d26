//! Extended attributes: which ones travel with a layer, and how they are read and set.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fsetxattr, lgetxattr, llistxattr, lsetxattr};
use rustix::io::Errno;

use crate::Xattr;

/// Whether an attribute belongs into layers. What the host's security modules and overlay file systems write
/// belongs to the host: an archive that could set `trusted.overlay.redirect` could make a mount show any
/// directory of the layer under another name.
pub(crate) fn travels(name: &[u8]) -> bool {
    let host = name.starts_with(b"user.overlay.") || name.starts_with(b"trusted.overlay.");
    let known = [
        &b"user."[..],
        b"trusted.",
        b"security.capability",
        b"security.ima",
        b"system.posix_acl_access",
        b"system.posix_acl_default",
    ]
    .iter()
    .any(|known| {
        if known.ends_with(b".") {
            name.starts_with(known) && name.len() > known.len()
        } else {
            name == *known
        }
    });
    known && !host
}

/// The attributes of an open file or directory that belong into layers, sorted by name.
pub fn read(file: BorrowedFd<'_>) -> io::Result<Vec<Xattr>> {
    gather(
        |list| flistxattr(file, list),
        |name, value| fgetxattr(file, name, value),
    )
}

/// The attributes of an entry that cannot be opened: a link, a device, a pipe.
pub(crate) fn read_at(directory: BorrowedFd<'_>, name: &CStr) -> io::Result<Vec<Xattr>> {
    let path = through_proc(directory, name);
    match gather(
        |list| llistxattr(path.as_c_str(), list),
        |name, value| lgetxattr(path.as_c_str(), name, value),
    ) {
        // Without /proc there is no way to ask, and such entries hardly ever have any.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other,
    }
}

/// Reads one attribute of an open file.
pub(crate) fn get(file: BorrowedFd<'_>, name: &CStr) -> io::Result<Option<Vec<u8>>> {
    match sized(|value| fgetxattr(file, name, value)) {
        Ok(value) => Ok(Some(value)),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Sets an attribute of an open file or directory.
pub(crate) fn set(file: BorrowedFd<'_>, name: &[u8], value: &[u8]) -> io::Result<()> {
    let name = CString::new(name)?;
    Ok(fsetxattr(file, name.as_c_str(), value, XattrFlags::empty())?)
}

/// Sets an attribute of an entry that cannot be opened.
pub(crate) fn set_at(directory: BorrowedFd<'_>, entry: &CStr, name: &[u8], value: &[u8]) -> io::Result<()> {
    let name = CString::new(name)?;
    let path = through_proc(directory, entry);
    Ok(lsetxattr(
        path.as_c_str(),
        name.as_c_str(),
        value,
        XattrFlags::empty(),
    )?)
}

/// Extended attributes have no call that takes a directory and a name. The kernel resolves the handle in
/// /proc, and the `l` calls do not follow the single name behind it.
fn through_proc(directory: BorrowedFd<'_>, name: &CStr) -> CString {
    let mut path = format!("/proc/self/fd/{}/", directory.as_fd().as_raw_fd()).into_bytes();
    path.extend_from_slice(name.to_bytes());
    CString::new(path).unwrap_or_default()
}

fn gather(
    list: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
    get: impl Fn(&CStr, &mut [u8]) -> rustix::io::Result<usize>,
) -> io::Result<Vec<Xattr>> {
    // Nearly every file has none, or just a security label: one call with a small buffer answers that.
    let mut small = [0; 256];
    let names = match list(&mut small) {
        Ok(length) => small[..length].to_vec(),
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Err(Errno::RANGE) => sized(&list)?,
        Err(error) => return Err(error.into()),
    };
    let mut out = Vec::new();
    for name in names.split_inclusive(|&byte| byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else {
            continue;
        };
        if !travels(name.to_bytes()) {
            continue;
        }
        match sized(|value| get(name, value)) {
            Ok(value) => out.push(Xattr {
                name: name.to_bytes().to_vec(),
                value,
            }),
            // It was removed meanwhile.
            Err(Errno::NODATA) => {}
            Err(error) => return Err(error.into()),
        }
    }
    out.sort_unstable();
    Ok(out)
}

/// Calls with a growing buffer.
fn sized(call: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> rustix::io::Result<Vec<u8>> {
    let mut buffer = vec![0; 256];
    loop {
        match call(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            // The kernel's own limit is 64 KiB.
            Err(Errno::RANGE) if buffer.len() < 1 << 17 => buffer.resize(buffer.len() * 4, 0),
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_of_the_host_stay_there() {
        for (name, expected) in [
            ("user.comment", true),
            ("user.overlay.opaque", false),
            ("trusted.overlay.redirect", false),
            ("trusted.x", true),
            ("security.capability", true),
            ("security.selinux", false),
            ("security.capability2", false),
            ("system.posix_acl_access", true),
            ("user.", false),
            ("", false),
        ] {
            assert_eq!(travels(name.as_bytes()), expected, "{name}");
        }
    }
}
