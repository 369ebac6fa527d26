//! Cached layers of buildpacks become directories again.

use super::*;

fn cached() -> (Vec<u8>, DiffId) {
    let from = tempfile::tempdir().unwrap();
    fs::create_dir(from.path().join("bin")).unwrap();
    fs::write(from.path().join("bin/tool"), "tool").unwrap();
    fs::hard_link(from.path().join("bin/tool"), from.path().join("same")).unwrap();
    fs::write(from.path().join(".wh.file"), "not a whiteout").unwrap();
    let root = rustix::process::geteuid().as_raw();
    let contents = DirectoryLayer::new(from.path(), "/layers/bp_x/lay").owners(crate::Owners::Fixed(
        crate::Owner::new(root, rustix::process::getegid().as_raw()),
    ));
    let mut stored = Vec::new();
    let packed = pack(&contents, &Packing::default(), &mut stored, &NoProgress).unwrap();
    (stored, packed.diff_id)
}

fn restore_at(
    stored: &[u8],
    at: &str,
    into: &Path,
    expected: &DiffId,
    threads: Threads,
) -> Result<Extracted, ExtractError> {
    restore_as("lay", stored, at, into, expected, threads)
}

fn restore_as(
    name: &str,
    stored: &[u8],
    at: &str,
    into: &Path,
    expected: &DiffId,
    threads: Threads,
) -> Result<Extracted, ExtractError> {
    let handle = File::open(into).unwrap();
    let name = name.as_ref();
    let layer = CachedLayer {
        at: at.as_ref(),
        diff_id: expected,
        compression: None,
        threads,
    };
    restore(stored, layer, handle.as_fd(), name, ownership(), &NoProgress)
}

type Prepare = fn(&Path);

#[test]
fn cached_layers_take_the_place_of_anything() {
    let (stored, diff_id) = cached();
    let prepare: [(&str, Prepare); 4] = [
        ("nothing", |_| {}),
        ("link", |path| symlink("/nowhere", path).unwrap()),
        ("file", |path| fs::write(path, "x").unwrap()),
        ("directory", |path| {
            fs::create_dir(path).unwrap();
            fs::write(path.join("old"), "x").unwrap();
        }),
    ];
    for ((what, prepare), threads) in prepare.into_iter().zip(THREADS.into_iter().cycle()) {
        let to = tempfile::tempdir().unwrap();
        prepare(&to.path().join("lay"));
        restore_at(&stored, "/layers/bp_x/lay", to.path(), &diff_id, threads).unwrap();
        assert_eq!(
            fs::read(to.path().join("lay/bin/tool")).unwrap(),
            b"tool",
            "{what}"
        );
        assert!(to.path().join("lay/.wh.file").exists());
        assert!(!to.path().join("lay/old").exists());
        let names: Vec<_> = fs::read_dir(to.path()).unwrap().collect();
        assert_eq!(names.len(), 1, "{what} left {names:?}");
    }
}

#[test]
fn cached_layers_have_names_as_long_as_the_system_allows() {
    let (stored, diff_id) = cached();
    let to = tempfile::tempdir().unwrap();
    let name = "l".repeat(255);
    let (at, into) = ("/layers/bp_x/lay", to.path());
    restore_as(&name, &stored, at, into, &diff_id, Threads::One).unwrap();
    assert_eq!(fs::read(into.join(&name).join("bin/tool")).unwrap(), b"tool");
}

#[test]
fn cached_layers_that_fail_leave_what_was_there() {
    let (stored, diff_id) = cached();
    let to = tempfile::tempdir().unwrap();
    fs::create_dir(to.path().join("lay")).unwrap();
    let wrong = DiffId(lifecycle_image::Digest::of(b"other"));
    let half = &stored[..stored.len() / 2];
    for (stored, at, diff_id) in [
        (&stored[..], "/layers/bp_x/lay", &wrong),
        (half, "/layers/bp_x/lay", &diff_id),
        // The layer of somebody else does not end up here.
        (&stored, "/layers/bp_y/lay", &diff_id),
    ] {
        for threads in THREADS {
            assert!(restore_at(stored, at, to.path(), diff_id, threads).is_err());
        }
    }
    assert_eq!(fs::read_dir(to.path()).unwrap().count(), 1);
    assert_eq!(fs::read_dir(to.path().join("lay")).unwrap().count(), 0);
}
