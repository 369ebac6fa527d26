//! The phases by name in a builder's root, with the command lines of platforms (platforms.md 1.5, 3.1 to 3.3).

use std::fs;

use crate::support::pod::variables;
use crate::support::{Finished, Machine, Pod, peers};

/// All five phases, each in its own process.
fn five_phases(pod: &Pod, name: &str, run: impl Fn(&[&str]) -> Finished) {
    run(&[
        "analyzer",
        "-run-image",
        &pod.run_image(),
        "-log-level",
        "debug",
        name,
    ]);
    assert!(pod.read("/layers/analyzed.toml").contains("sha256:"));
    let detected = pod.phase(&["detector", "-app", "/workspace"]).succeeds();
    detected.says("fx-layers").says("fx-process");
    assert!(pod.read("/layers/group.toml").contains("fx-process"));
    run(&["restorer", "-cache-dir", "/cache"]);
    pod.phase(&["builder", "-app", "/workspace"])
        .succeeds()
        .says("fx-layers: only-launch");
    run(&["exporter", "-app", "/workspace", "-cache-dir", "/cache", name]);
    assert!(pod.read("/layers/report.toml").contains("digest = \"sha256:"));
}

#[test]
fn five_phases_as_uid_1000_without_capabilities() {
    let pod = Pod::new();
    let name = pod.registry.name("five");
    five_phases(&pod, &name, |words| pod.phase(words).succeeds());
    let digest = pod.digest(&name);
    assert!(pod.read("/layers/report.toml").contains(&digest));
    pod.root.prepare("rm -rf /layers/*");
    five_phases(&pod, &name, |words| pod.phase(words).succeeds());
    assert_eq!(pod.digest(&name), digest, "again, with cache and previous image");
}

#[test]
fn phases_that_need_it_start_as_root_and_drop() {
    let pod = Pod::new();
    let (as_root, as_user) = (pod.registry.name("as-root"), pod.registry.name("as-user"));
    five_phases(&pod, &as_root, |words| {
        let ids = ["-uid", "1000", "-gid", "1000"];
        pod.phase_as_root(&[&words[..1], &ids, &words[1..]].concat())
            .succeeds()
    });
    pod.root.prepare("rm -rf /layers/* /cache/*");
    five_phases(&pod, &as_user, |words| pod.phase(words).succeeds());
    assert_eq!(pod.digest(&as_root), pod.digest(&as_user));
}

#[test]
fn the_creator_does_all_of_it_with_banners() {
    let pod = Pod::new();
    let name = pod.registry.name("created");
    let create = |more: &[&str]| {
        let run_image = pod.run_image();
        let words = [
            "creator",
            "-app=/workspace",
            "-cache-dir=/cache",
            "-run-image",
            &run_image,
        ];
        pod.phase(&[&words[..], more, &[&name]].concat())
    };
    let first = create(&[
        "-tag",
        &pod.registry.name("created:other"),
        "-process-type",
        "no-arguments",
    ])
    .succeeds();
    for phase in ["ANALYZING", "DETECTING", "RESTORING", "BUILDING", "EXPORTING"] {
        assert!(
            first.text().contains(&format!("===> {phase}")),
            "{phase}\n{}",
            first.text()
        );
    }
    assert_eq!(pod.digest(&name), pod.digest(&pod.registry.name("created:other")));
    let digest = pod.digest(&name);
    pod.root.prepare("rm -rf /layers/*");
    let again = create(&["-process-type", "no-arguments"]).succeeds();
    again
        .says("fx-layers: only-cache: metadata=yes contents=yes")
        .says("Reusing layer");
    assert_eq!(pod.digest(&name), digest);
    // Without a restore the cached layers are made again.
    pod.root.prepare("rm -rf /layers/*");
    create(&["-skip-restore"])
        .succeeds()
        .says("fx-layers: only-cache: metadata=no contents=no");
}

#[test]
fn the_phases_and_lifecycle_build_make_the_same_layers() {
    let pod = Pod::new();
    let name = pod.registry.name("by-phases");
    pod.phase(&[
        "creator",
        "-app",
        "/workspace",
        "-run-image",
        &pod.run_image(),
        &name,
    ])
    // What `lifecycle build` speaks; the launcher's configuration has it.
    .env("CNB_PLATFORM_API", "0.15")
    .succeeds();
    let machine = Machine::with_builder();
    let app = machine.files("same", &[("page.txt", "first\n")]);
    let ours = pod.registry.name("by-build");
    machine
        .build(
            &app,
            &[
                "--tag",
                &ours,
                "--output",
                "registry",
                "--run-image",
                &pod.run_image(),
                "--env",
                "FX_KEY=1",
            ],
        )
        .succeeds();
    let layers = |name: &str| {
        let json = machine
            .lifecycle(&["inspect", &format!("registry:{name}"), "--output", "json"])
            .succeeds()
            .json();
        let layers = json["layers"].as_array().unwrap().clone();
        layers
            .iter()
            .map(|layer| layer["digest"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(layers(&name), layers(&ours));
}

#[test]
fn skopeo_reads_the_labels_that_platforms_read() {
    let pod = Pod::new();
    let name = pod.registry.name("labels");
    pod.phase(&[
        "creator",
        "-app",
        "/workspace",
        "-run-image",
        &pod.run_image(),
        &name,
    ])
    .succeeds();
    let Some(config) = peers::judge(
        "skopeo",
        &[
            "inspect",
            "--tls-verify=false",
            "--config",
            &pod.registry.docker("labels"),
        ],
    ) else {
        return;
    };
    let labels = config.json()["config"]["Labels"].clone();
    let metadata: serde_json::Value =
        serde_json::from_str(labels["io.buildpacks.lifecycle.metadata"].as_str().unwrap()).unwrap();
    assert!(
        metadata["runImage"]["reference"]
            .as_str()
            .unwrap()
            .contains("sha256:"),
        "{metadata}"
    );
    let build: serde_json::Value =
        serde_json::from_str(labels["io.buildpacks.build.metadata"].as_str().unwrap()).unwrap();
    assert_eq!(build["buildpacks"][0]["id"], "fx-layers", "{build}");
    assert_eq!(labels["fx.label"], "a value with \"quotes\" and a = sign");
}

#[test]
fn exit_codes_are_the_specifications_exit_01_gen_11_lau_18() {
    let pod = Pod::new();
    let name = pod.registry.name("codes");
    let order = |group: &str| {
        pod.root.prepare(&format!("printf '[[order]]\\n[[order.group]]\\nid = \"{group}\"\\nversion = \"1.0.0\"\\n' >/tmp/order.toml"));
    };
    pod.phase(&["detector"])
        .env("CNB_PLATFORM_API", "")
        .fails(11)
        .says("CNB_PLATFORM_API");
    pod.phase(&["detector"])
        .env("CNB_PLATFORM_API", "9.9")
        .fails(11)
        .says("9.9");
    pod.phase(&["detector", "-no-such-flag"]).fails(2);
    pod.phase(&["analyzer"]).fails(3).says("expected 1");
    pod.phase_as_root(&["detector"]).fails(1).says("root");
    for (buildpack, code) in [("fx-fail-detect", 20), ("fx-error-detect", 21)] {
        order(buildpack);
        pod.phase(&["detector", "-order", "/tmp/order.toml"])
            .fails(code)
            .says(buildpack);
    }
    order("fx-fail-build");
    let words = [
        "creator",
        "-order",
        "/tmp/order.toml",
        "-run-image",
        &pod.run_image(),
        &name,
    ];
    pod.phase(&words).fails(51).says("last words on stderr");
    pod.phase(&["detector", "-version"]).succeeds();
    pod.phase(&["detector", "-no-color", "-log-level", "loud"])
        .fails(1)
        .says("failed to parse log level");
    let launcher = fs::metadata(pod.root.at("/cnb/lifecycle/launcher")).unwrap();
    assert!(
        launcher.len() < 4 << 20,
        "the launcher lies in every app image (LAU-18)"
    );
}

#[test]
fn lifecycle_build_is_the_build_phase_for_platforms() {
    let pod = Pod::new();
    let name = pod.registry.name("verbs");
    pod.phase(&["analyzer", "-run-image", &pod.run_image(), &name])
        .succeeds();
    pod.phase(&["detector"]).succeeds();
    let verb = variables(
        pod.root
            .as_user(&["/cnb/lifecycle/lifecycle", "build", "-app", "/workspace"]),
    );
    verb.succeeds().says("fx-layers: only-launch");
}

#[test]
fn every_phase_works_on_layouts_an_12_exp_17_lay_05_mode_01_pk_35() {
    let pod = Pod::new();
    let (run, name) = ("small.test/run:1", "small.test/app");
    let layout = |name: &str| format!("/layout-repo/small.test/{name}");
    pod.root.prepare(&format!(
        "mkdir -p {}; LIFECYCLE_STORE=/tmp/store /cnb/lifecycle/lifecycle copy registry:{} oci:{}:1; chown -R 1000:1000 /layout-repo",
        layout("run"),
        pod.run_image(),
        layout("run/1"),
    ));
    let phase = |words: &[&str]| {
        pod.phase(words)
            .env("CNB_USE_LAYOUT", "true")
            .env("CNB_LAYOUT_DIR", "/layout-repo")
            .env("CNB_EXPERIMENTAL_MODE", "warn")
    };
    let analyze = ["analyzer", "-run-image", run, name];
    phase(&analyze)
        .env("CNB_EXPERIMENTAL_MODE", "")
        .fails(1)
        .says("experimental features are disabled by CNB_EXPERIMENTAL_MODE=error");
    phase(&analyze)
        .env("CNB_LAYOUT_DIR", "")
        .fails(3)
        .says("-layout-dir is required");
    let build = || {
        phase(&analyze)
            .succeeds()
            .says("experimental feature 'export to OCI layout format'");
        phase(&["detector"]).succeeds();
        phase(&["restorer", "-cache-dir", "/cache"]).succeeds();
        phase(&["builder"]).succeeds();
        phase(&["exporter", "-cache-dir", "/cache", name, "small.test/app:2"]).succeeds();
        fs::read_to_string(pod.root.at(&format!("{}/index.json", layout("app/latest")))).unwrap()
    };
    let first = build();
    assert!(
        first.contains("\"org.opencontainers.image.ref.name\":\"latest\""),
        "{first}"
    );
    let second_name = fs::read_to_string(pod.root.at(&format!("{}/index.json", layout("app/2")))).unwrap();
    let digest = |index: &str| index.split("sha256:").nth(1).unwrap()[..64].to_owned();
    assert_eq!(digest(&first), digest(&second_name));
    let report = pod.read("/layers/report.toml");
    assert!(report.contains(&digest(&first)), "{report}");
    pod.root.prepare("rm -rf /layers/*");
    let second = build();
    assert_eq!(digest(&second), digest(&first));
    let analyzed = pod.read("/layers/analyzed.toml");
    assert!(
        analyzed.contains(&format!("reference = \"{}@sha256:", layout("app/latest"))),
        "{analyzed}"
    );
    // The run image's layer is there as well: the layout is the whole image.
    let blobs = fs::read_dir(pod.root.at(&format!("{}/blobs/sha256", layout("app/latest")))).unwrap();
    let sizes: Vec<u64> = blobs
        .map(|blob| blob.unwrap().metadata().unwrap().len())
        .collect();
    let program = fs::metadata("/bin/busybox").unwrap().len();
    assert!(sizes.iter().any(|size| *size > program / 2), "{sizes:?}");
}

#[test]
fn rebasing_takes_few_requests_and_reads_no_layer_reb_05() {
    let pod = Pod::new();
    let name = pod.registry.name("rebased");
    pod.write(
        "/cnb/run.toml",
        &format!("[[images]]\nimage = \"{}\"\n", pod.run_image()),
    );
    pod.phase(&["creator", "-app", "/workspace", &name]).succeeds();
    let before = pod.image(&name);
    pod.newer_run_image();

    let earlier = pod.registry.requests().len();
    pod.phase(&["rebaser", &name]).succeeds();
    let requests = pod.registry.requests().split_off(earlier);
    assert!(requests.len() < 15, "{requests:#?}");
    let after = pod.image(&name);
    assert_eq!(after.layers().len(), before.layers().len() + 1);
    let layers: Vec<_> = [&before, &after, &pod.image(&pod.run_image())]
        .iter()
        .flat_map(|image| image.layers().iter())
        .map(|layer| layer.descriptor().unwrap().digest.to_string())
        .collect();
    let read = |request: &&crate::support::Request| {
        request.method == "GET" && layers.iter().any(|layer| request.path.contains(layer.as_str()))
    };
    assert_eq!(requests.iter().find(read), None);
    assert_eq!(pod.registry.sent_blobs(earlier).len(), 1, "the configuration");
}
