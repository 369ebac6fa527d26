//! Extracted layers.

use std::fs::read_to_string;
use std::io::Write;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;
use std::sync::Arc;
use std::thread;

use lifecycle_image::{BytesLayer, Layer, NoProgress, Step};
use lifecycle_layers::{
    Contents, Entry, OpaqueXattr, Owner, Ownership, PackError, Refused, Style, TarWriter, Whiteouts,
};

use super::samples::{Counter, blob_path, files, image_of, pack, read, spawning};
use crate::{Expected, Store, StoreError, Tree, TreeForm};

/// A form that every user and file system can have.
fn form() -> TreeForm<'static> {
    TreeForm {
        whiteouts: Whiteouts::Overlay(OpaqueXattr::User),
        ownership: Ownership::Squash,
        refused: Refused::Skip,
        ..TreeForm::default()
    }
}

#[test]
fn a_root_is_a_directory_for_each_layer_shared_between_images() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let (a, b) = (
        pack(&store, files("a", "1"), Expected::New),
        pack(&store, files("b", "2"), Expected::New),
    );
    let progress = Counter::default();
    let root = store
        .root(&image_of(&[a.clone(), b.clone()]), form(), &progress)
        .unwrap();
    assert_eq!(read_to_string(root[0].path.join("etc/a")).unwrap(), "1");
    assert_eq!(read_to_string(root[1].path.join("etc/b")).unwrap(), "2");
    let turned = store.root(&image_of(&[b, a.clone()]), form(), &progress).unwrap();
    assert_eq!(turned, [root[1].clone(), root[0].clone()]);
    assert_eq!(progress.count(Step::Extract), 2);
    let literal = TreeForm {
        whiteouts: Whiteouts::Literal,
        ..form()
    };
    assert_ne!(store.tree(&*a, literal, &NoProgress).unwrap().path, root[0].path);
    // Its diff ID is known from its bytes now.
    assert!(store.layer(&a.diff_id().unwrap()).unwrap().is_some());
}

#[test]
fn many_extract_the_same_layer_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let layer = pack(&store, files("a", "1"), Expected::New);
    let progress = Counter::default();
    thread::scope(|scope| {
        for _ in 0..8 {
            // A lock that held for one process only would not hold between these either.
            let store = Store::open(directory.path()).unwrap();
            let (layer, progress) = (&layer, &progress);
            scope.spawn(move || store.tree(&**layer, form(), progress).unwrap());
        }
    });
    assert_eq!(progress.count(Step::Extract), 1);
    assert_eq!(store.usage().unwrap().temporary.count, 0);
    let locks = std::fs::read_dir(store.path().join("locks")).unwrap();
    let names: Vec<_> = locks.map(|lock| lock.unwrap().file_name()).collect();
    assert_eq!(names, ["prune"]);
}

#[test]
fn a_layer_that_is_not_what_the_image_says_is_not_extracted() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let (honest, other) = (
        pack(&store, files("a", "1"), Expected::New),
        pack(&store, files("b", "2"), Expected::New),
    );
    let lie: Arc<dyn Layer> = Arc::new(BytesLayer::new(
        honest.media_type(),
        read(&*honest).unwrap(),
        other.diff_id().unwrap(),
    ));
    let error = store.tree(&*lie, form(), &NoProgress).unwrap_err();
    assert!(matches!(error, StoreError::Extract { .. }), "{error}");
    assert_eq!(store.usage().unwrap().trees.count, 0);
    assert_eq!(store.usage().unwrap().temporary.count, 0);
    // The lie was not remembered either.
    let known = store.layer(&other.diff_id().unwrap()).unwrap().unwrap();
    assert_eq!(known.descriptor().unwrap(), other.descriptor().unwrap());
}

#[test]
fn a_damaged_blob_is_an_error_and_no_tree() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let layer = pack(&store, files("a", "1"), Expected::New);
    let path = blob_path(&store, &layer.descriptor().unwrap().digest);
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert!(store.tree(&*layer, form(), &NoProgress).is_err());
    assert_eq!(store.usage().unwrap().trees.count, 0);
}

#[test]
fn a_root_is_what_an_overlay_mount_wants() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("store")).unwrap();
    let image = image_of(&[
        pack(&store, files("gone", "1"), Expected::New),
        pack(&store, files("stays", "2"), Expected::New),
        pack(&store, files(".wh.gone", ""), Expected::New),
    ]);
    let overlay = TreeForm {
        whiteouts: Whiteouts::Overlay(OpaqueXattr::Trusted),
        ..TreeForm::default()
    };
    let root = match store.root(&image, overlay, &NoProgress) {
        Ok(root) => root,
        Err(error) if !rustix::process::geteuid().is_root() => {
            println!("skipped: only root can give files away: {error}");
            return;
        }
        Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
    };
    // Overlay wants the topmost first.
    let lower: Vec<_> = root
        .iter()
        .rev()
        .map(|tree| tree.path.to_str().unwrap())
        .collect();
    let merged = directory.path().join("merged");
    std::fs::create_dir(&merged).unwrap();
    let busy = spawning();
    let mounted = Command::new("mount")
        .args([
            "-t",
            "overlay",
            "overlay",
            "-o",
            &format!("lowerdir={}", lower.join(":")),
        ])
        .arg(&merged)
        .output();
    drop(busy);
    if !mounted.is_ok_and(|output| output.status.success()) {
        println!("skipped: overlays cannot be mounted here");
        return;
    }
    let names: Vec<_> = std::fs::read_dir(merged.join("etc"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    let busy = spawning();
    let unmounted = Command::new("umount").arg(&merged).status().unwrap();
    drop(busy);
    assert!(unmounted.success());
    assert_eq!(names, ["stays"]);
}

/// A layer of one entry that says nothing about the directories above it.
#[derive(Debug)]
struct Alone(Entry<'static>);

impl Contents for Alone {
    fn name(&self) -> String {
        "alone".into()
    }

    fn write(&self, tar: &mut dyn Write) -> Result<(), PackError> {
        let mut writer = TarWriter::new(tar, Style::Oci { latest: None });
        writer.entry(&self.0)?;
        writer.finish().map(drop)
    }
}

#[test]
fn what_a_layer_leaves_out_is_laid_over_an_overlay() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let tmp = Entry {
        mode: 0o1777,
        owner: Owner::new(5, 6),
        ..Entry::directory(&b"tmp"[..])
    };
    let layers =
        [tmp, Entry::file(&b"tmp/x"[..], 0)].map(|entry| pack(&store, Arc::new(Alone(entry)), Expected::New));
    let cover = |layers: &[Arc<dyn Layer>]| {
        let trees = store.root(&image_of(layers), form(), &NoProgress).unwrap();
        store
            .cover(&trees.iter().map(Tree::overlay_layer).collect::<Vec<_>>())
            .unwrap()
    };
    // The second time the layers' records tell what they leave out.
    for _ in 0..2 {
        let top = cover(&layers).unwrap();
        let found = std::fs::symlink_metadata(top.tree.path.join("tmp")).unwrap();
        assert_eq!(found.mode() & 0o7777, 0o1777);
        assert_eq!(top.tree.owners.get(b"tmp"), Owner::new(5, 6));
        assert!(!top.tree.path.join("tmp/x").exists());
        assert_eq!(store.usage().unwrap().temporary.count, 1);
    }
    assert_eq!(store.usage().unwrap().temporary.count, 0);
    assert_eq!(store.verify(false).unwrap().damage, []);
    let turned: Vec<_> = layers.into_iter().rev().collect();
    assert!(cover(&turned).is_none());
}
