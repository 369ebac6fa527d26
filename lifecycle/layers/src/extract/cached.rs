//! Restores a cached buildpack layer.

use std::ffi::{CString, OsStr};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use lifecycle_image::{Compression, DiffId, Digest, Meter};
use rustix::fs::{Mode, RenameFlags, fchmod, mkdirat, openat, renameat, renameat_with};
use rustix::io::Errno;

use super::{ExtractError, ExtractOptions, Extracted, Ownership, Refused, Threads, Whiteouts, extract};
use crate::contents::image_path;
use crate::descent::DIRECTORY;
use crate::tree::remove_name;

/// A buildpack layer as a cache keeps it: its names are paths of the image.
#[derive(Debug, Clone, Copy)]
pub struct CachedLayer<'a> {
    /// Where the layer's directory lies in the image: `/layers/<buildpack>/<layer>`.
    pub at: &'a Path,
    /// Which layer it is.
    pub diff_id: &'a DiffId,
    /// How it is compressed; without it, that is told from the first bytes.
    pub compression: Option<Compression>,
    /// Who does the work.
    pub threads: Threads,
}

/// Unpacks a cached layer as `name` into `directory`, and verifies on the way that it is the layer it should be.
///
/// It is unpacked under another name and takes the place of what was there, be it a directory, a link or
/// anything else, only when all of it is there and verified. Directories above the layer's own are passed over.
pub fn restore(
    stored: impl Read + Send,
    layer: CachedLayer<'_>,
    directory: BorrowedFd<'_>,
    name: &OsStr,
    ownership: Ownership<'_>,
    meter: &dyn Meter,
) -> Result<Extracted, ExtractError> {
    let fail = |cause: io::Error| ExtractError::Io {
        path: name.to_string_lossy().into_owned(),
        cause,
    };
    let name = CString::new(name.as_bytes()).map_err(|error| fail(error.into()))?;
    let temporary = temporary_for(&name).map_err(fail)?;
    let fill = || -> Result<Extracted, ExtractError> {
        // What an earlier run left behind when it was killed.
        remove_name(directory, &temporary).map_err(fail)?;
        mkdirat(directory, temporary.as_c_str(), Mode::RWXU).map_err(|error| fail(error.into()))?;
        let handle = openat(directory, temporary.as_c_str(), DIRECTORY, Mode::empty())
            .map_err(|error| fail(error.into()))?;
        fchmod(&handle, Mode::from_raw_mode(0o755)).map_err(|error| fail(error.into()))?;
        let options = ExtractOptions {
            whiteouts: Whiteouts::Literal,
            ownership,
            refused: Refused::Fail,
            expected: Some(layer.diff_id),
            below: &image_path(layer.at),
            threads: layer.threads,
            ..ExtractOptions::default()
        };
        let extracted = extract(stored, layer.compression, handle.as_fd(), &options, meter)?;
        replace(directory, &temporary, &name).map_err(fail)?;
        Ok(extracted)
    };
    let result = fill();
    // After success this is what was there before.
    let removed = remove_name(directory, &temporary).map_err(fail);
    let extracted = result?;
    removed?;
    Ok(extracted)
}

/// The other name, which is none too long however long the layer's is.
fn temporary_for(name: &CString) -> io::Result<CString> {
    let name = Digest::of(name.to_bytes());
    Ok(CString::new(format!(".{}.restoring", name.hex()))?)
}

/// Gives `temporary` the name `name`. What had the name has `temporary` afterwards, or is gone.
fn replace(directory: BorrowedFd<'_>, temporary: &CString, name: &CString) -> io::Result<()> {
    let exchange = RenameFlags::EXCHANGE;
    match renameat_with(
        directory,
        temporary.as_c_str(),
        directory,
        name.as_c_str(),
        exchange,
    ) {
        Ok(()) => return Ok(()),
        // Nothing has the name, or the file system cannot exchange.
        Err(Errno::NOENT | Errno::INVAL | Errno::NOSYS) => {}
        Err(error) => return Err(error.into()),
    }
    remove_name(directory, name)?;
    Ok(renameat(
        directory,
        temporary.as_c_str(),
        directory,
        name.as_c_str(),
    )?)
}
