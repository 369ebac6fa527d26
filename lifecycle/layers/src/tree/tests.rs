use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use lifecycle_image::NoProgress;

use super::*;
use crate::{DirectoryLayer, Owner, Parents, Style, hash};

fn fixture() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("a/b/c")).unwrap();
    fs::write(root.path().join("a/b/file"), "content").unwrap();
    fs::hard_link(root.path().join("a/b/file"), root.path().join("a/zlink")).unwrap();
    symlink("../..", root.path().join("a/b/up")).unwrap();
    fs::set_permissions(root.path().join("a/b/c"), fs::Permissions::from_mode(0o2751)).unwrap();
    let sparse = File::create(root.path().join("sparse")).unwrap();
    sparse.set_len(32 << 20).unwrap();
    sparse.write_all_at(b"middle", 16 << 20).unwrap();
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::new(1_000_000, 5);
    File::open(root.path().join("a/b"))
        .unwrap()
        .set_modified(old)
        .unwrap();
    root
}

fn identity(path: &Path) -> impl PartialEq + std::fmt::Debug {
    let layer = DirectoryLayer::new(path, "/")
        .parents(Parents::Absent)
        .style(Style::Oci { latest: None });
    hash(&layer, &NoProgress).unwrap()
}

#[test]
fn copies_are_the_same_in_every_way() {
    let from = fixture();
    for copying in [Copying::Reflink, Copying::HardLink] {
        let to = tempfile::tempdir().unwrap();
        let handles = [from.path(), to.path()].map(|path| File::open(path).unwrap());
        let copied = copy(handles[0].as_fd(), handles[1].as_fd(), copying).unwrap();
        assert_eq!(copied.entries, 7);
        assert_eq!(identity(from.path()), identity(to.path()), "{copying:?}");
        let metadata = |path: &str| fs::metadata(to.path().join(path)).unwrap();
        assert_eq!(
            (metadata("a/b").mtime(), metadata("a/b").mtime_nsec()),
            (1_000_000, 5)
        );
        assert_eq!(metadata("a/b/file").ino(), metadata("a/zlink").ino());
        let original = fs::metadata(from.path().join("a/b/file")).unwrap();
        let shared = metadata("a/b/file").ino() == original.ino();
        assert_eq!(shared, copying == Copying::HardLink && copied.linked > 0);
        assert!(metadata("sparse").blocks() * 512 < 1 << 20);
    }
}

#[test]
fn copies_do_not_overwrite() {
    let from = fixture();
    let to = tempfile::tempdir().unwrap();
    symlink("/nowhere", to.path().join("sparse")).unwrap();
    let handles = [from.path(), to.path()].map(|path| File::open(path).unwrap());
    assert!(copy(handles[0].as_fd(), handles[1].as_fd(), Copying::Reflink).is_err());
}

#[test]
fn sizes_count_files_with_several_names_once() {
    let root = fixture();
    let handle = File::open(root.path()).unwrap();
    let size = size(handle.as_fd()).unwrap();
    assert_eq!(size.entries, 7);
    assert_eq!(size.bytes, 7 + (32 << 20));
    assert!(size.disk < 1 << 20);
}

#[test]
fn removing_does_not_follow_links_rustsec_2023_0018() {
    let outer = tempfile::tempdir().unwrap();
    fs::create_dir_all(outer.path().join("outside/keep")).unwrap();
    fs::create_dir_all(outer.path().join("tree/sub")).unwrap();
    symlink("../../outside", outer.path().join("tree/sub/link")).unwrap();
    symlink("outside", outer.path().join("itself")).unwrap();
    let handle = File::open(outer.path()).unwrap();
    for name in ["tree", "itself", "absent"] {
        remove(handle.as_fd(), name.as_ref()).unwrap();
        assert!(!outer.path().join(name).exists());
    }
    assert!(outer.path().join("outside/keep").exists());
    for name in ["", ".", "..", "outside/keep", "/outside"] {
        assert!(remove(handle.as_fd(), name.as_ref()).is_err(), "{name}");
    }
}

/// While one thread removes, another keeps exchanging a directory for a link to the outside.
#[test]
fn removing_wins_races_against_links_rustsec_2023_0018() {
    let outer = tempfile::tempdir().unwrap();
    fs::create_dir_all(outer.path().join("outside")).unwrap();
    for at in 0..20 {
        fs::write(outer.path().join(format!("outside/{at}")), "keep").unwrap();
    }
    let handle = File::open(outer.path()).unwrap();
    for _ in 0..50 {
        let victim = outer.path().join("victim");
        fs::create_dir_all(victim.join("d/e")).unwrap();
        symlink("../outside", victim.join("l")).unwrap();
        std::thread::scope(|scope| {
            let swapping = scope.spawn(|| {
                for _ in 0..200 {
                    let swap = |from: &str, to: &str| fs::rename(victim.join(from), victim.join(to)).is_ok();
                    if !(swap("d", "x") && swap("l", "d") && swap("d", "l") && swap("x", "d")) {
                        return;
                    }
                }
            });
            // It may fail, as names come and go; what counts is what it did not touch.
            drop(remove(handle.as_fd(), "victim".as_ref()));
            swapping.join().unwrap();
        });
        drop(fs::remove_dir_all(&victim));
        assert_eq!(fs::read_dir(outer.path().join("outside")).unwrap().count(), 20);
    }
}

#[test]
fn read_only_directories_are_removed_too() {
    let outer = tempfile::tempdir().unwrap();
    let deep = outer.path().join("cache/mod/pkg");
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("go.mod"), "x").unwrap();
    for path in ["cache/mod/pkg", "cache/mod", "cache"] {
        fs::set_permissions(outer.path().join(path), fs::Permissions::from_mode(0o555)).unwrap();
    }
    let handle = File::open(outer.path()).unwrap();
    remove(handle.as_fd(), "cache".as_ref()).unwrap();
    assert!(!outer.path().join("cache").exists());
}

#[test]
fn a_tree_of_any_depth_is_given_away_and_nothing_of_others() {
    let root = tempfile::tempdir().unwrap();
    let handle = File::open(root.path()).unwrap();
    let mut here = std::os::fd::OwnedFd::from(handle.try_clone().unwrap());
    for _ in 0..5_000 {
        rustix::fs::mkdirat(&here, c"deep", rustix::fs::Mode::RWXU).unwrap();
        let flags = crate::descent::DIRECTORY;
        here = rustix::fs::openat(&here, c"deep", flags, rustix::fs::Mode::empty()).unwrap();
    }
    let outside = tempfile::tempdir().unwrap();
    symlink(outside.path(), root.path().join("link")).unwrap();
    let own = fs::metadata(outside.path()).unwrap();
    if !rustix::process::geteuid().is_root() {
        // Who is not root can give only to itself.
        give_away(handle.as_fd(), Owner::new(own.uid(), own.gid())).unwrap();
        remove_path(root.path()).unwrap();
        return;
    }
    fs::create_dir_all(root.path().join("theirs/file")).unwrap();
    std::os::unix::fs::lchown(root.path().join("theirs"), Some(7), Some(7)).unwrap();
    give_away(handle.as_fd(), Owner::new(1234, 5678)).unwrap();
    let deepest = rustix::fs::fstat(&here).unwrap();
    assert_eq!((deepest.st_uid, deepest.st_gid), (1234, 5678));
    let owner = |path: &str| fs::symlink_metadata(root.path().join(path)).unwrap().uid();
    assert_eq!(["link", "theirs", "theirs/file"].map(owner), [1234, 7, 0]);
    assert_eq!(fs::metadata(outside.path()).unwrap().uid(), 0);
    remove_path(root.path()).unwrap();
}
