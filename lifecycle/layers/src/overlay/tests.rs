use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use lifecycle_image::{Compression, NoProgress};
use tempfile::TempDir;

use super::*;
use crate::{
    Entry, ExtractOptions, Extracted, Kind, OpaqueXattr, Ownership, Style, TarWriter, Whiteouts, Xattr,
    extract,
};

/// A directory with a mode, and an owner and time that go with it.
fn directory(path: &str, mode: u32) -> Entry<'static> {
    Entry {
        mode,
        owner: Owner::new(mode, 7),
        mtime: 1_000_000_000 + i64::from(mode),
        ..Entry::directory(path.as_bytes().to_vec())
    }
}

fn file(path: &str) -> Entry<'static> {
    Entry::file(path.as_bytes().to_vec(), 0)
}

/// A layer of these entries and nothing else, unpacked for an overlay of an ordinary user.
fn unpack(entries: &[Entry<'static>]) -> (TempDir, Extracted) {
    let mut writer = TarWriter::new(Vec::new(), Style::Oci { latest: None });
    for entry in entries {
        writer.entry(entry).unwrap();
    }
    let tar = writer.finish().unwrap();
    let into = tempfile::tempdir().unwrap();
    fs::set_permissions(into.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let options = ExtractOptions {
        whiteouts: Whiteouts::Overlay(OpaqueXattr::User),
        ownership: Ownership::Squash,
        ..ExtractOptions::default()
    };
    let handle = open(into.path()).unwrap();
    let extracted = extract(
        &tar[..],
        Some(Compression::None),
        handle.as_fd(),
        &options,
        &NoProgress,
    );
    (into, extracted.unwrap())
}

/// What is laid over these layers: path, mode and owner.
fn cover(layers: &[&[Entry<'static>]]) -> Option<(TempDir, Vec<String>)> {
    let trees: Vec<_> = layers.iter().map(|entries| unpack(entries)).collect();
    let layers: Vec<_> = trees
        .iter()
        .map(|(path, extracted)| OverlayLayer {
            path: path.path(),
            implied: &extracted.implied,
            owners: &extracted.owners,
        })
        .collect();
    let cover = Cover::of(&layers).unwrap()?;
    let into = tempfile::tempdir().unwrap();
    let owners = cover.make(&layers, into.path()).unwrap();
    let told = cover.0.keys().map(|path| {
        let name = String::from_utf8_lossy(path).into_owned();
        let found = fs::symlink_metadata(into.path().join(&name)).unwrap();
        format!("/{name} {:o} {}", found.mode() & 0o7777, owners.get(path).uid)
    });
    let told = told.collect();
    Some((into, told))
}

#[test]
fn left_out_directories_look_as_the_topmost_layer_says_that_describes_them() {
    let mut noted = directory("srv/data", 0o2750);
    noted.xattrs.push(Xattr {
        name: b"user.note".to_vec(),
        value: b"kept".to_vec(),
    });
    let base = [directory("tmp", 0o1777), directory("srv", 0o711), noted];
    let middle = [directory("tmp", 0o1770), file("srv/data/a")];
    let (into, told) = cover(&[&base, &middle, &[file("tmp/x"), file("srv/data/new/y")]]).unwrap();
    let expected = ["/ 755 0", "/srv 711 457", "/srv/data 2750 1512", "/tmp 1770 1016"];
    assert_eq!(told, expected);
    let made = into.path().join("srv/data");
    assert_eq!(fs::metadata(&made).unwrap().mtime(), 1_000_000_000 + 0o2750);
    let note = xattrs::read(open(&made).unwrap().as_fd()).unwrap();
    assert_eq!(note.len(), 1);
    assert_eq!(
        (&note[0].name[..], &note[0].value[..]),
        (&b"user.note"[..], &b"kept"[..])
    );
}

#[test]
fn a_root_that_a_layer_leaves_out_is_that_of_the_layer_below() {
    let root = Entry {
        mode: 0o711,
        ..Entry::directory(b"./".to_vec())
    };
    let (_, told) = cover(&[&[root], &[file("a")]]).unwrap();
    assert_eq!(told, ["/ 711 0"]);
}

#[test]
fn nothing_is_laid_over_layers_that_show_as_they_should() {
    let plain = Entry {
        mode: 0o755,
        ..Entry::directory(b"opt".to_vec())
    };
    let described = [file("tmp/x"), directory("tmp", 0o700)];
    let first: &[Entry<'static>] = &[directory("tmp", 0o1777), plain];
    assert!(cover(&[first, &described, &[file("opt/x"), file("new/x")]]).is_none());
    assert!(cover(&[&[file("tmp/x")]]).is_none());
    assert!(cover(&[]).is_none());
}

#[test]
fn what_a_layer_hides_describes_nothing() {
    let base = [
        directory("gone", 0o700),
        directory("file", 0o700),
        directory("opaque", 0o701),
        directory("opaque/in", 0o702),
    ];
    let link = Entry {
        kind: Kind::Symlink(b"opaque".as_slice().into()),
        ..file("link")
    };
    let hiding = [
        file(".wh.gone"),
        file("file"),
        link,
        file("opaque/.wh..wh..opq"),
        file("opaque/in/x"),
    ];
    let top = [
        file("gone/x"),
        file("file/x"),
        file("link/in"),
        file("opaque/in/y"),
    ];
    // An opaque directory hides what is in the lower ones, not how they look.
    let (_, told) = cover(&[&base, &hiding, &top]).unwrap();
    assert_eq!(told, ["/ 755 0", "/opaque 701 449"]);
}

#[test]
fn a_directory_that_a_layer_deletes_and_fills_again_is_a_new_one() {
    let base = [directory("d", 0o700), file("d/old")];
    let (new, extracted) = unpack(&[file(".wh.d"), file("d/new")]);
    assert!(!extracted.implied.contains(&b"d"[..]));
    let made = open(&new.path().join("d")).unwrap();
    assert_eq!(fstat(&made).unwrap().st_mode & 0o7777, 0o755);
    let opaque = xattrs::get(made.as_fd(), c"user.overlay.opaque").unwrap();
    assert_eq!(opaque.as_deref(), Some(&b"y"[..]));
    assert!(cover(&[&base, &[file(".wh.d"), file("d/new")]]).is_none());
}
