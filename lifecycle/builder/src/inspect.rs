//! Looks into a layer that a package brought before it becomes part of a builder.
//!
//! Whoever makes a package chooses what its layers hold. A layer that is put onto a builder as it is could replace the
//! lifecycle, which other platforms start with credentials, or other buildpacks. So a layer may hold nothing but the
//! directories of the modules that it is said to hold (PKG-02), and the way to them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use lifecycle_image::{Hasher, Image, Layer};
use lifecycle_layers::{Kind as EntryKind, Owner, ReadEntry, TarReader, decoder};

use crate::{BuilderError, Workbench};

/// The most that is read of a description.
const LARGEST_DESCRIPTION: usize = 1 << 20;

/// The most that a layer may unpack to.
const LARGEST_LAYER: u64 = 64 << 30;

/// Reads a layer that should hold exactly these directories, and gives the bytes of `file` in each.
pub(crate) fn descriptions(
    layer: &dyn Layer,
    directories: &BTreeMap<PathBuf, &'static str>,
) -> Result<BTreeMap<PathBuf, Vec<u8>>, BuilderError> {
    let stored = layer.open(0)?;
    let failed = |cause: std::io::Error| BuilderError::PackageLayer {
        reason: format!("it cannot be read: {cause}"),
    };
    let tar = decoder(stored, None).map_err(failed)?;
    let mut tar = Hashed {
        tar: BufReader::with_capacity(256 << 10, tar.take(LARGEST_LAYER)),
        hasher: Hasher::default(),
    };
    let mut reader = TarReader::new(&mut tar);
    let mut found = BTreeMap::new();
    let unreadable = |error: lifecycle_layers::FormatError| BuilderError::PackageLayer {
        reason: format!("it cannot be read: {error}"),
    };
    while let Some(entry) = reader.next_entry().map_err(unreadable)? {
        let path = checked(&entry, directories)?;
        let Some(parent) = path.parent().and_then(|parent| directories.get_key_value(parent)) else {
            continue;
        };
        let (directory, file) = parent;
        if path.file_name() != Some(file.as_ref()) || !matches!(entry.kind, EntryKind::File { .. }) {
            continue;
        }
        let bytes = read_description(&mut reader).map_err(unreadable)?;
        found.insert(directory.clone(), bytes);
    }
    // What follows the archive's end belongs to the digest, too.
    std::io::copy(&mut tar, &mut std::io::sink()).map_err(failed)?;
    let (promised, actual) = (layer.diff_id()?, tar.hasher.finish());
    if promised.as_str() != actual.as_str() {
        return Err(BuilderError::PackageLayer {
            reason: format!("it should be {promised}, but is {actual}"),
        });
    }
    Ok(found)
}

/// The bytes of one of these files of an image, and which it is: the first of them that the topmost layer with any has.
///
/// For small files of images that others made and whose labels do not say what the files do.
pub fn read_file(
    image: &Image,
    paths: &[&'static str],
    bench: &Workbench<'_>,
) -> Result<Option<(&'static str, Vec<u8>)>, BuilderError> {
    for layer in image.layers().iter().rev() {
        let stored = bench.store.fetch(&**layer, &**bench.progress)?;
        let unreadable = |cause: std::io::Error| lifecycle_image::LayerError::new("of a builder", cause);
        let tar = decoder(stored.open(0)?, None).map_err(unreadable)?;
        let mut reader = TarReader::new(BufReader::new(tar));
        let mut found: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
        let broken = |error: lifecycle_layers::FormatError| unreadable(std::io::Error::other(error));
        while let Some(entry) = reader.next_entry().map_err(broken)? {
            let is_wanted =
                |wanted: &str| absolute(&entry.path).is_some_and(|path| path == Path::new(wanted));
            if let Some(position) = paths.iter().copied().position(is_wanted) {
                found.insert(position, read_description(&mut reader).map_err(broken)?);
            }
        }
        if let Some((position, bytes)) = found.pop_first() {
            return Ok(Some((paths[position], bytes)));
        }
    }
    Ok(None)
}

/// The data of the entry that `reader` is at, as far as a description may go.
fn read_description(reader: &mut TarReader<impl BufRead>) -> Result<Vec<u8>, lifecycle_layers::FormatError> {
    let mut bytes = Vec::new();
    loop {
        let chunk = reader.chunk()?;
        if chunk.is_empty() || bytes.len() > LARGEST_DESCRIPTION {
            return Ok(bytes);
        }
        bytes.extend_from_slice(chunk);
        let count = chunk.len();
        reader.consume(count);
    }
}

/// The entry's path, if it is one that a module's layer may have.
fn checked(
    entry: &ReadEntry,
    directories: &BTreeMap<PathBuf, &'static str>,
) -> Result<PathBuf, BuilderError> {
    let refuse = |what: &str| {
        let path = String::from_utf8_lossy(&entry.path);
        Err(BuilderError::PackageLayer {
            reason: format!("it holds {path:?}, {what}"),
        })
    };
    let is_inside = |path: &Path| directories.keys().any(|directory| path.starts_with(directory));
    let Some(path) = absolute(&entry.path) else {
        return refuse("which leads elsewhere");
    };
    if is_inside(&path) {
        match &entry.kind {
            EntryKind::HardLink(target) if !absolute(target).is_some_and(|target| is_inside(&target)) => {
                return refuse("which is a link to a file of somebody else");
            }
            EntryKind::File { .. }
            | EntryKind::Directory
            | EntryKind::Symlink(_)
            | EntryKind::HardLink(_) => {}
            _ => return refuse("which is neither file, directory nor link"),
        }
        if entry.mode & 0o6000 != 0 && !matches!(entry.kind, EntryKind::Directory) {
            return refuse("which would run as another user");
        }
        return Ok(path);
    }
    let is_on_the_way = directories.keys().any(|directory| directory.starts_with(&path));
    if !is_on_the_way || entry.kind != EntryKind::Directory {
        return refuse("which does not belong to the modules that it is said to hold");
    }
    if entry.owner != Owner::ROOT || entry.mode & 0o022 != 0 {
        return refuse("a directory of the builder that others than root could write to");
    }
    Ok(path)
}

/// A path of an archive as an absolute one; none if it has `..` in it.
fn absolute(path: &[u8]) -> Option<PathBuf> {
    let mut absolute = PathBuf::from("/");
    for component in Path::new(std::ffi::OsStr::from_bytes(path)).components() {
        match component {
            Component::Normal(name) => absolute.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(absolute)
}

/// Hashes what passes.
struct Hashed<R> {
    tar: R,
    hasher: Hasher,
}

impl<R: BufRead> Read for Hashed<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let count = self.tar.read(into)?;
        self.hasher.update(&into[..count]);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Hashed<R> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        self.tar.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        if let Ok(bytes) = self.tar.fill_buf() {
            self.hasher.update(&bytes[..count.min(bytes.len())]);
        }
        self.tar.consume(count);
    }
}
