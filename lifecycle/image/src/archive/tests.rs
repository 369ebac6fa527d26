use std::io::Write;
use std::sync::Mutex;

use proptest::prelude::*;

use super::TransferErrorKind::{Corrupt, NotFound, Unsupported};
use super::*;
use crate::tests::samples::{compressed, diff_ids, image, image_in, read_all, reference, tar, write};
use crate::{Compression, DiffId, Family, Image, ImageConfig, Platform, Sink, canonical_json};

/// A tar of files, in order.
fn tar_of(files: &[(&str, &[u8])]) -> tar::Builder<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        // The library refuses names that lead out; an attacker's would not.
        let bytes = header.as_old_mut();
        bytes.name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        builder.append(&header, *content).unwrap();
    }
    builder
}

fn link(builder: &mut tar::Builder<Vec<u8>>, kind: tar::EntryType, name: &str, target: &str) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(0);
    builder.append_link(&mut header, name, target).unwrap();
}

#[expect(
    clippy::panic_in_result_fn,
    reason = "the two ways in are compared for every test"
)]
fn open(bytes: &[u8]) -> Result<Archive, TransferError> {
    let spool = tempfile::tempdir().unwrap();
    let path = spool.path().join("archive.tar");
    std::fs::write(&path, bytes).unwrap();
    let from_file = Archive::open(&path, spool.path());
    let from_pipe = Archive::read(bytes, spool.path());
    assert_eq!(from_file.is_ok(), from_pipe.is_ok());
    from_file
}

fn only(archive: &Archive) -> Image {
    match archive.named(None).unwrap() {
        Artifact::Image(image) => *image,
        Artifact::Index(_) => panic!("an index"),
    }
}

/// Two layer tars, and the configuration of an image that has them.
fn docker_parts() -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let (a, b) = (tar("a", "one"), tar("b", "two"));
    let mut config = ImageConfig::new(&Platform::linux("amd64"));
    config.rootfs.diff_ids = vec![DiffId(Digest::of(&a)), DiffId(Digest::of(&b))];
    (a, b, canonical_json(&config).unwrap())
}

#[derive(Clone, Default)]
struct Pipe(Arc<Mutex<Vec<u8>>>);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn bytes_are_the_same_to_a_file_and_to_a_pipe_and_the_digest_survives() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.tar");
    for kind in [ArchiveKind::Oci, ArchiveKind::Docker] {
        let image = image(&["one", "two", "one"]);
        let receipt = write(&ArchiveSink::create(kind, &path), &image, &["r.test/app:1"]);
        assert_eq!((receipt.digest, receipt.existed), (image.digest().unwrap(), 0));
        let pipe = Pipe::default();
        write(
            &ArchiveSink::stream(kind, pipe.clone()),
            &image,
            &["r.test/app:1"],
        );
        let bytes = std::fs::read(&path).unwrap();
        assert!(*pipe.0.lock().unwrap() == bytes);
        for wrapping in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let archive = open(&compressed(&bytes, wrapping)).unwrap();
            let read = archive
                .image(&reference("r.test/app:1"), &Platform::linux("amd64"))
                .unwrap();
            assert_eq!(read.digest().unwrap(), image.digest().unwrap());
            read_all(&read).unwrap();
            let error = archive.artifact(&reference("r.test/app:2")).unwrap_err();
            assert_eq!(error.kind, TransferErrorKind::NotFound);
        }
    }
    assert_eq!(
        std::fs::read_dir(directory.path()).unwrap().count(),
        1,
        "no leftovers"
    );
}

#[test]
fn layers_stand_in_the_order_of_the_image() {
    let pipe = Pipe::default();
    let image = image(&["one", "two"]);
    let sink = ArchiveSink::stream(ArchiveKind::Docker, pipe.clone());
    let mut upload = sink.begin(&[reference("app:1")]).unwrap();
    for layer in image.layers().iter().rev() {
        upload.layer(Arc::clone(layer));
    }
    upload.finish(&image).unwrap();
    let bytes = pipe.0.lock().unwrap().clone();
    let mut archive = tar::Archive::new(&bytes[..]);
    let names: Vec<String> = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect();
    let blob = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
    let layer = |number: usize| blob(&image.layers()[number].descriptor().unwrap().digest);
    assert_eq!(
        names,
        [
            "blobs/".to_owned(),
            "blobs/sha256/".to_owned(),
            "oci-layout".to_owned(),
            layer(0),
            layer(1),
            blob(&image.encode_config().unwrap().descriptor.digest),
            blob(&image.digest().unwrap()),
            "manifest.json".to_owned(),
            "index.json".to_owned(),
        ]
    );
    let archive = open(&bytes).unwrap();
    let members = match &archive.content {
        Content::Layout(images) => images.blobs.clone(),
        Content::Docker(_) => panic!("a layout"),
    };
    assert!(members.place().contains("archive.tar"));
    let mut tar = tar::Archive::new(&bytes[..]);
    let manifest = tar
        .entries()
        .unwrap()
        .map(Result::unwrap)
        .find(|entry| entry.path().unwrap().to_str() == Some("manifest.json"));
    let manifest: serde_json::Value = serde_json::from_reader(manifest.unwrap()).unwrap();
    assert_eq!(manifest[0]["RepoTags"], serde_json::json!(["app:1"]));
}

#[test]
fn an_archive_takes_one_image_and_a_docker_archive_no_index() {
    let sink = ArchiveSink::stream(ArchiveKind::Docker, Pipe::default());
    let mut upload = sink.begin(&[]).unwrap();
    assert_eq!(
        upload.member(&image(&["a"])).unwrap_err().kind,
        TransferErrorKind::Unsupported
    );
    assert_eq!(
        sink.begin(&[]).err().unwrap().kind,
        TransferErrorKind::Unsupported
    );
}

#[test]
fn docker_save_of_old_links_repeated_layers() {
    let (a, b, config) = docker_parts();
    let manifest =
        br#"[{"Config":"c.json","RepoTags":["app:1","r.test/x:2"],"Layers":["1/layer.tar","./2/layer.tar"]}]"#;
    for kind in [tar::EntryType::Symlink, tar::EntryType::Link] {
        let mut tar = tar_of(&[
            ("c.json", &config),
            ("real/layer.tar", &a),
            ("2/layer.tar", &b),
            ("manifest.json", manifest),
        ]);
        let target = if kind == tar::EntryType::Symlink {
            "../real/layer.tar"
        } else {
            "real/layer.tar"
        };
        link(&mut tar, kind, "1/layer.tar", target);
        let archive = open(&tar.into_inner().unwrap()).unwrap();
        assert_eq!(archive.names(), ["app:1", "r.test/x:2"]);
        let image = only(&archive);
        read_all(&image).unwrap();
        assert_eq!(image.family(), Family::Docker);
        assert_eq!(
            image.layers()[0].known().unwrap().digest,
            Digest::of(&a),
            "nothing was read"
        );
        assert!(archive.artifact(&reference("app:1")).is_ok());
        let id = Digest::of(&config);
        let by_id = archive.member(&reference("app:1"), &id).unwrap();
        assert_eq!(by_id.digest().unwrap(), image.digest().unwrap());
    }
}

#[test]
fn compressed_layers_of_docker_archives_get_their_digest_when_asked() {
    let (a, b, config) = docker_parts();
    let manifest = br#"[{"Config":"c.json","RepoTags":null,"Layers":["a.tar.gz","b.tar"]}]"#;
    let (a, b) = (
        compressed(&a, Compression::Gzip),
        compressed(&b, Compression::Zstd),
    );
    let tar = tar_of(&[
        ("c.json", &config),
        ("a.tar.gz", &a),
        ("b.tar", &b),
        ("manifest.json", manifest),
    ]);
    let archive = open(&tar.into_inner().unwrap()).unwrap();
    let image = only(&archive);
    let [first, second] = image.layers() else {
        panic!("two layers")
    };
    assert_eq!(first.known(), None);
    assert_eq!(first.media_type().compression(), Some(Compression::Gzip));
    assert_eq!(second.media_type().compression(), Some(Compression::Zstd));
    assert_eq!(first.descriptor().unwrap().digest, Digest::of(&a));
    read_all(&image).unwrap();
    let mut rest = Vec::new();
    first.open(3).unwrap().read_to_end(&mut rest).unwrap();
    assert_eq!(rest, &a[3..]);
}

#[test]
fn names_may_begin_at_the_root_as_packs_do_pkg_01() {
    let (a, b, config) = docker_parts();
    let manifest = br#"[{"Config":"c.json","RepoTags":["app:1"],"Layers":["a","b"]}]"#;
    let tar = tar_of(&[
        ("/c.json", &config),
        ("/a", &a),
        ("/b", &b),
        ("/manifest.json", manifest),
    ]);
    let archive = open(&tar.into_inner().unwrap()).unwrap();
    read_all(&only(&archive)).unwrap();
}

#[test]
fn archives_that_are_wrong_are_refused() {
    let (a, b, config) = docker_parts();
    let good = br#"[{"Config":"c.json","RepoTags":null,"Layers":["a","b"]}]"#;
    let kind = |bytes: &[u8]| match open(bytes) {
        Err(error) => error.kind,
        Ok(archive) => match archive.named(None) {
            Err(error) => error.kind,
            Ok(Artifact::Image(image)) => TransferError::from_io("", read_all(&image).unwrap_err()).kind,
            Ok(Artifact::Index(_)) => panic!("an index"),
        },
    };
    let built = |files: &[(&str, &[u8])]| tar_of(files).into_inner().unwrap();
    let whole: [(&str, &[u8]); 4] = [("c.json", &config), ("a", &a), ("b", &b), ("manifest.json", good)];
    read_all(&only(&open(&built(&whole)).unwrap())).unwrap();

    assert_eq!(kind(&built(&[("letter", b"dear")])), Unsupported);
    assert_eq!(
        kind(
            b"this is no tar, but long enough to be looked at as one header\n"
                .repeat(20)
                .as_slice()
        ),
        Corrupt
    );
    let bytes = built(&whole);
    assert_eq!(
        kind(&bytes[..bytes.len() - 1024 - 500]),
        Corrupt,
        "cut in the last file"
    );
    for evil in ["../a", "/a", "x/../../a", "..", "/"] {
        let files = [&whole[..], &[(evil, b"x".as_slice())]].concat();
        assert_eq!(kind(&built(&files)), Corrupt, "{evil}");
        let manifest = format!(r#"[{{"Config":"c.json","RepoTags":null,"Layers":["{evil}","b"]}}]"#);
        let files = [&whole[..3], &[("manifest.json", manifest.as_bytes())]].concat();
        assert_eq!(kind(&built(&files)), NotFound, "{evil}");
        for link_kind in [tar::EntryType::Symlink, tar::EntryType::Link] {
            let mut tar = tar_of(&whole);
            link(&mut tar, link_kind, "l", evil);
            assert_eq!(kind(&tar.into_inner().unwrap()), Corrupt, "link to {evil}");
        }
    }
    let twice = [&whole[..], &[("manifest.json", b"[]".as_slice())]].concat();
    assert_eq!(kind(&built(&twice)), Corrupt);
    let mut circle = tar_of(&[("c.json", &config), ("b", &b), ("manifest.json", good)]);
    link(&mut circle, tar::EntryType::Symlink, "a", "z");
    link(&mut circle, tar::EntryType::Symlink, "z", "a");
    assert_eq!(kind(&circle.into_inner().unwrap()), Corrupt);
    let swapped = br#"[{"Config":"c.json","RepoTags":null,"Layers":["b","a"]}]"#;
    let files = [&whole[..3], &[("manifest.json", swapped.as_slice())]].concat();
    assert_eq!(
        kind(&built(&files)),
        Corrupt,
        "layers that are not what the configuration says"
    );
    for text in [
        "[]",
        r#"[{"Config":"c.json","Layers":["a"]}]"#,
        r#"{"a":1}"#,
        r#"[{"Config":"gone","Layers":[]}]"#,
    ] {
        let files = [&whole[..3], &[("manifest.json", text.as_bytes())]].concat();
        assert!([Corrupt, NotFound].contains(&kind(&built(&files))), "{text}");
    }
}

#[test]
fn a_configuration_that_is_not_what_its_name_says_is_refused() {
    let (a, b, config) = docker_parts();
    let (good, bad) = (Digest::of(&config), Digest::of(b"another"));
    for (digest, is_good) in [(&good, true), (&bad, false)] {
        for name in [
            format!("{}.json", digest.hex()),
            digest.to_string(),
            format!("blobs/sha256/{}", digest.hex()),
        ] {
            let manifest = format!(r#"[{{"Config":"{name}","RepoTags":null,"Layers":["a","b"]}}]"#);
            let files = [
                (name.as_str(), &config[..]),
                ("a", &a),
                ("b", &b),
                ("manifest.json", manifest.as_bytes()),
            ];
            let archive = open(&tar_of(&files).into_inner().unwrap()).unwrap();
            assert_eq!(archive.named(None).is_ok(), is_good, "{name}");
        }
    }
}

#[test]
fn several_images_are_read_from_one_docker_archive() {
    let (a, b, config) = docker_parts();
    let manifest = br#"[{"Config":"c.json","RepoTags":["app:1"],"Layers":["a","b"]},
        {"Config":"c.json","RepoTags":["app:2"],"Layers":["a","b"]}]"#;
    let tar = tar_of(&[
        ("c.json", &config),
        ("a", &a),
        ("b", &b),
        ("manifest.json", manifest),
    ]);
    let archive = open(&tar.into_inner().unwrap()).unwrap();
    assert_eq!(
        archive.named(None).unwrap_err().kind,
        TransferErrorKind::Unsupported
    );
    assert!(archive.named(Some("app:2")).is_ok());
    assert_eq!(
        archive.named(Some("APP")).unwrap_err().kind,
        TransferErrorKind::NotFound
    );
}

#[test]
fn a_failed_write_leaves_the_old_archive() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.tar");
    write(
        &ArchiveSink::create(ArchiveKind::Oci, &path),
        &image(&["old"]),
        &[],
    );
    let before = std::fs::read(&path).unwrap();
    let source = tempfile::tempdir().unwrap();
    let layout = crate::layout::Layout::create(source.path()).unwrap();
    let broken = image_in(Family::Oci, Compression::Gzip, &["new"]);
    write(&layout, &broken, &["r.test/a:1"]);
    let layer = broken.layers()[0].descriptor().unwrap();
    std::fs::write(
        source.path().join("blobs/sha256").join(layer.digest.hex()),
        vec![0; usize::try_from(layer.size).unwrap()],
    )
    .unwrap();
    let read = layout
        .image(&reference("r.test/a:1"), &Platform::linux("amd64"))
        .unwrap();
    let upload = ArchiveSink::create(ArchiveKind::Oci, &path).begin(&[]).unwrap();
    assert!(upload.finish(&read).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}

/// An archive of either kind, to be spoiled.
fn sample(kind: ArchiveKind) -> Vec<u8> {
    let pipe = Pipe::default();
    write(
        &ArchiveSink::stream(kind, pipe.clone()),
        &image(&["one", "two"]),
        &["r.test/app:1"],
    );
    let bytes = pipe.0.lock().unwrap();
    bytes.clone()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn spoiled_archives_are_errors_or_harmless(
        docker in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = sample(if docker { ArchiveKind::Docker } else { ArchiveKind::Oci });
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let spool = tempfile::tempdir().unwrap();
        let artifact = Archive::read(&bytes[..], spool.path()).and_then(|archive| archive.named(None));
        if let Ok(Artifact::Image(read)) = artifact {
            // A layer that was spoiled says so when it is read, a document before that. An archive that lost its
            // layout is read by its `manifest.json`, with other media types.
            if read_all(&read).is_ok() {
                prop_assert_eq!(diff_ids(&read), diff_ids(&image(&["one", "two"])));
            }
        }
    }
}
