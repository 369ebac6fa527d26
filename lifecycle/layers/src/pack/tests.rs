use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};

use lifecycle_image::{NoProgress, Outcome};

use super::*;
use crate::{FilesLayer, Style};

/// Bytes that compress somewhat, written in pieces of a given size.
#[derive(Debug)]
struct Pieces {
    size: usize,
    piece: usize,
}

impl Pieces {
    fn bytes(&self) -> Vec<u8> {
        let mut state = 1_u32;
        (0..self.size)
            .map(|at| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if at % 3 == 0 {
                    b'a'
                } else {
                    (state >> 24) as u8 & 0x1f
                }
            })
            .collect()
    }
}

impl Contents for Pieces {
    fn name(&self) -> String {
        "pieces".into()
    }

    fn write(&self, tar: &mut dyn Write) -> Result<(), PackError> {
        self.bytes()
            .chunks(self.piece)
            .try_for_each(|piece| tar.write_all(piece))
            .map_err(PackError::Output)
    }
}

fn unpack(compression: Compression, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match compression {
        Compression::None => out.extend_from_slice(bytes),
        Compression::Gzip => {
            flate2::read::MultiGzDecoder::new(bytes)
                .read_to_end(&mut out)
                .unwrap();
        }
        Compression::Zstd => {
            ::zstd::Decoder::new(bytes)
                .unwrap()
                .read_to_end(&mut out)
                .unwrap();
        }
    }
    out
}

#[test]
fn bytes_do_not_depend_on_threads_or_write_sizes() {
    let size = 5 * BLOCK + 4321;
    let tar = Pieces { size, piece: 1 }.bytes();
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let mut seen: Option<(Packed, Vec<u8>)> = None;
        for (threads, piece) in [(1, 512), (2, 1 << 20), (3, 10_000), (4, 7 << 20)] {
            let mut out = Vec::new();
            let packing = Packing {
                compression,
                threads: Some(threads),
                ..Packing::default()
            };
            let packed = pack(&Pieces { size, piece }, &packing, &mut out, &NoProgress).unwrap();
            assert_eq!(packed.digest, Digest::of(&out));
            assert_eq!(packed.size, out.len() as u64);
            assert_eq!(packed.diff_id.0, Digest::of(&tar));
            assert_eq!(packed.tar_size, size as u64);
            assert!(
                unpack(compression, &out) == tar,
                "{compression:?} does not read back"
            );
            if let Some((first, bytes)) = &seen {
                assert_eq!(first, &packed, "{compression:?} with {threads} threads");
                assert!(bytes == &out);
            }
            seen = Some((packed, out));
        }
    }
}

#[test]
fn hash_agrees_with_pack() {
    let contents = Pieces {
        size: 3_000_000,
        piece: 700,
    };
    let (diff_id, size) = hash(&contents, &NoProgress).unwrap();
    let packed = pack(&contents, &Packing::default(), &mut Vec::new(), &NoProgress).unwrap();
    assert_eq!((packed.diff_id, packed.tar_size), (diff_id, size));
}

#[test]
fn nothing_is_still_a_valid_stream() {
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let packing = Packing {
            compression,
            ..Packing::default()
        };
        let mut out = Vec::new();
        let packed = pack(&Pieces { size: 0, piece: 1 }, &packing, &mut out, &NoProgress).unwrap();
        assert_eq!(packed.tar_size, 0);
        assert_eq!(unpack(compression, &out), b"");
    }
}

#[test]
fn meter_sees_every_byte_of_the_tar() {
    #[derive(Default)]
    struct Count(AtomicU64);
    impl Meter for Count {
        fn advance(&self, bytes: u64) {
            self.0.fetch_add(bytes, Ordering::Relaxed);
        }
        fn finish(&self, _: Outcome) {}
    }
    let contents = Pieces {
        size: 2_500_000,
        piece: 99_999,
    };
    let count = Count::default();
    hash(&contents, &count).unwrap();
    pack(&contents, &Packing::default(), &mut Vec::new(), &count).unwrap();
    assert_eq!(count.0.into_inner(), 5_000_000);
}

#[test]
fn full_output_stops_the_reader_and_is_named() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self
                .0
                .checked_sub(bytes.len())
                .ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let packing = Packing {
            compression,
            ..Packing::default()
        };
        let contents = Pieces {
            size: 40 << 20,
            piece: 1 << 16,
        };
        match pack(&contents, &packing, &mut Full(1 << 20), &NoProgress).unwrap_err() {
            PackError::Output(cause) => assert_eq!(cause.kind(), io::ErrorKind::StorageFull),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn failing_contents_are_named() {
    #[derive(Debug)]
    struct Failing;
    impl Contents for Failing {
        fn name(&self) -> String {
            "failing".into()
        }
        fn write(&self, tar: &mut dyn Write) -> Result<(), PackError> {
            tar.write_all(&vec![0; 3 << 20]).map_err(PackError::Output)?;
            Err(PackError::Vanished { path: "/a/b".into() })
        }
    }
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let packing = Packing {
            compression,
            ..Packing::default()
        };
        let error = pack(&Failing, &packing, &mut Vec::new(), &NoProgress).unwrap_err();
        assert!(matches!(error, PackError::Vanished { path } if path == "/a/b"));
    }
    assert!(hash(&Failing, &NoProgress).is_err());
}

#[test]
fn levels_that_do_not_exist_are_refused() {
    for (compression, level) in [
        (Compression::Gzip, 13),
        (Compression::Gzip, -1),
        (Compression::Zstd, 23),
    ] {
        let packing = Packing {
            compression,
            level: Some(level),
            ..Packing::default()
        };
        let contents = Pieces { size: 1, piece: 1 };
        let error = pack(&contents, &packing, &mut Vec::new(), &NoProgress).unwrap_err();
        assert!(matches!(error, PackError::Level { .. }), "{error}");
    }
}

#[test]
fn an_estargz_layer_is_a_layer_whose_files_can_be_read_alone_o7_o8() {
    let large: Vec<u8> = (0..5 << 20).map(|number: u32| (number % 251) as u8).collect();
    let contents = FilesLayer::new("x", Style::Oci { latest: None })
        .mtime(1_700_000_000)
        .directory("d", 0o755)
        .file("d/small", 0o640, *b"small")
        .file("d/empty", 0o644, *b"")
        .symlink("d/link", *b"small", 0o777)
        .file("d/large", 0o644, large.clone());
    let packing = Packing {
        stargz: true,
        ..Packing::default()
    };
    let mut blob = Vec::new();
    let packed = pack(&contents, &packing, &mut blob, &NoProgress).unwrap();
    let mut again = Vec::new();
    pack(&contents, &packing, &mut again, &NoProgress).unwrap();
    assert_eq!(blob, again, "the same bytes every time");

    // Whoever knows nothing of it sees an ordinary layer.
    let mut tar = Vec::new();
    flate2::read::MultiGzDecoder::new(&blob[..])
        .read_to_end(&mut tar)
        .unwrap();
    assert_eq!(packed.diff_id, DiffId(Digest::of(&tar)));
    assert_eq!(
        packed.annotations["io.containers.estargz.uncompressed-size"],
        tar.len().to_string()
    );
    let mut reader = crate::TarReader::new(&tar[..]);
    let mut names = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        names.push(String::from_utf8(entry.path).unwrap());
    }
    let expected = [
        ".no.prefetch.landmark",
        "d/",
        "d/small",
        "d/empty",
        "d/link",
        "d/large",
        "stargz.index.json",
    ];
    assert_eq!(names, expected);

    // Whoever does finds the table by the footer, and each file's data by the table.
    let footer = &blob[blob.len() - 51..];
    let offset = usize::from_str_radix(std::str::from_utf8(&footer[16..32]).unwrap(), 16).unwrap();
    let mut tail = Vec::new();
    flate2::read::GzDecoder::new(&blob[offset..])
        .read_to_end(&mut tail)
        .unwrap();
    let mut reader = crate::TarReader::new(&tail[..]);
    let entry = reader.next_entry().unwrap().unwrap();
    assert_eq!(entry.path, b"stargz.index.json");
    let crate::Kind::File { size } = entry.kind else {
        panic!("a table is a file")
    };
    let table = &tail[512..512 + usize::try_from(size).unwrap()];
    let digest = Digest::of(table);
    assert_eq!(
        packed.annotations["containerd.io/snapshot/stargz/toc.digest"],
        digest.as_str()
    );
    let text = std::str::from_utf8(table).unwrap();
    assert!(
        text.starts_with(r#"{"version":1,"entries":[{"name":".no.prefetch.landmark","type":"reg","size":1,"#)
    );
    let small = text.split("{\"name\":\"d/small\"").nth(1).unwrap();
    let number = |text: &str, key: &str| -> usize {
        let rest = text.split(&format!("\"{key}\":")).nth(1).unwrap();
        rest.split([',', '}']).next().unwrap().parse().unwrap()
    };
    assert!(small.contains(&format!("\"digest\":\"{}\"", Digest::of(b"small"))));
    assert!(small.contains("\"modtime\":\"2023-11-14T22:13:20Z\",\"mode\":416"));
    let mut data = Vec::new();
    flate2::read::GzDecoder::new(&blob[number(small, "offset")..])
        .read_to_end(&mut data)
        .unwrap();
    assert_eq!(data, b"small");
    // A large file has several members.
    let chunks: Vec<&str> = text.split("{\"name\":\"d/large\"").skip(1).collect();
    assert_eq!(chunks.len(), 2);
    let mut data = Vec::new();
    for chunk in chunks {
        flate2::read::GzDecoder::new(&blob[number(chunk, "offset")..])
            .read_to_end(&mut data)
            .unwrap();
    }
    assert!(data == large);
}
