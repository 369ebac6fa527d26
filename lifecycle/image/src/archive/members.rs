//! Where every file of an archive lies.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Component, Path};
use std::sync::Arc;

use crate::{Blob, Blobs, Digest, TransferError, TransferErrorKind};

/// Links in an archive may point at each other in a circle.
const MAX_LINKS: usize = 16;
/// Documents larger than this are refused: they are read into memory.
const MAX_DOCUMENT: u64 = 64 * 1024 * 1024;

/// The files of a tar by name, readable in place.
pub(super) struct Members {
    place: String,
    file: Arc<std::fs::File>,
    entries: BTreeMap<String, Member>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Member {
    File {
        start: u64,
        size: u64,
    },
    /// A link, with the name inside the archive that it leads to.
    Link(String),
}

impl Members {
    /// Reads the tar's headers.
    pub(super) fn read(place: &str, file: std::fs::File) -> Result<Self, TransferError> {
        let failed = |cause: io::Error| {
            // The tar library calls damage by several kinds; whatever is not the system's fault is the archive's.
            let kind = match cause.raw_os_error() {
                Some(_) => TransferErrorKind::Local,
                None => TransferErrorKind::Corrupt,
            };
            TransferError::caused(kind, format!("cannot read {place}"), cause)
        };
        let length = file.metadata().map_err(failed)?.len();
        let mut entries = BTreeMap::new();
        let mut tar = tar::Archive::new(&file);
        for entry in tar.entries_with_seek().map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let kind = entry.header().entry_type();
            if kind.is_dir() || kind.is_pax_global_extensions() {
                continue;
            }
            let path = entry.path().map_err(failed)?.into_owned();
            // pack begins its names with a slash: the root is the archive's.
            let inside = path.strip_prefix("/").unwrap_or(&path);
            let name = normal(Path::new(""), inside).ok_or_else(|| {
                corrupt(format!(
                    "{place} has a file whose name leads out of it: {}",
                    path.display()
                ))
            })?;
            let target = entry.link_name().map_err(failed)?;
            let member = match (kind, target) {
                (tar::EntryType::Regular | tar::EntryType::Continuous, _) => {
                    let (start, size) = (entry.raw_file_position(), entry.size());
                    if start.checked_add(size).is_none_or(|end| end > length) {
                        return Err(corrupt(format!("{place} ends in the middle of {name}")));
                    }
                    Member::File { start, size }
                }
                // A symbolic link counts from where it lies, a hard link from the archive's root.
                (tar::EntryType::Symlink, Some(target)) => link(place, &name, path.parent(), &target)?,
                (tar::EntryType::Link, Some(target)) => link(place, &name, None, &target)?,
                _ => {
                    return Err(corrupt(format!("{place} holds {name}, which is no plain file")));
                }
            };
            // With two files of one name, one reader would see the first and another the last.
            match entries.insert(name.clone(), member.clone()) {
                Some(other) if other != member => {
                    return Err(corrupt(format!("{place} holds the file {name} twice")));
                }
                _ => {}
            }
        }
        Ok(Self {
            place: place.to_owned(),
            file: Arc::new(file),
            entries,
        })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.section(name).is_ok()
    }

    /// Reads a small file whole.
    pub(super) fn document(&self, name: &str) -> Result<Vec<u8>, TransferError> {
        let failed = |cause| TransferError::from_io(format!("cannot read {name} of {}", self.place), cause);
        let mut section = self.section(name).map_err(failed)?;
        if section.left() > MAX_DOCUMENT {
            return Err(corrupt(format!(
                "{name} of {} has {} bytes, more than the {MAX_DOCUMENT} that are allowed",
                self.place,
                section.left()
            )));
        }
        let mut bytes = Vec::new();
        section.read_to_end(&mut bytes).map_err(failed)?;
        Ok(bytes)
    }

    /// The bytes of a file; links are followed.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when the archive has no such file.
    pub(super) fn section(&self, name: &str) -> io::Result<Section> {
        let missing = || {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!("the archive has no file {name:?}"),
            )
        };
        let mut at = normal(Path::new(""), Path::new(name)).ok_or_else(missing)?;
        for _ in 0..MAX_LINKS {
            match self.entries.get(&at) {
                Some(Member::File { start, size }) => {
                    return Ok(Section {
                        file: Arc::clone(&self.file),
                        position: *start,
                        end: start + size,
                    });
                }
                Some(Member::Link(target)) => at.clone_from(target),
                None => return Err(missing()),
            }
        }
        let text = format!("the links of {name:?} lead in a circle");
        Err(io::Error::new(io::ErrorKind::InvalidData, text))
    }
}

impl Blobs for Members {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn open(&self, digest: &Digest, offset: u64) -> io::Result<Blob> {
        let mut section = self.section(&format!("blobs/{}/{}", digest.algorithm(), digest.hex()))?;
        let size = section.left();
        section.skip(offset);
        Ok(Blob {
            reader: Box::new(section),
            size,
        })
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Members").field(&self.place).finish()
    }
}

/// A part of a file. Any number of them read the same file at once, each at its own position.
#[derive(Debug, Clone)]
pub(super) struct Section {
    file: Arc<std::fs::File>,
    position: u64,
    end: u64,
}

impl Section {
    pub(super) fn left(&self) -> u64 {
        self.end - self.position
    }

    pub(super) fn skip(&mut self, bytes: u64) {
        self.position = self.position.saturating_add(bytes).min(self.end);
    }
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let limit = buffer
            .len()
            .min(usize::try_from(self.left()).unwrap_or(usize::MAX));
        let read = self.file.read_at(&mut buffer[..limit], self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

fn link(place: &str, name: &str, directory: Option<&Path>, target: &Path) -> Result<Member, TransferError> {
    match normal(directory.unwrap_or(Path::new("")), target) {
        Some(target) => Ok(Member::Link(target)),
        None => Err(corrupt(format!(
            "{place} has a link {name} that leads out of it: {}",
            target.display()
        ))),
    }
}

/// `path`, seen from `directory`, in its one spelling; nothing when it is absolute, leads out or is not UTF-8.
fn normal(directory: &Path, path: &Path) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for component in directory.components().chain(path.components()) {
        match component {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::CurDir => {}
            Component::ParentDir => {
                parts.pop()?;
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

fn corrupt(message: String) -> TransferError {
    TransferError::new(TransferErrorKind::Corrupt, message)
}
