//! Whiteouts, applied or made for an overlay.

use super::*;

fn overlay() -> ExtractOptions<'static> {
    ExtractOptions {
        whiteouts: Whiteouts::Overlay(OpaqueXattr::User),
        ..options()
    }
}

#[test]
fn whiteouts_apply_to_lower_layers_only() {
    let to = tempfile::tempdir().unwrap();
    let lower = layer()
        .file("gone", 0o644, *b"x")
        .file("tree/a/b", 0o644, *b"x")
        .file("opaque/old", 0o644, *b"x")
        .file("opaque/both/old", 0o644, *b"x")
        .file("again", 0o644, *b"old");
    unpack(&tar_of(&lower), to.path(), &options()).unwrap();
    let upper = layer()
        .file(".wh.gone", 0, *b"")
        .file(".wh.tree", 0, *b"")
        .file("again", 0o644, *b"new")
        .file(".wh.again", 0, *b"")
        .file("opaque/both/new", 0o644, *b"y")
        .file("opaque/.wh..wh..opq", 0, *b"")
        .file("opaque/new", 0o644, *b"y")
        .file(".wh..wh.plnk", 0, *b"")
        .file("absent/.wh.file", 0, *b"");
    unpack(&tar_of(&upper), to.path(), &options()).unwrap();
    let exists = |path: &str| to.path().join(path).symlink_metadata().is_ok();
    for path in [
        "gone",
        "tree",
        "opaque/old",
        "opaque/both/old",
        ".wh.gone",
        ".wh..wh.plnk",
    ] {
        assert!(!exists(path), "{path}");
    }
    for path in ["again", "opaque/new", "opaque/both/new"] {
        assert!(exists(path), "{path}");
    }
    assert_eq!(fs::read(to.path().join("again")).unwrap(), b"new");
}

#[test]
fn whiteouts_become_what_overlays_understand() {
    let to = tempfile::tempdir().unwrap();
    let layer = layer()
        .file("d/.wh.gone", 0, *b"")
        .file("o/.wh..wh..opq", 0, *b"")
        .file("o/new", 0o644, *b"y")
        .file(".wh.replaced", 0, *b"")
        .file("replaced/in", 0o644, *b"y");
    let result = unpack(&tar_of(&layer), to.path(), &overlay());
    if let Err(error) = &result
        && !is_root()
    {
        println!("skipped: whiteouts cannot be made here: {error}");
        return;
    }
    result.unwrap();
    let gone = fs::symlink_metadata(to.path().join("d/gone")).unwrap();
    assert_eq!((gone.mode() & 0o170_000, gone.rdev()), (0o020_000, 0));
    let opaque = |path: &str| {
        let handle = File::open(to.path().join(path)).unwrap();
        crate::xattrs::get(handle.as_fd(), c"user.overlay.opaque").unwrap()
    };
    assert_eq!(opaque("o").as_deref(), Some(&b"y"[..]));
    assert_eq!(opaque("d"), None);
    assert!(to.path().join("replaced/in").exists());
}
