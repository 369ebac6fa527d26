//! Other people's tools judge what we write, and we read what they write.

use std::path::Path;
use std::process::Command;

use super::samples::{diff_ids, image, image_in, read_all, write};
use crate::archive::{Archive, ArchiveKind, ArchiveSink};
use crate::layout::Layout;
use crate::{Artifact, Compression, Digest, Family, Image};

/// Runs a tool and gives its standard output; nothing when it is not installed.
fn run(tool: &str, arguments: &[&str]) -> Option<String> {
    let output = match Command::new(tool).args(arguments).output() {
        Ok(output) => output,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
            println!("skipped: {tool} not found");
            return None;
        }
        Err(cause) => panic!("{tool}: {cause}"),
    };
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {arguments:?}: {error}");
    Some(String::from_utf8(output.stdout).unwrap())
}

fn skopeo_copy(from: &str, to: &str) -> Option<String> {
    run(
        "skopeo",
        &[
            "--insecure-policy",
            "copy",
            "--quiet",
            "--preserve-digests",
            from,
            to,
        ],
    )
}

fn only(artifact: Artifact) -> Image {
    match artifact {
        Artifact::Image(image) => *image,
        Artifact::Index(_) => panic!("an index"),
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn skopeo_keeps_the_digest_between_layouts_and_oci_archives() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let image = image_in(Family::Oci, compression, &["one", "two"]);
        let digest = image.digest().unwrap();
        let layout = Layout::create(at(&format!("ours-{compression:?}"))).unwrap();
        write(&layout, &image, &["r.test/app:v1"]);
        let tar = at(&format!("ours-{compression:?}.tar"));
        write(
            &ArchiveSink::create(ArchiveKind::Oci, &tar),
            &image,
            &["r.test/app:v1"],
        );

        for (number, from) in [
            format!("oci:{}:v1", text(layout.directory())),
            format!("oci:{}", text(layout.directory())),
            format!("oci-archive:{}:v1", text(&tar)),
        ]
        .into_iter()
        .enumerate()
        {
            let copy = at(&format!("copy-{compression:?}-{number}"));
            let copied_tar = at(&format!("copy-{compression:?}-{number}.tar"));
            if skopeo_copy(&from, &format!("oci:{}:x", text(&copy))).is_none() {
                return;
            }
            let back = only(Layout::open(&copy).unwrap().named(Some("x")).unwrap());
            assert_eq!(back.digest().unwrap(), digest, "{from}");
            read_all(&back).unwrap();
            skopeo_copy(&from, &format!("oci-archive:{}:x", text(&copied_tar)));
            let archive = Archive::open(&copied_tar, directory.path()).unwrap();
            let back = only(archive.named(None).unwrap());
            assert_eq!(back.digest().unwrap(), digest, "{from}");
            read_all(&back).unwrap();
        }
    }
}

#[test]
fn skopeo_reads_our_docker_archives_and_we_read_its() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    for family in [Family::Oci, Family::Docker] {
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let image = image_in(family, compression, &["one", "two", "one"]);
            let stem = format!("{family:?}-{compression:?}");
            let tar = at(&format!("{stem}.tar"));
            write(
                &ArchiveSink::create(ArchiveKind::Docker, &tar),
                &image,
                &["r.test/app:v1"],
            );
            let ours = only(
                Archive::open(&tar, directory.path())
                    .unwrap()
                    .named(None)
                    .unwrap(),
            );
            assert_eq!(ours.digest().unwrap(), image.digest().unwrap());

            let again = at(&format!("{stem}-again.tar"));
            let from = format!("docker-archive:{}:r.test/app:v1", text(&tar));
            if skopeo_copy(&from, &format!("docker-archive:{}:r.test/app:v2", text(&again))).is_none() {
                return;
            }
            let archive = Archive::open(&again, directory.path()).unwrap();
            assert_eq!(archive.names(), ["r.test/app:v2"]);
            let theirs = only(archive.named(Some("r.test/app:v2")).unwrap());
            read_all(&theirs).unwrap();
            assert_eq!(diff_ids(&theirs), diff_ids(&ours));
            assert_eq!(theirs.config().config, ours.config().config);
            let by_digest = theirs.digest().unwrap();
            let found = crate::Source::member(&archive, &super::samples::reference("x"), &by_digest).unwrap();
            assert_eq!(found.digest().unwrap(), by_digest);
        }
    }
}

#[test]
fn umoci_unpacks_our_layouts_and_we_read_what_it_changes() {
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::create(directory.path().join("layout")).unwrap();
    write(&layout, &image(&["one", "two"]), &["r.test/app:v1"]);
    let named = format!("{}:v1", text(layout.directory()));
    let bundle = directory.path().join("bundle");
    if run(
        "umoci",
        &["unpack", "--rootless", "--image", &named, text(&bundle)],
    )
    .is_none()
    {
        return;
    }
    let file = |name: &str| std::fs::read_to_string(bundle.join("rootfs/etc").join(name)).unwrap();
    assert_eq!((file("file0"), file("file1")), ("one".into(), "two".into()));
    std::fs::write(bundle.join("rootfs/etc/new"), "three").unwrap();
    run(
        "umoci",
        &[
            "repack",
            "--image",
            &format!("{}:v2", text(layout.directory())),
            text(&bundle),
        ],
    );
    run("umoci", &["gc", "--layout", text(layout.directory())]);
    let changed = only(layout.named(Some("v2")).unwrap());
    assert_eq!(changed.layers().len(), 3);
    read_all(&changed).unwrap();
    read_all(&only(layout.named(Some("v1")).unwrap())).unwrap();
}

#[test]
fn podman_loads_our_archives_under_their_names() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let image = image_in(Family::Docker, Compression::Gzip, &["one", "two"]);
    let oci = image_in(Family::Oci, Compression::Gzip, &["three"]);
    let root = [at("root"), at("run")];
    let podman = |arguments: &[&str]| {
        let storage = [
            "--root",
            text(&root[0]),
            "--runroot",
            text(&root[1]),
            "--storage-driver",
            "vfs",
        ];
        run("podman", &[&storage, arguments].concat())
    };
    if podman(&["info"]).is_none() {
        return;
    }
    for (kind, image, name) in [
        (ArchiveKind::Docker, &image, "r.test/docker:v1"),
        (ArchiveKind::Docker, &oci, "r.test/both:v1"),
        (ArchiveKind::Oci, &oci, "r.test/oci:v1"),
    ] {
        let tar = at("archive.tar");
        write(&ArchiveSink::create(kind, &tar), image, &[name]);
        podman(&["load", "--quiet", "--input", text(&tar)]);
        let id = podman(&["image", "inspect", "--format", "{{.Id}}", name]).unwrap();
        let config = image.encode_config().unwrap().descriptor.digest;
        assert_eq!(
            format!("sha256:{}", id.trim()).parse::<Digest>().unwrap(),
            config,
            "{name}"
        );

        let saved = at("saved.tar");
        for format in ["docker-archive", "oci-archive"] {
            drop(std::fs::remove_file(&saved));
            podman(&[
                "save",
                "--quiet",
                "--format",
                format,
                "--output",
                text(&saved),
                name,
            ]);
            let archive = Archive::open(&saved, directory.path()).unwrap();
            let back = only(archive.named(Some(name)).unwrap());
            assert_eq!(diff_ids(&back), diff_ids(image), "{name} {format}");
            read_all(&back).unwrap();
        }
    }
}
