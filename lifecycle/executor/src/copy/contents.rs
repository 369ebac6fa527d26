//! A layer written straight from its sources.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read as _, Write};
use std::sync::Arc;

use lifecycle_layers::{Contents, Entry, Kind, PackError, Style, TarWriter};

use super::item::Data;
use crate::files::LayerIndex;

/// Entries with the places their bytes come from, in the order of the layer.
#[derive(Debug)]
pub(crate) struct PlacedFiles {
    name: String,
    files: Vec<Placed>,
    latest: Option<i64>,
    /// Directories that go away when nobody reads them any more.
    _keeps: Vec<Keep>,
}

/// Something that has to stay as long as a layer is read.
pub(crate) type Keep = Arc<dyn Any + Send + Sync>;

/// Contents together with what they need to stay.
#[derive(Debug)]
pub(crate) struct Kept<C> {
    pub(crate) contents: C,
    pub(crate) _keeps: Vec<Keep>,
}

impl<C: Contents> Contents for Kept<C> {
    fn name(&self) -> String {
        self.contents.name()
    }

    fn write(&self, tar: &mut dyn Write) -> Result<(), PackError> {
        self.contents.write(tar)
    }
}

/// An entry of the layer.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) entry: Entry<'static>,
    pub(crate) data: Data,
    /// For a file with several names: which file it is.
    pub(crate) identity: Option<(u64, u64)>,
}

/// A path that sorts name by name, so that what is in a directory follows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PathKey(Vec<u8>);

impl PathKey {
    pub(crate) fn new(path: &[u8]) -> Self {
        Self(
            path.iter()
                .map(|&byte| if byte == b'/' { 0 } else { byte })
                .collect(),
        )
    }
}

impl PlacedFiles {
    /// The layer of these entries. Files that are one file under several names become hard links (H6).
    pub(crate) fn new(
        name: String,
        files: BTreeMap<PathKey, Placed>,
        latest: Option<i64>,
        keeps: Vec<Keep>,
    ) -> Self {
        let mut first: HashMap<(u64, u64), Vec<u8>> = HashMap::new();
        let files = files.into_values().map(|mut placed| {
            if let Some(identity) = placed.identity {
                match first.get(&identity) {
                    Some(target) => {
                        placed.entry.kind = Kind::HardLink(target.clone().into());
                        placed.data = Data::Nothing;
                    }
                    None => drop(first.insert(identity, placed.entry.path.to_vec())),
                }
            }
            placed
        });
        Self {
            name,
            files: files.collect(),
            latest,
            _keeps: keeps,
        }
    }

    pub(crate) fn index(&self) -> LayerIndex {
        LayerIndex::of_entries(self.files.iter().map(|placed| &placed.entry))
    }
}

impl Contents for PlacedFiles {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn write(&self, tar: &mut dyn Write) -> Result<(), PackError> {
        let mut writer = TarWriter::new(tar, Style::Oci { latest: self.latest });
        let mut piece = vec![0; 256 << 10];
        for placed in &self.files {
            writer.entry(&placed.entry)?;
            match &placed.data {
                Data::Nothing => {}
                Data::Memory(bytes) => writer.data(bytes)?,
                Data::File(handle) => {
                    let path = || String::from_utf8_lossy(&handle.path).into_owned();
                    let fail = |cause| PackError::Io { path: path(), cause };
                    let mut file = handle.open().map_err(fail)?;
                    let expected = placed.entry.size();
                    let mut left = expected;
                    while left > 0 {
                        let most = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                        let count = match file.read(&mut piece[..most]) {
                            Ok(count) => count,
                            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                            Err(error) => return Err(fail(error)),
                        };
                        if count == 0 {
                            return Err(PackError::Changed {
                                path: path(),
                                expected,
                                actual: expected - left,
                            });
                        }
                        writer.data(&piece[..count])?;
                        left -= count as u64;
                    }
                    if file.read(&mut piece[..1]).map_err(fail)? != 0 {
                        return Err(PackError::Changed {
                            path: path(),
                            expected,
                            actual: expected + 1,
                        });
                    }
                }
            }
        }
        writer.finish().map(|_| ())
    }
}
