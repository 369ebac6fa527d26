//! ADD of archives (H18, H25, H26).

use std::fs;

use lifecycle_layers::{Entry, Owner};

use crate::copy::layer;
use crate::support::{Bench, tar};

fn archives() -> Vec<(&'static str, Vec<u8>)> {
    use std::io::Write;
    let plain = tar(&[
        (
            Entry {
                mode: 0o750,
                ..Entry::directory(&b"d"[..])
            },
            b"",
        ),
        (
            Entry {
                owner: Owner::new(1, 2),
                ..Entry::file(&b"d/in"[..], 5)
            },
            b"inner",
        ),
        (Entry::symlink(&b"d/l"[..], &b"in"[..]), b""),
    ]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(&plain).unwrap();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(&plain).unwrap();
    vec![
        ("gzip", gzip.finish().unwrap()),
        ("bzip2", bzip2.finish().unwrap()),
        ("xz", xz.finish().unwrap()),
        ("zstd", zstd::encode_all(&plain[..], 1).unwrap()),
        ("plain", plain),
    ]
}

#[test]
fn archives_are_known_by_their_content_h25() {
    let bench = Bench::new();
    for (name, bytes) in archives() {
        fs::write(bench.context().join("archive"), bytes).unwrap();
        let expected = [
            "d x 755 0:0",
            "d x/d 750 0:0",
            "f x/d/in 644 1:2 inner",
            "l x/d/l 777 0:0 in",
        ];
        assert_eq!(layer(&bench, "ADD archive /x"), expected, "{name}");
        assert_eq!(layer(&bench, "ADD arch* /x/"), expected, "{name}");
        assert_eq!(layer(&bench, "COPY archive /x").len(), 1, "{name}");
        assert_eq!(layer(&bench, "ADD --unpack=false archive /x").len(), 1, "{name}");
    }
    let mut one_file = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut one_file, b"no tar").unwrap();
    fs::write(bench.context().join("f.gz"), one_file.finish().unwrap()).unwrap();
    let files = layer(&bench, "ADD f.gz /x/");
    assert!(files[1].starts_with("f x/f.gz 644"), "{files:?}");
}

#[test]
fn archives_merge_into_the_destination_h25_h26() {
    let bench = Bench::new();
    fs::write(bench.context().join("archive"), &archives()[4].1).unwrap();
    bench.file("plain", "p");
    let paths: Vec<String> = layer(&bench, "ADD archive /etc/conf.d");
    assert_eq!(paths[1], "d etc/conf.d 750 0:0");
    assert!(
        paths.contains(&"f etc/conf.d/d/in 644 1:2 inner".to_owned()),
        "{paths:?}"
    );
    assert_eq!(layer(&bench, "ADD --unpack=true plain /x"), ["f x 644 0:0 p"]);
    let message = bench.fail("FROM busybox\nADD archive /etc/passwd\n");
    assert!(
        message.contains("mkdir /etc/passwd: not a directory"),
        "{message}"
    );
}

#[test]
fn archives_ignore_modes_and_not_owners_h18() {
    let bench = Bench::new();
    let archive = tar(&[(
        Entry {
            mode: 0o640,
            owner: Owner::new(5, 6),
            ..Entry::file(&b"in"[..], 1)
        },
        b"x",
    )]);
    fs::write(bench.context().join("a.tar"), archive).unwrap();
    assert_eq!(
        layer(&bench, "ADD --chmod=777 a.tar /x"),
        ["d x 755 0:0", "f x/in 640 5:6 x"]
    );
    assert_eq!(
        layer(&bench, "ADD --chown=8:9 a.tar /x"),
        ["d x 755 8:9", "f x/in 640 8:9 x"]
    );
}
