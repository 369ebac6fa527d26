//! Contents that become files with no layer between them.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd as _;

use lifecycle_image::NoProgress;
use tempfile::TempDir;

use super::{everything, layer, options, tar_of, tree, unpack};
use crate::extract::{ExtractError, ExtractOptions, Limits, ThroughError, write_through};
use crate::{Contents, PackError, hash};

/// Contents that break off in the middle of a file.
#[derive(Debug)]
struct BrokenOff;

impl Contents for BrokenOff {
    fn name(&self) -> String {
        "what breaks off".to_owned()
    }

    fn write(&self, tar: &mut dyn Write) -> Result<(), PackError> {
        let archive = tar_of(&layer().file("f", 0o644, vec![b'x'; 3 << 20]));
        tar.write_all(&archive[..2 << 20]).map_err(PackError::Output)?;
        Err(PackError::Vanished { path: "f".to_owned() })
    }
}

#[test]
fn contents_become_files_without_a_layer() {
    let from = tempfile::tempdir().unwrap();
    everything(from.path());
    let (through, packed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let open = |directory: &TempDir| File::open(directory.path()).unwrap();
    let written = write_through(&tree(from.path()), open(&through).as_fd(), &options()).unwrap();
    let mut tar = Vec::new();
    tree(from.path()).write(&mut tar).unwrap();
    assert_eq!(written, unpack(&tar, packed.path(), &options()).unwrap());
    let hashed = |directory: &TempDir| hash(&tree(directory.path()), &NoProgress).unwrap();
    assert_eq!(hashed(&through), hashed(&packed));

    // The reader's reason counts, not that its archive ends early.
    let error = write_through(
        &BrokenOff,
        open(&tempfile::tempdir().unwrap()).as_fd(),
        &options(),
    )
    .unwrap_err();
    assert!(
        matches!(error, ThroughError::Read(PackError::Vanished { .. })),
        "{error}"
    );
    // The writer's reason counts, not that nobody listens to the reader any more.
    let few = ExtractOptions {
        limits: Limits {
            entries: Some(3),
            bytes: None,
        },
        ..options()
    };
    let error = write_through(
        &tree(from.path()),
        open(&tempfile::tempdir().unwrap()).as_fd(),
        &few,
    )
    .unwrap_err();
    assert!(
        matches!(error, ThroughError::Write(ExtractError::Limit { .. })),
        "{error}"
    );
    let large = layer()
        .file("f", 0o644, vec![b'x'; 8 << 20])
        .file(".wh.", 0o644, *b"x")
        .file("g", 0o644, vec![b'x'; 8 << 20]);
    let error = write_through(&large, open(&tempfile::tempdir().unwrap()).as_fd(), &options()).unwrap_err();
    assert!(
        matches!(error, ThroughError::Write(ExtractError::Whiteout { .. })),
        "{error}"
    );
}
