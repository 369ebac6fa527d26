//! Archives that try to leave the directory they are unpacked into: the attacks of kaniko.md 5.1, each with a
//! canary outside that must not change.

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::PathBuf;

use lifecycle_image::NoProgress;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::{Entry, Kind, Packing, Style, TarWriter};

/// Path, links, mode, owner, time and content.
type Canary = (PathBuf, u64, u32, u32, i64, i64, Vec<u8>);

/// A root to unpack into, and a file and a directory beside it that nothing may touch.
struct Arena {
    outer: TempDir,
    before: Vec<Canary>,
}

impl Arena {
    fn new() -> Self {
        let outer = tempfile::tempdir().unwrap();
        fs::create_dir(outer.path().join("root")).unwrap();
        fs::create_dir(outer.path().join("outside")).unwrap();
        fs::write(outer.path().join("outside/canary"), "alive").unwrap();
        fs::write(outer.path().join("canary"), "alive").unwrap();
        let mut arena = Self {
            outer,
            before: Vec::new(),
        };
        arena.before = arena.canaries();
        arena
    }

    fn root(&self) -> PathBuf {
        self.outer.path().join("root")
    }

    fn canaries(&self) -> Vec<Canary> {
        let mut names: Vec<_> = fs::read_dir(self.outer.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        names.retain(|path| !path.ends_with("root"));
        names.push(self.outer.path().join("outside/canary"));
        names.sort();
        names
            .into_iter()
            .map(|path| {
                let metadata = fs::symlink_metadata(&path).unwrap();
                let content = fs::read(&path).unwrap_or_default();
                (
                    path,
                    metadata.nlink(),
                    metadata.mode(),
                    metadata.uid(),
                    metadata.mtime(),
                    metadata.mtime_nsec(),
                    content,
                )
            })
            .collect()
    }

    /// Unpacks, whatever comes of it; the canaries must live.
    #[expect(
        clippy::panic_in_result_fn,
        reason = "the assertion is what the tests are about"
    )]
    fn unpack(&self, tar: &[u8]) -> Result<Extracted, ExtractError> {
        let into = File::open(self.root()).unwrap();
        let options = ExtractOptions {
            ownership: Ownership::Squash,
            refused: Refused::Skip,
            ..ExtractOptions::default()
        };
        let result = extract(tar, None, into.as_fd(), &options, &NoProgress);
        assert_eq!(self.before, self.canaries());
        result
    }

    fn outside(&self) -> Vec<u8> {
        self.outer
            .path()
            .join("outside")
            .into_os_string()
            .into_encoded_bytes()
    }
}

type Item = (Entry<'static>, &'static [u8]);

fn archive(items: &[Item]) -> Vec<u8> {
    let mut writer = TarWriter::new(Vec::new(), Style::Oci { latest: None });
    for (entry, data) in items {
        writer.entry(entry).unwrap();
        if !data.is_empty() {
            writer.data(data).unwrap();
        }
    }
    writer.finish().unwrap()
}

fn file(path: &str) -> Item {
    (Entry::file(path.as_bytes().to_vec(), 4), b"evil")
}

fn directory(path: &str) -> Item {
    (Entry::directory(path.as_bytes().to_vec()), b"")
}

fn link(path: &str, target: impl Into<Vec<u8>>) -> Item {
    let entry = Entry::symlink(path.as_bytes().to_vec(), target.into());
    (entry, b"")
}

fn hard_link(path: &str, target: &str) -> Item {
    let entry = Entry {
        kind: Kind::HardLink(target.as_bytes().to_vec().into()),
        ..Entry::file(path.as_bytes().to_vec(), 0)
    };
    (entry, b"")
}

#[test]
fn names_with_dots_do_not_leave_cve_2026_28406() {
    for path in ["../canary", "a/../../canary", "./../canary", "..", "a/.."] {
        let arena = Arena::new();
        let result = arena.unpack(&archive(&[file(path)]));
        assert!(matches!(result, Err(ExtractError::Outside { .. })), "{path}");
    }
}

#[test]
fn absolute_names_end_in_the_root_cve_2026_28406() {
    let arena = Arena::new();
    let absolute = format!("{}/canary", arena.outer.path().display());
    arena
        .unpack(&archive(&[file(&absolute), file("//double//slash")]))
        .unwrap();
    assert_eq!(fs::read(arena.root().join(&absolute[1..])).unwrap(), b"evil");
    assert!(arena.root().join("double/slash").exists());
}

#[test]
fn files_below_a_link_stay_inside_cg330() {
    let arena = Arena::new();
    let outside = arena.outside();
    let inside = arena.root().join(std::str::from_utf8(&outside[1..]).unwrap());
    // The link's target does not exist inside: an error. When it does, the file lands there.
    assert!(
        arena
            .unpack(&archive(&[link("d", outside.clone()), file("d/canary")]))
            .is_err()
    );
    fs::create_dir_all(&inside).unwrap();
    arena
        .unpack(&archive(&[link("d", outside), file("d/canary")]))
        .unwrap();
    assert_eq!(fs::read(inside.join("canary")).unwrap(), b"evil");
    let relative = Arena::new();
    fs::create_dir(relative.root().join("outside")).unwrap();
    relative
        .unpack(&archive(&[link("d", "../../outside"), file("d/canary")]))
        .unwrap();
    assert_eq!(fs::read(relative.root().join("outside/canary")).unwrap(), b"evil");
}

#[test]
fn loops_of_links_are_errors_mz440() {
    let arena = Arena::new();
    let result = arena.unpack(&archive(&[link("a", "b"), link("b", "a"), file("a/x")]));
    assert!(matches!(result, Err(ExtractError::Io { .. })));
}

#[test]
fn link_targets_are_kept_verbatim_cg326_3() {
    let arena = Arena::new();
    let target = "../../../../../../../../usr/lib/x/../y";
    arena.unpack(&archive(&[link("a/b/l", target)])).unwrap();
    assert_eq!(
        fs::read_link(arena.root().join("a/b/l")).unwrap(),
        PathBuf::from(target)
    );
}

#[test]
fn hard_links_resolve_beneath_the_root_cve_2026_50163() {
    for target in ["canary", "/canary", "../canary", "outside/canary"] {
        let arena = Arena::new();
        let result = arena.unpack(&archive(&[hard_link("stolen", target)]));
        assert!(result.is_err(), "{target}");
        assert!(!arena.root().join("stolen").exists());
    }
    let arena = Arena::new();
    let outside = arena.outside();
    let result = arena.unpack(&archive(&[link("d", outside), hard_link("stolen", "d/canary")]));
    assert!(matches!(result, Err(ExtractError::HardLink { .. })));
}

/// A hard link to a symbolic link is another name of the link, not of what it points to.
#[test]
fn hard_links_do_not_follow_links_rustsec_2018_0002() {
    let arena = Arena::new();
    let target = [arena.outside(), b"/canary".to_vec()].concat();
    arena
        .unpack(&archive(&[
            link("l", target.clone()),
            hard_link("h", "l"),
            file("h"),
        ]))
        .unwrap();
    assert_eq!(fs::read(arena.root().join("h")).unwrap(), b"evil");
    assert!(arena.root().join("l").is_symlink());
}

#[test]
fn root_can_only_be_a_directory_cve_2021_29136() {
    for path in [".", "/", "./.", "//"] {
        let arena = Arena::new();
        let outside = arena.outside();
        let result = arena.unpack(&archive(&[link(path, outside)]));
        assert!(matches!(result, Err(ExtractError::Root)), "{path}");
        let result = arena.unpack(&archive(&[hard_link(path, "x")]));
        assert!(matches!(result, Err(ExtractError::Root)), "{path}");
        assert!(arena.root().is_dir() && !arena.root().is_symlink());
    }
    let arena = Arena::new();
    let mut root = directory(".");
    root.0.mode = 0o711;
    arena.unpack(&archive(&[root])).unwrap();
    assert_eq!(fs::metadata(arena.root()).unwrap().mode() & 0o7777, 0o711);
}

#[test]
fn modes_are_not_set_through_links_cve_2021_32760() {
    let arena = Arena::new();
    let outside = arena.outside();
    let mut wide = directory("d");
    wide.0.mode = 0o777;
    arena
        .unpack(&archive(&[link("d", outside), wide, file("d/canary")]))
        .unwrap();
    assert!(!arena.root().join("d").is_symlink());
    assert_eq!(
        fs::metadata(arena.root().join("d")).unwrap().mode() & 0o7777,
        0o777
    );
}

/// The same over a link that a lower layer left (CVE-2021-38511, CVE-2026-33056).
#[test]
fn directories_replace_links_of_lower_layers_rustsec_2021_0080() {
    let arena = Arena::new();
    symlink(arena.outer.path().join("outside"), arena.root().join("d")).unwrap();
    symlink(arena.outer.path().join("canary"), arena.root().join("f")).unwrap();
    let mut wide = file("f");
    wide.0.mode = 0o777;
    arena
        .unpack(&archive(&[directory("d"), file("d/canary"), wide]))
        .unwrap();
    assert!(!arena.root().join("f").is_symlink());
}

#[test]
fn a_link_that_replaces_a_directory_catches_nothing() {
    let arena = Arena::new();
    let outside = arena.outside();
    let result = arena.unpack(&archive(&[
        directory("d"),
        file("d/one"),
        link("d", outside),
        file("d/canary"),
    ]));
    assert!(result.is_err());
}

#[test]
fn whiteouts_remove_nothing_outside() {
    for path in [".wh..", ".wh...", ".wh.", "a/.wh..", ".wh.../x"] {
        let arena = Arena::new();
        let result = arena.unpack(&archive(&[file(path)]));
        if path.ends_with('x') {
            result.unwrap();
        } else {
            assert!(matches!(result, Err(ExtractError::Whiteout { .. })), "{path}");
        }
    }
    let arena = Arena::new();
    let outside = arena.outside();
    arena
        .unpack(&archive(&[
            link("d", outside.clone()),
            file("d/.wh.canary"),
            link("e", outside),
            file("e/.wh..wh..opq"),
        ]))
        .unwrap();
}

#[test]
fn bombs_end_at_the_limit_cve_2017_14992() {
    #[derive(Debug)]
    struct Zeros;
    impl crate::Contents for Zeros {
        fn name(&self) -> String {
            "zeros".into()
        }
        fn write(&self, tar: &mut dyn io::Write) -> Result<(), crate::PackError> {
            let mut writer = TarWriter::new(tar, Style::Reference);
            let size = 256 << 20;
            writer.entry(&Entry::file(&b"zeros"[..], size))?;
            for _ in 0..size >> 20 {
                writer.data(&vec![0; 1 << 20])?;
            }
            writer.finish().map(drop)
        }
    }
    for compression in [Compression::Gzip, Compression::Zstd] {
        let packing = Packing {
            compression,
            ..Packing::default()
        };
        let mut bomb = Vec::new();
        crate::pack(&Zeros, &packing, &mut bomb, &NoProgress).unwrap();
        for threads in [Threads::Several, Threads::One] {
            let into = tempfile::tempdir().unwrap();
            let handle = File::open(into.path()).unwrap();
            let options = ExtractOptions {
                ownership: Ownership::Squash,
                limits: Limits {
                    bytes: Some(10 << 20),
                    entries: None,
                },
                threads,
                ..ExtractOptions::default()
            };
            let result = extract(bomb.as_slice(), None, handle.as_fd(), &options, &NoProgress);
            assert!(matches!(result, Err(ExtractError::Limit { what: "bytes", .. })));
            let size = crate::tree::size(handle.as_fd()).unwrap();
            assert!(size.bytes <= 10 << 20);
        }
    }
    let many: Vec<Item> = (0..100).map(|at| file(&format!("f{at}"))).collect();
    let into = tempfile::tempdir().unwrap();
    let handle = File::open(into.path()).unwrap();
    let options = ExtractOptions {
        ownership: Ownership::Squash,
        limits: Limits {
            bytes: None,
            entries: Some(99),
        },
        ..ExtractOptions::default()
    };
    let result = extract(
        archive(&many).as_slice(),
        None,
        handle.as_fd(),
        &options,
        &NoProgress,
    );
    assert!(matches!(result, Err(ExtractError::Limit { what: "entries", .. })));
}

/// CVE-2014-9356: an xz layer is refused by name, not run through a program found in PATH.
#[test]
fn foreign_compressions_are_named_cve_2014_9356() {
    for (bytes, name) in [(&b"\xfd7zXZ\0\0\x04"[..], "xz"), (b"BZh91AY&SY", "bzip2")] {
        let result = Arena::new().unpack(bytes);
        assert!(matches!(result, Err(ExtractError::Compression(found)) if found == name));
    }
}

#[test]
fn attributes_of_overlays_are_not_taken_from_archives() {
    let mut entry = directory("d");
    entry.0.xattrs = ["trusted.overlay.redirect", "user.overlay.opaque"]
        .map(|name| crate::Xattr {
            name: name.as_bytes().to_vec(),
            value: b"y".to_vec(),
        })
        .to_vec();
    let arena = Arena::new();
    arena.unpack(&archive(&[entry])).unwrap();
    let handle = File::open(arena.root().join("d")).unwrap();
    for name in [c"trusted.overlay.redirect", c"user.overlay.opaque"] {
        assert_eq!(crate::xattrs::get(handle.as_fd(), name).unwrap(), None);
    }
}

#[test]
fn a_device_that_is_a_whiteout_is_refused() {
    let entry = Entry {
        kind: Kind::CharDevice(crate::Device { major: 0, minor: 0 }),
        ..Entry::file(&b"etc"[..], 0)
    };
    let result = Arena::new().unpack(&archive(&[(entry, b"")]));
    assert!(matches!(result, Err(ExtractError::WhiteoutDevice { .. })));
}

#[test]
fn devices_are_refused_where_none_is_wanted() {
    let null = crate::Device { major: 1, minor: 3 };
    for kind in [Kind::CharDevice(null), Kind::BlockDevice(null)] {
        let entry = Entry {
            kind,
            ..Entry::file(&b"d/null"[..], 0)
        };
        let arena = Arena::new();
        let into = File::open(arena.root()).unwrap();
        let options = ExtractOptions {
            ownership: Ownership::Squash,
            devices: Devices::Refuse,
            ..ExtractOptions::default()
        };
        let tar = archive(&[(entry, b"")]);
        let result = extract(&tar[..], None, into.as_fd(), &options, &NoProgress);
        assert!(
            matches!(&result, Err(ExtractError::Device { path }) if path == "d/null"),
            "{result:?}"
        );
        assert!(!arena.root().join("d/null").exists());
    }
}

fn name() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("a"),
        Just("b"),
        Just("d"),
        Just(".."),
        Just("."),
        Just("canary"),
        Just("outside"),
        Just(".wh.canary"),
        Just(".wh.a"),
        Just(".wh..wh..opq"),
    ];
    (proptest::collection::vec(part, 1..4), any::<bool>()).prop_map(|(parts, absolute)| {
        let path = parts.join("/");
        if absolute { format!("/{path}") } else { path }
    })
}

fn item() -> impl Strategy<Value = Item> {
    (name(), name(), 0..5_u8).prop_map(|(path, target, kind)| match kind {
        0 => file(&path),
        1 => directory(&path),
        2 => link(&path, target),
        3 => hard_link(&path, &target),
        _ => link(&path, format!("../{target}")),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn no_archive_leaves_the_root(
        items in proptest::collection::vec(item(), 1..12),
        overlay: bool,
    ) {
        let arena = Arena::new();
        let tar = archive(&items);
        // Whether it is refused does not matter here; `unpack` looks at the canaries.
        drop(arena.unpack(&tar));
        if overlay {
            let into = File::open(arena.root()).unwrap();
            let options = ExtractOptions {
                whiteouts: Whiteouts::Overlay(OpaqueXattr::User),
                ownership: Ownership::Squash,
                refused: Refused::Skip,
                ..ExtractOptions::default()
            };
            drop(extract(tar.as_slice(), None, into.as_fd(), &options, &NoProgress));
            prop_assert_eq!(&arena.before, &arena.canaries());
        }
    }
}

#[test]
fn permissions_of_the_mask_do_not_matter() {
    // Modes are set explicitly, so whatever mask the test runs under, these come out exactly.
    let arena = Arena::new();
    let mut open = file("open");
    open.0.mode = 0o777;
    let mut closed = directory("closed");
    closed.0.mode = 0o007;
    arena.unpack(&archive(&[open, closed])).unwrap();
    let mode = |name: &str| {
        fs::metadata(arena.root().join(name))
            .unwrap()
            .permissions()
            .mode()
            & 0o7777
    };
    assert_eq!((mode("open"), mode("closed")), (0o777, 0o007));
}
