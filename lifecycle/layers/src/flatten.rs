//! What layers come to, as one tar: their whole file system, or one layer in their place.
//!
//! Layers are read twice: first to know which entry of which layer is the one that shows, then to write those. Nothing
//! is unpacked, so owners and modes are those of the image whoever writes it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{BufReader, Read, Write};
use std::sync::Arc;

use lifecycle_image::Layer;

use crate::changes::whiteout;
use crate::contents::open_tar;
use crate::{Contents, Entry, FormatError, Kind, PackError, ReadEntry, Style, TarReader, TarWriter};

#[cfg(test)]
mod tests;

/// Where an entry is: the layer, and its number in it.
type Place = (usize, usize);

/// The layers could not be flattened.
#[derive(Debug, thiserror::Error)]
pub enum FlattenError {
    /// A layer could not be read.
    #[error("cannot read a layer of the image")]
    Layer(#[source] FormatError),
    /// The tar could not be written.
    #[error(transparent)]
    Write(#[from] PackError),
}

/// Writes the files of `layers`, lowest first, as one tar. Times later than `latest` become this.
///
/// # Errors
/// When a layer cannot be read or `out` cannot be written.
pub fn flatten<W: Write>(layers: &[Arc<dyn Layer>], latest: Option<i64>, out: W) -> Result<W, FlattenError> {
    let mut view = View::of(layers)?;
    // What was hidden is not there.
    view.gone.clear();
    view.opaque.clear();
    view.shown.remove(&b""[..]);
    let mut tar = TarWriter::new(out, Style::Oci { latest });
    view.write_all(layers, &mut tar)?;
    Ok(tar.finish()?)
}

/// Several layers as the contents of one, which changes whatever is below as they do one after the other.
#[derive(Debug, Clone)]
pub struct MergedLayer(Vec<Arc<dyn Layer>>);

impl MergedLayer {
    /// Of these layers, lowest first.
    pub fn new(layers: Vec<Arc<dyn Layer>>) -> Self {
        Self(layers)
    }
}

impl Contents for MergedLayer {
    fn name(&self) -> String {
        format!("{} layers in one", self.0.len())
    }

    fn write(&self, tar: &mut dyn Write) -> Result<(), PackError> {
        let failed = |error| match error {
            FlattenError::Write(error) => error,
            FlattenError::Layer(cause) => PackError::Io {
                path: self.name(),
                cause: std::io::Error::other(cause),
            },
        };
        let view = View::of(&self.0).map_err(failed)?;
        let mut tar = TarWriter::new(tar, Style::Oci { latest: None });
        view.write_all(&self.0, &mut tar).map_err(failed)?;
        tar.finish().map(drop)
    }
}

/// What shows at each path.
#[derive(Debug, Default)]
struct View {
    shown: BTreeMap<Vec<u8>, Shown>,
    /// Files that no longer show under their own name, but under those of hard links: the first of these, by place.
    moved: HashMap<Place, Vec<u8>>,
    /// Paths of a lower file system that are gone, with nothing in their place.
    gone: BTreeSet<Vec<u8>>,
    /// Directories that show nothing of a lower file system.
    opaque: BTreeSet<Vec<u8>>,
}

#[derive(Debug)]
struct Shown {
    place: Place,
    directory: Option<ReadEntry>,
    /// For a hard link, the file in its layer.
    target: Option<Place>,
}

impl View {
    fn of(layers: &[Arc<dyn Layer>]) -> Result<Self, FlattenError> {
        let mut view = Self::default();
        for (number, layer) in layers.iter().enumerate() {
            view.add(number, &**layer)?;
        }
        Ok(view)
    }

    fn add(&mut self, number: usize, layer: &dyn Layer) -> Result<(), FlattenError> {
        let mut reader = read(layer)?;
        let mut files: HashMap<Vec<u8>, Place> = HashMap::new();
        let mut own: Vec<(Vec<u8>, Shown)> = Vec::new();
        let mut at = 0;
        while let Some(entry) = reader.next_entry().map_err(FlattenError::Layer)? {
            let place = (number, at);
            at += 1;
            let path = clean(&entry.path);
            let (above, name) = split(&path);
            if let Some(hidden) = name.strip_prefix(b".wh.") {
                if name == b".wh..wh..opq" {
                    self.hide_below(above);
                    self.opaque.insert(above.to_vec());
                } else if !hidden.starts_with(b".wh.") {
                    let gone = join(above, hidden);
                    self.hide_below(&gone);
                    self.shown.remove(&gone);
                    self.opaque.remove(&gone);
                    self.gone.insert(gone);
                }
                continue;
            }
            if path.is_empty() && entry.kind != Kind::Directory {
                continue;
            }
            let target = match &entry.kind {
                Kind::HardLink(target) => files.get(&clean(target)).copied(),
                _ => None,
            };
            files.insert(path.clone(), target.unwrap_or(place));
            let is_directory = entry.kind == Kind::Directory;
            let directory = is_directory.then_some(entry);
            own.push((
                path,
                Shown {
                    place,
                    directory,
                    target,
                },
            ));
        }
        // After the whiteouts, wherever they stood in the archive.
        for (path, shown) in own {
            let was_gone = self.gone.remove(&path);
            if shown.directory.is_none() {
                self.hide_below(&path);
                self.opaque.remove(&path);
            }
            let is_directory = shown.directory.is_some();
            let replaced = self.shown.insert(path.clone(), shown);
            let was_file = replaced.is_some_and(|replaced| replaced.directory.is_none());
            // A directory that is new in its place shows nothing of what was there before.
            if is_directory && (was_gone || was_file) {
                self.opaque.insert(path);
            }
        }
        let links = self.shown.iter().filter(|(_, shown)| shown.place.0 == number);
        let lost: Vec<(Place, Vec<u8>)> = links
            .filter_map(|(path, shown)| Some((shown.target?, path.clone())))
            .collect();
        for (target, path) in lost {
            self.moved.entry(target).or_insert(path);
        }
        Ok(())
    }

    fn hide_below(&mut self, path: &[u8]) {
        let prefix = join(path, b"");
        let below: Vec<Vec<u8>> = self
            .shown
            .range(prefix.clone()..)
            .take_while(|(known, _)| known.starts_with(&prefix))
            .map(|(known, _)| known.clone())
            .collect();
        for path in below {
            self.shown.remove(&path);
        }
        for paths in [&mut self.gone, &mut self.opaque] {
            let below = paths.range(prefix.clone()..);
            let below: Vec<_> = below
                .take_while(|known| known.starts_with(&prefix))
                .cloned()
                .collect();
            for path in below {
                paths.remove(&path);
            }
        }
    }

    fn write_all<W: Write>(
        &self,
        layers: &[Arc<dyn Layer>],
        tar: &mut TarWriter<W>,
    ) -> Result<(), FlattenError> {
        // First, so that every entry finds its directory.
        for (path, shown) in &self.shown {
            if let Some(directory) = &shown.directory {
                tar.entry(&own(path, directory))?;
            }
        }
        for path in &self.opaque {
            tar.entry(&whiteout(path, b".wh..opq"))?;
        }
        for path in &self.gone {
            let (above, name) = split(path);
            tar.entry(&whiteout(above, name))?;
        }
        for (number, layer) in layers.iter().enumerate() {
            self.write(number, &**layer, tar)?;
        }
        Ok(())
    }

    fn write<W: Write>(
        &self,
        number: usize,
        layer: &dyn Layer,
        tar: &mut TarWriter<W>,
    ) -> Result<(), FlattenError> {
        let mut reader = read(layer)?;
        // Where a file of this layer was written, for its hard links.
        let mut written: HashMap<Place, Vec<u8>> = HashMap::new();
        let mut at = 0;
        while let Some(entry) = reader.next_entry().map_err(FlattenError::Layer)? {
            let place = (number, at);
            at += 1;
            let path = clean(&entry.path);
            let shown = self.shown.get(&path).filter(|shown| shown.place == place);
            match (&entry.kind, shown) {
                (Kind::Directory, _) => {}
                (Kind::File { size }, shown) => {
                    // Under its own name, or that of the first link that still shows.
                    let link = || {
                        let link = self.moved.get(&place)?;
                        let is_there = self
                            .shown
                            .get(link)
                            .is_some_and(|shown| shown.target == Some(place));
                        is_there.then(|| link.clone())
                    };
                    let Some(name) = shown.map(|_| path.clone()).or_else(link) else {
                        continue;
                    };
                    tar.entry(&own(&name, &entry))?;
                    copy(&mut reader, *size, entry.sparse.as_deref(), tar)?;
                    written.insert(place, name);
                }
                (Kind::HardLink(target), Some(shown)) => {
                    let first = shown.target.and_then(|target| written.get(&target));
                    if first == Some(&path) {
                        continue;
                    }
                    let target = first.cloned().unwrap_or_else(|| clean(target));
                    let link = ReadEntry {
                        kind: Kind::HardLink(Cow::Owned(target)),
                        ..entry
                    };
                    tar.entry(&own(&path, &link))?;
                }
                (_, Some(_)) => tar.entry(&own(&path, &entry))?,
                (_, None) => {}
            }
        }
        Ok(())
    }
}

fn read(layer: &dyn Layer) -> Result<TarReader<BufReader<Box<dyn Read>>>, FlattenError> {
    let plain = open_tar(layer).map_err(|error| FlattenError::Layer(FormatError::Read(error)))?;
    Ok(TarReader::new(BufReader::with_capacity(256 << 10, plain)))
}

fn own(path: &[u8], entry: &ReadEntry) -> Entry<'static> {
    let path = if path.is_empty() { b"./" } else { path };
    Entry {
        path: path.to_vec().into(),
        kind: entry.kind.clone(),
        mode: entry.mode,
        owner: entry.owner,
        mtime: entry.mtime,
        xattrs: entry.xattrs.clone(),
    }
}

/// Copies a file's data; holes become zeros.
fn copy<R: std::io::BufRead, W: Write>(
    reader: &mut TarReader<R>,
    size: u64,
    sparse: Option<&[crate::Segment]>,
    tar: &mut TarWriter<W>,
) -> Result<(), FlattenError> {
    let whole = [crate::Segment {
        offset: 0,
        length: size,
    }];
    let mut at = 0;
    for segment in sparse.unwrap_or(&whole) {
        zeros(segment.offset.saturating_sub(at), tar)?;
        let mut left = segment.length;
        while left > 0 {
            let piece = reader.chunk().map_err(FlattenError::Layer)?;
            if piece.is_empty() {
                return Err(FlattenError::Layer(FormatError::Truncated));
            }
            let count = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            tar.data(&piece[..count])?;
            reader.consume(count);
            left -= count as u64;
        }
        at = segment.offset + segment.length;
    }
    zeros(size.saturating_sub(at), tar)
}

fn zeros<W: Write>(mut count: u64, tar: &mut TarWriter<W>) -> Result<(), FlattenError> {
    const ZEROS: [u8; 4096] = [0; 4096];
    while count > 0 {
        let piece = usize::try_from(count).unwrap_or(usize::MAX).min(ZEROS.len());
        tar.data(&ZEROS[..piece])?;
        count -= piece as u64;
    }
    Ok(())
}

/// A path without leading, trailing and doubled slashes, `.` and `..`.
fn clean(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join(&b'/')
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

fn join(above: &[u8], name: &[u8]) -> Vec<u8> {
    match above {
        b"" => name.to_vec(),
        above => [above, b"/", name].concat(),
    }
}
