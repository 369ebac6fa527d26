//! Packing and fetching.

use std::io::{ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use lifecycle_image::archive::{Archive, ArchiveKind, ArchiveSink};
use lifecycle_image::layout::Layout;
use lifecycle_image::{Compression, Layer, NoProgress, Sink, Source, Step};
use lifecycle_layers::Packing;

use super::samples::{
    BLOCK, Counter, Remote, Slow, blob_path, files, image_of, linux, make_old, noise, pack, prune, quiet,
    read, reference, write,
};
use crate::{Expected, Prune, Store, StoreError};

#[test]
fn a_layer_is_read_while_it_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("s")).unwrap();
    let (contents, permits) = Slow::new(8, false);
    let plain = Packing {
        compression: Compression::None,
        ..Packing::default()
    };
    let layer = store.pack(contents, plain, Expected::New, quiet());
    assert_eq!(layer.known(), None);
    assert_eq!(layer.media_type().compression(), Some(Compression::None));
    for _ in 0..4 {
        permits.send(()).unwrap();
    }
    let mut first = vec![0; BLOCK];
    let mut reader = layer.open(0).unwrap();
    reader.read_exact(&mut first).unwrap();
    assert!(first == noise(0, BLOCK));
    assert_eq!(layer.known(), None, "half of it is not there yet");
    let waiter = thread::spawn({
        let layer = Arc::clone(&layer);
        move || layer.descriptor()
    });
    for _ in 0..4 {
        permits.send(()).unwrap();
    }
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    assert_eq!(rest.len(), 7 * BLOCK);
    let descriptor = waiter.join().unwrap().unwrap();
    assert_eq!(descriptor.size, 8 * BLOCK as u64);
    assert_eq!(layer.known(), Some(descriptor.clone()));
    assert_eq!(layer.diff_id().unwrap().0, descriptor.digest);
    let mut tail = Vec::new();
    layer
        .open(descriptor.size - 5)
        .unwrap()
        .read_to_end(&mut tail)
        .unwrap();
    assert_eq!(tail, rest[rest.len() - 5..]);
    let mut blob = Vec::new();
    store
        .blob(&descriptor.digest)
        .unwrap()
        .unwrap()
        .read_to_end(&mut blob)
        .unwrap();
    assert_eq!(blob, [first, rest].concat());
}

#[test]
fn a_failure_reaches_everybody_who_waits() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::temporary(directory.path()).unwrap();
    let (contents, permits) = Slow::new(2, true);
    let layer = pack(&store, contents, Expected::New);
    let next = pack(&store, files("a", "b"), Expected::New);
    let waiters: Vec<_> = (0..3)
        .map(|number| {
            let layer = Arc::clone(&layer);
            thread::spawn(move || match number {
                0 => layer.descriptor().map(drop).unwrap_err(),
                1 => layer.diff_id().map(drop).unwrap_err(),
                _ => {
                    let error = read(&*layer).unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
                    layer.open(0).map(drop).unwrap_err()
                }
            })
        })
        .collect();
    permits.send(()).unwrap();
    permits.send(()).unwrap();
    for waiter in waiters {
        let error = waiter.join().unwrap();
        assert_eq!(error.cause.kind(), ErrorKind::PermissionDenied);
        assert_eq!(error.name, "slow");
    }
    next.descriptor().unwrap();
    assert_eq!(store.usage().unwrap().temporary.count, 0, "no half layer stays");
}

#[test]
fn closing_the_store_ends_what_is_not_finished() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::temporary(directory.path()).unwrap();
    let path = store.path().to_owned();
    let (contents, permits) = Slow::new(4, false);
    let layer = pack(&store, contents, Expected::New);
    let queued = pack(&store, files("a", "b"), Expected::New);
    for _ in 0..4 {
        permits.send(()).unwrap();
    }
    drop(permits);
    drop(store);
    // The first may have been finished in time, but nobody waits for ever.
    drop(layer.descriptor());
    drop(queued.descriptor());
    assert!(!path.exists());
}

#[test]
fn an_unchanged_layer_is_hashed_but_never_compressed_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let progress = Counter::default();
    let made = |packing, expected| {
        let watcher = Arc::new(progress.clone());
        let layer = store.pack(files("a", "same"), packing, expected, watcher);
        layer.descriptor().unwrap()
    };
    let first = made(Packing::default(), Expected::here());
    assert_eq!((progress.count(Step::Hash), progress.count(Step::Pack)), (1, 1));
    assert_eq!(made(Packing::default(), Expected::here()), first);
    assert_eq!((progress.count(Step::Hash), progress.count(Step::Pack)), (2, 1));
    // Another compression or level is another form, whatever was there before: same input, same bytes.
    let zstd = Packing {
        compression: Compression::Zstd,
        ..Packing::default()
    };
    assert_ne!(made(zstd, Expected::here()).digest, first.digest);
    assert_eq!(progress.count(Step::Pack), 2);
    assert_eq!(made(Packing::default(), Expected::New), first);
    // Without its blob, a form is of no use.
    std::fs::remove_file(blob_path(&store, &first.digest)).unwrap();
    assert_eq!(made(Packing::default(), Expected::here()), first);
    assert_eq!(progress.count(Step::Pack), 4);
}

#[test]
fn a_layer_of_the_previous_image_is_taken_without_its_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("new")).unwrap();
    let elsewhere = Store::open(&directory.path().join("old")).unwrap();
    let previous = pack(&elsewhere, files("a", "same"), Expected::New);
    let wanted = previous.descriptor().unwrap();
    let found = pack(
        &store,
        files("a", "same"),
        Expected::among(&[Arc::clone(&previous)]),
    );
    assert_eq!(found.descriptor().unwrap(), wanted);
    assert!(
        store.blob(&wanted.digest).unwrap().is_none(),
        "nothing was stored"
    );
    assert_eq!(read(&*found).unwrap(), read(&*previous).unwrap());
    let changed = pack(
        &store,
        files("a", "changed"),
        Expected::among(std::slice::from_ref(&previous)),
    );
    assert_ne!(changed.diff_id().unwrap(), previous.diff_id().unwrap());
    let zstd = Packing {
        compression: Compression::Zstd,
        ..Packing::default()
    };
    let other = store.pack(files("a", "same"), zstd, Expected::among(&[previous]), quiet());
    assert_eq!(
        other.descriptor().unwrap().media_type.compression(),
        Some(Compression::Zstd)
    );
}

#[test]
fn new_contents_are_read_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::temporary(directory.path()).unwrap();
    let (contents, permits) = Slow::new(1, false);
    permits.send(()).unwrap();
    pack(&store, contents.clone(), Expected::New)
        .descriptor()
        .unwrap();
    assert_eq!(contents.written.load(Ordering::SeqCst), 1);
}

#[test]
fn a_cut_download_is_continued() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let mut layer = Remote::new(1, 1_000_000);
    layer.breaks_after = Some(300_000);
    let stored = store.fetch(&layer, &*quiet()).unwrap();
    assert_eq!(read(&stored).unwrap(), noise(1, 1_000_000));
    assert_eq!(*layer.opened.lock().unwrap(), [0, 300_000, 600_000, 900_000]);
    store.fetch(&layer, &*quiet()).unwrap();
    assert_eq!(layer.opened.lock().unwrap().len(), 4, "it is here now");
    assert_eq!(store.usage().unwrap().temporary.count, 0);
}

#[test]
fn what_a_killed_process_left_is_continued_and_verified() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let mut layer = Remote::new(2, 500_000);
    let name = format!("{}.partial", layer.digest().as_str().replace(':', "-"));
    let partial = store.path().join("tmp").join(name);
    std::fs::write(&partial, &noise(2, 500_000)[..123_456]).unwrap();
    store.fetch(&layer, &*quiet()).unwrap();
    assert_eq!(*layer.opened.lock().unwrap(), [123_456]);

    // What does not fit is thrown away, and the whole is fetched again.
    for rest in [vec![7; 1000], vec![7; 600_000]] {
        std::fs::remove_file(blob_path(&store, &layer.digest())).unwrap();
        std::fs::write(&partial, rest).unwrap();
        let stored = store.fetch(&layer, &*quiet()).unwrap();
        assert_eq!(read(&stored).unwrap(), noise(2, 500_000));
        assert!(!partial.exists());
    }

    // A source that delivers nothing any more ends it, and what came stays for the next time.
    std::fs::remove_file(blob_path(&store, &layer.digest())).unwrap();
    layer.breaks_after = Some(0);
    layer.opened.lock().unwrap().clear();
    let error = store.fetch(&layer, &*quiet()).unwrap_err();
    assert!(matches!(error, StoreError::Layer(_)), "{error}");
    assert_eq!(layer.opened.lock().unwrap().len(), 3);
}

#[test]
fn altered_bytes_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let layer = Remote::new(3, 10_000).altered();
    let StoreError::Layer(error) = store.fetch(&layer, &*quiet()).unwrap_err() else {
        panic!("another error");
    };
    assert_eq!(error.cause.kind(), ErrorKind::InvalidData);
    assert!(store.blob(&layer.digest()).unwrap().is_none());
    assert_eq!(store.usage().unwrap().temporary.count, 0);
}

#[test]
fn many_fetch_the_same_blob_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let layer = Arc::new(Remote::new(4, 3_000_000));
    let all: Vec<Arc<dyn Layer>> = vec![layer.clone(); 8];
    let stored = store.fetch_all(&all, &quiet()).unwrap();
    assert_eq!(stored.len(), 8);
    assert_eq!(layer.opened.lock().unwrap().len(), 1);
}

#[test]
fn every_sink_takes_layers_in_the_making() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let store = Store::open(&at("store")).unwrap();
    let layout = Layout::create(at("layout")).unwrap();
    let archive = ArchiveSink::create(ArchiveKind::Docker, at("archive"));
    let other = Store::open(&at("other")).unwrap();
    let sinks: [&dyn Sink; 4] = [&layout, &archive, &other, &store];
    let (slow, permits) = Slow::new(2, false);
    let image = image_of(&[
        pack(&store, slow, Expected::New),
        pack(&store, files("a", "1"), Expected::New),
    ]);
    thread::scope(|scope| {
        let written = sinks.map(|sink| scope.spawn(|| write(sink, &image, "r.test/app:1").digest));
        permits.send(()).unwrap();
        permits.send(()).unwrap();
        for digest in written {
            assert_eq!(digest.join().unwrap(), image.digest().unwrap());
        }
    });
    let archive = Archive::open(&at("archive"), directory.path()).unwrap();
    let sources: [&dyn Source; 4] = [&layout, &archive, &other, &store];
    for source in sources {
        let back = source.image(&reference("r.test/app:1"), &linux()).unwrap();
        assert_eq!(back.digest().unwrap(), image.digest().unwrap());
        for (layer, original) in back.layers().iter().zip(image.layers()) {
            assert_eq!(read(&**layer).unwrap(), read(&**original).unwrap());
        }
    }
}

#[test]
fn where_a_blob_came_from_is_remembered_while_it_is_here() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let repository = |name: &str| reference(name).repository().clone();
    let mut remote = Remote::new(1, 100);
    {
        let store = Store::open(&path).unwrap();
        let origins = |remote: &Remote| store.fetch(remote, &NoProgress).unwrap().origins();
        assert_eq!(origins(&remote), []);
        remote.origins = vec![repository("r.test/a")];
        assert_eq!(origins(&remote), [repository("r.test/a")]);
        remote.origins = vec![repository("other.test:5000/b/c")];
        let both = [repository("other.test:5000/b/c"), repository("r.test/a")];
        assert_eq!(origins(&remote), both);
        store
            .remember_origin(&remote.digest(), &repository("r.test/a"))
            .unwrap();
        let layer = store.fetch(&remote, &NoProgress).unwrap();
        assert_eq!(layer.origins().len(), 2, "none is there twice");
        // A layer that is made is not from anywhere.
        assert_eq!(pack(&store, files("a", "b"), Expected::New).origins(), []);
    }
    // What is as young as the process that prunes is left alone.
    make_old(&path);
    let all = Prune {
        grace: Duration::ZERO,
        ..Prune::default()
    };
    let store = Store::open(&path).unwrap();
    prune(&store, &all);
    assert!(!blob_path(&store, &remote.digest()).exists());
    assert_eq!(std::fs::read_dir(path.join("origins")).unwrap().count(), 0);
}
