use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Command;
use std::sync::Arc;

use lifecycle_image::NoProgress;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::tree::{Copying, copy};
use crate::{DirectoryLayer, ExtractOptions, OpaqueXattr, Parents, Whiteouts, extract};

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn write(root: &Path, path: &str, content: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn describe(set: &ChangeSet) -> Vec<String> {
    set.iter()
        .map(|(path, change)| {
            let sign = if change == Change::Deleted { "-" } else { "" };
            format!("{sign}{}", String::from_utf8_lossy(&path))
        })
        .collect()
}

fn tar(contents: &dyn Contents) -> Vec<u8> {
    let mut out = Vec::new();
    contents.write(&mut out).unwrap();
    out
}

/// What a tree holds, without what change sets do not promise: times of directories that nobody mentions, and
/// hard links to lower files, which become files of their own (dockerfile.md M3).
fn whole(root: &Path) -> BTreeMap<String, String> {
    let layer = DirectoryLayer::new(root, "/")
        .parents(Parents::Absent)
        .style(Style::Oci { latest: Some(0) });
    let bytes = tar(&layer);
    let mut reader = crate::TarReader::new(bytes.as_slice());
    let mut out: BTreeMap<String, String> = BTreeMap::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        let data = reader.chunk().unwrap().to_vec();
        let name = String::from_utf8_lossy(&entry.path).into_owned();
        let description = match &entry.kind {
            crate::Kind::HardLink(first) => out[&*String::from_utf8_lossy(first)].clone(),
            kind => format!("{kind:?} {:o} {:?} {data:?}", entry.mode, entry.owner),
        };
        out.insert(name, description);
    }
    out
}

#[test]
fn the_snapshot_after_one_step_is_the_one_before_the_next() {
    let root = tempfile::tempdir().unwrap();
    let top = root.path();
    write(top, "a/b", "old");
    let exclude = [PathBuf::from("/proc")];
    let first = Snapshot::take(top, &exclude).unwrap();
    write(top, "a/c", "one");
    let second = first.again(top).unwrap();
    assert_eq!(describe(&ChangeSet::between(&first, &second, top)), ["a", "a/c"]);
    assert!(second.leaves_out(&exclude));
    assert!(!second.leaves_out(&[]));
    // The same size, and written right after: only a later tick of the clock tells.
    second.settle();
    write(top, "a/c", "two");
    fs::remove_file(top.join("a/b")).unwrap();
    let third = second.again(top).unwrap();
    assert_eq!(
        describe(&ChangeSet::between(&second, &third, top)),
        ["a", "-a/b", "a/c"]
    );
}

#[test]
fn snapshot_sees_every_kind_of_change_m1_m2() {
    let root = tempfile::tempdir().unwrap();
    let top = root.path();
    for path in [
        "keep/a",
        "keep/b",
        "lost/x/y",
        "turned/z",
        "edit",
        "touch/deep/f",
        "proc/1",
    ] {
        write(top, path, "old");
    }
    let exclude = [PathBuf::from("/proc")];
    let before = Snapshot::take(top, &exclude).unwrap();
    assert!(ChangeSet::since(&before, top).unwrap().is_empty());
    fs::remove_dir_all(top.join("lost")).unwrap();
    fs::remove_dir_all(top.join("turned")).unwrap();
    write(top, "turned", "a file now");
    fs::remove_file(top.join("keep/b")).unwrap();
    // Same size, and the old time put back: only the change time tells.
    let modified = fs::metadata(top.join("edit")).unwrap().modified().unwrap();
    write(top, "edit", "new");
    let edit = File::options().write(true).open(top.join("edit")).unwrap();
    edit.set_modified(modified).unwrap();
    fs::set_permissions(top.join("touch/deep/f"), fs::Permissions::from_mode(0o600)).unwrap();
    write(top, "keep-not/n", "new");
    write(top, "proc/2", "new");
    let set = ChangeSet::since(&before, top).unwrap();
    assert_eq!(
        describe(&set),
        [
            "edit",
            "keep",
            "-keep/b",
            "keep-not",
            "keep-not/n",
            "-lost",
            "touch",
            "touch/deep",
            "touch/deep/f",
            "turned",
        ]
    );
    let bytes = tar(&set);
    let mut reader = crate::TarReader::new(bytes.as_slice());
    let mut names = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        if entry.path.ends_with(b".wh.b") {
            assert_eq!(
                (entry.mode, entry.mtime, entry.kind),
                (0, 0, crate::Kind::File { size: 0 })
            );
        }
        names.push(String::from_utf8(entry.path).unwrap());
    }
    assert_eq!(names[1..3], ["keep/", "keep/.wh.b"]);
}

/// A lower tree, an upper directory and their mount.
struct Overlay {
    outer: TempDir,
}

impl Overlay {
    /// Mounts with the program, since this crate mounts nothing. Nothing when that is not allowed.
    fn mount(lower: &[&str]) -> Option<Self> {
        if !is_root() {
            println!("skipped: mounting an overlay needs root");
            return None;
        }
        let overlay = Self {
            outer: tempfile::tempdir().unwrap(),
        };
        for name in lower.iter().chain(&["upper", "work", "merged"]) {
            fs::create_dir_all(overlay.path(name)).unwrap();
        }
        Some(overlay)
    }

    fn attach(&self, lower: &[&str]) -> bool {
        let lower: Vec<_> = lower
            .iter()
            .map(|name| self.path(name).display().to_string())
            .collect();
        let options = format!(
            "lowerdir={},upperdir={},workdir={},redirect_dir=off,metacopy=off,index=off",
            lower.join(":"),
            self.path("upper").display(),
            self.path("work").display()
        );
        let status = Command::new("mount")
            .args(["-t", "overlay", "overlay", "-o", &options])
            .arg(self.path("merged"))
            .status();
        let mounted = status.is_ok_and(|status| status.success());
        if !mounted {
            println!("skipped: overlays cannot be mounted here");
        }
        mounted
    }

    fn path(&self, name: &str) -> PathBuf {
        self.outer.path().join(name)
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        if self.path("merged").exists() {
            drop(Command::new("umount").arg(self.path("merged")).output());
        }
    }
}

#[test]
fn overlay_changes_follow_m1_m2_m3() {
    let Some(overlay) = Overlay::mount(&["one", "two"]) else {
        return;
    };
    let two = overlay.path("two");
    for path in [
        "touched",
        "edited",
        "dir/lost",
        "dir/kept",
        "again/a",
        "again/b",
        "again/sub/c",
        "linked",
        "gone/x",
    ] {
        write(&two, path, "old content");
    }
    write(&overlay.path("one"), "again/from-one", "x");
    if !overlay.attach(&["one", "two"]) {
        return;
    }
    let merged = overlay.path("merged");
    // Copied up, and the same as before.
    let touched = merged.join("touched");
    let mode = fs::metadata(&touched).unwrap().permissions();
    fs::set_permissions(&touched, fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(&touched, mode).unwrap();
    write(&merged, "edited", "new content");
    fs::remove_file(merged.join("dir/lost")).unwrap();
    fs::remove_dir_all(merged.join("gone")).unwrap();
    fs::remove_dir_all(merged.join("again")).unwrap();
    write(&merged, "again/b", "new");
    write(&merged, "again/sub/d", "new");
    fs::hard_link(merged.join("linked"), merged.join("zlink")).unwrap();
    write(&merged, "new/one", "1");
    fs::hard_link(merged.join("new/one"), merged.join("new/two")).unwrap();
    write(&merged, "etc/resolv.conf", "stub");

    let lower = [overlay.path("one"), two];
    let set = ChangeSet::of_overlay(
        &overlay.path("upper"),
        &lower,
        &[PathBuf::from("/etc/resolv.conf")],
    )
    .unwrap();
    assert_eq!(
        describe(&set),
        [
            "again",
            "-again/a",
            "again/b",
            "-again/from-one",
            "again/sub",
            "-again/sub/c",
            "again/sub/d",
            "dir",
            "-dir/lost",
            "edited",
            "etc",
            "-gone",
            "new",
            "new/one",
            "new/two",
            "zlink",
        ]
    );
    let bytes = tar(&set);
    let mut reader = crate::TarReader::new(bytes.as_slice());
    while let Some(entry) = reader.next_entry().unwrap() {
        match entry.path.as_slice() {
            // A link to a lower file is a whole file, one among new files a link.
            b"zlink" => assert_eq!(entry.kind, crate::Kind::File { size: 11 }),
            b"new/two" => assert_eq!(entry.kind, crate::Kind::HardLink(b"new/one"[..].into())),
            _ => {}
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Write(String, String),
    Remove(String),
    Mkdir(String),
    Link(String, String),
    HardLink(String, String),
    Mode(String, u32),
    Rename(String, String),
}

fn path() -> impl Strategy<Value = String> {
    proptest::collection::vec(prop_oneof![Just("a"), Just("b"), Just("c-"), Just("c")], 1..4)
        .prop_map(|names| names.join("/"))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (path(), "[xy]{0,3}").prop_map(|(path, text)| Step::Write(path, text)),
        path().prop_map(Step::Remove),
        path().prop_map(Step::Mkdir),
        (path(), path()).prop_map(|(path, target)| Step::Link(path, target)),
        (path(), path()).prop_map(|(from, to)| Step::HardLink(from, to)),
        // Who is not root must still get in.
        (path(), 0o700..0o1000_u32).prop_map(|(path, mode)| Step::Mode(path, mode)),
        (path(), path()).prop_map(|(from, to)| Step::Rename(from, to)),
    ]
}

/// What a step of a build might do. Steps that make no sense fail, and that is fine.
fn run(root: &Path, steps: &[Step]) {
    for step in steps {
        let join = |path: &String| root.join(path);
        let outcome = match step {
            Step::Write(path, text) => {
                let path = join(path);
                if path.is_symlink() {
                    continue;
                }
                fs::create_dir_all(path.parent().unwrap()).and_then(|()| fs::write(path, text))
            }
            Step::Remove(path) => {
                let path = join(path);
                if path.is_dir() && !path.is_symlink() {
                    fs::remove_dir_all(path)
                } else {
                    fs::remove_file(path)
                }
            }
            Step::Mkdir(path) => fs::create_dir_all(join(path)),
            Step::Link(path, target) => symlink(format!("/nowhere/{target}"), join(path)),
            Step::HardLink(from, to) => fs::hard_link(join(from), join(to)),
            Step::Mode(path, mode) => {
                let path = join(path);
                if path.is_symlink() {
                    continue;
                }
                fs::set_permissions(path, fs::Permissions::from_mode(*mode))
            }
            Step::Rename(from, to) => fs::rename(join(from), join(to)),
        };
        drop(outcome);
    }
}

fn duplicate(from: &Path) -> TempDir {
    let to = tempfile::tempdir().unwrap();
    let handles = [from, to.path()].map(|path| File::open(path).unwrap());
    copy(handles[0].as_fd(), handles[1].as_fd(), Copying::Reflink).unwrap();
    to
}

fn apply(bytes: &[u8], to: &Path, options: &ExtractOptions<'_>) {
    let handle = File::open(to).unwrap();
    extract(bytes, None, handle.as_fd(), options, &NoProgress).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    /// The old tree with the change set on top is the new tree.
    #[test]
    fn snapshot_changes_applied_give_the_tree(
        before in proptest::collection::vec(step(), 0..15),
        after in proptest::collection::vec(step(), 0..15),
    ) {
        let root = tempfile::tempdir().unwrap();
        run(root.path(), &before);
        let old = duplicate(root.path());
        let snapshot = Snapshot::take(root.path(), &[]).unwrap();
        run(root.path(), &after);
        let set = ChangeSet::since(&snapshot, root.path()).unwrap();
        let options = ExtractOptions {
            ownership: if is_root() { crate::Ownership::Keep } else { crate::Ownership::Squash },
            ..ExtractOptions::default()
        };
        apply(&tar(&set), old.path(), &options);
        prop_assert_eq!(whole(old.path()), whole(root.path()));
    }

    /// The same over three overlays: two layers are unpacked in overlay form, a third is made on top of them.
    #[test]
    fn overlay_changes_applied_give_the_tree(
        steps in proptest::collection::vec(proptest::collection::vec(step(), 0..12), 3),
    ) {
        let names = ["l0", "l1"];
        let Some(overlay) = Overlay::mount(&["l0", "l1"]) else { return Ok(()) };
        let options = ExtractOptions {
            whiteouts: Whiteouts::Overlay(OpaqueXattr::Trusted),
            ..ExtractOptions::default()
        };
        let plain = tempfile::tempdir().unwrap();
        let mut layers = Vec::new();
        for (steps, name) in steps.iter().zip(names) {
            let snapshot = Snapshot::take(plain.path(), &[]).unwrap();
            run(plain.path(), steps);
            let layer = tar(&ChangeSet::since(&snapshot, plain.path()).unwrap());
            apply(&layer, &overlay.path(name), &options);
            layers.push(layer);
        }
        if !overlay.attach(&["l1", "l0"]) {
            return Ok(());
        }
        let merged = overlay.path("merged");
        prop_assert_eq!(whole(&merged), whole(plain.path()));
        run(&merged, &steps[2]);
        let lower = [overlay.path("l1"), overlay.path("l0")];
        let set = ChangeSet::of_overlay(&overlay.path("upper"), &lower, &[]).unwrap();
        apply(&tar(&set), plain.path(), &ExtractOptions::default());
        prop_assert_eq!(whole(plain.path()), whole(&merged));
    }
}

#[test]
fn times_and_owners_of_change_sets_can_be_fixed_m6() {
    let root = tempfile::tempdir().unwrap();
    let before = Snapshot::take(root.path(), &[]).unwrap();
    write(root.path(), "d/f", "x");
    let mut table = crate::OwnerTable::default();
    table.set(b"d/f", crate::Owner::new(5, 6));
    let set = ChangeSet::since(&before, root.path())
        .unwrap()
        .owners(Owners::Table(Arc::new(table)))
        .latest(Some(1_000));
    let bytes = tar(&set);
    let mut reader = crate::TarReader::new(bytes.as_slice());
    let mut seen = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        seen.push((entry.mtime, entry.owner.uid, entry.owner.gid));
    }
    assert_eq!(seen, [(1_000, 0, 0), (1_000, 5, 6)]);
}
