//! eStargz: a gzip layer that can be read file by file (stargz-snapshotter, "eStargz: Standard-Compatible Extension to
//! Tar.gz Layers for Lazy Pulling").
//!
//! Every file's data begins a gzip member of its own, large ones have several. The last entry of the tar is a table
//! of contents in JSON, the last member an empty one whose extra field says where that begins. Whoever knows nothing of
//! this sees an ordinary layer with two files more.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, BufRead, Read, Write};
use std::thread;

use libdeflater::Compressor;
use lifecycle_image::{DiffId, Digest, Hasher, Hashing, Meter};

use super::{Contents, PackError, Packed, join};
use crate::{Entry, Kind, Owner, ReadEntry, Style, TarReader, TarWriter};

/// Data in a member at most.
const CHUNK: usize = 4 << 20;
/// The table's name in the tar.
const TABLE: &str = "stargz.index.json";
/// The file that says that nothing is to be fetched ahead, and its content.
const LANDMARK: (&str, &[u8]) = (".no.prefetch.landmark", &[0xf]);
/// The annotation with the digest of the table.
const TABLE_DIGEST: &str = "containerd.io/snapshot/stargz/toc.digest";
/// The annotation with the size of the tar.
const TAR_SIZE: &str = "io.containers.estargz.uncompressed-size";

pub(super) fn pack(
    contents: &dyn Contents,
    level: i32,
    out: &mut dyn Write,
    meter: &dyn Meter,
) -> Result<Packed, PackError> {
    let level = super::gzip::compression_level(level)?;
    let (reader, mut writer) = io::pipe().map_err(PackError::Output)?;
    thread::scope(|scope| {
        let source = scope.spawn(move || contents.write(&mut writer));
        let mut stargz = Stargz {
            out: Hashing::new(out),
            compressor: Compressor::new(level),
            tar: Hasher::default(),
            tar_size: 0,
            offset: 0,
            pending: Vec::new(),
            entries: Vec::new(),
            meter,
        };
        let converted = stargz.convert(io::BufReader::with_capacity(256 << 10, reader));
        // The reader is gone by now, so the source ends, too. It knows best what is wrong with its files.
        let written = join(source);
        match (converted, written) {
            (Ok(table), Ok(())) => stargz.finish(&table),
            // Who only sees that nobody reads any more knows less than the reader.
            (Err(error), Ok(()) | Err(PackError::Output(_))) | (_, Err(error)) => Err(error),
        }
    })
}

struct Stargz<'a> {
    out: Hashing<&'a mut dyn Write>,
    compressor: Compressor,
    /// Hashes the tar.
    tar: Hasher,
    tar_size: u64,
    /// Compressed bytes so far.
    offset: u64,
    /// Headers and padding that wait for a member.
    pending: Vec<u8>,
    /// The entries of the table, as JSON.
    entries: Vec<String>,
    meter: &'a dyn Meter,
}

impl Stargz<'_> {
    /// Everything up to the table; gives the table.
    fn convert(&mut self, input: impl BufRead) -> Result<String, PackError> {
        let mut landmark = TarWriter::new(Vec::new(), Style::Oci { latest: None });
        landmark.entry(&regular(LANDMARK.0, LANDMARK.1.len()))?;
        landmark.data(LANDMARK.1)?;
        let landmark = landmark.finish()?;
        let mut reader = TarReader::new(Tape {
            // Without the end of its archive: two blocks of zeros.
            input: landmark[..landmark.len() - 1024].chain(input),
            taken: Vec::new(),
        });
        while let Some(entry) = reader.next_entry().map_err(unreadable)? {
            if entry.sparse.is_some() {
                return Err(PackError::Unrepresentable {
                    path: crate::entry::show(&entry.path),
                    reason: "the table of contents has no sparse files",
                });
            }
            self.pending.append(&mut reader.get_mut().taken);
            let mut description = Description::of(&entry);
            match entry.kind {
                Kind::File { size } if size > 0 => self.file(&mut reader, size, description)?,
                Kind::File { .. } => {
                    description.text("digest", Digest::of(b"").as_str());
                    self.entries.push(description.finish());
                }
                _ => self.entries.push(description.finish()),
            }
        }
        // What follows the end of the archive is of no use, but whoever writes it has to get rid of it.
        io::copy(&mut reader.into_inner(), &mut io::sink()).map_err(PackError::Output)?;
        let size = self.tar_size + self.pending.len() as u64;
        let padding = usize::try_from(size.next_multiple_of(512) - size).unwrap_or_default();
        self.pending.resize(self.pending.len() + padding, 0);
        let entries = self.entries.join(",");
        Ok(format!(r#"{{"version":1,"entries":[{entries}]}}"#))
    }

    /// A file with its data: one entry of the table for each member.
    fn file<R: BufRead>(
        &mut self,
        reader: &mut TarReader<Tape<R>>,
        size: u64,
        first: Description,
    ) -> Result<(), PackError> {
        self.flush()?;
        let mut whole = Hasher::default();
        let mut chunks = Vec::new();
        let mut done = 0;
        while done < size {
            let length = usize::try_from(size - done).unwrap_or(usize::MAX).min(CHUNK);
            let mut data = Vec::with_capacity(length);
            while data.len() < length {
                let piece = reader.chunk().map_err(unreadable)?;
                let count = piece.len().min(length - data.len());
                if count == 0 {
                    return Err(unreadable(crate::FormatError::Truncated));
                }
                data.extend_from_slice(&piece[..count]);
                reader.consume(count);
            }
            reader.get_mut().taken.clear();
            whole.update(&data);
            chunks.push((self.offset, done, length, Digest::of(&data)));
            self.member(&data)?;
            done += length as u64;
        }
        let is_split = chunks.len() > 1;
        let name = first.name.clone();
        let mut first = Some(first);
        let whole = whole.finish();
        for (offset, chunk_offset, length, digest) in chunks {
            let mut description = if let Some(mut description) = first.take() {
                description.text("digest", whole.as_str());
                description
            } else {
                let mut description = Description::new(&name, "chunk");
                description.number("chunkOffset", chunk_offset);
                description
            };
            description.number("offset", offset);
            if is_split {
                description.number("chunkSize", length as u64);
            }
            description.text("chunkDigest", digest.as_str());
            self.entries.push(description.finish());
        }
        Ok(())
    }

    /// The table, the end of the tar, and the footer.
    fn finish(mut self, table: &str) -> Result<Packed, PackError> {
        self.flush()?;
        let offset = self.offset;
        let mut tar = TarWriter::new(Vec::new(), Style::Oci { latest: None });
        tar.entry(&regular(TABLE, table.len()))?;
        tar.data(table.as_bytes())?;
        let tar = tar.finish()?;
        self.member(&tar)?;
        self.out.write_all(&footer(offset)).map_err(PackError::Output)?;
        let (_, digest, size) = self.out.finish();
        Ok(Packed {
            diff_id: DiffId(self.tar.finish()),
            tar_size: self.tar_size,
            digest,
            size,
            annotations: BTreeMap::from([
                (
                    TABLE_DIGEST.to_owned(),
                    Digest::of(table.as_bytes()).as_str().to_owned(),
                ),
                (TAR_SIZE.to_owned(), self.tar_size.to_string()),
            ]),
        })
    }

    /// Ends the member of headers and padding, so that data begins another.
    fn flush(&mut self) -> Result<(), PackError> {
        let pending = std::mem::take(&mut self.pending);
        if pending.is_empty() {
            return Ok(());
        }
        self.member(&pending)
    }

    fn member(&mut self, bytes: &[u8]) -> Result<(), PackError> {
        self.tar.update(bytes);
        self.tar_size += bytes.len() as u64;
        self.meter.advance(bytes.len() as u64);
        let mut member = vec![0; self.compressor.gzip_compress_bound(bytes.len())];
        // The member has the size that libdeflate promises to be enough.
        let size = self
            .compressor
            .gzip_compress(bytes, &mut member)
            .map_err(|cause| PackError::Output(io::Error::other(cause)))?;
        self.offset += size as u64;
        self.out.write_all(&member[..size]).map_err(PackError::Output)
    }
}

/// An empty gzip member of 51 bytes whose extra field says where the table begins. Written by hand: what compressors
/// make of nothing differs (O8).
fn footer(table: u64) -> Vec<u8> {
    let mut footer = vec![0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 26, 0, b'S', b'G', 22, 0];
    footer.extend_from_slice(format!("{table:016x}STARGZ").as_bytes());
    // An empty stored block, then checksum and size of nothing.
    footer.extend_from_slice(&[1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]);
    footer
}

fn regular(name: &'static str, size: usize) -> Entry<'static> {
    Entry {
        path: name.as_bytes().into(),
        kind: Kind::File { size: size as u64 },
        mode: 0o444,
        owner: Owner::ROOT,
        mtime: 0,
        xattrs: Vec::new(),
    }
}

fn unreadable(error: crate::FormatError) -> PackError {
    PackError::Output(io::Error::new(io::ErrorKind::InvalidData, error))
}

/// An entry of the table.
struct Description {
    name: String,
    json: String,
}

impl Description {
    fn new(name: &str, kind: &str) -> Self {
        let mut description = Self {
            name: name.to_owned(),
            json: String::new(),
        };
        description.text("name", name);
        description.text("type", kind);
        description
    }

    fn of(entry: &ReadEntry) -> Self {
        let mut name = String::from_utf8_lossy(&entry.path).into_owned();
        let (kind, link, device) = match &entry.kind {
            Kind::File { .. } => ("reg", None, None),
            Kind::Directory => ("dir", None, None),
            Kind::Symlink(target) => ("symlink", Some(target), None),
            Kind::HardLink(target) => ("hardlink", Some(target), None),
            Kind::Fifo => ("fifo", None, None),
            Kind::CharDevice(device) => ("char", None, Some(device)),
            Kind::BlockDevice(device) => ("block", None, Some(device)),
        };
        if entry.kind == Kind::Directory && !name.ends_with('/') {
            name.push('/');
        }
        let mut description = Self::new(&name, kind);
        if let Kind::File { size } = entry.kind {
            description.number("size", size);
        }
        description.text("modtime", &rfc_3339(entry.mtime));
        if let Some(target) = link {
            description.text("linkName", &String::from_utf8_lossy(target));
        }
        description.number("mode", u64::from(entry.mode));
        description.number("uid", u64::from(entry.owner.uid));
        description.number("gid", u64::from(entry.owner.gid));
        if let Some(device) = device {
            description.number("devMajor", u64::from(device.major));
            description.number("devMinor", u64::from(device.minor));
        }
        if !entry.xattrs.is_empty() {
            let xattrs = entry.xattrs.iter().map(|xattr| {
                let name = quoted(&String::from_utf8_lossy(&xattr.name));
                format!("{name}:\"{}\"", base64(&xattr.value))
            });
            let xattrs: Vec<String> = xattrs.collect();
            description.raw("xattrs", &format!("{{{}}}", xattrs.join(",")));
        }
        description
    }

    fn text(&mut self, key: &str, value: &str) {
        self.raw(key, &quoted(value));
    }

    /// A number; like every writer of this format, nothing for zero.
    fn number(&mut self, key: &str, value: u64) {
        if value != 0 {
            self.raw(key, &value.to_string());
        }
    }

    fn raw(&mut self, key: &str, value: &str) {
        let comma = if self.json.is_empty() { "" } else { "," };
        // Writing to a string does not fail.
        let _written = write!(self.json, "{comma}\"{key}\":{value}");
    }

    fn finish(self) -> String {
        format!("{{{}}}", self.json)
    }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c if u32::from(c) < 0x20 => {
                let _written = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |bits: u32| char::from(DIGITS[(bits & 63) as usize]);
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let at = |number: usize| group.get(number).copied().map_or(0, u32::from);
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        text.push(digit(bits >> 18));
        text.push(digit(bits >> 12));
        text.push(if group.len() > 1 { digit(bits >> 6) } else { '=' });
        text.push(if group.len() > 2 { digit(bits) } else { '=' });
    }
    text
}

/// Seconds since 1970 as `2006-01-02T15:04:05Z` (the calendar of Hinnant's "chrono-Compatible Low-Level Date Algorithms").
fn rfc_3339(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Keeps what was taken from a reader, byte for byte.
struct Tape<R> {
    input: R,
    taken: Vec<u8>,
}

impl<R: BufRead> Read for Tape<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.taken.extend_from_slice(&buffer[..count]);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Tape<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.input.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        // What was filled before is still there.
        if let Ok(bytes) = self.input.fill_buf() {
            let count = count.min(bytes.len());
            self.taken.extend_from_slice(&bytes[..count]);
        }
        self.input.consume(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_footer_is_51_bytes_and_an_empty_member_o8() {
        let footer = footer(0xabc);
        assert_eq!(footer.len(), 51);
        assert_eq!(&footer[16..38], b"0000000000000abcSTARGZ");
        let mut nothing = Vec::new();
        flate2::read::GzDecoder::new(&footer[..])
            .read_to_end(&mut nothing)
            .unwrap();
        assert!(nothing.is_empty());
    }

    #[test]
    fn times_are_written_as_everybody_does() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_700_000_000, "2023-11-14T22:13:20Z"),
            (-1, "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc_3339(seconds), text);
        }
        assert_eq!(base64(b"ab"), "YWI=");
        assert_eq!(quoted("a\"\\\n"), r#""a\"\\\u000a""#);
    }
}
