//! The reference's lifecycle as a judge of `-daemon`: both write into podman, and each goes on from what the other left.

use serde_json::Value;

use crate::support::daemon::PodmanService;
use crate::support::reference::{Lifecycle, Ours, Reference, assert_same};
use crate::support::{Finished, Pod};

const BUILDPACKS: [&str; 4] = ["fx-layers", "fx-sbom", "fx-process", "fx-noop"];
const BUILD: &str = "io.buildpacks.build.metadata";
const LIFECYCLE: &str = "io.buildpacks.lifecycle.metadata";

/// A pod with the programs of both and podman as its daemon, which has the run image.
fn pod_with_daemon() -> Option<(Pod, PodmanService)> {
    let pod = Pod::with_reference()?;
    pod.root
        .prepare("mkdir -p /var/run /launch-cache; chown 1000:1000 /launch-cache");
    let daemon = PodmanService::start(&pod.root.at("/var/run/docker.sock"))?;
    daemon.podman(&["pull", "--quiet", "--tls-verify=false", &pod.run_image()]);
    pod.order("/tmp/order.toml", &BUILDPACKS);
    Some((pod, daemon))
}

fn create(pod: &Pod, lifecycle: Lifecycle, name: &str) -> Finished {
    let run_image = pod.run_image();
    let words = [
        "creator",
        "-app",
        "/workspace",
        "-order",
        "/tmp/order.toml",
        "-cache-dir",
        "/cache",
        "-launch-cache",
        "/launch-cache",
        "-daemon",
        "-log-level",
        "debug",
        "-run-image",
        &run_image,
        name,
    ];
    pod.phase_as_root_of(lifecycle, &words).succeeds()
}

/// What the daemon says that an image is, without what is decided to differ (docs/phases.md) and without its times.
fn inspect(daemon: &PodmanService, name: &str) -> Value {
    let shown = daemon.podman(&["image", "inspect", name]).json()[0].clone();
    let mut config = shown["Config"].clone();
    for (_, label) in config["Labels"].as_object_mut().unwrap() {
        if let Ok(document) = serde_json::from_str(label.as_str().unwrap()) {
            *label = document;
        }
    }
    let labels = &mut config["Labels"];
    labels[BUILD]["launcher"].take();
    for buildpack in labels[BUILD]["buildpacks"].as_array_mut().unwrap() {
        buildpack.as_object_mut().unwrap().remove("api");
    }
    labels[LIFECYCLE].as_object_mut().unwrap().remove("exec-env");
    serde_json::json!({
        "config": config,
        "layers": shown["RootFS"]["Layers"],
        "created": shown["Created"],
        "history": shown["History"].as_array().unwrap().len(),
    })
}

/// The lines that scripts cut ids and names from, with the id replaced by what it is. The reference says how large a manifest
/// is that a daemon's image does not have.
fn image_lines(finished: &Finished, id: &str) -> String {
    let text = finished.text();
    let lines: Vec<&str> = text.lines().collect();
    let told = lines.iter().enumerate().filter(|(at, line)| {
        line.starts_with("*** ") || (*at > 0 && lines[at - 1].starts_with("*** Images"))
    });
    let told: Vec<String> = told
        .filter(|(_, line)| !line.starts_with("*** Manifest Size"))
        .map(|(_, line)| line.replace(id, "ID").replace(&id[..12], "SHORT"))
        .collect();
    told.join("\n")
}

/// The layers in the launch cache, and whether the image has them.
fn launch_cache(pod: &Pod, image: &Value) -> String {
    let layers = image["layers"].as_array().unwrap();
    let committed = std::fs::read_dir(pod.root.at("/launch-cache/committed")).unwrap();
    let mut lines: Vec<String> = committed
        .map(|file| {
            let name = file.unwrap().file_name().into_string().unwrap();
            let of_image = layers
                .iter()
                .any(|layer| name == format!("{}.tar", layer.as_str().unwrap()));
            format!("{name}, of the image: {of_image}\n")
        })
        .collect();
    lines.sort();
    lines.concat()
}

#[test]
fn both_write_the_same_images_into_a_daemon_an_13_cache_06() {
    let Some((pod, daemon)) = pod_with_daemon() else {
        return;
    };
    let build = |lifecycle: Lifecycle| {
        pod.clear();
        pod.root.prepare("rm -rf /launch-cache/*");
        let name = "example.test/judged/app:1";
        let mut rounds = Vec::new();
        for _ in 0..2 {
            let finished = create(&pod, lifecycle, name);
            let shown = daemon.podman(&["image", "inspect", name]).json()[0]["Id"].clone();
            let id = shown.as_str().unwrap().trim_start_matches("sha256:").to_owned();
            let report = pod.read("/layers/report.toml");
            let lines = report.lines().filter(|line| !line.contains("manifest-size"));
            let report = lines.collect::<Vec<_>>().join("\n").replace(&id, "ID");
            let image = inspect(&daemon, name);
            let facts = serde_json::to_string_pretty(&image).unwrap();
            rounds.push([
                ("the image", facts),
                ("report.toml", report),
                ("what is said of it", image_lines(&finished, &id)),
                ("the launch cache", launch_cache(&pod, &image)),
            ]);
            pod.root.prepare("rm -rf /layers/*");
        }
        daemon.podman(&["rmi", "--force", name]);
        rounds
    };
    let (ours, reference) = (build(Ours), build(Reference));
    for (round, (ours, reference)) in ours.iter().zip(&reference).enumerate() {
        for ((what, ours), (_, reference)) in ours.iter().zip(reference) {
            assert_same(&format!("round {round}: {what}"), ours, reference);
        }
    }
}

#[test]
fn each_goes_on_from_what_the_other_left_in_a_daemon_an_03() {
    let Some((pod, daemon)) = pod_with_daemon() else {
        return;
    };
    for first in [Ours, Reference] {
        pod.clear();
        pod.root.prepare("rm -rf /launch-cache/*");
        let name = format!("example.test/judged/{first:?}:1").to_lowercase();
        create(&pod, first, &name);
        let layers = inspect(&daemon, &name)["layers"].clone();
        pod.root.prepare("rm -rf /layers/*");
        create(&pod, first.other(), &name)
            .says("Reusing layer 'fx-layers:only-launch'")
            .does_not_say("Adding layer 'fx-");
        assert_eq!(inspect(&daemon, &name)["layers"], layers, "{first:?} first");
        // A new base, by the one that did not build last.
        let run_image = pod.run_image();
        let words = ["rebaser", "-daemon", "-force", "-run-image", &run_image, &name];
        pod.phase_as_root_of(first, &words).succeeds();
        assert_eq!(inspect(&daemon, &name)["layers"], layers, "{first:?} first");
    }
}
