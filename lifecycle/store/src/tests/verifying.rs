//! Damage is found, named, and on request removed.

use std::io::ErrorKind;

use lifecycle_image::{NoProgress, Source, TransferErrorKind};
use lifecycle_layers::{Ownership, Refused, Whiteouts};

use super::samples::{blob_path, files, image_of, linux, pack, read, reference, write};
use crate::{Expected, Record, Store, TreeForm};

#[test]
fn damage_is_named_and_removed() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let image = image_of(&[
        pack(&store, files("a", "1"), Expected::New),
        pack(&store, files("b", "2"), Expected::New),
    ]);
    write(&store, &image, "good");
    let form = TreeForm {
        whiteouts: Whiteouts::Literal,
        ownership: Ownership::Squash,
        refused: Refused::Skip,
        ..TreeForm::default()
    };
    let root = store.root(&image, form, &NoProgress).unwrap();
    let clean = store.verify(false).unwrap();
    assert_eq!((clean.blobs, clean.trees, clean.damage.len()), (4, 2, 0));
    // A hard link to a file of a tree is no damage.
    std::fs::hard_link(root[0].path.join("etc/a"), directory.path().join("link")).unwrap();
    assert_eq!(store.verify(false).unwrap().damage, []);

    let layer = blob_path(&store, &image.layers()[0].descriptor().unwrap().digest);
    let mut bytes = std::fs::read(&layer).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&layer, bytes).unwrap();
    std::fs::write(root[1].path.join("etc/b"), "changed").unwrap();
    let record = directory.path().join("records/broken");
    std::fs::write(&record, "{").unwrap();
    let stray = directory.path().join("blobs/sha256/stray");
    std::fs::write(&stray, "").unwrap();

    // Whoever reads the blob is told as well.
    let stored = store.image(&reference("good"), &linux()).unwrap();
    let error = read(&*stored.layers()[0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);

    let found = store.verify(false).unwrap();
    assert_eq!(
        store.verify(true).unwrap(),
        found,
        "looking and removing find the same"
    );
    let tree = root[1].path.parent().unwrap().to_owned();
    let name = found.damage.last().unwrap();
    assert!(name.reason.contains("good"), "{name:?}");
    let mut paths: Vec<_> = found.damage.iter().map(|damage| damage.path.clone()).collect();
    let mut expected = vec![layer, stray, record, tree, name.path.clone()];
    paths.sort();
    expected.sort();
    assert_eq!(paths, expected);
    assert_eq!(store.verify(false).unwrap().damage, []);
    let error = store.artifact(&reference("good")).unwrap_err();
    assert_eq!(error.kind, TransferErrorKind::NotFound);

    // What was removed is made again.
    let image = image_of(&[
        pack(&store, files("a", "1"), Expected::here()),
        pack(&store, files("b", "2"), Expected::here()),
    ]);
    write(&store, &image, "good");
    let root = store.root(&image, form, &NoProgress).unwrap();
    assert_eq!(std::fs::read_to_string(root[1].path.join("etc/b")).unwrap(), "2");
}

#[test]
fn a_name_whose_image_is_incomplete_is_damage() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let image = image_of(&[pack(&store, files("a", "1"), Expected::New)]);
    write(&store, &image, "a");
    for digest in [
        image.layers()[0].descriptor().unwrap().digest,
        image.encode_config().unwrap().descriptor.digest,
        image.digest().unwrap(),
    ] {
        let path = blob_path(&store, &digest);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(store.verify(false).unwrap().damage.len(), 1, "{digest}");
        std::fs::write(&path, bytes).unwrap();
    }
    assert_eq!(store.verify(false).unwrap().damage, []);
}

/// What is left of a file.
type Cut = fn(&[u8]) -> Vec<u8>;

/// What a power cut leaves of documents that are not flushed: nothing, the beginning, or blocks that were never written.
#[test]
fn half_a_note_is_none_and_is_written_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let layer = pack(&store, files("a", "1"), Expected::New);
    let (descriptor, diff_id) = (layer.descriptor().unwrap(), layer.diff_id().unwrap());
    let repository = reference("r.test/app").repository().clone();
    let record = Record {
        key: "step".into(),
        value: serde_json::json!({"diffId": diff_id.as_str()}),
        blobs: vec![descriptor.clone()],
    };
    let remember = || {
        store.remember(&record).unwrap();
        store.remember_origin(&descriptor.digest, &repository).unwrap();
        store.directory().remember(&diff_id, &descriptor, None).unwrap();
    };
    remember();
    let found = |part: &str| {
        let part = directory.path().join(part);
        let mut entries = std::fs::read_dir(part).unwrap();
        let path = entries.next().unwrap().unwrap().path();
        assert!(entries.next().is_none());
        path
    };
    let notes = [found("records"), found("origins"), {
        let forms = found("layers");
        let mut entries = std::fs::read_dir(forms).unwrap();
        entries.next().unwrap().unwrap().path()
    }];
    let whole: Vec<Vec<u8>> = notes.iter().map(|path| std::fs::read(path).unwrap()).collect();
    let cuts: [Cut; 4] = [
        |_| Vec::new(),
        |whole| whole[..whole.len() - 1].to_vec(),
        |whole| vec![0; whole.len()],
        |whole| [&whole[..whole.len() / 2], &vec![0; whole.len() - whole.len() / 2]].concat(),
    ];
    for cut in cuts {
        for (path, whole) in notes.iter().zip(&whole) {
            std::fs::write(path, cut(whole)).unwrap();
        }
        assert_eq!(store.record("step").unwrap(), None);
        assert!(store.layer(&diff_id).unwrap().is_none());
        assert_eq!(store.directory().known_origins(&descriptor.digest), []);
        remember();
        assert_eq!(store.record("step").unwrap().as_ref(), Some(&record));
        assert!(store.layer(&diff_id).unwrap().is_some());
        assert_eq!(
            store.directory().known_origins(&descriptor.digest),
            std::slice::from_ref(&repository)
        );
    }
    // Whole, but of a blob that the cut has taken.
    std::fs::write(blob_path(&store, &descriptor.digest), "").unwrap();
    assert_eq!(store.record("step").unwrap(), None);
    assert!(store.layer(&diff_id).unwrap().is_none());
}
