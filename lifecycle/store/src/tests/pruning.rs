//! What goes and what stays.

use std::time::Duration;

use lifecycle_image::{Layer, MediaType, NoProgress, RawDocument, Source};
use lifecycle_layers::{Ownership, Refused, Whiteouts};

use super::samples::{self, Remote, files, image_of, linux, make_old, pack, read, reference, write};
use crate::{Expected, Prune, Pruned, Record, Sharing, Store, TreeForm};

fn form() -> TreeForm<'static> {
    TreeForm {
        whiteouts: Whiteouts::Literal,
        ownership: Ownership::Squash,
        refused: Refused::Skip,
        ..TreeForm::default()
    }
}

fn none() -> Prune {
    Prune {
        grace: Duration::ZERO,
        ..Prune::default()
    }
}

/// Prunes as another process would, when nobody else has the store open.
fn prune(directory: &std::path::Path, policy: &Prune) -> Pruned {
    samples::prune(&Store::open(directory).unwrap(), policy)
}

/// A store with an image of one layer, extracted, and the same without a name; a record and a cache.
fn filled(directory: &std::path::Path) {
    let store = Store::open(directory).unwrap();
    let named = image_of(&[pack(&store, files("named", "1"), Expected::New)]);
    write(&store, &named, "named");
    let unnamed = image_of(&[pack(&store, files("unnamed", "2"), Expected::New)]);
    write(&store, &unnamed, "unnamed");
    for image in [&named, &unnamed] {
        store.root(image, form(), &NoProgress).unwrap();
    }
    store.remove(&reference("unnamed")).unwrap();
    let blob = RawDocument::new(MediaType::new("text/plain"), b"remembered".to_vec());
    store.keep(&blob).unwrap();
    let record = Record {
        key: "key".into(),
        value: 1.into(),
        blobs: vec![blob.descriptor],
    };
    store.remember(&record).unwrap();
    let cache = store.cache("cache", Sharing::Shared).unwrap();
    std::fs::write(cache.path().join("file"), [0; 1000]).unwrap();
}

#[test]
fn what_nothing_refers_to_goes_and_the_rest_stays() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path());
    make_old(directory.path());
    let would = prune(
        directory.path(),
        &Prune {
            dry_run: true,
            ..none()
        },
    );
    let pruned = prune(directory.path(), &none());
    assert_eq!(would, pruned);
    assert_eq!(
        pruned.removed.len(),
        4,
        "tree, layer, configuration, manifest: {pruned:?}"
    );
    let store = Store::open(directory.path()).unwrap();
    let image = store.image(&reference("named"), &linux()).unwrap();
    read(&*image.layers()[0]).unwrap();
    let usage = store.usage().unwrap();
    assert_eq!((usage.images, usage.blobs.count, usage.trees.count), (1, 4, 1));
    assert!(store.record("key").unwrap().is_some());
    assert_eq!(store.caches().unwrap().len(), 1);
    assert_eq!(store.verify(false).unwrap().damage, []);
    assert_eq!(
        std::fs::read_dir(directory.path().join("layers"))
            .unwrap()
            .count(),
        1
    );
    assert_eq!(prune(directory.path(), &none()).removed.len(), 0);
}

#[test]
fn what_was_not_used_for_long_goes_too() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path());
    make_old(directory.path());
    {
        // Use keeps.
        let store = Store::open(directory.path()).unwrap();
        assert!(store.record("key").unwrap().is_some());
    }
    let policy = Prune {
        unused_for: Some(Duration::from_hours(1)),
        ..none()
    };
    prune(directory.path(), &policy);
    let store = Store::open(directory.path()).unwrap();
    let usage = store.usage().unwrap();
    assert_eq!((usage.images, usage.trees.count, usage.caches.count), (1, 0, 0));
    assert!(store.record("key").unwrap().is_some());
    drop(store);
    make_old(directory.path());
    prune(
        directory.path(),
        &Prune {
            images: true,
            ..policy
        },
    );
    let usage = Store::open(directory.path()).unwrap().usage().unwrap();
    assert_eq!((usage.total(), usage.images), (0, 0));
}

#[test]
fn the_least_recently_used_goes_first_until_the_rest_fits() {
    let directory = tempfile::tempdir().unwrap();
    for number in 0..10 {
        let store = Store::open(directory.path()).unwrap();
        let layer = Remote::new(number, 100_000);
        let stored = store.fetch(&layer, &NoProgress).unwrap();
        let record = Record {
            key: number.to_string(),
            value: number.into(),
            blobs: vec![stored.descriptor().unwrap()],
        };
        store.remember(&record).unwrap();
    }
    make_old(directory.path());
    {
        let store = Store::open(directory.path()).unwrap();
        for key in ["3", "7", "8"] {
            assert!(store.record(key).unwrap().is_some());
        }
    }
    let policy = Prune {
        max_size: Some(310_000),
        ..none()
    };
    prune(directory.path(), &policy);
    let store = Store::open(directory.path()).unwrap();
    let left: Vec<_> = (0..10)
        .filter(|number| store.record(&number.to_string()).unwrap().is_some())
        .collect();
    assert_eq!(left, [3, 7, 8]);
    assert_eq!(store.usage().unwrap().blobs.count, 3);
}

#[test]
fn an_open_store_loses_nothing_that_it_wrote_or_found() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path());
    make_old(directory.path());
    let building = Store::open(directory.path()).unwrap();
    // Written by the build, found by the build, and neither.
    let packed = pack(&building, files("new", "3"), Expected::New);
    packed.descriptor().unwrap();
    let found = pack(&building, files("unnamed", "2"), Expected::here());
    found.descriptor().unwrap();
    let policy = Prune {
        unused_for: Some(Duration::ZERO),
        max_size: Some(0),
        images: true,
        ..none()
    };
    let pruned = prune(directory.path(), &policy);
    assert!(pruned.spared > 0);
    read(&*packed).unwrap();
    read(&*found).unwrap();
    assert_eq!(building.usage().unwrap().blobs.count, 2);
    assert_eq!(building.images().unwrap(), []);
    let image = image_of(&[packed, found]);
    write(&building, &image, "built");
    drop(building);
    prune(directory.path(), &none());
    let store = Store::open(directory.path()).unwrap();
    assert_eq!(store.verify(false).unwrap().damage, []);
    store.image(&reference("built"), &linux()).unwrap();
}

#[test]
fn the_grace_period_spares_what_was_just_used() {
    let directory = tempfile::tempdir().unwrap();
    {
        let store = Store::open(directory.path()).unwrap();
        pack(&store, files("a", "1"), Expected::New).descriptor().unwrap();
    }
    let pruned = prune(directory.path(), &Prune::default());
    assert_eq!(pruned.removed, Vec::<std::path::PathBuf>::new());
    assert!(pruned.spared > 0);
    make_old(directory.path());
    assert_eq!(prune(directory.path(), &Prune::default()).removed.len(), 1);
}

#[test]
fn a_cache_in_use_and_leftovers_of_the_killed() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path());
    let tmp = directory.path().join("tmp");
    std::fs::write(tmp.join(".tmp-left"), [0; 100]).unwrap();
    std::fs::write(directory.path().join("leases/lease-killed"), "").unwrap();
    std::fs::write(directory.path().join("locks/tree-killed"), "").unwrap();
    make_old(directory.path());
    let other = Store::open(directory.path()).unwrap();
    let cache = other.cache("cache", Sharing::Locked).unwrap();
    make_old(&directory.path().join("caches"));
    let policy = Prune {
        unused_for: Some(Duration::ZERO),
        ..none()
    };
    prune(directory.path(), &policy);
    assert!(cache.path().join("file").exists());
    assert_eq!(std::fs::read_dir(tmp).unwrap().count(), 0);
    assert!(!directory.path().join("leases/lease-killed").exists());
    assert!(!directory.path().join("locks/tree-killed").exists());
}
