//! The file system that layers come to, as one tar.
//!
//! Layers are read twice: first to know which entry of which layer is the one that shows, then to write those. Nothing
//! is unpacked, so owners and modes are those of the image whoever writes it.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io::{BufReader, Read, Write};
use std::sync::Arc;

use lifecycle_image::Layer;

use crate::contents::open_tar;
use crate::{Entry, FormatError, Kind, PackError, ReadEntry, Style, TarReader, TarWriter};

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
    let mut view = View::default();
    for (number, layer) in layers.iter().enumerate() {
        view.add(number, &**layer)?;
    }
    let mut tar = TarWriter::new(out, Style::Oci { latest });
    // First, so that every entry finds its directory.
    for (path, shown) in &view.shown {
        if let Some(directory) = &shown.directory {
            tar.entry(&own(path, directory))?;
        }
    }
    for (number, layer) in layers.iter().enumerate() {
        view.write(number, &**layer, &mut tar)?;
    }
    Ok(tar.finish()?)
}

/// What shows at each path.
#[derive(Debug, Default)]
struct View {
    shown: BTreeMap<Vec<u8>, Shown>,
    /// Files that no longer show under their own name, but under those of hard links: the first of these, by place.
    moved: HashMap<Place, Vec<u8>>,
}

#[derive(Debug)]
struct Shown {
    place: Place,
    directory: Option<ReadEntry>,
    /// For a hard link, the file in its layer.
    target: Option<Place>,
}

impl View {
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
                } else if !hidden.starts_with(b".wh.") {
                    let gone = join(above, hidden);
                    self.hide_below(&gone);
                    self.shown.remove(&gone);
                }
                continue;
            }
            if path.is_empty() {
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
            if shown.directory.is_none() {
                self.hide_below(&path);
            }
            self.shown.insert(path, shown);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::show;
    use lifecycle_image::{BytesLayer, Compression, DiffId, Digest, Family, MediaType};

    fn layer(entries: &[(&str, Kind<'static>, &[u8])]) -> Arc<dyn Layer> {
        let mut tar = TarWriter::new(Vec::new(), Style::Oci { latest: None });
        for (path, kind, data) in entries {
            let entry = Entry {
                path: path.as_bytes().to_vec().into(),
                kind: kind.clone(),
                mode: 0o644,
                owner: crate::Owner::new(7, 8),
                mtime: 9,
                xattrs: Vec::new(),
            };
            tar.entry(&entry).unwrap();
            if !data.is_empty() {
                tar.data(data).unwrap();
            }
        }
        let bytes = tar.finish().unwrap();
        let diff_id = DiffId(Digest::of(&bytes));
        Arc::new(BytesLayer::new(
            MediaType::layer(Family::Oci, Compression::None),
            bytes,
            diff_id,
        ))
    }

    fn file(size: usize) -> Kind<'static> {
        Kind::File { size: size as u64 }
    }

    fn list(layers: &[Arc<dyn Layer>]) -> Vec<String> {
        let tar = flatten(layers, Some(5), Vec::new()).unwrap();
        let mut reader = TarReader::new(&tar[..]);
        let mut found = Vec::new();
        while let Some(entry) = reader.next_entry().unwrap() {
            let mut data = Vec::new();
            loop {
                let piece = reader.chunk().unwrap();
                if piece.is_empty() {
                    break;
                }
                let count = piece.len();
                data.extend_from_slice(piece);
                reader.consume(count);
            }
            assert_eq!((entry.owner.uid, entry.mtime), (7, 5));
            let link = match &entry.kind {
                Kind::HardLink(target) => format!(" -> {}", show(target)),
                _ => String::new(),
            };
            found.push(format!(
                "{}{link} {}",
                show(&entry.path),
                String::from_utf8_lossy(&data)
            ));
        }
        found
    }

    #[test]
    fn what_shows_is_written_once_o5() {
        let lower = layer(&[
            ("d", Kind::Directory, b""),
            ("d/gone", file(1), b"1"),
            ("d/kept", file(1), b"2"),
            ("opaque", Kind::Directory, b""),
            ("opaque/old", file(1), b"3"),
            ("turned", Kind::Directory, b""),
            ("turned/child", file(1), b"4"),
            ("a", file(1), b"5"),
            ("b", Kind::HardLink(b"a".to_vec().into()), b""),
            ("c", Kind::HardLink(b"a".to_vec().into()), b""),
        ]);
        let upper = layer(&[
            ("a", file(1), b"6"),
            ("d/.wh.gone", file(0), b""),
            ("opaque/.wh..wh..opq", file(0), b""),
            ("opaque/new", file(1), b"7"),
            ("turned", file(1), b"8"),
        ]);
        assert_eq!(
            list(&[lower, upper]),
            [
                "d/ ",
                "opaque/ ",
                "d/kept 2",
                "b 5",
                "c -> b ",
                "a 6",
                "opaque/new 7",
                "turned 8"
            ]
        );
    }

    #[test]
    fn nothing_is_an_empty_tar() {
        assert!(list(&[]).is_empty());
    }
}
