//! What is said about images: SBOMs and provenance, as other people's tools read them.

use std::fs;

use serde_json::json;

use crate::elsewhere::repository;
use crate::outputs::{build, manifest, platform};
use crate::support::file_server::FileServer;
use crate::support::images::{self, RUN};
use crate::support::peers::{judge, skopeo_copy};
use crate::support::{Finished, Machine, Registry};

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
