mod cached;
mod through;
mod whiteouts;

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use lifecycle_image::NoProgress;
use proptest::prelude::*;

use super::*;
use crate::{
    Contents as _, DirectoryLayer, Entry, FilesLayer, Kind, Packing, Parents, Style, TarWriter, Xattr, hash,
    pack,
};

const OCI: Style = Style::Oci { latest: None };
const THREADS: [Threads; 2] = [Threads::Several, Threads::One];

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn ownership() -> Ownership<'static> {
    if is_root() {
        Ownership::Keep
    } else {
        Ownership::Squash
    }
}

fn options() -> ExtractOptions<'static> {
    ExtractOptions {
        ownership: ownership(),
        ..ExtractOptions::default()
    }
}

fn unpack(tar: &[u8], into: &Path, options: &ExtractOptions<'_>) -> Result<Extracted, ExtractError> {
    let handle = File::open(into).unwrap();
    extract(tar, None, handle.as_fd(), options, &NoProgress)
}

fn tree(root: &Path) -> DirectoryLayer {
    DirectoryLayer::new(root, "/").parents(Parents::Absent).style(OCI)
}

fn tar_of(layer: &FilesLayer) -> Vec<u8> {
    let mut out = Vec::new();
    layer.write(&mut out).unwrap();
    out
}

fn layer() -> FilesLayer {
    FilesLayer::new("test", OCI)
}

/// A tree with everything an ordinary user can make, and devices for root.
fn everything(root: &Path) {
    fs::create_dir_all(root.join("a/deep/er")).unwrap();
    fs::write(root.join("a/file"), "content").unwrap();
    fs::write(root.join("a/empty"), "").unwrap();
    fs::write(root.join("a/large"), vec![7; 3_000_001]).unwrap();
    fs::hard_link(root.join("a/file"), root.join("hard")).unwrap();
    symlink("a/../nowhere", root.join("link")).unwrap();
    fs::write(root.join(std::ffi::OsStr::from_bytes(b"latin\xe9")), "x").unwrap();
    fs::write(root.join("n".repeat(200)), "long").unwrap();
    let name = c"fifo";
    let handle = File::open(root).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o620);
    rustix::fs::mknodat(&handle, name, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    fs::set_permissions(root.join("a/file"), fs::Permissions::from_mode(0o6755)).unwrap();
    fs::set_permissions(root.join("a/deep"), fs::Permissions::from_mode(0o1777)).unwrap();
    let file = File::open(root.join("a/file")).unwrap();
    if crate::xattrs::set(file.as_fd(), b"user.note", b"hello").is_err() {
        println!("skipped: the file system has no user attributes");
    }
    if is_root() {
        let device = rustix::fs::makedev(1, 3);
        let kind = rustix::fs::FileType::CharacterDevice;
        if rustix::fs::mknodat(&handle, c"null", kind, mode, device).is_err() {
            println!("skipped: devices cannot be made here");
        }
        std::os::unix::fs::chown(root.join("a/file"), Some(1234), Some(4321)).unwrap();
        fs::set_permissions(root.join("a/file"), fs::Permissions::from_mode(0o6755)).unwrap();
    } else {
        println!("skipped: devices and owners need root");
    }
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
    for path in ["a/deep/er", "a/deep", "a"] {
        File::open(root.join(path)).unwrap().set_modified(old).unwrap();
    }
}

#[test]
fn a_tree_survives_pack_and_extract_in_every_compression() {
    let from = tempfile::tempdir().unwrap();
    everything(from.path());
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let packing = Packing {
            compression,
            ..Packing::default()
        };
        let mut stored = Vec::new();
        let packed = pack(&tree(from.path()), &packing, &mut stored, &NoProgress).unwrap();
        for (given, threads) in [None, Some(compression)].into_iter().zip(THREADS) {
            let to = tempfile::tempdir().unwrap();
            let handle = File::open(to.path()).unwrap();
            let options = ExtractOptions {
                expected: Some(&packed.diff_id),
                threads,
                ..options()
            };
            let extracted = extract(stored.as_slice(), given, handle.as_fd(), &options, &NoProgress).unwrap();
            assert!(extracted.skipped.is_empty());
            if is_root() {
                // Names, kinds, modes, owners, times, attributes, links and content: all of it is in the tar.
                let (again, _) = hash(&tree(to.path()), &NoProgress).unwrap();
                assert_eq!(again, packed.diff_id, "{compression:?}");
            }
            assert_eq!(fs::metadata(to.path().join("a/deep")).unwrap().mtime(), 1_000_000);
        }
    }
}

#[test]
fn gnu_tar_unpacks_what_is_packed() {
    let from = tempfile::tempdir().unwrap();
    everything(from.path());
    let to = tempfile::tempdir().unwrap();
    let stored = tempfile::NamedTempFile::new().unwrap();
    pack(
        &tree(from.path()),
        &Packing::default(),
        &mut File::create(stored.path()).unwrap(),
        &NoProgress,
    )
    .unwrap();
    let status = std::process::Command::new("tar")
        .args(["-xzpf"])
        .arg(stored.path())
        .args(["--xattrs", "--xattrs-include=*", "--numeric-owner", "-C"])
        .arg(to.path())
        .status();
    match status {
        Ok(status) if status.success() && is_root() => {
            let hash = |path: &Path| hash(&tree(path), &NoProgress).unwrap();
            assert_eq!(hash(from.path()), hash(to.path()));
        }
        Ok(status) => println!("skipped: tar ended with {status}, or is not run by root"),
        Err(error) => println!("skipped: there is no tar: {error}"),
    }
}

#[test]
fn another_layer_than_expected_is_an_error() {
    let expected = DiffId(lifecycle_image::Digest::of(b"another"));
    for threads in THREADS {
        let to = tempfile::tempdir().unwrap();
        let options = ExtractOptions {
            expected: Some(&expected),
            threads,
            ..options()
        };
        let result = unpack(&tar_of(&layer().file("f", 0o644, *b"x")), to.path(), &options);
        assert!(matches!(result, Err(ExtractError::DiffId { .. })));
    }
}

#[test]
fn what_follows_the_archive_counts_for_the_diff_id() {
    let mut tar = tar_of(&layer().file("f", 0o644, *b"x"));
    tar.extend_from_slice(&[0; 10_240]);
    let whole = DiffId(lifecycle_image::Digest::of(&tar));
    for threads in THREADS {
        let to = tempfile::tempdir().unwrap();
        let options = ExtractOptions {
            expected: Some(&whole),
            threads,
            ..options()
        };
        unpack(&tar, to.path(), &options).unwrap();
    }
}

#[test]
fn a_stream_that_breaks_off_is_an_error() {
    let mut stored = Vec::new();
    let contents = layer().file("f", 0o644, vec![1; 5_000_000]);
    pack(&contents, &Packing::default(), &mut stored, &NoProgress).unwrap();
    let lengths = [1, stored.len() / 2, stored.len() - 1];
    for (length, threads) in lengths
        .into_iter()
        .flat_map(|length| THREADS.map(|threads| (length, threads)))
    {
        let to = tempfile::tempdir().unwrap();
        let options = ExtractOptions { threads, ..options() };
        let result = unpack(&stored[..length], to.path(), &options);
        assert!(result.is_err(), "{length}, {threads:?}");
    }
}

#[test]
fn later_entries_replace_earlier_ones_of_any_kind() {
    let to = tempfile::tempdir().unwrap();
    let first = layer()
        .file("a/b", 0o644, *b"x")
        .symlink("l", "a", 0o777)
        .file("f", 0o644, *b"long content");
    let second = layer()
        .file("a", 0o644, *b"file")
        .file("l", 0o644, *b"file")
        .file("f", 0o644, *b"s");
    unpack(&tar_of(&first), to.path(), &options()).unwrap();
    unpack(&tar_of(&second), to.path(), &options()).unwrap();
    for (path, content) in [("a", "file"), ("l", "file"), ("f", "s")] {
        assert_eq!(fs::read_to_string(to.path().join(path)).unwrap(), content);
        assert!(!to.path().join(path).is_symlink());
    }
    unpack(&tar_of(&first), to.path(), &options()).unwrap();
    assert!(to.path().join("a/b").exists());
}

/// Layers that were not made from an overlay name files through links of lower layers.
#[test]
fn entries_below_a_link_to_a_directory_land_in_it() {
    let to = tempfile::tempdir().unwrap();
    fs::create_dir_all(to.path().join("usr/lib")).unwrap();
    symlink("/usr/lib", to.path().join("lib")).unwrap();
    let layer = FilesLayer::new("test", OCI).file("lib/so", 0o644, *b"x");
    // A FilesLayer brings its directories; this archive does not.
    let mut writer = TarWriter::new(Vec::new(), OCI);
    writer.entry(&Entry::file(&b"lib/so"[..], 1)).unwrap();
    writer.data(b"x").unwrap();
    unpack(&writer.finish().unwrap(), to.path(), &options()).unwrap();
    assert!(to.path().join("lib").is_symlink());
    assert!(to.path().join("usr/lib/so").exists());
    unpack(&tar_of(&layer), to.path(), &options()).unwrap();
    assert!(!to.path().join("lib").is_symlink());
}

#[test]
fn set_user_id_and_capabilities_survive_the_change_of_owner() {
    if !is_root() {
        println!("skipped: giving files away needs root");
        return;
    }
    // Version 2, effective, CAP_NET_RAW permitted.
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let mut writer = TarWriter::new(Vec::new(), OCI);
    let entry = Entry {
        mode: 0o6755,
        owner: crate::Owner::new(1000, 1000),
        xattrs: vec![Xattr {
            name: b"security.capability".to_vec(),
            value: capability.to_vec(),
        }],
        ..Entry::file(&b"ping"[..], 0)
    };
    writer.entry(&entry).unwrap();
    let to = tempfile::tempdir().unwrap();
    unpack(&writer.finish().unwrap(), to.path(), &options()).unwrap();
    let file = File::open(to.path().join("ping")).unwrap();
    assert_eq!(file.metadata().unwrap().mode() & 0o7777, 0o6755);
    assert_eq!(file.metadata().unwrap().uid(), 1000);
    let found = crate::xattrs::get(file.as_fd(), c"security.capability").unwrap();
    assert_eq!(found.as_deref(), Some(&capability[..]));
}

#[test]
fn squashed_owners_are_remembered() {
    let layer = layer()
        .owner(crate::Owner::new(33, 44))
        .file("www/index", 0o640, *b"x");
    let to = tempfile::tempdir().unwrap();
    let options = ExtractOptions {
        ownership: Ownership::Squash,
        ..ExtractOptions::default()
    };
    let tar = tar_of(&layer);
    let extracted = unpack(&tar, to.path(), &options).unwrap();
    assert_eq!(extracted.owners.get(b"www/index"), crate::Owner::new(33, 44));
    // Packed again with the table, the layer has its owners back.
    let owners = crate::Owners::Table(std::sync::Arc::new(extracted.owners));
    let mut again = Vec::new();
    tree(to.path()).owners(owners).write(&mut again).unwrap();
    assert!(again == tar);
}

#[test]
fn owners_without_an_id_in_the_namespace_are_named() {
    let map = IdMap {
        users: vec![crate::IdRange {
            inside: 0,
            outside: rustix::process::geteuid().as_raw(),
            count: 1,
        }],
        groups: vec![crate::IdRange {
            inside: 0,
            outside: rustix::process::getegid().as_raw(),
            count: 1,
        }],
    };
    let options = ExtractOptions {
        ownership: Ownership::Map(&map),
        ..ExtractOptions::default()
    };
    let to = tempfile::tempdir().unwrap();
    unpack(&tar_of(&layer().file("mine", 0o644, *b"x")), to.path(), &options).unwrap();
    let foreign = layer().owner(crate::Owner::new(7, 0)).file("f", 0o644, *b"x");
    let result = unpack(&tar_of(&foreign), to.path(), &options);
    assert!(matches!(result, Err(ExtractError::Owner { owner, .. }) if owner.uid == 7));
}

#[test]
fn holes_stay_holes() {
    let from = tempfile::tempdir().unwrap();
    let file = File::create(from.path().join("sparse")).unwrap();
    file.set_len(64 << 20).unwrap();
    file.write_all_at(b"data", 32 << 20).unwrap();
    file.sync_all().unwrap();
    for format in ["gnu", "pax"] {
        let output = std::process::Command::new("tar")
            .args(["--sparse", &format!("--format={format}"), "-C"])
            .arg(from.path())
            .args(["-cf", "-", "sparse"])
            .output();
        let Ok(output) = output else {
            println!("skipped: there is no tar");
            return;
        };
        let to = tempfile::tempdir().unwrap();
        let extracted = unpack(&output.stdout, to.path(), &options()).unwrap();
        assert_eq!(extracted.bytes, 64 << 20);
        let metadata = fs::metadata(to.path().join("sparse")).unwrap();
        assert_eq!(metadata.len(), 64 << 20);
        assert!(metadata.blocks() * 512 < 1 << 20, "{format} has no holes");
        let content = fs::read(to.path().join("sparse")).unwrap();
        assert_eq!(&content[32 << 20..][..4], b"data");
    }
}

#[test]
fn five_thousand_levels_unpack() {
    let mut writer = TarWriter::new(Vec::new(), OCI);
    let mut path = Vec::new();
    for level in 0..5_000 {
        if level > 0 {
            path.push(b'/');
        }
        path.extend_from_slice(b"deep");
        writer.entry(&Entry::directory(path.clone())).unwrap();
    }
    let tar = writer.finish().unwrap();
    let to = tempfile::tempdir().unwrap();
    unpack(&tar, to.path(), &options()).unwrap();
    let mut again = Vec::new();
    tree(to.path()).write(&mut again).unwrap();
    if is_root() {
        assert!(again == tar);
    }
    let handle = File::open(to.path()).unwrap();
    crate::tree::remove(handle.as_fd(), "deep".as_ref()).unwrap();
    assert_eq!(fs::read_dir(to.path()).unwrap().count(), 0);
}

#[derive(Debug, Clone)]
enum Node {
    File(Vec<u8>, u32),
    Directory(u32),
    Link(String),
}

fn node() -> impl Strategy<Value = Node> {
    prop_oneof![
        (proptest::collection::vec(any::<u8>(), 0..3000), 0o400..0o1000_u32)
            .prop_map(|(data, mode)| Node::File(data, mode)),
        (0o700..0o1000_u32).prop_map(Node::Directory),
        "[a-z./]{1,120}".prop_map(Node::Link),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn any_tree_survives(nodes in proptest::collection::btree_map("[abc/\u{e9}.]{0,20}[a-z]{1,110}", node(), 0..20)) {
        let from = tempfile::tempdir().unwrap();
        for (path, node) in &nodes {
            let path = from.path().join(path.split('/').filter(|name| !matches!(*name, "" | "." | ".."))
                .collect::<Vec<_>>().join("/"));
            if fs::create_dir_all(path.parent().unwrap()).is_err() || path.symlink_metadata().is_ok() {
                continue;
            }
            match node {
                Node::File(data, mode) => {
                    fs::write(&path, data).unwrap();
                    fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
                }
                Node::Directory(mode) => {
                    fs::create_dir(&path).unwrap();
                    fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
                }
                Node::Link(target) => symlink(target, &path).unwrap(),
            }
        }
        let mut tar = Vec::new();
        tree(from.path()).write(&mut tar).unwrap();
        let to = tempfile::tempdir().unwrap();
        unpack(&tar, to.path(), &options()).unwrap();
        let mut again = Vec::new();
        tree(to.path()).write(&mut again).unwrap();
        prop_assert!(again == tar);
    }
}

#[test]
fn entries_without_their_directories_get_them() {
    let mut writer = TarWriter::new(Vec::new(), OCI);
    let entry = Entry {
        kind: Kind::Symlink(b"t"[..].into()),
        ..Entry::file(&b"x/y/z"[..], 0)
    };
    writer.entry(&entry).unwrap();
    let to = tempfile::tempdir().unwrap();
    unpack(&writer.finish().unwrap(), to.path(), &options()).unwrap();
    let made = fs::metadata(to.path().join("x/y")).unwrap();
    assert_eq!((made.mode() & 0o7777, made.mtime()), (0o755, 0));
}
