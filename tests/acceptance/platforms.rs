//! The command lines of pack, kpack, Tekton and Shipwright, replayed in a builder's root with the users, directories and
//! variables that they set (platforms.md 1.5, 3.1 to 3.3), and every version of the Platform API.

use std::fs;

use crate::support::Pod;
use crate::support::pod::variables;

const LIFECYCLE: &str = "io.buildpacks.lifecycle.metadata";
const BUILD: &str = "io.buildpacks.build.metadata";

/// The phases as kpack's init containers start them (platforms.md 3.2).
#[test]
fn kpack_runs_every_phase_with_files_by_name_pk_31_pk_33() {
    let pod = Pod::new();
    let name = pod.registry.name("kpack");
    pod.root.prepare(
        "mkdir -p /builder/home/.docker /var/report /platform/bindings/db
         echo '{}' >/builder/home/.docker/config.json
         echo '[source]
type = \"git\"
[source.version]
commit = \"abc\"' >/layers/project-metadata.toml
         chown -R 1000:1000 /builder /var/report /layers",
    );
    let phase = |words: &[&str]| {
        let program = format!("/cnb/lifecycle/{}", words[0]);
        pod.root
            .as_user(&[&[program.as_str()], &words[1..]].concat())
            .env("HOME", "/builder/home")
            .env("PATH", "/bin")
            .env("CNB_PLATFORM_API", "0.9")
    };
    let (stack, run_image) = ("/layers/analyzed.toml", pod.run_image());
    let (analyzed, run) = (format!("-analyzed={stack}"), format!("-run-image={run_image}"));
    phase(&[
        "analyzer",
        "-layers=/layers",
        &analyzed,
        &run,
        "-previous-image=",
        &name,
    ])
    .succeeds();
    phase(&[
        "detector",
        "-app=/workspace",
        "-group=/layers/group.toml",
        "-plan=/layers/plan.toml",
    ])
    .succeeds();
    phase(&[
        "restorer",
        "-group=/layers/group.toml",
        "-layers=/layers",
        "-cache-dir=/cache",
        &analyzed,
    ])
    .succeeds();
    phase(&[
        "builder",
        "-layers=/layers",
        "-app=/workspace",
        "-group=/layers/group.toml",
        "-plan=/layers/plan.toml",
    ])
    .env("SERVICE_BINDING_ROOT", "/platform/bindings")
    .succeeds();
    phase(&[
        "exporter",
        "-layers=/layers",
        "-app=/workspace",
        "-group=/layers/group.toml",
        &analyzed,
        "-project-metadata=/layers/project-metadata.toml",
        "-cache-dir=/cache",
        "-process-type=web",
        "-report=/var/report/report.toml",
        &name,
        &pod.registry.name("kpack:second"),
    ])
    .env("CNB_RUN_IMAGE", &run_image)
    .env("SOURCE_DATE_EPOCH", "1700000000")
    .succeeds();
    assert!(pod.read("/var/report/report.toml").contains(&pod.digest(&name)));
    let image = pod.image(&name);
    assert_eq!(image.config().created.as_deref(), Some("2023-11-14T22:13:20Z"));
    let project: serde_json::Value =
        serde_json::from_str(image.config().label("io.buildpacks.project.metadata").unwrap()).unwrap();
    assert_eq!(project["source"]["version"]["commit"], "abc");

    // kpack's rebase pod. Images of that time have a stack.
    let with_stack = |name: &str, label: &str| {
        let directory = pod.machine.files(
            label,
            &[(
                "Dockerfile",
                &format!("FROM {name}\nLABEL io.buildpacks.stack.id=small {label}=1\n"),
            )],
        );
        let name = pod.registry.name(label);
        let words = [
            "build",
            directory.to_str().unwrap(),
            "--tag",
            &name,
            "--output",
            "registry",
        ];
        pod.machine.lifecycle(&words).succeeds();
        name
    };
    let (app, base) = (with_stack(&name, "app"), with_stack(&run_image, "base"));
    let run = format!("-run-image={base}");
    phase(&["rebaser", &run, "-report=/var/report/rebase.toml", &app]).succeeds();
    assert!(pod.read("/var/report/rebase.toml").contains(&pod.digest(&app)));
}

/// Tekton's task with one step, with every parameter that nobody set (platforms.md 3.1, 3.3).
#[test]
fn tekton_passes_empty_values_kb_01_kb_02_kb_03_kb_04_kb_06() {
    let pod = Pod::new();
    let name = pod.registry.name("tekton");
    pod.root
        .prepare("mkdir -p /tekton/home/.docker; rm -rf /cache; chown -R 1000:1000 /tekton");
    let run = format!("-run-image={}", pod.run_image());
    let create = |process: &str| {
        let words = [
            "/cnb/lifecycle/creator",
            "-app=/workspace",
            "-cache-dir=",
            "-cache-image=",
            "-uid=1000",
            "-gid=1000",
            "-layers=/layers",
            "-platform=/platform",
            "-report=/layers/report.toml",
            process,
            "-skip-restore=false",
            "-previous-image=",
            &run,
            "-tag=",
            &name,
        ];
        pod.root
            .as_user(&words)
            .env("DOCKER_CONFIG", "/tekton/home/.docker")
            .env("HOME", "/tekton/home")
            .env("PATH", "/bin")
            .env("CNB_PLATFORM_API", "0.9")
            .env("CNB_INSECURE_REGISTRIES", "a.example,,")
    };
    create("-process-type=web").succeeds();
    // `grep digest report.toml | cut -d'"' -f2`
    let report = pod.read("/layers/report.toml");
    let digests: Vec<_> = report.lines().filter(|line| line.contains("digest")).collect();
    assert_eq!(digests.len(), 1, "{report}");
    assert_eq!(digests[0].split('"').nth(1), Some(pod.digest(&name).as_str()));
    // The task always names a process, whether there is one or not.
    create("-process-type=worker")
        .fails(62)
        .says("there is no process of type 'worker'")
        .says("leave it empty");
    create("-process-type=").succeeds();

    // The task with a step for each phase.
    let step = |words: &[&str]| {
        pod.phase(words)
            .env("HOME", "/tekton/home")
            .env("CNB_PLATFORM_API", "0.13")
    };
    let cache = format!("-cache-image={}", pod.registry.name("tekton-cache"));
    let insecure = "-insecure-registry=";
    step(&[
        "analyzer",
        "-layers=/layers",
        &run,
        "-tag=",
        "-previous-image=",
        "-skip-layers=false",
        insecure,
        &cache,
        &name,
    ])
    .succeeds();
    step(&[
        "detector",
        "-app=/workspace",
        "-layers=/layers",
        "-group=/layers/group.toml",
        "-plan=/layers/plan.toml",
    ])
    .succeeds();
    step(&[
        "restorer",
        "-layers=/layers",
        "-skip-layers=false",
        "-build-image=",
        "-cache-dir=",
        insecure,
        &cache,
    ])
    .succeeds();
    step(&["builder", "-app=/workspace", "-layers=/layers"]).succeeds();
    step(&[
        "exporter",
        "-app=/workspace",
        "-layers=/layers",
        "-cache-dir=",
        "-process-type=",
        insecure,
        &cache,
        &name,
    ])
    .succeeds();
    // The next run finds what the cache image has.
    pod.root.prepare("rm -rf /layers/*");
    step(&["analyzer", "-layers=/layers", &run, &cache, &name]).succeeds();
    step(&["detector", "-app=/workspace", "-layers=/layers"]).succeeds();
    step(&["restorer", "-layers=/layers", &cache]).succeeds();
    step(&["builder", "-app=/workspace", "-layers=/layers"])
        .succeeds()
        .says("fx-layers: only-cache: metadata=yes contents=yes");
}

/// Shipwright's script, which runs in the builder image as its user (platforms.md 3.1, 3.3).
#[test]
fn shipwright_keeps_everything_below_tmp_kb_04_kb_05_kb_07_kb_10() {
    let pod = Pod::new();
    let name = pod.registry.name("shipwright");
    let script = r#"set -eu
        export CNB_PLATFORM_API=0.13
        layers=/tmp/.shp/layers cache=/tmp/.shp/cache platform=/tmp/.shp/platform
        mkdir -p "$layers" "$cache" "$platform/env"
        env | while IFS= read -r line; do
            printf %s "${line#*=}" >"$platform/env/${line%%=*}"
        done
        /cnb/lifecycle/analyzer -layers="$layers" -run-image="$RUN" "$IMAGE"
        /cnb/lifecycle/detector -app=/workspace -layers="$layers" -platform="$platform"
        /cnb/lifecycle/restorer -layers="$layers" -cache-dir="$cache"
        /cnb/lifecycle/builder -app=/workspace -layers="$layers" -platform="$platform"
        type=
        grep -q buildpack-default-process-type "$layers/config/metadata.toml" || type=-process-type=web
        /cnb/lifecycle/exporter $type -app=/workspace -layers="$layers" -report="$layers/report.toml" -cache-dir="$cache" "$IMAGE"
        grep digest "$layers/report.toml" | tail -n 1 | tr -d ' "\n' | sed s/digest=//
    "#;
    let finished = pod
        .root
        .as_user(&["/bin/sh", "-c", script])
        .env("PATH", "/bin")
        .env("HOME", "/tmp")
        .env("RUN", pod.run_image())
        .env("IMAGE", &name)
        .succeeds();
    let digest = pod.digest(&name);
    assert!(finished.stdout().ends_with(&digest), "{}", finished.text());
    let metadata = fs::read_to_string(pod.root.at("/tmp/.shp/layers/config/metadata.toml")).unwrap();
    assert!(
        metadata.contains("buildpack-default-process-type = \"web\""),
        "{metadata}"
    );
    let config = pod.image(&name).config().clone();
    assert_eq!(config.config.env("CNB_LAYERS_DIR"), Some("/tmp/.shp/layers"));
}

#[test]
fn every_platform_api_builds_with_every_buildpack_api_gen_02_bpc_01_1_19_2_18() {
    let pod = Pod::new();
    let buildpacks = ["fx-bp07", "fx-bp08", "fx-bp09", "fx-bp10", "fx-bp11", "fx-bp12"];
    pod.order("/cnb/order.toml", &buildpacks);
    let run_image = pod.run_image();
    pod.write(
        "/cnb/stack.toml",
        &format!("[run-image]\nimage = \"{run_image}\"\n"),
    );
    pod.write("/cnb/run.toml", &format!("[[images]]\nimage = \"{run_image}\"\n"));
    for minor in 7..=15 {
        let api = format!("0.{minor}");
        let name = pod.registry.name(&format!("api-{minor}"));
        pod.root.prepare("rm -rf /layers/* /cache/*");
        let create = pod.phase(&[
            "creator",
            "-app",
            "/workspace",
            "-cache-dir",
            "/cache",
            "-process-type",
            "bp09",
            &name,
        ]);
        let created = create.env("CNB_PLATFORM_API", &api).succeeds();
        let told = created
            .says("fx-bp07: inputs: none none target: none")
            .says("fx-bp09: inputs: given target: none")
            .says("fx-bp08: inputs: given");
        told.says("fx-bp12: inputs: given exec-env: production")
            .says("fx-bp11: inputs: given exec-env: none")
            .says(if minor >= 12 {
                "fx-bp10: inputs: given target: linux busybox"
            } else {
                "fx-bp10: inputs: given target: none"
            });

        let label = pod.label(&name, BUILD);
        let processes = label["processes"].as_array().unwrap();
        assert_eq!(processes.len(), 7, "{api}: {label}");
        let bp09 = processes
            .iter()
            .find(|process| process["type"] == "bp09")
            .unwrap();
        if minor >= 10 {
            assert_eq!(bp09["command"], serde_json::json!(["echo", "bp09"]), "{api}");
        } else {
            assert_eq!(bp09["command"], "echo", "{api}");
        }
        assert_eq!(label.get("bom").is_some(), minor < 9, "{api}: {label}");
        let lifecycle = pod.label(&name, LIFECYCLE);
        assert_eq!(
            lifecycle["stack"]["runImage"]["image"],
            run_image.as_str(),
            "{api}"
        );
        assert_eq!(
            lifecycle["runImage"].get("image").is_some(),
            minor >= 12,
            "{api}: {lifecycle}"
        );
        assert_eq!(
            lifecycle["sbom"]["sha"].is_string(),
            minor >= 9,
            "{api}: {lifecycle}"
        );
        let image = pod.image(&name);
        let named = image
            .config()
            .history
            .iter()
            .any(|line| line.created_by.is_some());
        assert_eq!(
            image.config().label("io.buildpacks.exec-env").is_some(),
            minor >= 15
        );
        assert!(named, "{api}: the run image's own line, at least");
        assert_eq!(image.config().config.env("CNB_PLATFORM_API"), Some(&*api));

        // The launcher does with each process what its buildpack's API and the platform's say.
        pod.root.prepare("mkdir -p /cnb/process; for type in bp07 bp08 bp09 bp12 only-test; do ln -sf /cnb/lifecycle/launcher /cnb/process/$type; done");
        let launch = |words: &[&str]| {
            variables(pod.root.as_user(words))
                .env("CNB_PLATFORM_API", &api)
                .env("CNB_APP_DIR", "/workspace")
        };
        let said = |words: &[&str]| launch(words).succeeds().stdout().trim_end().to_owned();
        assert_eq!(said(&["/cnb/process/bp07", "more"]), "bp07 first more", "{api}");
        assert_eq!(said(&["/cnb/process/bp08"]), "/tmp", "{api}");
        let replaced = if minor >= 10 {
            "bp09 mine"
        } else {
            "bp09 replaceable mine"
        };
        assert_eq!(said(&["/cnb/process/bp09", "mine"]), replaced, "{api}");
        let test = launch(&["/cnb/process/only-test"]);
        if minor >= 15 {
            test.fails(82);
        } else {
            test.succeeds();
        }
    }
}
