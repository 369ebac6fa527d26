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
    // Whether each layer is there is asked; whatever the number of layers, nothing else is.
    let layers = layers(&machine, &format!("registry:{app}")).len();
    assert!(requests.len() <= 9 + layers, "{requests:#?}");
    let read: Vec<_> = requests
        .iter()
        .filter(|request| request.method == "GET" && request.path.contains("/blobs/"))
        .collect();
    // Two configurations.
    assert_eq!(read.len(), 2, "{requests:#?}");
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
