//! Images by name, records, caches, and who may use a store.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use lifecycle_image::{
    Artifact, Descriptor, Documents, Family, Index, MediaType, Platform, RawDocument, Sink, Source,
    TransferErrorKind,
};

use super::samples::{alone, blob_path, files, image_of, linux, pack, read, reference, write};
use crate::{Expected, Record, Sharing, Store, StoreError};

#[test]
fn documents_are_found_as_long_as_they_are_whole() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let document = RawDocument::new(MediaType::new("text/plain"), b"content".to_vec());
    let digest = &document.descriptor.digest;
    assert_eq!(Documents::find(&store, digest, 100), None);
    Documents::keep(&store, &document);
    assert_eq!(
        Documents::find(&store, digest, 7).as_deref(),
        Some(&b"content"[..])
    );
    assert_eq!(Documents::find(&store, digest, 6), None, "too large");
    std::fs::write(blob_path(&store, digest), "damaged").unwrap();
    assert_eq!(Documents::find(&store, digest, 100), None);
}

#[test]
fn images_are_found_by_name_and_by_digest() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let base = pack(&store, files("base", "0"), Expected::New);
    let image = image_of(&[base, pack(&store, files("a", "1"), Expected::New)]);
    let receipt = write(&store, &image, "r.test/a:1");
    assert_eq!(receipt.digest, image.digest().unwrap());
    let again = Store::open(directory.path()).unwrap();
    let read_back = again.image(&reference("r.test/a:1"), &linux()).unwrap();
    assert_eq!(read_back.digest().unwrap(), receipt.digest);
    for (layer, original) in read_back.layers().iter().zip(image.layers()) {
        assert_eq!(read(&**layer).unwrap(), read(&**original).unwrap());
    }
    let by_digest = reference("r.test/a").repository().at(&receipt.digest);
    assert!(matches!(again.artifact(&by_digest), Ok(Artifact::Image(_))));
    again.tag(&by_digest, &reference("other:2")).unwrap();
    let names: Vec<_> = again
        .images()
        .unwrap()
        .into_iter()
        .map(|image| image.name)
        .collect();
    assert_eq!(names, [reference("other:2"), reference("r.test/a:1")]);
    assert!(again.remove(&reference("r.test/a:1")).unwrap());
    assert!(!again.remove(&reference("r.test/a:1")).unwrap());
    let error = store.artifact(&reference("r.test/a:1")).unwrap_err();
    assert_eq!(error.kind, TransferErrorKind::NotFound);
    assert!(store.image(&reference("other:2"), &linux()).is_ok());
    let missing = store.tag(&reference("none"), &reference("x"));
    assert!(matches!(missing, Err(StoreError::NoImage { .. })));
    let receipt = write(&again, &read_back, "third");
    assert_eq!((receipt.sent, receipt.existed), (0, 4));
}

#[test]
fn an_index_may_have_members_that_are_not_here() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let image = image_of(&[pack(&store, files("a", "1"), Expected::New)]);
    let mut upload = store.begin(&[reference("many")]).unwrap();
    let receipt = upload.member(&image).unwrap();
    let manifest = MediaType::manifest(Family::Oci);
    let here = Descriptor {
        platform: Some(linux()),
        ..Descriptor::new(manifest.clone(), receipt.digest.clone(), receipt.manifest_size)
    };
    let away = Descriptor {
        platform: Some(Platform::linux("arm64")),
        ..Descriptor::of(manifest, b"elsewhere")
    };
    upload
        .finish_index(&Index::new(Family::Oci, vec![away, here]))
        .unwrap();
    let found = store.image(&reference("many"), &linux()).unwrap();
    assert_eq!(found.digest().unwrap(), receipt.digest);
    let error = store
        .image(&reference("many"), &Platform::linux("arm64"))
        .unwrap_err();
    assert_eq!(error.kind, TransferErrorKind::NotFound);
    assert_eq!(store.verify(false).unwrap().damage, []);
}

#[test]
fn records_are_found_while_their_blobs_are_there() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let blob = RawDocument::new(MediaType::new("application/json"), b"{}".to_vec());
    let record = Record {
        key: "step 1".into(),
        value: serde_json::json!({"diffId": "x"}),
        blobs: vec![blob.descriptor.clone()],
    };
    store.remember(&record).unwrap();
    assert_eq!(store.record("step 1").unwrap(), None, "its blob is not here");
    store.keep(&blob).unwrap();
    assert_eq!(store.record("step 1").unwrap(), Some(record));
    assert_eq!(store.record("step 2").unwrap(), None);
    assert!(store.forget("step 1").unwrap());
    assert_eq!(store.record("step 1").unwrap(), None);
}

#[test]
fn caches_are_shared_locked_or_private() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let one = store.cache("pip", Sharing::Shared).unwrap();
    let two = store.cache("pip", Sharing::Shared).unwrap();
    assert_eq!(one.path(), two.path());
    std::fs::write(one.path().join("wheel"), "w").unwrap();
    let private = store.cache("pip", Sharing::Private).unwrap();
    assert_ne!(private.path(), one.path());
    let remove_all = || {
        let caches = store.caches().unwrap().into_iter();
        let taken = caches.filter_map(|cache| store.directory().take_cache(&cache.path).unwrap());
        taken.count()
    };
    assert_eq!(remove_all(), 0, "all are in use");
    drop((one, two));
    let locked = store.cache("pip", Sharing::Locked).unwrap();
    assert!(locked.path().join("wheel").exists());
    let waiting = std::thread::spawn({
        let store = store.clone();
        move || store.cache("pip", Sharing::Locked).map(drop)
    });
    drop(locked);
    waiting.join().unwrap().unwrap();
    drop(private);
    assert_eq!(store.caches().unwrap().len(), 2);
    assert_eq!(remove_all(), 2);
    assert!(
        !store
            .cache("pip", Sharing::Shared)
            .unwrap()
            .path()
            .join("wheel")
            .exists()
    );
}

#[test]
fn nobody_else_can_look_into_a_store() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("store");
    std::fs::create_dir(&root).unwrap();
    std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o755)).unwrap();
    let store = Store::open(&root).unwrap();
    let image = image_of(&[pack(&store, files("a", "1"), Expected::New)]);
    write(&store, &image, "a");
    drop(store.cache("c", Sharing::Shared).unwrap());
    let mut open = vec![root];
    while let Some(path) = open.pop() {
        let found = std::fs::symlink_metadata(&path).unwrap();
        assert_eq!(found.mode() & 0o077, 0, "{}", path.display());
        if found.is_dir() {
            open.extend(
                std::fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
    }
}

#[test]
fn directories_that_are_no_store_are_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    std::fs::write(path.join("letter.txt"), "dear").unwrap();
    assert!(matches!(Store::open(path), Err(StoreError::NotAStore { .. })));
    std::fs::write(path.join("version"), "99\n").unwrap();
    let Err(StoreError::Version { found, expected, .. }) = Store::open(path) else {
        panic!("a version of the future was opened");
    };
    assert_eq!((found.as_str(), expected), ("99", 1));
    if rustix::process::geteuid().is_root() {
        let foreign = path.join("foreign");
        std::fs::create_dir(&foreign).unwrap();
        std::os::unix::fs::chown(&foreign, Some(12345), None).unwrap();
        let error = Store::open(&foreign).unwrap_err();
        assert!(matches!(error, StoreError::Owner { owner: 12345, .. }), "{error}");
    } else {
        println!("skipped: only root can give directories away");
    }
}

#[test]
fn a_temporary_store_goes_with_its_last_clone() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::temporary(directory.path()).unwrap();
    let layer = pack(&store, files("a", "1"), Expected::New);
    layer.descriptor().unwrap();
    // Read-only directories of an extracted layer must not be in the way.
    let stubborn = store.path().join("trees/x/diff");
    std::fs::create_dir_all(stubborn.join("d")).unwrap();
    std::fs::set_permissions(&stubborn, std::fs::Permissions::from_mode(0o500)).unwrap();
    let clone = store.clone();
    drop(store);
    assert!(clone.path().exists());
    drop(clone);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    assert_eq!(
        layer.open(0).map(drop).unwrap_err().cause.kind(),
        std::io::ErrorKind::NotFound
    );
}
