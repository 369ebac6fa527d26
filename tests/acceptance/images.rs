//! Images between store, registries, layouts and archives, with other people's tools on the other side.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use lifecycle_image::{
    BytesLayer, Compression, DiffId, Digest, Family, History, MediaType, Platform, Sink as _, Source as _,
    mutate,
};
use lifecycle_layers::{Entry, Style, TarWriter};
use lifecycle_store::Store;

use crate::support::images::{self, RUN, buildpack};
use crate::support::{Invocation, Machine, Registry, peers};

/// The run image in every kind of place, and where it is.
fn everywhere(machine: &Machine, registry: &Registry) -> Vec<String> {
    let places = vec![
        format!("registry:{}", registry.name("copied:1")),
        format!("oci:{}:v1", machine.text("layout")),
        format!("oci-archive:{}:v1", machine.text("oci.tar")),
    ];
    let copy = machine.lifecycle(&["copy", &format!("store:{RUN}")]);
    places.iter().fold(copy, Invocation::argument).succeeds();
    places
}

/// A place as skopeo writes it.
fn for_skopeo(place: &str) -> String {
    place
        .strip_prefix("registry:")
        .map_or_else(|| place.to_owned(), |name| format!("docker://{name}"))
}

#[test]
fn the_digest_survives_every_way_from_and_to_skopeo() {
    let machine = Machine::with_builder();
    let registry = Registry::start();
    let digest = machine.digest(&format!("store:{RUN}"));
    for (number, place) in everywhere(&machine, &registry).iter().enumerate() {
        assert_eq!(machine.digest(place), digest, "{place}");
        let theirs = for_skopeo(place);
        let Some(seen) = peers::skopeo_digest(&theirs) else {
            return;
        };
        assert_eq!(seen, digest, "{theirs}");
        // From us through skopeo to each kind of place, and back to us.
        for (kind, to) in [
            ("docker", registry.docker(&format!("skopeo:{number}"))),
            (
                "oci",
                format!("oci:{}:v1", machine.text(&format!("skopeo-{number}"))),
            ),
            (
                "oci-archive",
                format!("oci-archive:{}:v1", machine.text(&format!("skopeo-{number}.tar"))),
            ),
        ] {
            peers::skopeo_copy(&theirs, &to);
            let back = to.replace("docker://", "registry:");
            machine
                .lifecycle(&["pull", &back, "--tag", &format!("images/back-{kind}-{number}")])
                .succeeds();
            assert_eq!(
                machine.digest(&format!("store:images/back-{kind}-{number}")),
                digest,
                "{theirs} → {to}"
            );
        }
    }
}

#[test]
fn docker_archives_go_both_ways() {
    let machine = Machine::with_builder();
    let (ours, theirs) = (machine.text("ours.tar"), machine.text("theirs.tar"));
    machine
        .lifecycle(&[
            "copy",
            &format!("store:{RUN}"),
            &format!("docker-archive:{ours}:images/docker:1"),
        ])
        .succeeds();
    let from = format!("docker-archive:{ours}");
    let to = format!("docker-archive:{theirs}:images/docker:2");
    let copy = ["--insecure-policy", "copy", "--quiet", &from, &to];
    if peers::judge("skopeo", &copy).is_none() {
        return;
    }
    machine
        .lifecycle(&[
            "pull",
            &format!("docker-archive:{theirs}"),
            "--tag",
            "images/docker",
        ])
        .succeeds();
    machine
        .lifecycle(&["run", "images/docker", "--entrypoint", "/bin/echo", "--", "hello"])
        .succeeds()
        .says("hello\n");
}

#[test]
fn umoci_and_buildah_and_podman_unpack_what_was_built() {
    let machine = Machine::with_builder();
    let kinds = "hard-links set-id sparse long-names not-utf8 read-only symbolic-links empty";
    let layout = machine.text("layout");
    machine
        .build(
            &machine.app(),
            &["--buildpack", &buildpack("fx-nasty"), "--tag", "images/nasty:1"],
        )
        .argument("--env")
        .argument(format!("FX_NASTY={kinds}"))
        .argument("--env")
        .argument("FX_SPARSE_SIZE=64M")
        .argument("--output")
        .argument(format!("oci:{layout}"))
        .succeeds();
    let bundle = machine.text("bundle");
    let image = format!("{layout}:1");
    if peers::judge("umoci", &["unpack", "--rootless", "--image", &image, &bundle]).is_some() {
        let at =
            |path: &str| fs::symlink_metadata(format!("{bundle}/rootfs/layers/fx-nasty/{path}")).unwrap();
        // As in the reference's layers, each name of a file is a file of its own.
        assert_eq!(at("hard-links/below/second").len(), "shared\n".len() as u64);
        assert_eq!(at("set-id/user").mode() & 0o7777, 0o4755);
        assert_eq!(at("set-id/sticky").mode() & 0o7777, 0o1777);
        assert_eq!(at("sparse/hole").len(), (64 << 20) + 3);
        assert!(at("symbolic-links/dangling").is_symlink());
        assert_eq!(at("read-only/closed").mode() & 0o777, 0o555);
    }
    let registry = Registry::start();
    machine
        .lifecycle(&["copy", &format!("oci:{layout}:1"), &registry.name("nasty:1")])
        .succeeds();
    let storage = [
        "--root",
        &machine.text("storage"),
        "--runroot",
        &machine.text("runroot"),
        "--storage-driver",
        "vfs",
    ];
    for peer in ["buildah", "podman"] {
        let pull = ["pull", "--quiet", "--tls-verify=false", &registry.name("nasty:1")];
        if let Some(peer) = peers::peer(peer, &[&storage[..], &pull].concat()) {
            peer.env("HOME", machine.path("home"))
                .env("TMPDIR", "/tmp")
                .succeeds();
        }
    }
}

#[test]
fn umoci_validates_a_built_layout() {
    let machine = Machine::with_builder();
    let layout = machine.text("layout");
    machine
        .build(
            &machine.app(),
            &["--tag", "images/stat:1", "--output", &format!("oci:{layout}")],
        )
        .succeeds();
    if let Some(shown) = peers::judge("umoci", &["stat", "--json", "--image", &format!("{layout}:1")]) {
        let history = shown.json()["history"].as_array().unwrap().clone();
        let layers = history
            .iter()
            .filter(|entry| entry["empty_layer"] != true)
            .count();
        let ours = machine
            .lifecycle(&["inspect", &format!("oci:{layout}:1"), "--output", "json"])
            .succeeds()
            .json();
        assert_eq!(layers, ours["layers"].as_array().unwrap().len());
    }
}

#[test]
fn the_store_lists_renames_and_removes() {
    let machine = Machine::new();
    let from = format!("oci:{}:run", images::layout().display());
    machine
        .lifecycle(&["pull", &from, "--tag", "images/listed:1"])
        .succeeds();
    machine
        .lifecycle(&["tag", "images/listed:1", "images/other:2"])
        .succeeds();
    machine
        .lifecycle(&["images"])
        .succeeds()
        .says("images/listed")
        .says("images/other");
    let json = machine
        .lifecycle(&["images", "--output", "json"])
        .succeeds()
        .json();
    assert_eq!(json.as_array().unwrap().len(), 2, "{json}");
    assert_eq!(
        machine.digest("images/listed:1"),
        machine.digest("images/other:2")
    );

    machine.lifecycle(&["rmi", "images/listed:1"]).succeeds();
    machine.lifecycle(&["cache", "prune"]).succeeds();
    machine
        .lifecycle(&["run", "images/other:2", "--entrypoint", "/bin/true"])
        .succeeds();
    machine.lifecycle(&["rmi", "images/other:2"]).succeeds();
    machine
        .lifecycle(&["rmi", "images/other:2"])
        .fails(1)
        .says("images/other:2");
    machine.lifecycle(&["cache", "prune", "--all"]).succeeds();
    machine.lifecycle(&["images"]).succeeds().does_not_say("images/");
    let left: Vec<_> = fs::read_dir(machine.store().join("blobs/sha256"))
        .unwrap()
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn pushing_again_sends_nothing_and_other_repositories_mount() {
    let machine = Machine::with_builder();
    let registry = Registry::start();
    machine
        .lifecycle(&["push", RUN, &registry.name("one"), &registry.name("two")])
        .succeeds();
    assert_eq!(
        registry.sent_blobs(0).len(),
        2,
        "one layer and one configuration, once: {:?}",
        registry.requests()
    );
    let earlier = registry.requests().len();
    machine
        .lifecycle(&["push", RUN, &registry.name("one")])
        .succeeds();
    assert_eq!(registry.sent_blobs(earlier), [""; 0]);
    let names = [registry.name("one"), registry.name("three")];
    machine
        .lifecycle(&["copy", &format!("registry:{}", names[0]), &names[1]])
        .succeeds();
    // The configuration is in memory by then, and smaller than the question whether it can be mounted.
    let layer = machine
        .lifecycle(&["inspect", RUN, "--output", "json"])
        .succeeds()
        .json()["layers"][0]["digest"]
        .clone();
    let sent = registry.sent_blobs(earlier);
    assert!(
        sent.len() <= 1 && !sent.iter().any(|digest| layer == digest.as_str()),
        "{sent:?}"
    );
}

#[test]
fn an_index_is_copied_whole_or_for_one_platform() {
    let machine = Machine::with_builder();
    let registry = Registry::start();
    let (amd, arm) = (machine.text("amd"), machine.text("index"));
    // skopeo changes the platform that a config names, so two members come from one image.
    machine
        .lifecycle(&["copy", &format!("store:{RUN}"), &format!("oci:{amd}:v1")])
        .succeeds();
    let script = r#"
        set -e; cp -R "$1" "$2"; cd "$2"
        first=$(jq -c '.manifests[0] | {mediaType, digest, size}' index.json)
        printf '%s' "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\"manifests\":[$(
            for arch in amd64 arm64; do jq -cn --argjson first "$first" --arg arch "$arch" \
                '$first + {platform: {os: "linux", architecture: $arch}}'; done | paste -sd,)]}" >list
        digest=$(sha256sum list | cut -d' ' -f1); size=$(wc -c <list); mv list blobs/sha256/$digest
        jq -cn --arg digest "sha256:$digest" --argjson size "$size" '{schemaVersion: 2, manifests: [{
            mediaType: "application/vnd.oci.image.index.v1+json", digest: $digest, size: $size,
            annotations: {"org.opencontainers.image.ref.name": "v1"}}]}' >index.json"#;
    Invocation::new("sh", &["-c", script, "sh", &amd, &arm]).succeeds();
    let whole = registry.name("index");
    machine
        .lifecycle(&["copy", &format!("oci:{arm}:v1"), &whole])
        .succeeds();
    let raw = |name: &str| {
        peers::judge(
            "skopeo",
            &["inspect", "--raw", "--tls-verify=false", &registry.docker(name)],
        )
    };
    if let Some(raw) = raw("index") {
        assert_eq!(raw.json()["manifests"].as_array().unwrap().len(), 2);
    }
    machine
        .lifecycle(&["copy", "--platform", "linux/arm64", &whole, &registry.name("one")])
        .succeeds();
    if let Some(raw) = raw("one") {
        assert!(raw.json()["layers"].is_array(), "{}", raw.text());
    }
    machine
        .lifecycle(&[
            "copy",
            "--platform",
            "linux/s390x",
            &whole,
            &registry.name("none"),
        ])
        .fails(1)
        .says("s390x")
        .says("arm64");
}

#[test]
fn a_process_sees_directories_as_the_layer_says_that_describes_them() {
    let machine = Machine::with_builder();
    let store = Store::open(machine.store()).unwrap();
    let drop = Entry {
        mode: 0o1777,
        ..Entry::directory(&b"drop"[..])
    };
    let mut image = store.image(&RUN.parse().unwrap(), &Platform::host()).unwrap();
    // The second layer has a file in the directory and nothing about that.
    for entry in [drop, Entry::file(&b"drop/file"[..], 0)] {
        let mut writer = TarWriter::new(Vec::new(), Style::Oci { latest: None });
        writer.entry(&entry).unwrap();
        let bytes = writer.finish().unwrap();
        let diff_id = DiffId(Digest::of(&bytes));
        let layer = BytesLayer::new(MediaType::layer(Family::Oci, Compression::None), bytes, diff_id);
        image = mutate::append(image, Arc::new(layer), History::default());
    }
    let mut upload = store.begin(&["images/drop".parse().unwrap()]).unwrap();
    for layer in image.layers() {
        upload.layer(Arc::clone(layer));
    }
    upload.finish(&image).unwrap();
    // An ordinary user may write there, and does.
    let script = "stat -c %a /drop; touch /drop/mine && ls /drop";
    let shown = machine.lifecycle(&[
        "run",
        "images/drop",
        "--entrypoint",
        "/bin/sh",
        "--",
        "-c",
        script,
    ]);
    assert_eq!(shown.succeeds().stdout(), "1777\nfile\nmine\n");
}
