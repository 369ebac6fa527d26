//! The reference's lifecycle as a judge: the same phases in the same builder's root, and each lifecycle with what the other
//! left. Where the two differ on purpose, docs/phases.md says so; those differences, and no others, are taken out here.

use crate::support::reference::{Lifecycle, Ours, Reference, assert_same};
use crate::support::{Finished, Pod};

/// Layers of every kind, plans, SBOMs, environments, exec.d, processes, labels, slices.
const BUILDPACKS: [&str; 7] = [
    "fx-layers",
    "fx-plan-b",
    "fx-sbom",
    "fx-env",
    "fx-execd",
    "fx-process",
    "fx-noop",
];

const BUILD: &str = "io.buildpacks.build.metadata";
const LIFECYCLE: &str = "io.buildpacks.lifecycle.metadata";

fn create(pod: &Pod, lifecycle: Lifecycle, api: &str, name: &str, cache: &[&str]) -> Finished {
    let run_image = pod.run_image();
    let words = ["creator", "-app", "/workspace", "-order", "/tmp/order.toml"];
    let words = [&words[..], &["-run-image", &run_image], cache, &[name]].concat();
    pod.phase_of(lifecycle, &words)
        .env("CNB_PLATFORM_API", api)
        .succeeds()
}

/// Everything that a build leaves: files, documents, the image.
fn everything(pod: &Pod, api: &str, name: &str) -> Vec<(&'static str, String)> {
    let mut facts = pod.facts(name);
    let labels = &mut facts["config"]["config"]["Labels"];
    // Whose launcher it is.
    labels[BUILD]["launcher"].take();
    //
    for buildpack in labels[BUILD]["buildpacks"].as_array_mut().unwrap() {
        buildpack.as_object_mut().unwrap().remove("api");
    }
    labels[LIFECYCLE].as_object_mut().unwrap().remove("exec-env");
    if ["0.7", "0.8", "0.9", "0.10", "0.11"].contains(&api) {
        // The reference forgets the run image's history.
        for line in facts["config"]["history"].as_array_mut().unwrap() {
            line.as_object_mut().unwrap().retain(|key, _| key == "created");
        }
    }
    let digest = pod.digest(name);
    let document = |path: &str| -> String {
        let text = pod.read(path);
        //
        let differs =
            |line: &str| line.contains("manifest-size") || line.contains("exec-env = \"production\"");
        let lines = text.lines().filter(|line| !differs(line));
        let text: Vec<_> = lines.collect();
        // In reports names have their tag.
        text.join("\n")
            .replace(&digest, "DIGEST")
            .replace(&format!("{name}:latest"), "NAME")
            .replace(name, "NAME")
    };
    let documents = ["/layers/analyzed.toml", "/layers/report.toml"].map(document);
    pod.root.prepare("rm /layers/analyzed.toml /layers/report.toml");
    let [analyzed, report] = documents;
    // The reference restores SBOM files so that everybody may write them.
    let files = pod
        .files("/layers /cache")
        .replace("regular file 666", "regular file 644");
    vec![
        ("/layers and /cache", files),
        ("config/metadata.toml", pod.read("/layers/config/metadata.toml")),
        ("group.toml", pod.read("/layers/group.toml")),
        ("plan.toml", pod.read("/layers/plan.toml")),
        ("analyzed.toml", analyzed),
        ("report.toml", report),
        ("the image", serde_json::to_string_pretty(&facts).unwrap()),
    ]
}

#[test]
fn both_leave_the_same_files_caches_and_images_with_every_platform_api_1_19() {
    let Some(pod) = Pod::with_reference() else {
        return;
    };
    pod.order("/tmp/order.toml", &BUILDPACKS);
    for minor in 7..=15 {
        let api = format!("0.{minor}");
        let build = |lifecycle: Lifecycle| {
            pod.clear();
            let name = pod
                .registry
                .name(&format!("{lifecycle:?}-{minor}").to_lowercase());
            let cache = ["-cache-dir", "/cache"];
            create(&pod, lifecycle, &api, &name, &cache);
            let first = everything(&pod, &api, &name);
            pod.root.prepare("rm -rf /layers/*");
            create(&pod, lifecycle, &api, &name, &cache);
            [first, everything(&pod, &api, &name)]
        };
        let (ours, reference) = (build(Ours), build(Reference));
        for (round, (ours, reference)) in ours.iter().zip(&reference).enumerate() {
            for ((what, ours), (_, reference)) in ours.iter().zip(reference) {
                assert_same(&format!("{api}, round {round}: {what}"), ours, reference);
            }
        }
    }
}

#[test]
fn each_reuses_what_the_other_left_layer_by_layer() {
    let Some(pod) = Pod::with_reference() else {
        return;
    };
    pod.order("/tmp/order.toml", &BUILDPACKS);
    for first in [Ours, Reference] {
        for (kind, cache) in [
            ("directory", ["-cache-dir", "/cache"]),
            ("image", ["-cache-image", &pod.registry.name("reused-cache")]),
        ] {
            let what = format!("{:?} after {first:?}, cache {kind}", first.other());
            let name = pod.registry.name(&format!("{first:?}-{kind}").to_lowercase());
            pod.clear();
            create(&pod, first, "0.13", &name, &cache);
            let before = pod.facts(&name);
            let cached = pod.files("/cache");
            pod.root.prepare("rm -rf /layers/*");
            let earlier = pod.registry.requests().len();
            let again = create(&pod, first.other(), "0.13", &name, &cache);
            for layer in ["only-cache", "build-cache", "cache-launch", "build-cache-launch"] {
                again_has(&again, layer, &what);
            }
            let after = pod.facts(&name);
            assert_eq!(
                before["config"]["rootfs"], after["config"]["rootfs"],
                "{what}: the same layers"
            );
            assert_eq!(pod.files("/cache"), cached, "{what}");
            // Of the app image only the configuration is new; the reference sends every layer of a cache image once more.
            let layers = pod.layer_digests(&name);
            let sent = pod.registry.sent_blobs(earlier);
            assert!(sent.iter().all(|blob| !layers.contains(blob)), "{what}: {sent:?}");
            if kind == "directory" || first == Reference {
                assert!(
                    sent.len() <= 2,
                    "{what}: configurations of image and cache, not {sent:?}"
                );
            }
        }
    }
}

#[track_caller]
fn again_has(finished: &Finished, layer: &str, what: &str) {
    let line = format!("fx-layers: {layer}: metadata=yes contents=yes");
    assert!(
        finished.text().contains(&line),
        "{what}: not {line:?} but\n{}",
        finished.text()
    );
}
