//! The reference's lifecycle as a judge of image extensions: both generate and extend in a root of their own, from the same
//! extension, and the images that come out are the same but for the bytes of the extended layers, whose times and order of
//! files are the extender's.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::extensions::with_extension;
use crate::support::reference::{Lifecycle, Ours, Reference, assert_same, facts};
use crate::support::{Finished, Pod};

const BUILD: &str = "io.buildpacks.build.metadata";
const LIFECYCLE: &str = "io.buildpacks.lifecycle.metadata";

/// A pod with the programs of both, whose builder has an extension.
fn pod_with_extension() -> Option<Pod> {
    let pod = with_extension(Pod::with_reference()?);
    // The reference stops at a value with an equals sign.
    pod.root
        .prepare("sed -i 's/{version}=x/{version}/' /cnb/extensions/fx-ext/1.0.0/bin/generate");
    let run_toml = format!("[[images]]\n  image = \"{}\"\n", pod.run_image());
    pod.write("/layers/run.toml", &run_toml);
    Some(pod)
}

fn run(pod: &Pod, lifecycle: Lifecycle, words: &[&str]) -> Finished {
    pod.phase_as_root_of(lifecycle, words).succeeds()
}

/// Every phase of a build with extensions, up to the image `name`.
fn extend(pod: &Pod, lifecycle: Lifecycle, name: &str) {
    run(pod, lifecycle, &["analyzer", "-run", "/layers/run.toml", name]);
    pod.phase_of(lifecycle, &["detector", "-app", "/workspace"])
        .succeeds();
    let run_image = pod.run_image();
    let restore = ["restorer", "-cache-dir", "/cache", "-build-image", &run_image];
    run(pod, lifecycle, &restore);
    run(
        pod,
        lifecycle,
        &["extender", "-app", "/workspace", "-kind", "run"],
    )
    .says("fx-ext: run as 0");
    // The containers of the two extenders have roots of their own; here is one, so what the run image gets is undone.
    pod.root
        .prepare("rm -r /opt; printf 'ID=busybox\\nVERSION_ID=1\\n' >/etc/os-release");
    run(pod, lifecycle, &["extender", "-app", "/workspace"]).says("fx-ext: build as 0");
    let export = ["exporter", "-app", "/workspace", "-run", "/layers/run.toml", name];
    run(pod, lifecycle, &export);
}

/// The paths in a layer, as directories or files: what an extender says of directories above is its own affair.
fn paths(layer: &dyn lifecycle_image::Layer) -> BTreeSet<String> {
    let plain = lifecycle_layers::decoder(layer.open(0).unwrap(), None).unwrap();
    let mut reader = lifecycle_layers::TarReader::new(std::io::BufReader::new(plain));
    let mut paths = BTreeSet::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        let path = String::from_utf8(entry.path.clone()).unwrap();
        let path = path.trim_start_matches(['.', '/']);
        // Its cache is on a volume in a container, and so in no layer.
        if entry.kind != lifecycle_layers::Kind::Directory && !path.starts_with("kaniko/") {
            paths.insert(path.to_owned());
        }
    }
    paths
}

/// What the image is, without what is decided to differ (docs/phases.md), and the files of its extended layers.
fn told(pod: &Pod, name: &str) -> String {
    let image = pod.image(name);
    let base = pod.image(&pod.run_image()).layers().len();
    let mut facts = facts(&image);
    let extended: BTreeSet<String> = image.layers()[base..]
        .iter()
        .zip(&image.config().history[base..])
        .filter(|(_, line)| {
            line.created_by
                .as_deref()
                .unwrap_or_default()
                .contains("extension: ")
        })
        .flat_map(|(layer, _)| paths(&**layer))
        .collect();
    let config = &mut facts["config"];
    for key in ["rootfs", "history", "created"] {
        config[key].take();
    }
    let labels = &mut config["config"]["Labels"];
    labels[BUILD]["launcher"].take();
    for kind in ["buildpacks", "extensions"] {
        for module in labels[BUILD][kind].as_array_mut().unwrap() {
            module.as_object_mut().unwrap().remove("api");
        }
    }
    labels[LIFECYCLE].as_object_mut().unwrap().remove("exec-env");
    let what = serde_json::json!({ "config": facts["config"], "extended": extended });
    let text = serde_json::to_string_pretty(&what).unwrap();
    let address = pod.registry.name("");
    text.replace(address.trim_end_matches('/'), "REGISTRY")
}

#[test]
fn both_extend_build_and_run_image_alike_ext_01_ext_03_ext_04_ext_06() {
    let tell = |lifecycle: Lifecycle| -> Option<(String, Value)> {
        let pod = pod_with_extension()?;
        let name = pod.registry.name("extended");
        extend(&pod, lifecycle, &name);
        let label = pod.label(&name, LIFECYCLE);
        Some((told(&pod, &name), label["runImage"]["topLayer"].clone()))
    };
    let (Some((ours, our_top)), Some((reference, its_top))) = (tell(Ours), tell(Reference)) else {
        return;
    };
    assert_same("the extended image", &ours, &reference);
    assert_eq!(our_top, its_top);
}
