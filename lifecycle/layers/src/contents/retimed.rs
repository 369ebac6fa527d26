//! A layer that exists, with one time for everything in it.

use std::io::{self, BufReader, Write};
use std::sync::Arc;

use lifecycle_image::Layer;

use crate::extract::decoder;
use crate::tar::ReadEntry;
use crate::{Contents, Entry, FormatError, Kind, PackError, Style, TarReader, TarWriter};

/// A layer whose entries all get the same time: what a tool made at some hour becomes the same layer at any other
/// (cnb.md OWN-02). Names, owners, modes and attributes stay.
#[derive(Debug)]
pub struct RetimedLayer {
    name: String,
    layer: Arc<dyn Layer>,
    time: i64,
}

impl RetimedLayer {
    /// The files of `layer` at `time`, in seconds since the epoch. `name` is for messages.
    pub fn new(name: impl Into<String>, layer: Arc<dyn Layer>, time: i64) -> Self {
        Self {
            name: name.into(),
            layer,
            time,
        }
    }

    fn unreadable(&self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> PackError {
        PackError::Io {
            path: self.name.clone(),
            cause: io::Error::other(cause),
        }
    }

    fn copy<R: io::BufRead, W: Write>(
        &self,
        entry: &ReadEntry,
        from: &mut TarReader<R>,
        to: &mut TarWriter<W>,
    ) -> Result<(), PackError> {
        // Directories get their slash from the writer.
        let path = entry.path.strip_suffix(b"/").unwrap_or(&entry.path);
        to.entry(&Entry {
            path: path.into(),
            kind: entry.kind.clone(),
            mode: entry.mode,
            owner: entry.owner,
            mtime: self.time,
            xattrs: entry.xattrs.clone(),
        })?;
        let Kind::File { size } = entry.kind else {
            return Ok(());
        };
        let mut written = 0;
        for segment in entry.sparse.iter().flatten() {
            fill(to, segment.offset.saturating_sub(written))?;
            self.copy_bytes(from, to, segment.length)?;
            written = segment.offset + segment.length;
        }
        if entry.sparse.is_some() {
            fill(to, size.saturating_sub(written))
        } else {
            self.copy_bytes(from, to, size)
        }
    }

    fn copy_bytes<R: io::BufRead, W: Write>(
        &self,
        from: &mut TarReader<R>,
        to: &mut TarWriter<W>,
        mut left: u64,
    ) -> Result<(), PackError> {
        while left > 0 {
            let chunk = from.chunk().map_err(|cause| self.unreadable(cause))?;
            if chunk.is_empty() {
                return Err(self.unreadable(FormatError::Truncated));
            }
            let count = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            to.data(&chunk[..count])?;
            from.consume(count);
            left -= count as u64;
        }
        Ok(())
    }
}

/// The holes of a sparse file are zeros in the new layer.
fn fill<W: Write>(to: &mut TarWriter<W>, mut left: u64) -> Result<(), PackError> {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    while left > 0 {
        let count = ZEROS.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        to.data(&ZEROS[..count])?;
        left -= count as u64;
    }
    Ok(())
}

impl Contents for RetimedLayer {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn write(&self, tar: &mut dyn Write) -> Result<(), PackError> {
        let stored = self.layer.open(0).map_err(|cause| self.unreadable(cause))?;
        let plain = decoder(stored, None).map_err(|cause| self.unreadable(cause))?;
        let mut from = TarReader::new(BufReader::with_capacity(256 << 10, plain));
        let style = Style::Oci {
            latest: Some(self.time),
        };
        let mut to = TarWriter::new(tar, style);
        while let Some(entry) = from.next_entry().map_err(|cause| self.unreadable(cause))? {
            self.copy(&entry, &mut from, &mut to)?;
        }
        to.finish().map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use lifecycle_image::{
        BlobReader, Compression, Descriptor, DiffId, Digest, Family, LayerError, MediaType, NoProgress,
        Progress as _, Step,
    };

    use super::*;
    use crate::{FilesLayer, Packing, hash, pack};

    #[derive(Debug)]
    struct Bytes(Vec<u8>);

    impl Layer for Bytes {
        fn known(&self) -> Option<Descriptor> {
            self.descriptor().ok()
        }

        fn descriptor(&self) -> Result<Descriptor, LayerError> {
            Ok(Descriptor::new(
                self.media_type(),
                Digest::of(&self.0),
                self.0.len() as u64,
            ))
        }

        fn diff_id(&self) -> Result<DiffId, LayerError> {
            Ok(DiffId(Digest::of(&self.0)))
        }

        fn open(&self, _: u64) -> Result<BlobReader, LayerError> {
            Ok(Box::new(io::Cursor::new(self.0.clone())))
        }

        fn media_type(&self) -> MediaType {
            MediaType::layer(Family::Oci, Compression::Gzip)
        }
    }

    #[test]
    fn the_hour_of_a_layer_does_not_matter_own_02() {
        let files = |time| {
            let style = Style::Oci { latest: None };
            FilesLayer::new("x", style)
                .mtime(time)
                .file("etc/x", 0o640, *b"content")
                .symlink("l", *b"etc/x", 0o777)
        };
        let meter = NoProgress.begin(Step::Hash, "x", None);
        let retimed = |time, compression| {
            let mut bytes = Vec::new();
            let packing = Packing {
                compression,
                ..Packing::default()
            };
            pack(&files(time), &packing, &mut bytes, &*meter).unwrap();
            let layer = RetimedLayer::new("x", Arc::new(Bytes(bytes)), 7);
            hash(&layer, &*meter).unwrap().0
        };
        let expected = hash(&files(7), &*meter).unwrap().0;
        for (time, compression) in [
            (0, Compression::Gzip),
            (1_700_000_000, Compression::Zstd),
            (9, Compression::None),
        ] {
            assert_eq!(retimed(time, compression), expected);
        }
        let junk = RetimedLayer::new("junk", Arc::new(Bytes(b"no tar".repeat(200))), 7);
        assert!(
            hash(&junk, &*meter)
                .unwrap_err()
                .to_string()
                .starts_with("cannot pack junk: ")
        );
    }
}
