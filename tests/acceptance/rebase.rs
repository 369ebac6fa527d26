//! `lifecycle rebase`: a new run image below an app, wherever the app is.

use std::fs;

use crate::support::images::RUN;
use crate::support::{Machine, Registry};

/// Makes a newer run image in the store: the small one with one more file.
fn newer_run_image(machine: &Machine, name: &str) {
    let context = machine.files(
        "newer",
        &[
            ("Dockerfile", &format!("FROM {RUN}\nCOPY patch /patch\n")),
            ("patch", "1\n"),
        ],
    );
    machine
        .lifecycle(&["build", context.to_str().unwrap(), "--tag", name])
        .succeeds();
}

fn layers(machine: &Machine, image: &str) -> Vec<String> {
    let shown = machine
        .lifecycle(&["inspect", image, "--output", "json"])
        .succeeds()
        .json();
    let layers = shown["layers"].as_array().unwrap();
    layers.iter().map(|layer| layer["diffId"].to_string()).collect()
}

#[test]
fn an_app_in_the_store_gets_a_new_base_and_keeps_its_layers_reb_05() {
    let machine = Machine::with_builder();
    machine
        .build(&machine.app(), &["--tag", "rebase/store"])
        .succeeds();
    newer_run_image(&machine, "rebase/run:newer");
    let rebase = machine.lifecycle(&["rebase", "rebase/store", "--run-image", "rebase/run:newer"]);
    rebase
        .fails(72)
        .says("is not among the run images that the app image names");
    let before = layers(&machine, "rebase/store");

    let report = machine.text("report.toml");
    rebase
        .argument("--force")
        .argument("--tag=rebase/other")
        .argument("--report")
        .argument(&report)
        .succeeds()
        .says("rebased rebase/store on rebase/run:newer");
    assert!(fs::read_to_string(&report).unwrap().contains("rebase/other"));
    assert_eq!(layers(&machine, "rebase/store"), before);
    let (run, after) = (
        layers(&machine, "rebase/run:newer"),
        layers(&machine, "rebase/other"),
    );
    assert_eq!(after[..run.len()], run);
    assert_eq!(after[run.len()..], before[run.len() - 1..]);
    machine
        .lifecycle(&[
            "run",
            "rebase/other",
            "--entrypoint",
            "cat",
            "--",
            "/patch",
            "/workspace/page.txt",
        ])
        .succeeds()
        .says("1\nfirst\n");
}

#[test]
fn apps_in_a_registry_are_rebased_there_and_no_layer_is_read() {
    let machine = Machine::with_builder();
    let registry = Registry::start();
    let (app, run) = (registry.name("rebase/app:1"), registry.name("rebase/run:1"));
    machine.lifecycle(&["push", RUN, &run]).succeeds();
    let layout = machine.text("layout");
    let build = machine.build(
        &machine.app(),
        &["--tag", &app, "--run-image", &run, "--buildpack", "fx-noop"],
    );
    build.clone().argument("--output=registry").succeeds();
    build.argument(format!("--output=oci:{layout}")).succeeds();
    newer_run_image(&machine, "rebase/run:1");
    machine.lifecycle(&["push", "rebase/run:1", &run]).succeeds();

    let sent = registry.requests().len();
    let digest = machine.lifecycle(&["rebase", &app]).succeeds().stdout();
    let requests = registry.requests()[sent..].to_vec();
    // The manifests of both images are read and the app's configuration; that of the run image is in the store, which it was
    // pushed from. Manifest and configuration of the new one are written (an upload is two requests). The new layer of the
    // run image is taken over from its repository. All other layers are where they were.
    let (read, written, taken_over) = (3, 3, 1);
    assert_eq!(requests.len(), read + written + taken_over, "{requests:#?}");
    let read: Vec<_> = requests
        .iter()
        .filter(|request| request.method == "GET" && request.path.contains("/blobs/"))
        .collect();
    assert_eq!(read.len(), 1, "{requests:#?}");
    assert!(digest.starts_with(app.trim_end_matches(":1")), "{digest}");

    // The same app in a layout, with the run image from the registry.
    let in_layout = machine
        .lifecycle(&["rebase", &format!("oci:{layout}")])
        .succeeds();
    assert_eq!(in_layout.stdout(), digest);
}

#[test]
fn what_cannot_be_rebased_is_said() {
    let machine = Machine::with_builder();
    machine.lifecycle(&["rebase", RUN]).fails(3).says("label");
    machine
        .lifecycle(&["rebase", "a", "b", "--tag", "c"])
        .fails(1)
        .says("cannot share one name");
    machine.lifecycle(&["rebase"]).fails(2);
}

/// The diff IDs of one image of an index.
fn layers_for(machine: &Machine, image: &str, platform: &str) -> Vec<String> {
    let words = ["inspect", image, "--platform", platform, "--output", "json"];
    let shown = machine.lifecycle(&words).succeeds().json();
    let layers = shown["layers"].as_array().unwrap();
    layers.iter().map(|layer| layer["diffId"].to_string()).collect()
}

/// Every image of an index gets the run image of its platform, and the index is written anew.
#[test]
fn all_images_of_an_index_are_rebased_reb_05() {
    let machine = Machine::new();
    let registry = Registry::start();
    let (app, run) = (registry.name("rebase/many:1"), registry.name("rebase/many-run:1"));
    let platforms = ["linux/amd64", "linux/arm64"];
    let build = |name: &str, dockerfile: &str| {
        let files = [
            ("Dockerfile", dockerfile),
            ("amd64", "amd64\n"),
            ("arm64", "arm64\n"),
        ];
        let context = machine.files("context", &files);
        let all = platforms.join(",");
        let words = [
            "build",
            context.to_str().unwrap(),
            "--dockerfile",
            "--platform",
            &all,
            "--tag",
            name,
        ];
        machine
            .lifecycle(&[&words[..], &["--output", "registry"]].concat())
            .succeeds();
    };
    // What is the same for both, so that one label names the top layer of both.
    build(&run, "FROM scratch\nCOPY amd64 /both\n");
    let old = layers_for(&machine, &format!("registry:{run}"), platforms[0]);
    let label = format!(
        r#"{{"runImage":{{"topLayer":{},"reference":"x","image":"{run}"}}}}"#,
        old[0]
    );
    build(
        &app,
        &format!(
            "FROM {run}\nARG TARGETARCH\nCOPY $TARGETARCH /app\nENV CNB_PLATFORM_API=0.12\n\
             LABEL io.buildpacks.lifecycle.metadata='{label}'\n"
        ),
    );
    let app_at = format!("registry:{app}");
    let before = platforms.map(|platform| layers_for(&machine, &app_at, platform));
    build(
        &run,
        "FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /base\nCOPY amd64 /both\n",
    );

    machine
        .lifecycle(&["rebase", &app_at, "--platform", platforms[1]])
        .fails(1)
        .says("leave --platform out");
    let report = machine.text("report.toml");
    let rebased = machine
        .lifecycle(&["rebase", &app_at, "--report", &report])
        .succeeds();
    let digest = rebased.stdout().trim().rsplit('@').next().unwrap().to_owned();
    assert!(fs::read_to_string(&report).unwrap().contains(&digest));
    for (platform, before) in platforms.iter().zip(before) {
        let after = layers_for(&machine, &format!("{app_at}@{digest}"), platform);
        let run = layers_for(&machine, &format!("registry:{run}"), platform);
        assert_eq!(after[..2], run, "{platform}");
        assert_eq!(after[2..], before[1..], "{platform}");
    }

    // One of them under a name of its own is one image.
    let one = registry.name("rebase/one:1");
    machine
        .lifecycle(&["rebase", &app_at, "--platform", platforms[1], "--tag", &one])
        .succeeds();
    assert_eq!(
        layers(&machine, &format!("registry:{one}")),
        layers_for(&machine, &app_at, platforms[1])
    );
}
