//! Reads entries of every dialect: v7, ustar, PAX, GNU, star.
//!
//! Where dialects contradict each other, the answers are those of Go's archive/tar, which every engine
//! that takes an image agrees with: the PAX size decides how long the data is, links and directories have no
//! data whatever their size field says, the last of repeated records wins. An archive that two parsers could
//! read in two ways is how files are smuggled past a scanner (CVE-2025-62518).

use std::io::{self, BufRead};

use super::header::{
    self, DEV_MAJOR, DEV_MINOR, GID, GNU, Header, LINK, MAGIC, MODE, MTIME, NAME, PREFIX, SIZE, STAR_MAGIC,
    STAR_PREFIX, TYPE, UID, USTAR, number, text,
};
use super::pax::{self, records};
use super::sparse::{self, Segment, SparseRecords};
use super::{BLOCK, padding};
use crate::entry::show;
use crate::{Device, Kind, Owner, Xattr};

/// The most bytes that PAX records, a long name or a long link target may have.
const MOST_EXTENSION: u64 = 1 << 20;

/// An archive could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The bytes could not be read or decompressed.
    #[error("cannot read the archive: {0}")]
    Read(#[source] io::Error),
    /// The archive ends in the middle of an entry.
    #[error("the archive is cut off")]
    Truncated,
    /// A header is no header.
    #[error("not a tar archive: a header's checksum does not fit")]
    Checksum,
    /// A header or record says something impossible.
    #[error("the archive is malformed: {0}")]
    Malformed(&'static str),
    /// An entry's type is unknown or has no meaning in a layer.
    #[error("{path} has the type {type_flag:?}, which layers do not have")]
    Type {
        /// The entry.
        path: String,
        /// Its type flag.
        type_flag: char,
    },
}

impl FormatError {
    pub(super) fn from_read(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            Self::Truncated
        } else {
            Self::Read(error)
        }
    }
}

/// An entry as the archive tells it; nothing about its path has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadEntry {
    /// The name as written.
    pub path: Vec<u8>,
    /// What it is. A file's size counts its holes.
    pub kind: Kind<'static>,
    /// Permission bits, `0o7777` at most.
    pub mode: u32,
    /// The owner.
    pub owner: Owner,
    /// The modification time in whole seconds.
    pub mtime: i64,
    /// Extended attributes, sorted by name.
    pub xattrs: Vec<Xattr>,
    /// For a sparse file, the pieces that have data, in order.
    pub sparse: Option<Vec<Segment>>,
}

/// Reads the entries of an archive, one after the other.
#[derive(Debug)]
pub struct TarReader<R> {
    input: R,
    /// The data of the current entry that nobody has taken, and the padding behind it.
    left: u64,
    pad: usize,
    global: Records,
}

/// What PAX records and GNU long names say about the next entry.
#[derive(Debug, Default)]
struct Records {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    mtime: Option<i64>,
    xattrs: Vec<Xattr>,
    sparse: Option<SparseRecords>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl<R: BufRead> TarReader<R> {
    /// Reads the archive in `input`.
    pub fn new(input: R) -> Self {
        Self {
            input,
            left: 0,
            pad: 0,
            global: Records::default(),
        }
    }

    /// The next entry, or nothing at the end. Skips what is left of the current one.
    pub fn next_entry(&mut self) -> Result<Option<ReadEntry>, FormatError> {
        let mut local = Records::default();
        let mut extended = false;
        loop {
            let Some(header) = self.next_header()? else {
                return if extended {
                    Err(FormatError::Truncated)
                } else {
                    Ok(None)
                };
            };
            match header[TYPE] {
                b'x' | b'X' => {
                    let (name, link) = (local.long_name.take(), local.long_link.take());
                    local = Records {
                        long_name: name,
                        long_link: link,
                        ..Records::default()
                    };
                    local.take_pax(&self.extension(&header)?)?;
                }
                b'g' => {
                    let text = self.extension(&header)?;
                    self.global.take_pax(&text)?;
                    self.global.refuse_identity()?;
                    continue;
                }
                b'L' => local.long_name = Some(text(&self.extension(&header)?).to_vec()),
                b'K' => local.long_link = Some(text(&self.extension(&header)?).to_vec()),
                b'V' => {
                    // A volume label, which GNU tar shows and never extracts.
                    self.extension(&header)?;
                }
                _ => return self.entry(&header, local).map(Some),
            }
            extended = true;
        }
    }

    /// The next piece of the current entry's data, empty at its end. Take it with [`TarReader::consume`].
    pub fn chunk(&mut self) -> Result<&[u8], FormatError> {
        if self.left == 0 {
            return Ok(&[]);
        }
        let bytes = self.input.fill_buf().map_err(FormatError::from_read)?;
        if bytes.is_empty() {
            return Err(FormatError::Truncated);
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        Ok(&bytes[..bytes.len().min(most)])
    }

    /// Marks so many bytes of the last chunk as taken.
    pub fn consume(&mut self, count: usize) {
        self.input.consume(count);
        self.left -= count as u64;
    }

    /// The input, wherever it stands.
    pub(crate) fn get_mut(&mut self) -> &mut R {
        &mut self.input
    }

    /// Gives the input back, wherever it stands.
    pub fn into_inner(self) -> R {
        self.input
    }

    fn next_header(&mut self) -> Result<Option<Header>, FormatError> {
        self.skip()?;
        let Some(header) = self.block()? else {
            return Ok(None);
        };
        if header.iter().any(|&byte| byte != 0) {
            return if header::checksum_holds(&header) {
                Ok(Some(header))
            } else {
                Err(FormatError::Checksum)
            };
        }
        match self.block()? {
            Some(second) if second.iter().any(|&byte| byte != 0) => Err(FormatError::Malformed(
                "a single block of zeros lies between entries",
            )),
            _ => Ok(None),
        }
    }

    /// A whole block, or nothing at the end of the input.
    fn block(&mut self) -> Result<Option<Header>, FormatError> {
        let at_end = loop {
            match self.input.fill_buf() {
                Ok(bytes) => break bytes.is_empty(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(FormatError::Read(error)),
            }
        };
        if at_end {
            return Ok(None);
        }
        let mut block = [0; BLOCK];
        self.input
            .read_exact(&mut block)
            .map_err(FormatError::from_read)?;
        Ok(Some(block))
    }

    fn skip(&mut self) -> Result<(), FormatError> {
        self.left += std::mem::take(&mut self.pad) as u64;
        loop {
            let skipped = self.chunk()?.len();
            if skipped == 0 {
                return Ok(());
            }
            self.consume(skipped);
        }
    }

    /// The data of an extension header.
    fn extension(&mut self, header: &Header) -> Result<Vec<u8>, FormatError> {
        let size = unsigned(&header[SIZE], "a size is no number")?;
        if size > MOST_EXTENSION {
            return Err(FormatError::Malformed("an extension header is larger than 1 MiB"));
        }
        self.left = size;
        self.pad = padding(size);
        let mut out = Vec::new();
        loop {
            let chunk = self.chunk()?;
            let taken = chunk.len();
            if taken == 0 {
                return Ok(out);
            }
            out.extend_from_slice(chunk);
            self.consume(taken);
        }
    }

    fn entry(&mut self, header: &Header, local: Records) -> Result<ReadEntry, FormatError> {
        let stored = match local.size {
            Some(size) => size,
            None => unsigned(&header[SIZE], "a size is no number")?,
        };
        let path = local
            .long_name
            .or(local.path)
            .unwrap_or_else(|| header_name(header));
        let link = local
            .long_link
            .or(local.link)
            .unwrap_or_else(|| text(&header[LINK]).to_vec());
        let kind = match header[TYPE] {
            // Before POSIX, a directory was a file whose name ends in a slash.
            0 if path.ends_with(b"/") => Kind::Directory,
            b'0' | b'7' | b'S' | 0 => Kind::File { size: stored },
            b'1' => Kind::HardLink(link.into()),
            b'2' => Kind::Symlink(link.into()),
            b'3' => Kind::CharDevice(device(header)?),
            b'4' => Kind::BlockDevice(device(header)?),
            b'5' | b'D' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => {
                return Err(FormatError::Type {
                    path: show(&path),
                    type_flag: char::from(other),
                });
            }
        };
        // GNU's dump of a directory is the only entry without content that has data.
        let has_data = matches!(kind, Kind::File { .. }) || header[TYPE] == b'D';
        self.left = if has_data { stored } else { 0 };
        self.pad = padding(self.left);

        let id = |local: Option<u32>, global: Option<u32>, field: &[u8]| match local.or(global) {
            Some(id) => Ok(id),
            None => number(field)
                .and_then(|id| u32::try_from(id).ok())
                .ok_or(FormatError::Malformed("an owner is no number of 32 bits")),
        };
        let mode = number(&header[MODE]).ok_or(FormatError::Malformed("a mode is no number"))?;
        let mut entry = ReadEntry {
            path,
            kind,
            mode: u32::try_from(mode & 0o7777).unwrap_or(0),
            owner: Owner::new(
                id(local.uid, self.global.uid, &header[UID])?,
                id(local.gid, self.global.gid, &header[GID])?,
            ),
            mtime: match local.mtime.or(self.global.mtime) {
                Some(time) => time,
                None => number(&header[MTIME]).ok_or(FormatError::Malformed("a time is no number"))?,
            },
            xattrs: local.xattrs,
            sparse: None,
        };
        if matches!(entry.kind, Kind::File { .. }) {
            self.set_holes(&mut entry, header, local.sparse.unwrap_or_default())?;
        }
        Ok(entry)
    }

    /// Finds out whether a file is sparse, and where its data lies.
    fn set_holes(
        &mut self,
        entry: &mut ReadEntry,
        header: &Header,
        records: SparseRecords,
    ) -> Result<(), FormatError> {
        let (segments, real_size) = if header[TYPE] == b'S' {
            if header[MAGIC] != *GNU {
                return Err(FormatError::Malformed("a sparse file has no GNU header"));
            }
            sparse::read_old(header, &mut self.input)?
        } else if records.map_in_data() {
            let (segments, taken) = sparse::read_from_data(&mut self.input, self.left)?;
            self.left -= taken;
            let size = records.real_size;
            (
                segments,
                size.ok_or(FormatError::Malformed("a sparse file has no size"))?,
            )
        } else if let Some(map) = &records.map {
            let size = records.real_size;
            (
                sparse::from_numbers(map)?,
                size.ok_or(FormatError::Malformed("a sparse file has no size"))?,
            )
        } else if records.major.is_some() {
            return Err(FormatError::Malformed("the sparse format has an unknown version"));
        } else {
            return Ok(());
        };
        entry.sparse = Some(sparse::check(segments, real_size, self.left)?);
        entry.kind = Kind::File { size: real_size };
        if let Some(name) = records.name {
            entry.path = name;
        }
        Ok(())
    }
}

impl Records {
    fn take_pax(&mut self, text: &[u8]) -> Result<(), FormatError> {
        for record in records(text) {
            let (key, value) = record.map_err(FormatError::Malformed)?;
            self.take(key, value).map_err(FormatError::Malformed)?;
        }
        // A map, because the last of repeated names wins.
        let xattrs: std::collections::BTreeMap<_, _> = self
            .xattrs
            .drain(..)
            .map(|xattr| (xattr.name, xattr.value))
            .collect();
        self.xattrs = xattrs
            .into_iter()
            .map(|(name, value)| Xattr { name, value })
            .collect();
        Ok(())
    }

    /// Takes in one record. An empty value takes an earlier one back.
    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        fn parsed<T>(
            value: &[u8],
            parse: impl FnOnce(&[u8]) -> Option<T>,
            error: &'static str,
        ) -> Result<Option<T>, &'static str> {
            if value.is_empty() {
                return Ok(None);
            }
            parse(value).map(Some).ok_or(error)
        }
        let id = |value: &[u8]| pax::decimal(value).and_then(|id| u32::try_from(id).ok());
        let text = |value: &[u8]| (!value.contains(&0)).then(|| value.to_vec());
        let size = |value: &[u8]| pax::decimal(value).filter(|&size| i64::try_from(size).is_ok());
        match key {
            b"path" => self.path = parsed(value, text, "a path holds a NUL byte")?,
            b"linkpath" => self.link = parsed(value, text, "a link target holds a NUL byte")?,
            b"size" => self.size = parsed(value, size, "a size is no number")?,
            b"uid" => self.uid = parsed(value, id, "a user is no number of 32 bits")?,
            b"gid" => self.gid = parsed(value, id, "a group is no number of 32 bits")?,
            b"mtime" => self.mtime = parsed(value, pax::seconds, "a time is no number")?,
            _ => {
                if let Some(name) = key.strip_prefix(pax::XATTR) {
                    if name.is_empty() {
                        return Err("an extended attribute has no name");
                    }
                    self.xattrs.push(Xattr {
                        name: name.to_vec(),
                        value: value.to_vec(),
                    });
                } else if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
                    self.sparse.get_or_insert_default().take(key, value)?;
                }
                // Others (atime, comment, owner names, character sets) say nothing that a layer keeps.
            }
        }
        Ok(())
    }

    /// A global record that names or measures every entry makes no sense, and parsers disagree about it.
    fn refuse_identity(&self) -> Result<(), FormatError> {
        if self.path.is_some() || self.link.is_some() || self.size.is_some() || self.sparse.is_some() {
            return Err(FormatError::Malformed(
                "a global record names or measures every entry",
            ));
        }
        Ok(())
    }
}

/// The name in a header, with its prefix where the dialect has one.
fn header_name(header: &Header) -> Vec<u8> {
    let name = text(&header[NAME]);
    let star = header[STAR_MAGIC] == *b"tar\0";
    let prefix = text(&header[if star { STAR_PREFIX } else { PREFIX }]);
    if header[MAGIC] != *USTAR || prefix.is_empty() {
        return name.to_vec();
    }
    [prefix, b"/", name].concat()
}

fn device(header: &Header) -> Result<Device, FormatError> {
    let part = |field: &[u8]| {
        number(field)
            .and_then(|part| u32::try_from(part).ok())
            .ok_or(FormatError::Malformed("a device number is no number"))
    };
    Ok(Device {
        major: part(&header[DEV_MAJOR])?,
        minor: part(&header[DEV_MINOR])?,
    })
}

fn unsigned(field: &[u8], error: &'static str) -> Result<u64, FormatError> {
    number(field)
        .and_then(|value| u64::try_from(value).ok())
        .ok_or(FormatError::Malformed(error))
}
