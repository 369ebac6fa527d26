//! The reference's lifecycle as a judge: the same phases in the same builder's root, and each lifecycle with what the other
//! left. Where the two differ on purpose, docs/phases.md says so; those differences, and no others, are taken out here.

use lifecycle_image::Artifact;
use lifecycle_image::layout::Layout;

use crate::support::reference::{Lifecycle, Ours, Reference, assert_same, facts};
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
    // X-13, X-14.
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
        // X-14.
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

/// Layers, profiles, and processes of every kind, as buildpacks of several Buildpack API versions leave them.
const LAUNCHED: &str = r#"
mkdir -p /cnb/process /layers/config /workspace/sub
layer() {
    mkdir -p "/layers/$1/bin" "/layers/$1/lib" "/layers/$1/env" "/layers/$1/env.launch/web" "/layers/$1/profile.d/web"
    printf "$1" >"/layers/$1/env/FX_PLAIN"
    printf "$1" >"/layers/$1/env/FX_OVERRIDE.override"
    printf "$1" >"/layers/$1/env.launch/FX_DEFAULT.default"
    printf "$1" >"/layers/$1/env.launch/FX_APPENDED.append"
    printf : >"/layers/$1/env.launch/FX_APPENDED.delim"
    printf "$1" >"/layers/$1/env.launch/web/FX_PREPENDED.prepend"
    printf "$1" >"/layers/$1/env/FX_NO_DELIMITER.prepend"
    printf "$1" >"/layers/$1/env.build"
    echo "export FX_PROFILE=\"\$FX_PROFILE $1\"" >"/layers/$1/profile.d/10.sh"
    echo "export FX_PROFILE=\"\$FX_PROFILE $1-web\"" >"/layers/$1/profile.d/web/10.sh"
}
layer fx_old/a
layer fx_old/b
layer fx_new/c
mkdir -p /layers/fx_new/c/exec.d/web
cat >/layers/fx_new/c/exec.d/10-all <<'SH'
#!/bin/sh
printf 'FX_EXECD = "seen in %s"\n"FX_QUOTED" = "a \\"b\\" $HOME"\n' "$PWD" >&3
SH
cat >/layers/fx_new/c/exec.d/web/20-web <<'SH'
#!/bin/sh
printf 'FX_EXECD = "%s, then web"\n' "$FX_EXECD" >&3
SH
cat >/layers/fx_new/c/bin/show <<'SH'
#!/bin/sh
echo "in $PWD: $#"
for word; do echo "[$word]"; done
# What a shell in between adds is not the launcher's.
env | sort | grep -Ev '^(PWD|OLDPWD|SHLVL|_)='
SH
chmod -R 755 /layers/fx_new/c
echo 'export FX_APP_PROFILE="$PWD $FX_PROFILE"' >/workspace/.profile
cat >/layers/config/metadata.toml <<'TOML'
buildpack-default-process-type = "web"
[[buildpacks]]
id = "fx/old"
version = "1"
api = "0.7"
[[buildpacks]]
id = "fx/new"
version = "1"
api = "0.11"
TOML
process() {
    printf '[[processes]]\ntype = "%s"\nbuildpack-id = "%s"\ndirect = %s\ncommand = %s\n%s\n' "$@" >>/layers/config/metadata.toml
}
process web fx/new true '["show", "always"]' 'args = ["replaced", "two words"]'
process one fx/new true '["show"]' 'args = ["replaced", "$HOME"]'
process bare fx/new true '["show"]' ''
process elsewhere fx/new true '["show"]' 'working-dir = "/tmp"'
process below fx/new true '["show"]' 'working-dir = "sub"'
process direct fx/old true '"show"' 'args = ["kept"]'
process shell fx/old false '"show"' 'args = ["$FX_PLAIN", "b c", "$(echo evaluated)"]'
process script fx/old false '"show \"$FX_PLAIN\" $FX_PLAIN"' ''
process shell-elsewhere fx/old false '"show"' 'working-dir = "/tmp"'
process test fx/new true '["show"]' 'exec-env = ["test"]'
process everywhere fx/new true '["show"]' 'exec-env = ["*"]'
process gone fx/new true '["no-such-program"]' ''
process shell-gone fx/old false '"no-such-program"' ''
"#;

#[test]
fn both_launchers_start_the_same_processes_1_6() {
    let Some(pod) = Pod::with_reference() else {
        return;
    };
    let Some(()) = pod.bring_bash() else {
        return;
    };
    pod.root.prepare(LAUNCHED);
    let processes = pod.read("/layers/config/metadata.toml");
    let types = processes.lines().filter_map(|line| line.strip_prefix("type = "));
    let mut starts: Vec<(String, Vec<&str>)> = Vec::new();
    for name in types.map(|name| name.trim_matches('"').to_owned()) {
        for words in [&[][..], &["mine"], &["two words", "$HOME", "--"]] {
            starts.push((name.clone(), words.to_vec()));
        }
    }
    for words in [
        &[][..],
        &["--", "show", "$HOME"],
        &["show \"$FX_PLAIN\" $HOME"],
        &["show", "$FX_PLAIN", "a b"],
        &["web"],
        &["--", "no-such-program"],
    ] {
        starts.push(("launcher".to_owned(), words.to_vec()));
    }
    for minor in 7..=15 {
        for (name, words) in &starts {
            let launch = |lifecycle: Lifecycle| {
                pod.root.prepare(&format!(
                    "ln -sf {}/launcher /cnb/process/{name}",
                    lifecycle.directory()
                ));
                let program = format!("/cnb/process/{name}");
                let launched = pod.root.as_user(&[&[program.as_str()], &words[..]].concat());
                let launched = launched
                    .env("PATH", "/cnb/process:/cnb/lifecycle:/bin")
                    .env("CNB_PLATFORM_API", format!("0.{minor}"))
                    .env("CNB_APP_DIR", "/workspace")
                    .env("CNB_LAYERS_DIR", "/layers")
                    .env("FX_DEFAULT", "user's")
                    .env("FX_APPENDED", "user's")
                    .run();
                // Errors have words of their own, and another stream (X-02).
                match launched.status().code() {
                    Some(0) => launched.stdout(),
                    code => format!("{code:?}"),
                }
            };
            assert_same(
                &format!("0.{minor}: {name} {words:?}"),
                &launch(Ours),
                &launch(Reference),
            );
        }
    }
}

/// One start of a phase: its variables, its words, and how the reference ends.
type Start<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str], i32);

#[test]
fn both_end_with_the_same_code_and_the_texts_that_clients_match_exit_01() {
    let Some(pod) = Pod::with_reference() else {
        return;
    };
    for (order, buildpack) in [
        ("fail-detect", "fx-fail-detect"),
        ("error-detect", "fx-error-detect"),
        ("fail-build", "fx-fail-build"),
        ("noop", "fx-noop"),
    ] {
        pod.order(&format!("/tmp/{order}"), &[buildpack]);
    }
    pod.root
        .prepare("cp -r /cnb/buildpacks/fx-noop /cnb/buildpacks/other; sed -i 's/fx-noop/other/; s/^api.*/api = \"0.99\"/' /cnb/buildpacks/other/1.0.0/buildpack.toml");
    pod.order("/tmp/other", &["other"]);
    let (name, run) = (pod.registry.name("failed"), pod.run_image());
    let create = |order: &'static str| ["creator", "-run-image", &run, "-order", order, &name];
    let starts: &[Start<'_>] = &[
        (&[("CNB_PLATFORM_API", "")], &["detector"], 11),
        (&[("CNB_PLATFORM_API", "abc")], &["detector"], 11),
        (&[("CNB_PLATFORM_API", "0.6")], &["analyzer", "x"], 11),
        (&[], &["analyzer"], 3),
        (&[], &["analyzer", "a", "b"], 3),
        (&[], &["creator"], 3),
        (&[], &["detector", "x"], 3),
        (&[], &["restorer", "x"], 3),
        (&[], &["builder", "x"], 3),
        (&[], &["exporter"], 3),
        (&[], &["exporter", "-run-image", "x", "y"], 3),
        (&[], &["exporter", "-image", "x", "y"], 3),
        (&[], &["rebaser"], 3),
        (&[], &["rebaser", "-run-image", "a", "-image", "b", &name], 3),
        (&[], &["analyzer", "-tag", "a::b", "-run-image", &run, &name], 3),
        (&[], &["analyzer", "-no-such-flag"], 2),
        (&[], &["analyzer", "-log-level", "loud", &name], 1),
        (
            &[("CNB_REGISTRY_AUTH", "x")],
            &["analyzer", "-run-image", &run, &name],
            1,
        ),
        (&[], &["rebaser", &name], 72),
        (&[], &create("/tmp/fail-detect"), 20),
        (&[], &create("/tmp/error-detect"), 21),
        (&[], &create("/tmp/fail-build"), 51),
        (&[], &create("/tmp/other"), 12),
        (&[("CNB_PROCESS_TYPE", "web")], &create("/tmp/noop"), 62),
        (&[("CNB_LAYERS_DIR", "/nowhere")], &["builder"], 1),
    ];
    let texts = [
        "please set 'CNB_PLATFORM_API'",
        "failed to parse platform API 'abc'",
        "platform API version '0.6' is incompatible with the lifecycle",
        "failed to parse arguments: received 0 arguments, but expected 1",
        "failed to parse arguments: received 2 arguments, but expected 1",
        "failed to parse arguments: received unexpected arguments",
        "failed to parse arguments: received unexpected Args",
        "failed to parse arguments: at least one image argument is required",
        "failed to resolve inputs: -run-image is unsupported",
        "failed to resolve inputs: -image is unsupported",
        "failed to resolve inputs: supply only one of -run-image or (deprecated) -image",
        "failed to resolve inputs: could not parse reference: ",
        "failed to parse log level",
        "failed to parse CNB_REGISTRY_AUTH value",
        "failed to set API for Buildpack 'other@1.0.0': buildpack API version '0.99' is incompatible with the lifecycle",
        "No buildpack groups passed detection.",
        "failed to build: ",
        "failed to export: ",
    ];
    for (variables, words, code) in starts {
        let end = |lifecycle: Lifecycle| {
            let mut phase = pod.phase_of(lifecycle, words);
            for (variable, value) in *variables {
                phase = phase.env(variable, value);
            }
            phase.fails(*code).text()
        };
        let (ours, reference) = (end(Ours), end(Reference));
        for text in texts.iter().filter(|text| reference.contains(**text)) {
            assert!(
                ours.contains(text),
                "{words:?} does not say {text:?} but:\n{ours}"
            );
        }
    }
}

#[test]
fn each_rebases_what_the_other_made_reb_05() {
    let Some(pod) = Pod::with_reference() else {
        return;
    };
    pod.order("/tmp/order.toml", &BUILDPACKS);
    let run_toml = format!("[[images]]\nimage = \"{}\"\n", pod.run_image());
    pod.write("/cnb/run.toml", &run_toml);
    let name = |maker: Lifecycle, by: Lifecycle| {
        let name = format!("{maker:?}-rebased-by-{by:?}").to_lowercase();
        pod.registry.name(&name)
    };
    for maker in [Ours, Reference] {
        for by in [Ours, Reference] {
            pod.clear();
            create(&pod, maker, "0.13", &name(maker, by), &[]);
        }
    }
    pod.newer_run_image();
    for maker in [Ours, Reference] {
        let rebase = |by: Lifecycle| -> String {
            let name = name(maker, by);
            pod.phase_of(by, &["rebaser", &name]).succeeds();
            let mut facts = pod.facts(&name);
            // The reference forgets all history.
            facts["config"]["history"].take();
            assert_eq!(
                facts["config"]["config"]["Labels"]["io.buildpacks.base.patched"],
                "yes"
            );
            // An OCI image stays one here; the reference makes a manifest of Docker's that names layers of OCI's.
            serde_json::to_string_pretty(&facts["config"]).unwrap()
        };
        assert_same(
            &format!("what {maker:?} made, rebased"),
            &rebase(Ours),
            &rebase(Reference),
        );
    }
}

#[test]
fn both_write_the_same_layouts_lay_05() {
    let Some(pod) = Pod::with_reference() else {
        return;
    };
    pod.order("/tmp/order.toml", &BUILDPACKS);
    let (run, app) = ("small.test/run:1", "small.test/app");
    pod.root.prepare(&format!(
        "mkdir -p /layout-repo/small.test/run; LIFECYCLE_STORE=/tmp/store /cnb/lifecycle/lifecycle copy registry:{} oci:/layout-repo/small.test/run/1:1; chown -R 1000:1000 /layout-repo",
        pod.run_image()
    ));
    let build = |lifecycle: Lifecycle| {
        pod.clear();
        let words = ["creator", "-app", "/workspace", "-order", "/tmp/order.toml"];
        let words = [&words[..], &["-cache-dir", "/cache", "-run-image", run, app]].concat();
        let create = || {
            let phase = pod.phase_of(lifecycle, &words);
            phase
                .env("CNB_USE_LAYOUT", "true")
                .env("CNB_LAYOUT_DIR", "/layout-repo")
                .env("CNB_EXPERIMENTAL_MODE", "warn")
                .succeeds();
        };
        create();
        // Again, with the image that the layout has by now.
        pod.root.prepare("rm -rf /layers/*");
        create();
        let layout = Layout::open(pod.root.at("/layout-repo/small.test/app/latest")).unwrap();
        let Artifact::Image(image) = layout.named(None).unwrap() else {
            panic!("an index")
        };
        // The layers that are there to be read.
        let here: Vec<bool> = image.layers().iter().map(|layer| layer.open(0).is_ok()).collect();
        let mut facts = facts(&image);
        facts["here"] = here.into();
        let labels = &mut facts["config"]["config"]["Labels"];
        labels[BUILD].take();
        // The reference changes manifests before it names them: the name goes into the image's, and the run image's digest
        // is another one than that of the file.
        labels[LIFECYCLE]["runImage"]["reference"].take();
        facts["manifest"].as_object_mut().unwrap().remove("annotations");
        pod.root.prepare("rm -r /layout-repo/small.test/app");
        let what = serde_json::to_string_pretty(&facts).unwrap();
        what + &pod.files("/cache")
    };
    assert_same("the layout", &build(Ours), &build(Reference));
}
