//! `lifecycle build` with the fixture buildpacks: what it makes, and what it reuses.

use std::fs;

use crate::support::executable::copy_program;
use crate::support::images::{RUN, buildpack};
use crate::support::{Finished, Machine, Registry, peers};

/// The events of blobs that a step really worked on.
fn worked_on(finished: &Finished, step: &str) -> Vec<String> {
    let events = finished.events();
    let blobs = events.iter().filter(|event| event["event"] == "blob");
    let done = blobs.filter(|event| event["step"] == step && event["outcome"] == "done");
    done.map(|event| event["name"].to_string()).collect()
}

#[test]
fn an_app_becomes_an_image_that_runs() {
    let machine = Machine::with_builder();
    let app = machine.app();
    let built = machine.build(&app, &["--tag", "build/happy"]).succeeds();
    // What was made, what it starts, and how long it took.
    let built = built
        .says("fx-layers: only-launch: metadata=no contents=no")
        .says("slice-3");
    built
        .says("web (default)")
        .says("Time: ")
        .says("Made build/happy");

    machine
        .lifecycle(&["run", "build/happy"])
        .succeeds()
        .says("web: replaceable two words");
    machine
        .lifecycle(&["run", "build/happy", "--", "other"])
        .succeeds()
        .says("web: other");
    machine
        .lifecycle(&["run", "build/happy", "no-arguments"])
        .succeeds()
        .says("/workspace\n");
    machine
        .lifecycle(&["run", "build/happy", "elsewhere"])
        .succeeds()
        .says("/tmp\n");
    machine
        .lifecycle(&["run", "build/happy", "dots.and_underscores"])
        .fails(3);
    machine
        .lifecycle(&[
            "run",
            "build/happy",
            "--entrypoint",
            "/cnb/lifecycle/launcher",
            "--",
            "cat",
            "/workspace/page.txt",
        ])
        .succeeds()
        .says("first\n");
}

#[test]
fn inspect_tells_base_layers_processes_and_buildpacks() {
    let machine = Machine::with_builder();
    machine
        .build(&machine.app(), &["--tag", "build/inspect"])
        .succeeds();
    let text = machine.lifecycle(&["inspect", "build/inspect"]).succeeds();
    for expected in ["fx-layers", "fx-process", "1.0.0", "web", "no-arguments", RUN] {
        assert!(
            text.stdout().contains(expected),
            "{expected} is not in:\n{}",
            text.stdout()
        );
    }
    let json = machine
        .lifecycle(&["inspect", "build/inspect", "--output", "json"])
        .succeeds()
        .json();
    assert!(json["digest"].as_str().unwrap().starts_with("sha256:"), "{json}");
    let layers = json["layers"].as_array().unwrap();
    // The base, two layers of fx-layers that are in the image and two that are cached too, three slices, launcher, configuration…
    assert!(layers.len() >= 8, "{json}");
}

#[test]
fn a_second_build_of_the_same_source_packs_and_sends_nothing() {
    let machine = Machine::with_builder();
    let registry = Registry::start();
    let (app, name) = (machine.app(), registry.name("again"));
    machine.build(&app, &["--tag", &name]).succeeds();
    machine.lifecycle(&["push", &name]).succeeds();
    let digest = machine.digest(&name);

    let sent = registry.requests().len();
    let arguments = ["--log-format", "json", "--tag", &name];
    let again = machine
        .build(&app, &arguments)
        .succeeds()
        .says("fx-layers: only-launch: metadata=yes contents=no");
    let again = again.says("fx-layers: build-cache-launch: metadata=yes contents=yes");
    assert_eq!(worked_on(&again, "pack"), [""; 0], "{}", again.text());
    machine.lifecycle(&["push", &name]).succeeds();
    assert_eq!(machine.digest(&name), digest);
    assert_eq!(registry.sent_blobs(sent), [""; 0]);
}

#[test]
fn a_changed_file_sends_only_the_app_layer() {
    let machine = Machine::with_builder();
    let registry = Registry::start();
    let (app, name) = (machine.app(), registry.name("changed"));
    let build = || {
        machine
            .build(
                &app,
                &["--buildpack", "fx-layers", "--tag", &name, "--output", "registry"],
            )
            .succeeds()
    };
    build();
    let earlier = registry.requests().len();
    fs::write(app.join("page.txt"), "second\n").unwrap();
    build();

    let json = machine
        .lifecycle(&["inspect", &format!("registry:{name}"), "--output", "json"])
        .succeeds()
        .json();
    let layers = json["layers"].as_array().unwrap();
    let sent = registry.sent_blobs(earlier);
    let sent_layers: Vec<_> = layers
        .iter()
        .filter(|layer| sent.iter().any(|digest| layer["digest"] == digest.as_str()))
        .collect();
    assert_eq!(sent_layers.len(), 1, "{sent:?} of {layers:?}");
    assert_eq!(sent_layers[0]["origin"], "app");
    assert_eq!(sent.len(), 2, "the app's layer and the configuration: {sent:?}");
    if let Some(config) = peers::judge(
        "skopeo",
        &[
            "inspect",
            "--tls-verify=false",
            "--config",
            &registry.docker("changed"),
        ],
    ) {
        assert_eq!(
            config.json()["config"]["Entrypoint"][0],
            "/cnb/lifecycle/launcher"
        );
    }
}

#[test]
fn a_layer_with_another_key_is_made_anew() {
    let machine = Machine::with_builder();
    let app = machine.app();
    machine
        .build(&app, &["--tag", "build/key", "--env", "FX_KEY=1"])
        .succeeds();
    let first = machine.digest("build/key");
    let changed = machine
        .build(&app, &["--tag", "build/key", "--env", "FX_KEY=2"])
        .succeeds();
    changed.says("fx-layers: build-cache-launch: metadata=no contents=yes");
    assert_ne!(machine.digest("build/key"), first);
}

#[test]
fn the_cache_can_be_cleared_named_and_left_out() {
    let machine = Machine::with_builder();
    let app = machine.app();
    let warm = "fx-layers: only-cache: metadata=yes contents=yes";
    let cold = "fx-layers: only-cache: metadata=no contents=no";
    let directory = machine.text("cache");
    for cache in [&["--cache", "build-named"][..], &["--cache", &directory]] {
        let build = |name: &str, more: &[&str]| {
            machine
                .build(&app, &[cache, &["--tag", name], more].concat())
                .succeeds()
        };
        build("build/cache-a", &[]).says(cold);
        build("build/cache-b", &[]).says(warm);
        build("build/cache-b", &["--clear-cache"]).says(cold);
    }
    let build = || {
        machine
            .build(&app, &["--cache", "none", "--tag", "build/no-cache"])
            .succeeds()
    };
    build().says(cold);
    build().says(cold);
}

#[test]
fn buildpacks_see_the_variables_they_are_given_and_no_others() {
    let machine = Machine::with_builder();
    let app = machine.app();
    let file = machine
        .files("env", &[("file", "FROM_FILE=file value\n# a comment\nTAKEN\n")])
        .join("file");
    // Base64 of `somebody:canary`.
    let canary = "c29tZWJvZHk6Y2FuYXJ5";
    let auth = format!(r#"{{"registry.example.com": "Basic {canary}"}}"#);
    let build = machine
        .build(
            &app,
            &[
                "--buildpack",
                "fx-noop",
                "--tag",
                "build/env",
                "--env",
                "GIVEN=given value",
                "--env",
                "TAKEN",
            ],
        )
        .argument("--env-file")
        .argument(&file)
        .env("TAKEN", "taken value")
        .env("NOT_GIVEN", canary)
        .env("CNB_REGISTRY_AUTH", auth)
        .env("HTTPS_PROXY", "http://proxy.example.com:3128");
    let finished = build.succeeds();
    for (name, value) in [
        ("GIVEN", "given value"),
        ("TAKEN", "taken value"),
        ("FROM_FILE", "file value"),
        ("CNB_TARGET_OS", "linux"),
        ("CNB_TARGET_DISTRO_NAME", "busybox"),
        ("HTTPS_PROXY", "http://proxy.example.com:3128"),
    ] {
        let line = format!("fx-noop: env: {name}={value}\n");
        assert!(
            finished.text().contains(&line),
            "{line} is not in\n{}",
            finished.text()
        );
    }
    finished
        .says("fx-noop: directory: /workspace")
        .does_not_say(canary);
}

#[test]
fn a_build_plan_is_resolved_over_its_alternatives() {
    let machine = Machine::with_builder();
    let app = machine.app();
    let build = |more: &[&str]| {
        machine.build(
            &app,
            &[
                &["--buildpack", "fx-plan-a,fx-plan-b", "--tag", "build/plan"],
                more,
            ]
            .concat(),
        )
    };
    build(&[])
        .succeeds()
        .says("fx-plan-a: plan:")
        .says("from = \"fx-plan-b\"");
    build(&["--env", "FX_REQUIRES=fx-other", "--env", "FX_ONLY_REQUIRES=yes"])
        .succeeds()
        .says("name = \"fx-other\"");
    build(&["--env", "FX_REQUIRES=fx-nothing", "--env", "FX_ONLY_REQUIRES=yes"])
        .fails(20)
        .says("fx-nothing");
}

#[test]
fn environment_layers_reach_the_processes() {
    let machine = Machine::with_builder();
    machine
        .build(
            &machine.app(),
            &["--buildpack", "fx-env", "--tag", "build/layers-env"],
        )
        .succeeds();
    let web = machine.lifecycle(&["run", "build/layers-env"]).succeeds();
    for line in [
        "FX_APPEND=one-env:one-launch:one-web:two-env:two-launch:two-web",
        "FX_OVERRIDE=two-web",
        "FX_DEFAULT=one-env",
    ] {
        assert!(
            web.stdout().lines().any(|own| own == line),
            "{line} is not in\n{}",
            web.stdout()
        );
    }
    let worker = machine
        .lifecycle(&["run", "build/layers-env", "worker"])
        .succeeds();
    worker.says("FX_APPEND=one-env:one-launch:two-env:two-launch\n");
}

#[test]
fn exec_d_programs_set_variables_or_stop_the_start() {
    let machine = Machine::with_builder();
    let app = machine.app();
    machine
        .build(&app, &["--buildpack", "fx-execd", "--tag", "build/execd"])
        .succeeds();
    let web = machine
        .lifecycle(&["run", "build/execd"])
        .succeeds()
        .says("FX_EXECD_WEB=only for web\n");
    web.says("FX_EXECD_ALL=set with a \"quote\"\n")
        .says("FX_EXECD_SEEN=first, then second\n");
    machine
        .lifecycle(&["run", "build/execd", "worker"])
        .succeeds()
        .does_not_say("FX_EXECD_WEB");
    machine
        .build(
            &app,
            &[
                "--buildpack",
                "fx-execd",
                "--tag",
                "build/execd",
                "--env",
                "FX_EXECD_EXIT=9",
            ],
        )
        .succeeds();
    machine.lifecycle(&["run", "build/execd"]).fails(82);
}

#[test]
fn sboms_come_back_out_of_the_image() {
    let machine = Machine::with_builder();
    machine
        .build(&machine.app(), &["--buildpack", "fx-sbom", "--tag", "build/sbom"])
        .succeeds();
    let merged = machine
        .lifecycle(&["sbom", "build/sbom"])
        .succeeds()
        .says("fx-launch")
        .says("fx-layer")
        .says("lifecycle-launcher");
    assert_eq!(merged.json()["bomFormat"], "CycloneDX");
    let directory = machine.text("sboms");
    machine
        .lifecycle(&["sbom", "build/sbom", "--directory", &directory])
        .succeeds();
    let find = std::process::Command::new("find")
        .args([&directory, "-name", "*.json"])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(find.stdout).unwrap().lines().count(),
        9,
        "three formats of launch, of a layer and of the launcher"
    );
}

#[test]
fn every_output_has_the_same_digest() {
    let machine = Machine::with_builder();
    let registry = Registry::start();
    let app = machine.app();
    let (layout, archive, docker) = (
        machine.text("layout"),
        machine.text("oci.tar"),
        machine.text("docker.tar"),
    );
    let name = registry.name("app:1");
    let places = [
        ("store", format!("store:{name}")),
        ("registry", format!("registry:{name}")),
        (&format!("oci:{layout}"), format!("oci:{layout}")),
        (
            &format!("oci-archive:{archive}"),
            format!("oci-archive:{archive}"),
        ),
    ];
    let digests: Vec<String> = places
        .iter()
        .map(|(output, place)| {
            machine
                .build(&app, &["--tag", &name, "--output", output])
                .succeeds();
            machine.digest(place)
        })
        .collect();
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
    machine
        .build(
            &app,
            &["--tag", &name, "--output", &format!("docker-archive:{docker}")],
        )
        .succeeds();
    if let Some(names) = peers::judge(
        "tar",
        &["--extract", "--to-stdout", "--file", &docker, "manifest.json"],
    ) {
        assert_eq!(names.json()[0]["RepoTags"][0], name);
    }
}

#[test]
fn programs_get_the_digest_and_people_get_quiet() {
    let machine = Machine::with_builder();
    let app = machine.app();
    let file = machine.text("digest");
    let quiet = machine
        .build(&app, &["--tag", "build/quiet", "--quiet", "--digest-file", &file])
        .succeeds();
    assert_eq!(quiet.stderr(), "");
    let digest = machine.digest("build/quiet");
    assert_eq!(fs::read_to_string(&file).unwrap().trim(), digest);
    assert!(quiet.stdout().contains(&digest), "{}", quiet.stdout());
}

#[test]
fn a_dry_run_tells_the_plan_and_makes_nothing() {
    let machine = Machine::with_builder();
    machine
        .build(&machine.app(), &["--tag", "build/dry", "--dry-run"])
        .succeeds()
        .says("fx-layers")
        .says(RUN);
    machine.lifecycle(&["inspect", "store:build/dry"]).fails(1);
}

#[test]
fn the_default_process_can_be_chosen() {
    let machine = Machine::with_builder();
    let app = machine.app();
    machine
        .build(&app, &["--tag", "build/process", "--process", "no-arguments"])
        .succeeds();
    machine
        .lifecycle(&["run", "build/process"])
        .succeeds()
        .says("/workspace\n");
    let wrong = machine
        .build(&app, &["--tag", "build/process", "--process", "nowhere"])
        .run();
    assert!(!wrong.status().success(), "{}", wrong.text());
    wrong.says("nowhere").says("no-arguments");
}

#[test]
fn a_buildpack_may_be_a_directory() {
    let machine = Machine::with_builder();
    machine
        .build(
            &machine.app(),
            &["--buildpack", &buildpack("fx-store"), "--tag", "build/directory"],
        )
        .succeeds();
    let again = machine.build(
        &machine.app(),
        &["--buildpack", &buildpack("fx-store"), "--tag", "build/directory"],
    );
    again.succeeds().says("fx-store: build number 2");
}

#[test]
fn project_toml_chooses_files_buildpacks_and_variables() {
    let machine = Machine::with_builder();
    let toml = "[_]\nschema-version = \"0.2\"\n[io.buildpacks]\nexclude = [\"folder\"]\n\
                [[io.buildpacks.group]]\nid = \"fx-noop\"\nversion = \"1.0.0\"\n\
                [[io.buildpacks.build.env]]\nname = \"FROM_PROJECT\"\nvalue = \"project value\"\n";
    let app = machine.files(
        "project",
        &[
            ("project.toml", toml),
            ("folder/data.txt", "data"),
            ("page.txt", "page"),
        ],
    );
    machine
        .build(&app, &["--tag", "build/project"])
        .succeeds()
        .says("fx-noop: env: FROM_PROJECT=project value\n");
    let ls = [
        "run",
        "build/project",
        "--entrypoint",
        "/cnb/lifecycle/launcher",
        "--",
        "ls",
        "/workspace",
    ];
    machine
        .lifecycle(&ls)
        .succeeds()
        .says("page.txt")
        .does_not_say("folder");
}

#[test]
fn a_build_goes_on_when_its_program_is_replaced() {
    let machine = Machine::with_builder();
    let program = machine.path("lifecycle");
    copy_program(env!("CARGO_BIN_EXE_lifecycle"), &program);
    let build = machine.build(&machine.app(), &["--tag", "build/replaced"]);
    let running = build.program(&program).start();
    let other = machine.path("other");
    fs::write(&other, "not a program").unwrap();
    fs::rename(&other, &program).unwrap();
    running.wait().with_code(0);
    machine.lifecycle(&["run", "build/replaced"]).succeeds();
}
