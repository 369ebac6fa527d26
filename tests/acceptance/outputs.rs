//! Outputs: their forms, their files, several platforms, and what is said about them. Other people's tools judge.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::elsewhere::repository;
use crate::support::file_server::FileServer;
use crate::support::images::{self, RUN};
use crate::support::peers::{judge, skopeo_copy};
use crate::support::{Finished, Invocation, Machine, Registry};

/// A machine with the base image in its store, and an app that needs no command.
fn machine() -> (Machine, PathBuf) {
    let machine = Machine::with_builder();
    let dockerfile =
        format!("FROM {RUN}\nUSER root\nCOPY --chown=1000:1000 a.txt /srv/\nCOPY a.txt /srv/b.txt\n");
    let app = machine.files("docker", &[("a.txt", "content\n"), ("Dockerfile", &dockerfile)]);
    (machine, app)
}

fn build(machine: &Machine, app: &Path, arguments: &[&str]) -> Invocation {
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

/// The predicates of an image's attestations, by type.
fn predicates(
    machine: &Machine,
    registry: &Registry,
    name: &str,
    index: &serde_json::Value,
) -> Vec<serde_json::Value> {
    let members = index["manifests"].as_array().unwrap();
    let carrier = members
        .iter()
        .find(|member| member["annotations"]["vnd.docker.reference.type"] == "attestation-manifest")
        .unwrap();
    assert_eq!(carrier["platform"]["os"], "unknown");
    assert_eq!(
        carrier["annotations"]["vnd.docker.reference.digest"],
        members[0]["digest"]
    );
    let digest = carrier["digest"].as_str().unwrap();
    let copied = machine.path("carrier");
    drop(fs::remove_dir_all(&copied));
    let from = format!("registry:{}@{digest}", registry.name(name));
    machine
        .lifecycle(&["copy", &from, &format!("oci:{}:c", copied.display())])
        .succeeds();
    let manifest = manifest(&copied);
    assert_eq!(
        manifest["artifactType"],
        "application/vnd.docker.attestation.manifest.v1+json"
    );
    assert_eq!(manifest["subject"]["digest"], members[0]["digest"]);
    let layers = manifest["layers"].as_array().unwrap().iter();
    layers
        .map(|layer| {
            let digest = &layer["digest"].as_str().unwrap()[7..];
            let bytes = fs::read(copied.join("blobs/sha256").join(digest)).unwrap();
            let statement: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(
                statement["predicateType"],
                layer["annotations"]["in-toto.io/predicate-type"]
            );
            assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
            let subject = &statement["subject"][0]["digest"]["sha256"];
            assert!(
                members[0]["digest"]
                    .as_str()
                    .unwrap()
                    .ends_with(subject.as_str().unwrap())
            );
            statement
        })
        .collect()
}

fn raw(registry: &Registry, name: &str) -> Option<serde_json::Value> {
    let arguments = ["inspect", "--raw", "--tls-verify=false", &registry.docker(name)];
    judge("skopeo", &arguments).as_ref().map(Finished::json)
}

#[test]
fn a_dockerfiles_image_says_what_is_in_it_and_how_it_was_made_p1_to_p4() {
    let machine = Machine::with_builder();
    let registry = Registry::start();
    let status = "Package: demo\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.2-3\n";
    let dockerfile = format!("FROM {RUN}\nARG WHO\nARG API_TOKEN\nCOPY status /var/lib/dpkg/status\n");
    let app = machine.files("docker", &[("status", status), ("Dockerfile", &dockerfile)]);
    let tag = registry.name("said:1");
    let common = [
        "--tag",
        &tag,
        "--output",
        "registry",
        "--sbom",
        "--build-arg",
        "WHO=me",
        "--build-arg",
        "API_TOKEN=s3cr3t-canary",
    ];
    let first = build(
        &machine,
        &app,
        &[&common[..], &["--provenance=mode=max"]].concat(),
    )
    .succeeds();
    let first = first.does_not_say("s3cr3t-canary");
    let again = build(
        &machine,
        &app,
        &[&common[..], &["--provenance=mode=max"]].concat(),
    )
    .succeeds();
    assert_eq!(
        first.stdout(),
        again.stdout(),
        "with a fixed time the same build says the same"
    );

    if let Some(index) = raw(&registry, "said:1") {
        let statements = predicates(&machine, &registry, "said", &index);
        let [sbom, provenance] = statements.as_slice() else {
            panic!("{statements:?}")
        };
        assert_eq!(sbom["predicate"]["packages"][0]["name"], "demo");
        let purl = &sbom["predicate"]["packages"][0]["externalRefs"][0]["referenceLocator"];
        assert_eq!(purl, "pkg:deb/busybox/demo@1.2-3?arch=amd64&distro=busybox-1");
        let definition = &provenance["predicate"]["buildDefinition"];
        let arguments = &definition["externalParameters"]["request"]["args"];
        assert_eq!(arguments["build-arg:WHO"], "me");
        assert_eq!(arguments["build-arg:API_TOKEN"], "");
        assert!(!provenance.to_string().contains("s3cr3t-canary"));
        let base = definition["resolvedDependencies"][0]["uri"].as_str().unwrap();
        assert!(base.contains("small/base"), "{base}");
    }
    // Whoever wants the image takes it out of the index.
    let place = format!("registry:{tag}");
    machine
        .lifecycle(&["sbom", &place])
        .succeeds()
        .says("pkg:deb/busybox/demo@1.2-3");
    machine
        .lifecycle(&["inspect", &place])
        .succeeds()
        .says("ATTESTATION");
    let copy = format!("oci:{}:1", machine.text("copied"));
    skopeo_copy(&registry.docker("said:1"), &copy);

    // Without an index, as referrers alone: the image is what it would be without.
    let plain = registry.name("plain:1");
    let without = build(&machine, &app, &["--tag", &plain, "--output", "registry"]).succeeds();
    let attached = [
        "--tag",
        &plain,
        "--output",
        "registry",
        "--attest",
        "type=provenance,attach=referrer",
    ];
    let with = build(&machine, &app, &attached).succeeds();
    assert_eq!(without.stdout(), with.stdout());
    let shown = machine
        .lifecycle(&["inspect", &format!("registry:{plain}"), "--output", "json"])
        .succeeds();
    let kind = &shown.json()["referrers"][0]["kind"];
    assert_eq!(kind, "application/vnd.docker.attestation.manifest.v1+json");
}

#[test]
fn an_app_image_says_so_too_p3() {
    let machine = Machine::with_builder();
    let registry = Registry::start();
    let layout = format!("oci:{}:run", images::layout().display());
    machine
        .lifecycle(&[
            "copy",
            &layout,
            &format!("registry:{}", registry.name("base:run")),
        ])
        .succeeds();
    let tag = registry.name("app:1");
    let output = "type=registry,compression=zstd";
    let arguments = [
        "--tag",
        &tag,
        "--output",
        output,
        "--provenance",
        "--sbom",
        "--annotation",
        "a=b",
    ];
    let first = machine.build(&machine.app(), &arguments).succeeds();
    let again = machine.build(&machine.app(), &arguments);
    again.succeeds();
    drop(first);
    if let Some(index) = raw(&registry, "app:1") {
        let statements = predicates(&machine, &registry, "app", &index);
        let provenance = statements.last().unwrap();
        assert_eq!(provenance["predicateType"], "https://slsa.dev/provenance/v1");
        let materials = provenance["predicate"]["buildDefinition"]["resolvedDependencies"].to_string();
        assert!(materials.contains("fx-layers"), "{materials}");
    }
    let shown = machine
        .lifecycle(&[
            "inspect",
            &format!("registry:{tag}"),
            "--platform",
            &platform(),
            "--output",
            "json",
        ])
        .succeeds();
    assert!(!shown.json()["referrers"].as_array().unwrap().is_empty());
}

/// What ADD has fetched and contexts that lie elsewhere, each with its digest and without what is secret in its address.
#[test]
fn provenance_names_what_was_fetched_p1() {
    let (machine, registry, server) = (Machine::new(), Registry::start(), FileServer::start());
    repository(&machine, "r.git");
    server.keep_directory("/r.git", &machine.path("r.git"));
    server.keep("/f", "F", &[]);
    server.keep("/Dockerfile", "FROM scratch\n", &[]);
    let dockerfile = format!(
        "FROM scratch\nADD {}?token=s3cr3t /f\nADD {}#main /r\nCOPY --from=own . /o\n",
        server.url("/f"),
        server.url("/r.git"),
    );
    let app = machine.files("app", &[("Dockerfile", &dockerfile), ("a", "A")]);
    let file = app.join("Dockerfile");
    let own = format!("own={}", app.display());
    let named = format!("unused={}", server.url("/Dockerfile?token=s3cr3t"));
    let commit = fs::read_to_string(machine.path("r.git/refs/heads/main"))
        .or_else(|_| fs::read_to_string(machine.path("work/.git/refs/heads/main")))
        .unwrap();
    let commit = commit.trim();
    let digest = |text: &str| lifecycle_image::Digest::of(text.as_bytes()).hex().to_owned();
    let repository = json!({ "uri": format!("{}#main", server.url("/r.git")), "digest": { "sha1": commit } });
    let fetched = json!({ "uri": server.url("/f"), "digest": { "sha256": digest("F") } });
    for (number, context) in [
        app.display().to_string(),
        format!("{}#main", server.url("/r.git")),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("made:{number}");
        let tag = registry.name(&name);
        let own = [
            "--build-context",
            &own,
            "--tag",
            &tag,
            "--output",
            "registry",
            "--provenance",
        ];
        let dockerfile = format!("--dockerfile={}", file.display());
        machine
            .lifecycle(&[&["build", &context, &dockerfile], &own[..]].concat())
            .succeeds();
        let Some(index) = raw(&registry, &name) else {
            return;
        };
        let statements = predicates(&machine, &registry, "made", &index);
        let definition = &statements[0]["predicate"]["buildDefinition"];
        assert_eq!(definition["resolvedDependencies"], json!([fetched, repository]));
        let request = &definition["externalParameters"]["request"];
        let locals: Vec<&str> = request["locals"]
            .as_array()
            .unwrap()
            .iter()
            .map(|local| local["name"].as_str().unwrap())
            .collect();
        let expected: &[&str] = match number {
            0 => &["context", "dockerfile", "own"],
            _ => &["dockerfile", "own"],
        };
        assert_eq!(locals, expected);
        assert!(!statements[0].to_string().contains("s3cr3t"));
    }
    // A context that is no archive is a Dockerfile, and has no files.
    machine
        .lifecycle(&[
            "build",
            app.to_str().unwrap(),
            "--dockerfile",
            "--build-context",
            &named,
            "--tag",
            "none",
        ])
        .fails(1)
        .does_not_say("s3cr3t");
}

/// This machine's platform.
fn platform() -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("linux/{architecture}")
}
