use std::thread;

use super::*;
use crate::tests::samples::{image, read_all, reference, write};
use crate::{Family, Image, Index, MediaType, Platform};

fn linux() -> Platform {
    Platform::linux("amd64")
}

fn blob(layout: &Layout, digest: &Digest) -> PathBuf {
    layout.directory().join("blobs/sha256").join(digest.hex())
}

fn names_of_files(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn several_images_live_in_one_layout() {
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::create(directory.path()).unwrap();
    let (a, b) = (image(&["base", "a"]), image(&["base", "b"]));
    let receipt = write(&layout, &a, &["r.test/a:1", "r.test/a:latest"]);
    assert_eq!(receipt.digest, a.digest().unwrap());
    assert_eq!(receipt.existed, 0);
    assert_eq!(write(&layout, &b, &["r.test/b:1"]).existed, 1, "the base");
    for (name, image) in [("r.test/a:1", &a), ("r.test/a", &a), ("r.test/b:1", &b)] {
        let read = layout.image(&reference(name), &linux()).unwrap();
        assert_eq!(read.digest().unwrap(), image.digest().unwrap());
        read_all(&read).unwrap();
    }
    let by_digest = reference("r.test/x").repository().at(&b.digest().unwrap());
    assert!(matches!(layout.artifact(&by_digest), Ok(Artifact::Image(_))));
    let error = layout.artifact(&reference("r.test/c:1")).unwrap_err();
    assert_eq!(error.kind, TransferErrorKind::NotFound);
    assert!(error.message.contains("r.test/b:1"), "{error}");
    assert_eq!(
        layout.named(None).unwrap_err().kind,
        TransferErrorKind::Unsupported
    );
    assert_eq!(
        names_of_files(directory.path()),
        ["blobs", "index.json", "oci-layout"]
    );
}

#[test]
fn a_sparse_layout_holds_what_it_was_given_and_says_what_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::create(directory.path()).unwrap().sparse();
    let image = image(&["base", "top"]);
    let mut upload = layout.begin(&[reference("r.test/a:1")]).unwrap();
    upload.layer(Arc::clone(&image.layers()[1]));
    upload.finish(&image).unwrap();
    let read = layout.image(&reference("r.test/a:1"), &linux()).unwrap();
    assert_eq!(read.digest().unwrap(), image.digest().unwrap());
    let [base, top] = read.layers() else {
        panic!("two layers")
    };
    assert!(layout.has(&top.descriptor().unwrap().digest));
    assert!(!layout.has(&base.descriptor().unwrap().digest));
    let error = base.open(0).err().unwrap();
    assert_eq!(error.cause.kind(), io::ErrorKind::NotFound);
    assert!(error.to_string().contains("does not hold its blob"), "{error}");
    // An image taken over from a sparse layout cannot be completed from it.
    let other = tempfile::tempdir().unwrap();
    let upload = Layout::create(other.path()).unwrap().begin(&[]).unwrap();
    assert_eq!(
        upload.finish(&read).unwrap_err().kind,
        TransferErrorKind::NotFound
    );
}

#[test]
fn altered_and_cut_blobs_are_found() {
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::create(directory.path()).unwrap();
    let image = image(&["content"]);
    write(&layout, &image, &["r.test/a:1"]);
    let read = || layout.image(&reference("r.test/a:1"), &linux());
    let layer = blob(&layout, &image.layers()[0].descriptor().unwrap().digest);
    let good = std::fs::read(&layer).unwrap();
    let mut bad = good.clone();
    bad[20] ^= 1;
    for bytes in [&bad[..], &good[1..], &[&good[..], b"x"].concat()] {
        std::fs::write(&layer, bytes).unwrap();
        assert!(read_all(&read().unwrap()).is_err());
    }
    // Writing again repairs what has the wrong size.
    write(&layout, &image, &["r.test/a:1"]);
    read_all(&read().unwrap()).unwrap();
    for document in [image.encode_config().unwrap(), image.encode_manifest().unwrap()] {
        let path = blob(&layout, &document.descriptor.digest);
        let mut bytes = document.bytes.to_vec();
        bytes[5] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(read().unwrap_err().kind, TransferErrorKind::Corrupt);
        std::fs::write(&path, &document.bytes).unwrap();
    }
    std::fs::write(directory.path().join(INDEX), b"{").unwrap();
    assert_eq!(read().unwrap_err().kind, TransferErrorKind::Corrupt);
}

#[test]
fn writers_at_the_same_time_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("layout");
    let images: Vec<Image> = (0..8)
        .map(|number| image(&["base", &number.to_string()]))
        .collect();
    thread::scope(|scope| {
        for (number, image) in images.iter().enumerate() {
            let target = &target;
            scope.spawn(move || {
                let layout = Layout::create(target).unwrap();
                write(&layout, image, &[&format!("r.test/app:{number}")]);
                // Whoever reads while others write sees whole images.
                let read = layout.image(&reference(&format!("r.test/app:{number}")), &linux());
                read_all(&read.unwrap()).unwrap();
            });
        }
    });
    let layout = Layout::open(&target).unwrap();
    assert_eq!(layout.entries().unwrap().len(), 8);
    for (number, image) in images.iter().enumerate() {
        let read = layout
            .image(&reference(&format!("r.test/app:{number}")), &linux())
            .unwrap();
        assert_eq!(read.digest().unwrap(), image.digest().unwrap());
    }
}

#[test]
fn an_upload_that_is_dropped_changes_no_name() {
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::create(directory.path()).unwrap();
    let image = image(&["a"]);
    let before = std::fs::read(directory.path().join(INDEX)).unwrap();
    let mut upload = layout.begin(&[reference("r.test/a:1")]).unwrap();
    upload.layer(Arc::clone(&image.layers()[0]));
    upload.member(&image).unwrap();
    drop(upload);
    assert_eq!(std::fs::read(directory.path().join(INDEX)).unwrap(), before);
}

#[test]
fn indexes_are_searched_to_their_members() {
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::create(directory.path()).unwrap();
    let image = image(&["a"]);
    let mut upload = layout.begin(&[reference("r.test/a:1")]).unwrap();
    let receipt = upload.member(&image).unwrap();
    let member = Descriptor {
        platform: Some(linux()),
        ..Descriptor::new(
            MediaType::manifest(Family::Oci),
            receipt.digest,
            receipt.manifest_size,
        )
    };
    let index = Index::new(Family::Oci, vec![member]);
    let receipt = upload.finish_index(&index).unwrap();
    assert_eq!(receipt.digest, index.encode().unwrap().descriptor.digest);
    let read = layout.image(&reference("r.test/a:1"), &linux()).unwrap();
    assert_eq!(read.digest().unwrap(), image.digest().unwrap());
    let error = layout
        .image(&reference("r.test/a:1"), &Platform::linux("arm64"))
        .unwrap_err();
    assert_eq!(error.kind, TransferErrorKind::NoPlatform);
    let by_digest = reference("r.test/a").repository().at(&image.digest().unwrap());
    assert!(layout.artifact(&by_digest).is_ok());
}

#[test]
fn other_directories_are_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let kind = |result: Result<Layout, TransferError>| result.unwrap_err().kind;
    assert_eq!(
        kind(Layout::open(directory.path().join("none"))),
        TransferErrorKind::NotFound
    );
    assert_eq!(kind(Layout::open(directory.path())), TransferErrorKind::NotFound);
    std::fs::write(directory.path().join("letter.txt"), "dear").unwrap();
    assert_eq!(
        kind(Layout::open(directory.path())),
        TransferErrorKind::Unsupported
    );
    assert_eq!(
        kind(Layout::create(directory.path())),
        TransferErrorKind::Unsupported
    );
    std::fs::write(directory.path().join(MARKER), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    assert_eq!(
        kind(Layout::open(directory.path())),
        TransferErrorKind::Unsupported
    );
    std::fs::write(directory.path().join(MARKER), "no").unwrap();
    assert_eq!(kind(Layout::open(directory.path())), TransferErrorKind::Corrupt);
}
