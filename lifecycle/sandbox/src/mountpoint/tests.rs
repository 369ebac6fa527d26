use std::os::unix::fs::{MetadataExt, symlink};
use std::time::{Duration, SystemTime};

use super::*;

struct Fixture {
    _temporary: tempfile::TempDir,
    root: PathBuf,
    outside: PathBuf,
}

fn fixture() -> Fixture {
    let temporary = tempfile::tempdir().unwrap();
    let (root, outside) = (temporary.path().join("root"), temporary.path().join("outside"));
    std::fs::create_dir_all(root.join("etc")).unwrap();
    std::fs::create_dir_all(outside.join("canary")).unwrap();
    Fixture {
        root,
        outside,
        _temporary: temporary,
    }
}

impl Fixture {
    fn points(&self) -> MountPoints {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        MountPoints::new(openat(rustix::fs::CWD, &self.root, flags, Mode::empty()).unwrap())
    }

    fn set_old_time(&self, path: &str) -> SystemTime {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        std::fs::File::open(self.root.join(path))
            .unwrap()
            .set_modified(time)
            .unwrap();
        time
    }

    fn time(&self, path: &str) -> SystemTime {
        std::fs::metadata(self.root.join(path))
            .unwrap()
            .modified()
            .unwrap()
    }
}

#[test]
fn stubs_are_removed_and_parents_get_their_time_back_i5() {
    let f = fixture();
    let before = f.set_old_time("etc");
    let mut points = f.points();
    points
        .make(Path::new("/etc/resolv.conf"), Kind::File, Lifetime::Run)
        .unwrap();
    points
        .make(Path::new("/etc/a/b/c"), Kind::Directory, Lifetime::Run)
        .unwrap();
    points
        .make(Path::new("/work/dir"), Kind::Directory, Lifetime::Forever)
        .unwrap();
    assert!(f.root.join("etc/a/b/c").is_dir());
    assert_eq!(f.root.join("etc/a").metadata().unwrap().mode() & 0o7777, 0o755);
    drop(points.into_stubs());
    assert_eq!(std::fs::read_dir(f.root.join("etc")).unwrap().count(), 0);
    assert_eq!(f.time("etc"), before);
    assert!(f.root.join("work/dir").is_dir());
}

#[test]
fn what_the_step_put_there_stays() {
    let f = fixture();
    f.set_old_time("etc");
    let mut points = f.points();
    points
        .make(Path::new("/etc/a"), Kind::Directory, Lifetime::Run)
        .unwrap();
    points
        .make(Path::new("/etc/file"), Kind::File, Lifetime::Run)
        .unwrap();
    std::fs::write(f.root.join("etc/a/kept"), "x").unwrap();
    std::fs::write(f.root.join("etc/file"), "x").unwrap();
    let changed = f.set_old_time("etc") + Duration::from_secs(5);
    std::fs::File::open(f.root.join("etc"))
        .unwrap()
        .set_modified(changed)
        .unwrap();
    drop(points.into_stubs());
    assert!(f.root.join("etc/a/kept").exists() && f.root.join("etc/file").exists());
    assert_eq!(f.time("etc"), changed);
}

#[test]
fn links_resolve_within_the_root() {
    let f = fixture();
    symlink("/etc", f.root.join("absolute")).unwrap();
    symlink("../../../etc", f.root.join("climbing")).unwrap();
    symlink(&f.outside, f.root.join("escape")).unwrap();
    symlink("loop", f.root.join("loop")).unwrap();
    let mut points = f.points();
    let mut make = |path: &str, kind| points.make(Path::new(path), kind, Lifetime::Run);
    assert_eq!(make("/absolute/x", Kind::File).unwrap(), Path::new("/etc/x"));
    assert_eq!(make("/climbing/y", Kind::File).unwrap(), Path::new("/etc/y"));
    assert_eq!(make("/../../etc/z", Kind::File).unwrap(), Path::new("/etc/z"));
    assert!(
        make("/escape/canary", Kind::Directory)
            .unwrap()
            .starts_with(&f.outside)
    );
    assert_eq!(make("/loop/x", Kind::File), Err(Errno::LOOP));
    assert_eq!(make("/etc/x/below", Kind::File), Err(Errno::NOTDIR));
    assert_eq!(make("/etc", Kind::File), Err(Errno::ISDIR));
    assert_eq!(make("/", Kind::File), Err(Errno::ISDIR));
    assert_eq!(std::fs::read_dir(f.outside.join("canary")).unwrap().count(), 0);
    assert!(
        f.root
            .join(f.outside.strip_prefix("/").unwrap())
            .join("canary")
            .is_dir()
    );
}

#[test]
fn cleanup_never_follows_a_link_cve_2024_23652() {
    let f = fixture();
    let mut points = f.points();
    points
        .make(Path::new("/mnt/canary"), Kind::Directory, Lifetime::Run)
        .unwrap();
    // What a hostile step would do: the parent becomes a link to a directory that has the same entry.
    std::fs::rename(f.root.join("mnt"), f.root.join("moved")).unwrap();
    symlink(&f.outside, f.root.join("mnt")).unwrap();
    drop(points.into_stubs());
    assert!(f.outside.join("canary").is_dir());
    assert!(
        !f.root.join("moved/canary").exists(),
        "the stub itself is found where it went"
    );
}

#[test]
fn another_object_under_the_stubs_name_is_left_alone() {
    let f = fixture();
    let mut points = f.points();
    points
        .make(Path::new("/etc/file"), Kind::File, Lifetime::Run)
        .unwrap();
    std::fs::write(f.root.join("etc/new"), "").unwrap();
    std::fs::rename(f.root.join("etc/new"), f.root.join("etc/file")).unwrap();
    drop(points.into_stubs());
    assert!(f.root.join("etc/file").exists());
}

#[test]
fn mounts_are_seen_by_later_mount_points() {
    let f = fixture();
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mounted = openat(rustix::fs::CWD, &f.outside, flags, Mode::empty()).unwrap();
    let mut points = f.points();
    let at = points
        .make(Path::new("/mnt"), Kind::Directory, Lifetime::Run)
        .unwrap();
    points.cover(at, Kind::Directory, Some(mounted));
    points.cover("/proc".into(), Kind::Directory, None);
    points
        .make(Path::new("/mnt/canary/inner"), Kind::Directory, Lifetime::Run)
        .unwrap();
    assert!(f.outside.join("canary/inner").is_dir());
    assert_eq!(
        points.make(Path::new("/proc/sys/x"), Kind::File, Lifetime::Run),
        Err(Errno::PERM)
    );
    drop(points.into_stubs());
    assert!(!f.outside.join("canary/inner").exists() && f.outside.join("canary").exists());
}
