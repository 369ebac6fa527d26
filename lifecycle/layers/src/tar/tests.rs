use std::io::Read as _;
use std::process::Command;

use proptest::prelude::*;

use super::*;
use crate::{Device, Entry, Kind, Owner, Xattr};

type Files = Vec<(ReadEntry, Vec<u8>)>;

fn read(tar: &[u8]) -> Result<Files, FormatError> {
    let mut reader = TarReader::new(tar);
    let mut out = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        let mut data = Vec::new();
        loop {
            let chunk = reader.chunk()?;
            if chunk.is_empty() {
                break;
            }
            data.extend_from_slice(chunk);
            let taken = chunk.len();
            reader.consume(taken);
        }
        out.push((entry, data));
    }
    Ok(out)
}

fn write(style: Style, entries: &[(Entry<'_>, &[u8])]) -> Vec<u8> {
    let mut writer = TarWriter::new(Vec::new(), style);
    for (entry, data) in entries {
        writer.entry(entry).unwrap();
        if !data.is_empty() {
            writer.data(data).unwrap();
        }
    }
    writer.finish().unwrap()
}

const OCI: Style = Style::Oci { latest: None };

/// The name, kind and size of a sample of everything, by this reader.
fn sample() -> Vec<u8> {
    let long = "l".repeat(120);
    let file = |path: &str, size: u64| Entry {
        mtime: 1_600_000_000,
        ..Entry::file(path.as_bytes().to_vec(), size)
    };
    write(
        OCI,
        &[
            (Entry::directory(&b"dir"[..]), b""),
            (file("dir/file", 5), b"hello"),
            (file(&format!("dir/{long}"), 1), b"x"),
            (file(&format!("{long}/{long}"), 0), b""),
            (file("dir/caf\u{e9}", 0), b""),
            (Entry::symlink(&b"dir/link"[..], long.into_bytes()), b""),
            (
                Entry {
                    kind: Kind::HardLink(b"dir/file"[..].into()),
                    ..file("dir/zhard", 0)
                },
                b"",
            ),
            (
                Entry {
                    kind: Kind::Fifo,
                    ..file("fifo", 0)
                },
                b"",
            ),
            (
                Entry {
                    kind: Kind::CharDevice(Device { major: 1, minor: 3 }),
                    ..file("null", 0)
                },
                b"",
            ),
            (
                Entry {
                    xattrs: vec![
                        Xattr {
                            name: b"security.capability".to_vec(),
                            value: b"\x01\0\0\x02\0\x20\0\0".to_vec(),
                        },
                        Xattr {
                            name: b"user.note".to_vec(),
                            value: b"a=b\n".to_vec(),
                        },
                    ],
                    mode: 0o4755,
                    owner: Owner::new(3_000_000, 7),
                    mtime: -5,
                    ..file("xattrs", 3)
                },
                b"abc",
            ),
        ],
    )
}

#[test]
fn everything_written_reads_back_m1() {
    let files = read(&sample()).unwrap();
    let names: Vec<_> = files
        .iter()
        .map(|(entry, _)| String::from_utf8_lossy(&entry.path).into_owned())
        .collect();
    assert_eq!(names[0], "dir/");
    assert_eq!(names[1], "dir/file");
    assert_eq!(files[1].1, b"hello");
    assert_eq!(names[2].len(), 124);
    assert_eq!(names[4], "dir/café");
    assert_eq!(files[6].0.kind, Kind::HardLink(b"dir/file"[..].into()));
    let (last, data) = &files[9];
    assert_eq!(
        (last.mode, last.owner, last.mtime),
        (0o4755, Owner::new(3_000_000, 7), -5)
    );
    assert_eq!(last.xattrs.len(), 2);
    assert_eq!(last.xattrs[1].value, b"a=b\n");
    assert_eq!(data, b"abc");
}

#[test]
fn later_times_are_clamped_m6() {
    let entry = |mtime| Entry {
        mtime,
        ..Entry::file(&b"f"[..], 0)
    };
    let style = Style::Oci { latest: Some(1_000) };
    let tar = write(style, &[(entry(5_000), b""), (entry(999), b"")]);
    let times: Vec<_> = read(&tar).unwrap().iter().map(|(entry, _)| entry.mtime).collect();
    assert_eq!(times, [1_000, 999]);
}

#[test]
fn what_pax_cannot_tell_is_an_error() {
    let xattr = Entry {
        xattrs: vec![Xattr {
            name: b"user.a=b".to_vec(),
            value: Vec::new(),
        }],
        ..Entry::file(&b"f"[..], 0)
    };
    for entry in [xattr, Entry::directory(&b""[..]), Entry::file(&b"a\0b"[..], 0)] {
        assert!(TarWriter::new(Vec::new(), OCI).entry(&entry).is_err());
    }
}

/// Other people's tools list the same entries.
#[test]
fn gnu_tar_and_python_agree_about_the_sample() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), sample()).unwrap();
    let ours: Vec<String> = read(&sample())
        .unwrap()
        .iter()
        .map(|(entry, _)| {
            String::from_utf8_lossy(&entry.path)
                .trim_end_matches('/')
                .to_owned()
        })
        .collect();
    let script = "import sys,tarfile\nfor m in tarfile.open(sys.argv[1]): print(m.name.rstrip('/'))";
    for (program, arguments) in [
        ("tar", vec!["--quoting-style=literal", "-tf"]),
        ("python3", vec!["-c", script]),
    ] {
        let output = Command::new(program)
            .args(&arguments)
            .arg(file.path())
            .env("LC_ALL", "C.UTF-8")
            .output();
        let output = match output {
            Ok(output) => output,
            Err(error) => {
                println!("skipped: {program}: {error}");
                continue;
            }
        };
        assert!(output.status.success(), "{program}: {output:?}");
        let theirs: Vec<String> = String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(|line| line.trim_end_matches('/').to_owned())
            .collect();
        assert_eq!(ours, theirs, "{program}");
    }
}

/// Every way in which GNU tar writes holes, long names and numbers.
#[test]
fn dialects_of_gnu_tar_read_the_same() {
    if Command::new("tar").arg("--version").output().is_err() {
        println!("skipped: there is no tar");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let sparse = std::fs::File::create(root.path().join("sparse")).unwrap();
    sparse.set_len(40 << 20).unwrap();
    for at in [0, 5 << 20, 9 << 20, 13 << 20, 17 << 20, 21 << 20, 33 << 20] {
        std::os::unix::fs::FileExt::write_all_at(&sparse, b"data", at).unwrap();
    }
    sparse.sync_all().unwrap();
    let long = "n".repeat(180);
    std::fs::write(root.path().join(&long), "long").unwrap();
    std::os::unix::fs::symlink("t".repeat(200), root.path().join("link")).unwrap();
    for format in ["gnu", "oldgnu", "pax0.0", "pax0.1", "pax1.0", "posix"] {
        let mut command = Command::new("tar");
        match format.strip_prefix("pax") {
            Some(version) => command.args(["--format=pax", &format!("--sparse-version={version}")]),
            None => command.arg(format!("--format={format}")),
        };
        let output = command
            .args(["--sparse", "--sort=name", "-C"])
            .arg(root.path())
            .args(["-cf", "-", "."])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let files = read(&output.stdout).unwrap();
        let find = |name: &str| {
            files
                .iter()
                .find(|(entry, _)| entry.path == format!("./{name}").as_bytes())
                .unwrap_or_else(|| panic!("{format}: no {name}"))
        };
        assert_eq!(find(&long).1, b"long", "{format}");
        assert_eq!(
            find("link").0.kind,
            Kind::Symlink("t".repeat(200).into_bytes().into())
        );
        let (entry, data) = find("sparse");
        assert_eq!(entry.kind, Kind::File { size: 40 << 20 }, "{format}");
        let segments = entry
            .sparse
            .as_ref()
            .unwrap_or_else(|| panic!("{format} is not sparse"));
        let mut whole = vec![0; 40 << 20];
        let mut data = data.as_slice();
        for segment in segments {
            let at = usize::try_from(segment.offset).unwrap();
            let length = usize::try_from(segment.length).unwrap();
            data.read_exact(&mut whole[at..at + length]).unwrap();
        }
        assert!(data.is_empty());
        assert!(
            whole == std::fs::read(root.path().join("sparse")).unwrap(),
            "{format}"
        );
    }
}

fn header(name: &str, kind: u8, size: u64) -> Vec<u8> {
    let mut header = [0; BLOCK];
    header::put_text(&mut header[header::NAME], name.as_bytes());
    for field in [header::MODE, header::UID, header::GID, header::MTIME] {
        header::put_octal(&mut header[field], 0);
    }
    header::put_octal(&mut header[header::SIZE], i64::try_from(size).unwrap());
    header[header::TYPE] = kind;
    header[header::MAGIC].copy_from_slice(header::USTAR);
    header::put_checksum(&mut header);
    header.to_vec()
}

fn padded(data: &[u8]) -> Vec<u8> {
    let mut out = data.to_vec();
    out.resize(data.len() + padding(data.len() as u64), 0);
    out
}

fn pax(kind: u8, records: &[(&str, &str)]) -> Vec<u8> {
    let mut text = Vec::new();
    for (key, value) in records {
        super::pax::put_record(&mut text, key.as_bytes(), value.as_bytes());
    }
    let mut out = header("pax", kind, text.len() as u64);
    out.extend(padded(&text));
    out
}

fn names(tar: &[u8]) -> Vec<String> {
    read(tar)
        .unwrap()
        .iter()
        .map(|(entry, _)| String::from_utf8_lossy(&entry.path).into_owned())
        .collect()
}

/// The header says that the file is empty, its PAX record that it holds a whole archive: who believes the
/// header finds files that nobody else sees.
#[test]
fn pax_size_decides_where_the_next_entry_is_cve_2025_62518() {
    let smuggled = [header("evil", b'0', 4), padded(b"evil")].concat();
    let tar = [
        pax(b'x', &[("size", &smuggled.len().to_string())]),
        header("archive.tar", b'0', 0),
        padded(&smuggled),
        header("after", b'0', 0),
        vec![0; 1024],
    ]
    .concat();
    assert_eq!(names(&tar), ["archive.tar", "after"]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &tar).unwrap();
    if let Ok(output) = Command::new("tar").arg("-tf").arg(file.path()).output() {
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "archive.tar\nafter\n");
    }
}

#[test]
fn links_and_directories_have_no_data_whatever_they_say() {
    let mut link = header("link", b'2', 512);
    header::put_text(&mut link[header::LINK], b"target");
    let header: &mut header::Header = link.as_mut_slice().try_into().unwrap();
    header::put_checksum(header);
    let tar = [
        link.clone(),
        self::header("directory", b'5', 512),
        self::header("file", b'0', 0),
        vec![0; 1024],
    ]
    .concat();
    assert_eq!(names(&tar), ["link", "directory", "file"]);
}

#[test]
fn last_repeated_record_wins_and_an_empty_one_takes_back() {
    let tar = [
        pax(b'x', &[("path", "first"), ("path", "second")]),
        header("h", b'0', 0),
        pax(b'x', &[("path", "first"), ("path", "")]),
        header("h", b'0', 0),
        vec![0; 1024],
    ]
    .concat();
    assert_eq!(names(&tar), ["second", "h"]);
}

#[test]
fn broken_archives_are_errors() {
    let mut bad_sum = header("f", b'0', 0);
    bad_sum[0] = b'g';
    for (what, tar) in [
        ("checksum", bad_sum),
        ("cut off header", header("f", b'0', 0)[..300].to_vec()),
        ("cut off data", header("f", b'0', 600)),
        ("extension without entry", pax(b'x', &[("path", "p")])),
        ("global path", pax(b'g', &[("path", "p")])),
        ("global size", pax(b'g', &[("size", "1")])),
        ("huge extension", header("x", b'x', 2 << 20)),
        ("unknown type", header("f", b'Q', 0)),
        ("multi-volume", header("f", b'M', 0)),
        ("lone zero block", [vec![0; 512], header("f", b'0', 0)].concat()),
        (
            "sparse pieces that overlap",
            [
                pax(b'x', &[("GNU.sparse.map", "0,4,2,4"), ("GNU.sparse.size", "10")]),
                header("f", b'0', 8),
                padded(b"12345678"),
            ]
            .concat(),
        ),
        (
            "sparse pieces beyond the end",
            [
                pax(b'x', &[("GNU.sparse.map", "8,4"), ("GNU.sparse.size", "10")]),
                header("f", b'0', 4),
                padded(b"1234"),
            ]
            .concat(),
        ),
        ("no tar", vec![b'x'; 2048]),
    ] {
        assert!(read(&tar).is_err(), "{what}");
    }
}

#[test]
fn global_times_and_owners_count_until_told_otherwise() {
    let tar = [
        pax(b'g', &[("mtime", "77.5"), ("comment", "abc")]),
        header("a", b'0', 0),
        pax(b'x', &[("mtime", "88")]),
        header("b", b'0', 0),
        header("c", b'0', 0),
        vec![0; 1024],
    ]
    .concat();
    let times: Vec<_> = read(&tar).unwrap().iter().map(|(entry, _)| entry.mtime).collect();
    assert_eq!(times, [77, 88, 77]);
}

proptest! {
    #[test]
    fn any_entry_round_trips(
        path in "[a-zé/]{0,90}[a-z]{1,200}",
        link in "[a-zé/.]{1,150}",
        kind in 0..6_u8,
        mode in 0..0o10000_u32,
        uid: u32,
        gid: u32,
        mtime in -1_000_000_000_000..1_000_000_000_000_i64,
        data in proptest::collection::vec(any::<u8>(), 0..1500),
        value in proptest::collection::vec(any::<u8>(), 0..50),
        xattr: bool,
    ) {
        let path = path.split('/').filter(|name| !name.is_empty()).collect::<Vec<_>>().join("/");
        let kind = match kind {
            0 => Kind::Directory,
            1 => Kind::Symlink(link.into_bytes().into()),
            2 => Kind::HardLink(link.into_bytes().into()),
            3 => Kind::Fifo,
            4 => Kind::BlockDevice(Device { major: 8, minor: 1 }),
            _ => Kind::File { size: data.len() as u64 },
        };
        let data = if matches!(kind, Kind::File { .. }) { data } else { Vec::new() };
        let xattrs = if xattr {
            vec![Xattr { name: b"user.x".to_vec(), value: value.clone() }]
        } else {
            Vec::new()
        };
        let entry = Entry {
            path: path.clone().into_bytes().into(),
            kind: kind.clone(),
            mode,
            owner: Owner::new(uid, gid),
            mtime,
            xattrs: xattrs.clone(),
        };
        let tar = write(OCI, &[(entry, &data)]);
        prop_assert_eq!(tar.len() % 512, 0);
        let files = read(&tar).unwrap();
        prop_assert_eq!(files.len(), 1);
        let expected = ReadEntry {
            path: if kind == Kind::Directory { format!("{path}/") } else { path.clone() }.into_bytes(),
            kind,
            mode,
            owner: Owner::new(uid, gid),
            mtime,
            xattrs,
            sparse: None,
        };
        prop_assert_eq!(&files[0].0, &expected);
        prop_assert_eq!(&files[0].1, &data);

        // The `tar` crate is a second parser, and must see the same; except that it cuts PAX records at any
        // line feed, also one inside a value.
        if value.contains(&b'\n') {
            return Ok(());
        }
        let mut archive = ::tar::Archive::new(tar.as_slice());
        let theirs: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                (entry.path_bytes().strip_suffix(b"/").unwrap_or(&entry.path_bytes()).to_vec(), entry.size(), entry.header().mode().unwrap())
            })
            .collect();
        prop_assert_eq!(theirs, vec![(path.into_bytes(), data.len() as u64, mode)]);
    }

    #[test]
    fn any_bytes_never_panic(mut tar in proptest::collection::vec(any::<u8>(), 0..4096), kind: u8) {
        drop(read(&tar));
        if tar.len() >= BLOCK {
            tar[header::TYPE] = kind;
            let (first, _) = tar.split_first_chunk_mut::<BLOCK>().unwrap();
            header::put_checksum(first);
            drop(read(&tar));
        }
    }
}
