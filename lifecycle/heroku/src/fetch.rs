//! Fetches buildpacks: every one into a directory of its own, which the build may write to (HC-02).

use std::io::{self, BufReader, Read};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use fs_err as fs;
use lifecycle_image::{Meter, Outcome};
use lifecycle_layers::tree::{Copying, copy};
use lifecycle_layers::{Devices, ExtractError, ExtractOptions, Ownership, Whiteouts, extract};

use crate::address::Place;
use crate::folder::Folder;
use crate::remote::{open, sentence};
use crate::{Address, HerokuError, Remote};

/// A fetched buildpack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Buildpack {
    /// How messages call it.
    pub(crate) name: String,
    /// Where it is.
    pub(crate) directory: PathBuf,
}

impl Buildpack {
    /// One of its scripts, if it has it.
    pub(crate) fn script(&self, name: &str) -> Option<PathBuf> {
        Some(self.directory.join(name)).filter(|path| path.is_file())
    }
}

/// Fetches a buildpack into the new directory `into`.
///
/// `ssh_key` is a private key file for repositories behind SSH.
pub(crate) fn fetch(
    address: &Address,
    into: &Path,
    remote: &dyn Remote,
    ssh_key: Option<&Path>,
) -> Result<Buildpack, HerokuError> {
    fs::create_dir(into).map_err(HerokuError::io("create", into))?;
    bring(address, into, remote, ssh_key)?;
    let directory = innermost(into)?;
    if !directory.join("bin/compile").is_file() {
        return Err(failed(
            address,
            "there is no bin/compile in it, so it is no classic buildpack",
        ));
    }
    // Scripts that lost their execute bit on the way get it back (HC-01).
    Folder::open(&directory)?.existing("bin")?.make_executable()?;
    Ok(Buildpack {
        name: address.to_string(),
        directory,
    })
}

/// Brings what is at an address into an empty directory.
pub(crate) fn bring(
    address: &Address,
    into: &Path,
    remote: &dyn Remote,
    ssh_key: Option<&Path>,
) -> Result<(), HerokuError> {
    match &address.place {
        Place::Directory(path) => copy_tree(path, into)?,
        Place::File(path) => {
            let file = fs::File::open(path).map_err(HerokuError::io("open", path))?;
            unpack(&address.to_string(), file, into)?;
        }
        Place::Url(url) => {
            let archive = open(remote, url).map_err(|reason| failed(address, &reason))?;
            unpack(&address.to_string(), archive, into)?;
        }
        Place::Git { url, reference } => remote
            .check_out(url, reference.as_deref(), ssh_key, into)
            .map_err(|failure| failed(address, &sentence(&failure)))?,
    }
    Ok(())
}

fn failed(address: &Address, reason: &str) -> HerokuError {
    HerokuError::Fetch {
        address: address.to_string(),
        reason: reason.trim().to_owned(),
    }
}

/// Copies what is in a directory into an empty one.
pub(crate) fn copy_tree(from: &Path, into: &Path) -> Result<(), HerokuError> {
    let open = |path: &Path| fs::File::open(path).map_err(HerokuError::io("open", path));
    let (source, target) = (open(from)?, open(into)?);
    copy(source.as_fd(), target.as_fd(), Copying::Reflink).map_err(HerokuError::io("copy", from))?;
    Ok(())
}

/// Unpacks a tar, compressed with gzip, zstd, bzip2 or not at all, into an empty directory. Whatever it holds lands below
/// that directory (SL-08), is no device, and belongs to the present user.
pub(crate) fn unpack(name: &str, archive: impl Read + Send, into: &Path) -> Result<(), HerokuError> {
    let target = fs::File::open(into).map_err(HerokuError::io("open", into))?;
    let options = ExtractOptions {
        whiteouts: Whiteouts::Literal,
        ownership: Ownership::Squash,
        devices: Devices::Refuse,
        ..ExtractOptions::default()
    };
    let mut archive = BufReader::new(archive);
    let failed = |cause| HerokuError::Extract {
        archive: name.to_owned(),
        cause,
    };
    let begin = io::BufRead::fill_buf(&mut archive).map_err(|cause| {
        failed(ExtractError::Io {
            path: ".".to_owned(),
            cause,
        })
    })?;
    let extracted = if begin.starts_with(b"BZh") {
        extract(
            bzip2::bufread::MultiBzDecoder::new(archive),
            None,
            target.as_fd(),
            &options,
            &NoMeter,
        )
    } else {
        extract(archive, None, target.as_fd(), &options, &NoMeter)
    };
    extracted.map_err(failed)?;
    Ok(())
}

/// Nobody watches.
pub(crate) struct NoMeter;

impl Meter for NoMeter {
    fn advance(&self, _: u64) {}
    fn finish(&self, _: Outcome) {}
}

/// The buildpack of an archive may lie in one directory of its own.
fn innermost(into: &Path) -> Result<PathBuf, HerokuError> {
    if into.join("bin").is_dir() {
        return Ok(into.to_owned());
    }
    Ok(only_directory(into)?.unwrap_or_else(|| into.to_owned()))
}

/// The directory that is all there is in another one.
pub(crate) fn only_directory(of: &Path) -> Result<Option<PathBuf>, HerokuError> {
    let mut entries = fs::read_dir(of).map_err(HerokuError::io("read", of))?;
    let (Some(Ok(only)), None) = (entries.next(), entries.next()) else {
        return Ok(None);
    };
    let kind = only.file_type().map_err(HerokuError::io("read", of))?;
    Ok(kind.is_dir().then(|| only.path()))
}

#[cfg(test)]
mod tests;
