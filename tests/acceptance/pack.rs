//! What people know from pack's command line (docs/pack.md).

use std::fs;
use std::io::Write as _;
use std::path::Path;

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::support::images::{BUILD, BUILDER, RUN, buildpack};
use crate::support::{Finished, Invocation, Machine, Registry};

/// A command of the image.
fn run(machine: &Machine, image: &str, words: &[&str]) -> Finished {
    let start = ["run", image, "--entrypoint", words[0], "--"];
    machine.lifecycle(&[&start, &words[1..]].concat()).succeeds()
}

#[test]
fn a_cache_image_serves_the_next_machine() {
    let registry = Registry::start();
    let cache = registry.name("pack/cache");
    let build = |more: &[&str]| {
        let machine = Machine::with_builder();
        let words = ["--buildpack", "fx-layers", "--cache-image", &cache, "--tag"];
        machine
            .build(&machine.app(), &[&words[..], more].concat())
            .succeeds()
    };
    let name = registry.name("pack/app");
    build(&[&name, "--publish"]).says("fx-layers: only-cache: metadata=no contents=no");
    let there = "fx-layers: only-cache: metadata=yes contents=yes";
    build(&[&name, "--publish"]).says(there);
    // The image goes elsewhere, the cache does not (CACHE-02).
    build(&["pack/local"]).says(there);
    build(&["pack/local", "--clear-cache"]).says("fx-layers: only-cache: metadata=no contents=no");
}

#[test]
fn user_and_place_of_the_app_can_be_chosen() {
    let machine = Machine::with_builder();
    let build = |more: &[&str]| {
        let words = ["--buildpack", "fx-noop", "--tag", "pack/place"];
        machine.build(&machine.app(), &[&words[..], more].concat())
    };
    build(&["--uid", "1234", "--gid", "1235", "--workspace", "srv/app"])
        .succeeds()
        .says("fx-noop: directory: /srv/app");
    let stat = ["stat", "-c", "%u:%g %n", "/srv/app/page.txt"];
    run(&machine, "pack/place", &stat).says("1234:1235 /srv/app/page.txt");
    run(&machine, "pack/place", &["pwd"]).says("/srv/app\n");
    run(&machine, "pack/place", &["env"]).says("CNB_APP_DIR=/srv/app\n");
    for (words, reason) in [
        (
            &["--workspace", "/layers/app"][..],
            "/layers is needed for something else",
        ),
        (&["--workspace", "a/../.."], "it is a directory of the image"),
        (&["--uid", "0"], "0 is not in 1.."),
    ] {
        build(words).fails(2).says(reason);
    }
}

/// A zip file with entries and their modes.
fn zip(path: &Path, entries: &[(&str, u32, &str)]) {
    let mut zip = ZipWriter::new(fs::File::create(path).unwrap());
    for (name, mode, content) in entries {
        let options = SimpleFileOptions::default().unix_permissions(*mode);
        if mode & 0o170_000 == 0o120_000 {
            zip.add_symlink(*name, *content, options).unwrap();
        } else {
            zip.start_file(*name, options).unwrap();
            zip.write_all(content.as_bytes()).unwrap();
        }
    }
    zip.finish().unwrap();
}

#[test]
fn the_source_may_be_a_jar() {
    let machine = Machine::with_builder();
    let jar = machine.path("app.jar");
    let manifest = "Main-Class: Main\n";
    let project = format!(
        "[_]\nschema-version = \"0.2\"\n[io.buildpacks]\nbuilder = \"{BUILDER}\"\nexclude = [\"left\"]\n"
    );
    zip(
        &jar,
        &[
            ("META-INF/MANIFEST.MF", 0o644, manifest),
            ("bin/start", 0o755, "#!/bin/sh\necho started\n"),
            ("link", 0o120_777, "META-INF/MANIFEST.MF"),
            ("project.toml", 0o644, &project),
            ("left", 0o644, "not this"),
        ],
    );
    let jar = jar.to_str().unwrap();
    for words in [&["build", "--path", jar][..], &["build", jar]] {
        machine
            .lifecycle(&[words, &["--tag", "pack/jar"]].concat())
            .succeeds();
        run(&machine, "pack/jar", &["cat", "/workspace/link"]).says(manifest);
        run(&machine, "pack/jar", &["/workspace/bin/start"]).says("started\n");
        run(&machine, "pack/jar", &["ls", "/workspace"]).does_not_say("left");
    }

    let odd = machine.path("odd.jar");
    fs::write(&odd, "no archive").unwrap();
    let build = |path: &Path| {
        let words = ["build", path.to_str().unwrap(), "--buildpacks-only", "--tag", "x"];
        machine.lifecycle(&words)
    };
    build(&odd).fails(1).says("cannot be unpacked as a zip file");
    zip(&odd, &[("../../canary", 0o644, "out")]);
    build(&odd).run();
    assert!(!machine.path("canary").exists() && !machine.store().join("canary").exists());
}

#[test]
fn system_buildpacks_can_stay_away() {
    let machine = Machine::with_builder();
    let toml = format!(
        "[[buildpacks]]\nuri = \"{}\"\n[[buildpacks]]\nuri = \"{}\"\n[[order]]\n[[order.group]]\nid = \"fx-process\"\n\
         [[system.pre.buildpacks]]\nid = \"fx-noop\"\nversion = \"1.0.0\"\n\
         [build]\nimage = \"{BUILD}\"\n[[run.images]]\nimage = \"{RUN}\"\n",
        buildpack("fx-process"),
        buildpack("fx-noop"),
    );
    machine.files("builder", &[("builder.toml", &toml)]);
    let build = |more: &[&str]| {
        let app = machine.app();
        let words = [
            "build",
            app.to_str().unwrap(),
            "--builder",
            "builder",
            "--tag",
            "pack/system",
        ];
        machine.lifecycle(&[&words[..], more].concat()).succeeds()
    };
    build(&[]).says("fx-noop: arguments");
    build(&["--disable-system-buildpacks"]).does_not_say("fx-noop: arguments");
}

/// The configuration of the only image of a layout, with its digest.
fn config(layout: &Path) -> (String, serde_json::Value) {
    let read =
        |path: &Path| -> serde_json::Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let blob = |descriptor: &serde_json::Value| {
        let digest = descriptor["digest"].as_str().unwrap().to_owned();
        let content = read(&layout.join("blobs").join(digest.replace(':', "/")));
        (digest, content)
    };
    let (_, manifest) = blob(&read(&layout.join("index.json"))["manifests"][0]);
    blob(&manifest["config"])
}

#[test]
fn the_id_of_an_image_is_that_of_its_configuration() {
    let machine = Machine::with_builder();
    let (layout, id) = (machine.path("layout"), machine.path("id"));
    let output = format!("oci:{}", layout.display());
    let words = [
        "--tag",
        "pack/id",
        "--output",
        &output,
        "--iidfile",
        id.to_str().unwrap(),
    ];
    machine.build(&machine.app(), &words).succeeds();
    assert_eq!(fs::read_to_string(id).unwrap(), config(&layout).0);
}

#[test]
fn the_commit_of_the_source_is_recorded_prj_09() {
    let machine = Machine::with_builder();
    let app = machine.app();
    let layout = machine.path("layout");
    let output = format!("oci:{}", layout.display());
    let build = |more: &[&str]| {
        let words = ["--tag", "pack/git", "--buildpack", "fx-noop", "--output", &output];
        machine.build(&app, &[&words[..], more].concat())
    };
    build(&["--git-metadata"])
        .fails(1)
        .says("has no commit that could be recorded");
    let script = "git init -q && git add . && git -c user.name=x -c user.email=x@x.test commit -qm 1 && git rev-parse HEAD";
    let commit = Invocation::new("sh", &["-c", script])
        .directory(&app)
        .succeeds()
        .stdout();
    let recorded = || {
        let (_, config) = config(&layout);
        fs::remove_dir_all(&layout).unwrap();
        config["config"]["Labels"]["io.buildpacks.project.metadata"].to_string()
    };
    build(&["--git-metadata"]).succeeds();
    let label = recorded();
    assert!(label.contains(commit.trim()), "{label}");
    // Without being asked for, a commit changes no image.
    build(&[]).succeeds();
    assert_eq!(recorded(), "\"{}\"");
}

#[test]
fn a_builder_lists_buildpacks_and_extensions_apart() {
    let machine = Machine::with_builder();
    let extension = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/extensions/fx-ext");
    for (list, uri, told) in [
        (
            "buildpacks",
            extension,
            "is the extension fx-ext@1.0.0, but builder.toml says buildpack",
        ),
        (
            "extensions",
            &buildpack("fx-noop"),
            "is the buildpack fx-noop@1.0.0, but builder.toml says extension",
        ),
    ] {
        let toml = format!(
            "[[{list}]]\nuri = \"{uri}\"\n[build]\nimage = \"{BUILD}\"\n[[run.images]]\nimage = \"{RUN}\"\n"
        );
        machine.files("mixed", &[("builder.toml", &toml)]);
        let words = ["builder", "create", "mixed", "--tag", "pack/mixed"];
        machine.lifecycle(&words).fails(1).says(told);
    }
}

#[test]
fn sboms_and_report_lie_where_pack_leaves_them() {
    let machine = Machine::with_builder();
    let (sboms, reports) = (machine.text("sboms"), machine.text("reports"));
    let places = ["--sbom-output-dir", &sboms, "--report-output-dir", &reports];
    let words = [&["--buildpack", "fx-sbom", "--tag", "pack/reports"], &places[..]];
    machine.build(&machine.app(), &words.concat()).succeeds();
    for file in [
        "sboms/launch/fx-sbom/sbom.cdx.json",
        "sboms/launch/fx-sbom/layer/sbom.spdx.json",
        "reports/report.toml",
    ] {
        assert!(machine.path(file).exists(), "{file}");
    }
}
