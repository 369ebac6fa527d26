//! Outputs: their forms, their files, several platforms. Other people's tools judge.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::images::RUN;
use crate::support::peers::judge;
use crate::support::{Invocation, Machine, Registry};

/// A machine with the base image in its store, and an app that needs no command.
pub(crate) fn machine() -> (Machine, PathBuf) {
    let machine = Machine::with_builder();
    let dockerfile =
        format!("FROM {RUN}\nUSER root\nCOPY --chown=1000:1000 a.txt /srv/\nCOPY a.txt /srv/b.txt\n");
    let app = machine.files("docker", &[("a.txt", "content\n"), ("Dockerfile", &dockerfile)]);
    (machine, app)
}

pub(crate) fn build(machine: &Machine, app: &Path, arguments: &[&str]) -> Invocation {
    let app = app.to_str().unwrap();
    machine
        .lifecycle(&[&["build", app, "--dockerfile"], arguments].concat())
        .env("SOURCE_DATE_EPOCH", "1700000000")
}

/// The manifest of a layout's only image.
pub(crate) fn manifest(layout: &Path) -> serde_json::Value {
    let read =
        |path: PathBuf| -> serde_json::Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let index = read(layout.join("index.json"));
    let digest = index["manifests"][0]["digest"].as_str().unwrap();
    read(layout.join("blobs/sha256").join(&digest[7..]))
}

#[test]
fn layers_are_compressed_as_asked_o7() {
    let (machine, app) = machine();
    for (compression, base, own) in [
        ("gzip", "tar", "tar+gzip"),
        ("zstd", "tar", "tar+zstd"),
        ("uncompressed", "tar", "tar"),
        ("estargz", "tar", "tar+gzip"),
        ("gzip,force-compression=true", "tar+gzip", "tar+gzip"),
        ("estargz,force-compression=true", "tar+gzip", "tar+gzip"),
        ("gzip,compression-level=9", "tar", "tar+gzip"),
    ] {
        let layout = machine.path(&format!("out-{}", compression.replace([',', '='], "-")));
        let output = format!(
            "type=oci,dest={},tar=false,compression={compression}",
            layout.display()
        );
        build(&machine, &app, &["--tag", "demo:1", "--output", &output]).succeeds();
        let manifest = manifest(&layout);
        let layers = manifest["layers"].as_array().unwrap();
        let kinds: Vec<&str> = layers
            .iter()
            .map(|layer| layer["mediaType"].as_str().unwrap())
            .map(|kind| kind.strip_prefix("application/vnd.oci.image.layer.v1.").unwrap())
            .collect();
        assert_eq!(kinds, [base, own, own], "{compression}");
        let has_table = |layer: &serde_json::Value| {
            !layer["annotations"]["containerd.io/snapshot/stargz/toc.digest"].is_null()
        };
        let tables = layers.iter().filter(|layer| has_table(layer)).count();
        let expected = match (compression.contains("estargz"), compression.contains("force")) {
            (true, true) => 3,
            (true, false) => 2,
            _ => 0,
        };
        assert_eq!(tables, expected, "{compression}");
        // The same again gives the same, also from what the first has left.
        let again = machine.path("again");
        let output = format!(
            "type=oci,dest={},tar=false,compression={compression}",
            again.display()
        );
        let arguments = ["--tag", "demo:1", "--output", &output, "--log-format", "json"];
        let events = build(&machine, &app, &arguments).succeeds().stderr();
        assert!(!events.contains(r#""step":"pack""#), "{compression}: {events}");
        assert_eq!(
            fs::read(layout.join("index.json")).unwrap(),
            fs::read(again.join("index.json")).unwrap()
        );
        fs::remove_dir_all(&again).unwrap();
        // Somebody else unpacks it.
        let image = format!("{}:1", layout.display());
        if compression == "zstd" {
            // This umoci knows gzip only.
            let (from, to) = (format!("oci:{image}"), format!("dir:{}", machine.text("zstd")));
            judge(
                "skopeo",
                &[
                    "--insecure-policy",
                    "copy",
                    "--quiet",
                    "--dest-decompress",
                    &from,
                    &to,
                ],
            );
            continue;
        }
        let root = machine.text(&format!("root-{}", compression.replace([',', '='], "-")));
        if judge("umoci", &["unpack", "--rootless", "--image", &image, &root]).is_some() {
            let file = Path::new(&root).join("rootfs/srv/a.txt");
            assert_eq!(fs::read_to_string(file).unwrap(), "content\n", "{compression}");
        }
    }
}

#[test]
fn names_annotations_and_media_types_o1_o2_o6() {
    let (machine, app) = machine();
    let registry = Registry::start();
    let output = format!(
        "type=registry,\"name={},{}\",oci-mediatypes=true,annotation.org.Example=One",
        registry.name("app:1"),
        registry.name("app:2")
    );
    let arguments = [
        "--output",
        &output,
        "--annotation",
        "two=2",
        "--metadata-file",
        &machine.text("metadata.json"),
        "--iidfile",
        &machine.text("iid"),
        "--digest-file",
        &machine.text("digest"),
    ];
    build(&machine, &app, &arguments).succeeds();
    let digest = fs::read_to_string(machine.path("digest")).unwrap();
    let metadata: serde_json::Value =
        serde_json::from_slice(&fs::read(machine.path("metadata.json")).unwrap()).unwrap();
    assert_eq!(metadata["containerimage.digest"], digest);
    assert_eq!(
        metadata["image.name"],
        format!("{},{}", registry.name("app:1"), registry.name("app:2"))
    );
    let id = fs::read_to_string(machine.path("iid")).unwrap();
    assert_eq!(metadata["containerimage.config.digest"], id);
    for tag in ["app:1", "app:2"] {
        if let Some(raw) = judge(
            "skopeo",
            &["inspect", "--raw", "--tls-verify=false", &registry.docker(tag)],
        ) {
            let manifest = raw.json();
            assert_eq!(manifest["config"]["digest"], id);
            assert_eq!(manifest["annotations"]["org.Example"], "One");
            assert_eq!(manifest["annotations"]["two"], "2");
        }
    }
    let layout = machine.path("docker-types");
    let output = format!(
        "type=oci,dest={},tar=false,oci-mediatypes=false",
        layout.display()
    );
    build(&machine, &app, &["--tag", "demo:1", "--output", &output]).succeeds();
    let kind = manifest(&layout)["mediaType"].as_str().unwrap().to_owned();
    assert_eq!(kind, "application/vnd.docker.distribution.manifest.v2+json");

    for (arguments, text) in [
        (
            vec!["--tag", "demo", "--output", "type=image,color=red"],
            "\"color\" is not known here",
        ),
        (
            vec!["--tag", "demo", "--output", "type=image,compression=lzma"],
            "compression is gzip",
        ),
        (
            vec!["--tag", "demo", "--output", "somewhere"],
            "no place for an image",
        ),
        (vec!["--output", "type=image"], "the image has no name"),
        (
            vec!["--tag", "demo", "--annotation", "index:a=1"],
            "there is no index to annotate",
        ),
        (
            vec!["--tag", "demo", "--attest", "type=signature"],
            "no attestation of type",
        ),
        (
            vec!["--tag", "demo", "--attest", "type=sbom,attach=referrer"],
            "only a registry lists",
        ),
    ] {
        build(&machine, &app, &arguments).fails(1).says(text);
    }
}

#[test]
fn files_go_to_a_directory_or_a_tar_o5() {
    let (machine, app) = machine();
    let out = machine.files("out", &[("kept", "mine"), ("srv/a.txt", "old")]);
    let local = format!("type=local,dest={}", out.display());
    build(&machine, &app, &["--output", &local, "--sbom"]).succeeds();
    assert_eq!(fs::read_to_string(out.join("srv/a.txt")).unwrap(), "content\n");
    assert_eq!(fs::read_to_string(out.join("kept")).unwrap(), "mine");
    assert!(out.join("sbom.spdx.json").exists());
    let file = machine.text("files.tar");
    build(&machine, &app, &["--output", &format!("type=tar,dest={file}")]).succeeds();
    let list = Invocation::new("tar", &["--numeric-owner", "-tvf", &file])
        .succeeds()
        .stdout();
    let line = |name: &str| list.lines().find(|line| line.ends_with(name)).unwrap().to_owned();
    assert!(line("srv/a.txt").contains("1000/1000"), "{list}");
    assert!(line("srv/b.txt").contains(" 0/0 "), "{list}");
    let piped = build(&machine, &app, &["--output", "type=tar,dest=-"]).succeeds();
    assert!(piped.bytes() == fs::read(&file).unwrap());
}

#[test]
fn platforms_make_one_index_and_common_stages_are_built_once_f12() {
    let machine = Machine::with_builder();
    let registry = Registry::start();
    let dockerfile = format!(
        "FROM --platform=$BUILDPLATFORM {RUN} AS made\nUSER root\nRUN date > /made; cat /proc/sys/kernel/random/uuid >> /made\n\
         FROM scratch\nARG TARGETARCH\nLABEL arch=$TARGETARCH\nCOPY --from=made /made /made\n"
    );
    let app = machine.files("docker", &[("Dockerfile", &dockerfile)]);
    let tag = registry.name("many:1");
    let platforms = "linux/amd64,linux/arm64/v8,linux/riscv64";
    let arguments = [
        "--platform",
        platforms,
        "--tag",
        &tag,
        "--output",
        "registry",
        "--no-cache",
        "--annotation",
        "index:x=y",
    ];
    let built = build(&machine, &app, &arguments).succeeds();
    // The stage's step and the copy are the same for all.
    built
        .says("2 steps carried out, 0 taken from earlier builds")
        .says("[linux/arm64/v8 made 1/2] USER root")
        .says("[linux/riscv64 stage-1 3/3] COPY --from=made /made /made");
    let shown = machine
        .lifecycle(&["inspect", &format!("registry:{tag}")])
        .succeeds();
    shown
        .says("linux/amd64")
        .says("linux/arm64")
        .says("linux/riscv64");
    if let Some(raw) = judge(
        "skopeo",
        &[
            "inspect",
            "--raw",
            "--tls-verify=false",
            &registry.docker("many:1"),
        ],
    ) {
        let index = raw.json();
        assert_eq!(index["manifests"].as_array().unwrap().len(), 3);
        assert_eq!(index["manifests"][1]["platform"]["variant"], "v8");
        assert_eq!(index["annotations"]["x"], "y");
    }
    // One directory for each.
    let out = machine.path("out");
    let local = format!("type=local,dest={}", out.display());
    build(&machine, &app, &["--platform", platforms, "--output", &local]).succeeds();
    let made = |name: &str| fs::read_to_string(out.join(name).join("made")).unwrap();
    assert_eq!(made("linux_amd64"), made("linux_arm64_v8"));
    build(
        &machine,
        &app,
        &["--platform", "linux/amd64,linux/amd64", "--output", &local],
    )
    .fails(1)
    .says("twice");

    // Commands of another platform need an emulator.
    let program = "\x7fELF\x02\x02\x01\0\0\0\0\0\0\0\0\0\0\x02\0\x2b";
    let dockerfile = "FROM scratch\nCOPY --chmod=755 program /\nRUN [\"/program\"]\n";
    let app = machine.files("foreign", &[("Dockerfile", dockerfile), ("program", program)]);
    let arguments = ["--platform", "linux/sparc64", "--tag", "foreign"];
    build(&machine, &app, &arguments)
        .fails(1)
        .says("Dockerfile:3:1")
        .says("linux/sparc64")
        .says("qemu-user-static");
}

/// This machine's platform.
pub(crate) fn platform() -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("linux/{architecture}")
}
