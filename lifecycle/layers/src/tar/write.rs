//! Writes entries, byte for byte as Go's archive/tar would: plain ustar where the entry fits, PAX where not
//! (reference facts: lifecycle.md 3.1).

use std::io::Write;

use super::header::{
    self, DEV_MAJOR, DEV_MINOR, GID, Header, LINK, MAGIC, MODE, MTIME, NAME, PREFIX, SIZE, TYPE, UID, USTAR,
    fits_octal, put_checksum, put_octal, put_text,
};
use super::{BLOCK, padding, pax};
use crate::entry::show;
use crate::{Entry, Kind, PackError};

/// The time of every entry in a buildpack layer: 1980-01-01T00:00:01Z (cnb.md OWN-02).
pub(crate) const REFERENCE_MTIME: i64 = 315_532_801;

/// Which of the two kinds of layers is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// As buildpacks/lifecycle writes: names with a leading slash, directories without a trailing one, one
    /// time for everything, no extended attributes. Diff IDs agree with the reference's.
    Reference,
    /// As image builders write: relative names, directories with a trailing slash, real times, extended
    /// attributes as `SCHILY.xattr` records (dockerfile.md M1).
    Oci {
        /// Times later than this become this (`SOURCE_DATE_EPOCH`, dockerfile.md M6).
        latest: Option<i64>,
    },
}

/// Writes the entries of one layer.
#[derive(Debug)]
pub struct TarWriter<W> {
    out: W,
    style: Style,
    /// What the current entry still lacks, and the padding that follows it.
    owed: u64,
    pad: usize,
    name: Vec<u8>,
    link: Vec<u8>,
}

impl<W: Write> TarWriter<W> {
    /// A tar in the given style that goes to `out`.
    pub fn new(out: W, style: Style) -> Self {
        Self {
            out,
            style,
            owed: 0,
            pad: 0,
            name: Vec::new(),
            link: Vec::new(),
        }
    }

    /// Begins an entry. A file's bytes must follow through [`TarWriter::data`].
    pub fn entry(&mut self, entry: &Entry<'_>) -> Result<(), PackError> {
        debug_assert_eq!(self.owed, 0, "the entry before is not complete");
        self.set_names(entry)?;
        let xattrs = match self.style {
            Style::Reference => &[][..],
            Style::Oci { .. } => &entry.xattrs,
        };
        let mut fields = Fields::of(entry, self.style);
        match self.pax_records(&fields, xattrs) {
            None => fields.prefix = split_long(&self.name),
            Some(records) => {
                let records = records.map_err(|reason| unrepresentable(entry, reason))?;
                self.write_pax(&records)?;
                fields.pax = true;
            }
        }
        let header = fields.encode(&self.name, &self.link);
        self.out.write_all(&header).map_err(PackError::Output)?;
        self.owed = entry.size();
        self.pad = padding(entry.size());
        Ok(())
    }

    /// Writes bytes of the current file. Whoever writes more or less than its size breaks the tar, so callers
    /// check the size of what they read.
    pub fn data(&mut self, bytes: &[u8]) -> Result<(), PackError> {
        self.out.write_all(bytes).map_err(PackError::Output)?;
        self.owed = self.owed.saturating_sub(bytes.len() as u64);
        if self.owed == 0 {
            let pad = std::mem::take(&mut self.pad);
            self.out
                .write_all(&[0; BLOCK][..pad])
                .map_err(PackError::Output)?;
        }
        Ok(())
    }

    /// Ends the archive with exactly two blocks of zeros.
    pub fn finish(mut self) -> Result<W, PackError> {
        debug_assert_eq!(self.owed, 0, "the last entry is not complete");
        self.out.write_all(&[0; 2 * BLOCK]).map_err(PackError::Output)?;
        Ok(self.out)
    }

    /// The name and link target as the style writes them.
    fn set_names(&mut self, entry: &Entry<'_>) -> Result<(), PackError> {
        if entry.path.is_empty() {
            return Err(unrepresentable(entry, "the root has no entry of its own"));
        }
        self.name.clear();
        self.link.clear();
        let absolute = self.style == Style::Reference;
        if absolute {
            self.name.push(b'/');
        }
        self.name.extend_from_slice(&entry.path);
        if !absolute && entry.kind == Kind::Directory {
            self.name.push(b'/');
        }
        match &entry.kind {
            Kind::Symlink(target) => self.link.extend_from_slice(target),
            Kind::HardLink(target) => {
                if absolute {
                    self.link.push(b'/');
                }
                self.link.extend_from_slice(target);
            }
            _ => {}
        }
        if self.name.contains(&0) || self.link.contains(&0) {
            return Err(unrepresentable(entry, "its name or link target holds a NUL byte"));
        }
        Ok(())
    }

    /// The PAX records the entry needs, sorted by key, or nothing where ustar can tell it all.
    fn pax_records(&self, fields: &Fields, xattrs: &[crate::Xattr]) -> Option<Result<Vec<u8>, &'static str>> {
        let (name, link) = (self.name.as_slice(), self.link.as_slice());
        let plain = |text: &[u8]| text.is_ascii() && text.len() <= NAME.len();
        let numbers = [
            (&b"gid"[..], fields.gid, GID.len()),
            (b"mtime", fields.mtime, MTIME.len()),
            (b"size", fields.size, SIZE.len()),
            (b"uid", fields.uid, UID.len()),
        ];
        let numbers_fit = numbers.iter().all(|&(_, value, width)| fits_octal(width, value));
        let name_fits = plain(name) || split_long(name).is_some();
        if numbers_fit && name_fits && plain(link) && xattrs.is_empty() {
            return None;
        }
        let mut out = Vec::new();
        // Capitals sort before small letters, so extended attributes come first.
        for xattr in xattrs {
            if xattr.name.is_empty() || xattr.name.iter().any(|byte| matches!(byte, b'=' | 0)) {
                return Some(Err(
                    "an extended attribute's name holds a byte that PAX cannot tell",
                ));
            }
            pax::put_record(&mut out, &[pax::XATTR, &xattr.name].concat(), &xattr.value);
        }
        let number = |out: &mut Vec<u8>, (key, value, width): (&[u8], i64, usize)| {
            if !fits_octal(width, value) {
                pax::put_record(out, key, value.to_string().as_bytes());
            }
        };
        let [gid, mtime, size, uid] = numbers;
        number(&mut out, gid);
        if !plain(link) {
            pax::put_record(&mut out, b"linkpath", link);
        }
        number(&mut out, mtime);
        if !plain(name) {
            pax::put_record(&mut out, b"path", name);
        }
        number(&mut out, size);
        number(&mut out, uid);
        Some(Ok(out))
    }

    /// Writes a PAX header of type `x`, named `<directory>/PaxHeaders.0/<base>`.
    fn write_pax(&mut self, records: &[u8]) -> Result<(), PackError> {
        let (directory, base) = match self.name.iter().rposition(|&byte| byte == b'/') {
            Some(at) => (&self.name[..=at], &self.name[at + 1..]),
            None => (&b""[..], self.name.as_slice()),
        };
        let mut name = ascii(directory);
        name.extend_from_slice(b"PaxHeaders.0");
        if !base.is_empty() {
            name.push(b'/');
            name.extend(ascii(base));
        }
        name.truncate(NAME.len());
        while name.last() == Some(&b'/') {
            name.pop();
        }

        let mut header: Header = [0; BLOCK];
        put_text(&mut header[NAME], &name);
        for field in [MODE, UID, GID, MTIME] {
            put_octal(&mut header[field], 0);
        }
        put_octal(
            &mut header[SIZE],
            i64::try_from(records.len()).unwrap_or(i64::MAX),
        );
        header[TYPE] = b'x';
        header[MAGIC].copy_from_slice(USTAR);
        put_checksum(&mut header);

        let pad = &[0; BLOCK][..padding(records.len() as u64)];
        [&header, records, pad]
            .into_iter()
            .try_for_each(|bytes| self.out.write_all(bytes))
            .map_err(PackError::Output)
    }
}

/// The fields of a header that are numbers.
struct Fields {
    kind: u8,
    mode: i64,
    uid: i64,
    gid: i64,
    size: i64,
    mtime: i64,
    device: (i64, i64),
    /// How many bytes of the name go to the prefix field.
    prefix: Option<usize>,
    /// Whether PAX records hold what the header cannot.
    pax: bool,
}

impl Fields {
    fn of(entry: &Entry<'_>, style: Style) -> Self {
        let device = |device: crate::Device| (i64::from(device.major), i64::from(device.minor));
        let (kind, device) = match entry.kind {
            Kind::File { .. } => (b'0', (0, 0)),
            Kind::HardLink(_) => (b'1', (0, 0)),
            Kind::Symlink(_) => (b'2', (0, 0)),
            Kind::CharDevice(number) => (b'3', device(number)),
            Kind::BlockDevice(number) => (b'4', device(number)),
            Kind::Directory => (b'5', (0, 0)),
            Kind::Fifo => (b'6', (0, 0)),
        };
        Self {
            kind,
            mode: i64::from(entry.mode & 0o7777),
            uid: i64::from(entry.owner.uid),
            gid: i64::from(entry.owner.gid),
            size: i64::try_from(entry.size()).unwrap_or(i64::MAX),
            mtime: match style {
                Style::Reference => REFERENCE_MTIME,
                Style::Oci { latest } => latest.map_or(entry.mtime, |latest| entry.mtime.min(latest)),
            },
            device,
            prefix: None,
            pax: false,
        }
    }

    fn encode(&self, name: &[u8], link: &[u8]) -> Header {
        let mut header: Header = [0; BLOCK];
        match self.prefix {
            Some(slash) => {
                put_text(&mut header[PREFIX], &name[..slash]);
                put_text(&mut header[NAME], &name[slash + 1..]);
            }
            None if self.pax => {
                put_ascii(&mut header[NAME], name);
                put_ascii(&mut header[LINK], link);
            }
            None => put_text(&mut header[NAME], name),
        }
        if !self.pax {
            put_text(&mut header[LINK], link);
        }
        put_octal(&mut header[MODE], self.mode);
        put_octal(&mut header[UID], self.uid);
        put_octal(&mut header[GID], self.gid);
        put_octal(&mut header[SIZE], self.size);
        put_octal(&mut header[MTIME], self.mtime);
        header[TYPE] = self.kind;
        header[MAGIC].copy_from_slice(USTAR);
        put_octal(&mut header[DEV_MAJOR], self.device.0);
        put_octal(&mut header[DEV_MINOR], self.device.1);
        put_checksum(&mut header);
        header
    }
}

/// Where to cut a name of more than 100 bytes for the prefix field: at the last slash of the first 156 bytes,
/// if both parts fit.
fn split_long(name: &[u8]) -> Option<usize> {
    if name.len() <= NAME.len() || !name.is_ascii() {
        return None;
    }
    let limit = if name.len() > PREFIX.len() + 1 {
        PREFIX.len() + 1
    } else if name.ends_with(b"/") {
        name.len() - 1
    } else {
        name.len()
    };
    let slash = name[..limit].iter().rposition(|&byte| byte == b'/')?;
    let rest = name.len() - slash - 1;
    (slash > 0 && rest > 0 && rest <= NAME.len()).then_some(slash)
}

/// Writes the ASCII bytes of a text that PAX tells in full. A cut at a slash loses the slash, so that old
/// readers do not take a file for a directory.
fn put_ascii(field: &mut [u8], text: &[u8]) {
    let text = ascii(text);
    put_text(field, &text);
    if text.len() > field.len() && field.ends_with(b"/") {
        let end = field
            .iter()
            .rposition(|&byte| byte != b'/')
            .map_or(0, |at| at + 1);
        field[end] = 0;
    }
}

fn ascii(text: &[u8]) -> Vec<u8> {
    text.iter().copied().filter(u8::is_ascii).collect()
}

fn unrepresentable(entry: &Entry<'_>, reason: &'static str) -> PackError {
    PackError::Unrepresentable {
        path: show(&entry.path),
        reason,
    }
}

const _: () = assert!(header::DEV_MINOR.end == PREFIX.start);
