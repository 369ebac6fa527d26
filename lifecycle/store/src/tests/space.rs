//! A full disk.

use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use lifecycle_image::{Compression, NoProgress};
use lifecycle_layers::Packing;

use super::samples::{BLOCK, Remote, Slow, alone, blob_path, files, image_of, quiet, read, spawning, write};
use crate::{Expected, Store, StoreError};

/// A small file system of its own, which goes at the end.
struct Small(tempfile::TempDir);

impl Small {
    /// Nothing when this user may not mount.
    fn new(size: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        let _spawning = spawning();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(directory.path())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(directory)),
            _ => {
                println!("skipped: this user may not mount a file system");
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _spawning = spawning();
        drop(Command::new("umount").arg(self.0.path()).status());
    }
}

/// The store's error below a layer's.
fn below(error: &std::io::Error) -> Option<&StoreError> {
    error.get_ref()?.downcast_ref()
}

#[test]
fn a_full_disk_is_an_error_that_names_the_place_and_leaves_nothing() {
    let Some(disk) = Small::new("3m") else { return };
    let _alone = alone();
    let store = Store::open(&disk.path().join("store")).unwrap();

    let (contents, permits) = Slow::new(8, false);
    for _ in 0..8 {
        permits.send(()).unwrap();
    }
    let plain = Packing {
        compression: Compression::None,
        ..Packing::default()
    };
    let layer = store.pack(contents, plain, Expected::New, quiet());
    let error = layer.descriptor().unwrap_err();
    assert_eq!(error.cause.kind(), ErrorKind::StorageFull);
    let inner = below(&error.cause);
    assert!(
        matches!(inner, Some(StoreError::NoSpace { path, .. }) if path.starts_with(store.path())),
        "{inner:?}"
    );

    let large = Remote::new(1, 8 * BLOCK);
    let error = store.fetch(&large, &NoProgress).unwrap_err();
    assert!(matches!(error, StoreError::NoSpace { .. }), "{error}");

    let usage = store.usage().unwrap();
    assert_eq!(
        (usage.blobs.count, usage.temporary.count),
        (0, 0),
        "nothing is left behind"
    );
    assert_eq!(store.verify(false).unwrap().damage, []);

    // With less to write it works again.
    let small = store.pack(files("a", "1"), Packing::default(), Expected::New, quiet());
    let image = image_of(&[Arc::clone(&small)]);
    write(&store, &image, "a");
    read(&*small).unwrap();
    assert!(blob_path(&store, &small.descriptor().unwrap().digest).exists());
}
