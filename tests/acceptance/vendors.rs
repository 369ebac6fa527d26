//! Builders as others make them are accepted by `lifecycle build --builder`: what their labels, files and users look like
//! differs (platforms.md 1.8, 1.10, cnb.md 4.2).

use std::sync::Arc;

use lifecycle_image::layout::Layout;
use lifecycle_image::{Image, Platform, Sink, Source, mutate};

use crate::support::Machine;
use crate::support::executable::write_program;
use crate::support::images::{self, BUILDER, RUN, buildpack};

const METADATA: &str = "io.buildpacks.builder.metadata";

/// The small builder with changes, in the machine's store under `name`.
fn changed_builder(machine: &Machine, name: &str, change: impl FnOnce(Image) -> Image) {
    let from = machine.text("vendor-from");
    machine
        .lifecycle(&["copy", &format!("store:{BUILDER}"), &format!("oci:{from}:b")])
        .succeeds();
    let original = match Layout::open(&from).unwrap().named(Some("b")).unwrap() {
        lifecycle_image::Artifact::Image(image) => *image,
        lifecycle_image::Artifact::Index(_) => panic!("a builder is an image"),
    };
    let image = change(original);
    let to = machine.path("vendor-to");
    let layout = Layout::create(&to).unwrap();
    let mut upload = layout.begin(&[name.parse().unwrap()]).unwrap();
    for layer in image.layers() {
        upload.layer(Arc::clone(layer));
    }
    upload.finish(&image).unwrap();
    assert!(layout.image(&name.parse().unwrap(), &Platform::host()).is_ok());
    machine
        .lifecycle(&["pull", &format!("oci:{}:{name}", to.display()), "--tag", name])
        .succeeds();
}

/// Changes a label's JSON.
fn relabel(image: Image, key: &str, change: impl FnOnce(&mut serde_json::Value)) -> Image {
    mutate::configure(image, |config| {
        let mut value = serde_json::from_str(config.label(key).unwrap_or("{}")).unwrap();
        change(&mut value);
        config.set_label(key, value.to_string());
    })
}

/// The image without its topmost layers down to, and with, the one whose history says this.
fn without_layers_above(image: &Image, line: &str) -> Image {
    let history = &image.config().history;
    let position = history
        .iter()
        .position(|own| own.created_by.as_deref() == Some(line))
        .unwrap();
    let base = mutate::configure(Image::empty(&image.platform()), |config| {
        config.config = image.config().config.clone();
    });
    let layers = image.layers().iter().zip(history).take(position);
    layers.fold(base, |base, (layer, line)| {
        mutate::append(base, Arc::clone(layer), line.clone())
    })
}

fn builds(machine: &Machine, builder: &str) {
    let app = machine.app();
    machine
        .lifecycle(&[
            "build",
            app.to_str().unwrap(),
            "--tag",
            "vendors/app",
            "--builder",
            builder,
        ])
        .succeeds()
        .says("fx-layers:")
        .says("Made vendors/app");
    machine
        .lifecycle(&["run", "vendors/app"])
        .succeeds()
        .says("web: replaceable");
    machine
        .lifecycle(&["builder", "inspect", builder])
        .succeeds()
        .says("fx-layers");
}

/// pack writes `null` for what is empty, its lists are older than `images`, and what it does not know it leaves out.
#[test]
fn a_builder_whose_label_has_only_the_old_run_image_bu_05() {
    let machine = Machine::with_builder();
    changed_builder(&machine, "vendors/old-pack", |image| {
        let image = relabel(image, METADATA, |label| {
            label.as_object_mut().unwrap().remove("images");
            label["extensions"] = serde_json::Value::Null;
            label["description"] = serde_json::Value::String("An old one".into());
            label["lifecycle"]["apis"] = serde_json::json!({
                "buildpack": { "deprecated": null, "supported": ["0.2", "0.10"] },
                "platform": { "deprecated": ["0.3"], "supported": ["0.3", "0.12"] },
            });
            label["groups"] = serde_json::json!([]);
        });
        let image = relabel(image, "io.buildpacks.buildpack.layers", |label| {
            for versions in label.as_object_mut().unwrap().values_mut() {
                for module in versions.as_object_mut().unwrap().values_mut() {
                    module["stacks"] = serde_json::json!([{ "id": "*", "mixins": null }]);
                    module["order"] = serde_json::Value::Null;
                    module["targets"] = serde_json::Value::Null;
                }
            }
        });
        mutate::configure(image, |config| {
            config.set_label("io.buildpacks.stack.id", "io.buildpacks.stacks.jammy");
            config.set_label("io.buildpacks.stack.mixins", "null");
            config.set_label("io.buildpacks.buildpack.order-extensions", "null");
        })
    });
    builds(&machine, "vendors/old-pack");
}

/// kpack's builders have a stack.toml and no run.toml; one whose label says nothing either is read by its files.
#[test]
fn a_builder_without_run_image_in_its_labels_is_read_by_its_files_ka_07() {
    let machine = Machine::with_builder();
    changed_builder(&machine, "vendors/kpack", |image| {
        let image = without_layers_above(&image, "Builder's run.toml");
        relabel(image, METADATA, |label| {
            label.as_object_mut().unwrap().remove("images");
            label.as_object_mut().unwrap().remove("stack");
        })
    });
    builds(&machine, "vendors/kpack");

    changed_builder(&machine, "vendors/nothing", |image| {
        let image = without_layers_above(&image, "Builder's stack.toml");
        relabel(image, METADATA, |label| {
            label.as_object_mut().unwrap().remove("images");
            label["stack"] = serde_json::json!({ "runImage": { "image": "", "mirrors": null } });
        })
    });
    let app = machine.app();
    let build = machine.lifecycle(&[
        "build",
        app.to_str().unwrap(),
        "--tag",
        "x",
        "--builder",
        "vendors/nothing",
    ]);
    build
        .clone()
        .fails(1)
        .says("names no run image")
        .says("--run-image");
    build.argument("--run-image").argument(RUN).succeeds();
}

/// Paketo's and Google's users have other ids than Heroku's; an order may leave versions out.
#[test]
fn a_builder_with_other_users_and_an_order_without_versions_bu_03() {
    let machine = Machine::with_builder();
    changed_builder(&machine, "vendors/users", |image| {
        let image = relabel(image, "io.buildpacks.buildpack.order", |label| {
            for group in label.as_array_mut().unwrap() {
                for entry in group["group"].as_array_mut().unwrap() {
                    entry.as_object_mut().unwrap().remove("version");
                }
            }
        });
        mutate::configure(image, |config| {
            config.config.set_env("CNB_USER_ID", "1001");
            config.config.set_env("CNB_GROUP_ID", "1000");
            config.config.user = Some("root".to_owned());
        })
    });
    builds(&machine, "vendors/users");
    let app = machine.app();
    machine
        .lifecycle(&[
            "build",
            app.to_str().unwrap(),
            "--builder",
            "vendors/users",
            "--tag",
            "x",
            "--pre-buildpack",
            &buildpack("fx-noop"),
        ])
        .succeeds()
        .says("fx-noop:");
    changed_builder(&machine, "vendors/wrong", |image| {
        mutate::configure(image, |config| config.config.set_env("CNB_USER_ID", "cnb"))
    });
    machine
        .lifecycle(&[
            "build",
            app.to_str().unwrap(),
            "--builder",
            "vendors/wrong",
            "--tag",
            "x",
        ])
        .fails(1)
        .says("CNB_USER_ID is not a number");
    machine
        .lifecycle(&["build", app.to_str().unwrap(), "--builder", RUN, "--tag", "x"])
        .fails(1)
        .says("is not a builder");
}

/// An order of extensions is kept when buildpacks are added, and what extensions generate is carried out on both images.
#[test]
fn a_builder_with_extensions_extends_both_images_ext_01_ext_03() {
    let machine = Machine::with_builder();
    let extension = format!("{}/tests/fixtures/extensions/fx-ext", env!("CARGO_MANIFEST_DIR"));
    let toml = format!(
        "[[buildpacks]]\nuri = \"{}\"\n[[buildpacks]]\nuri = \"{}\"\n[[buildpacks]]\nuri = \"{}\"\n[[extensions]]\nuri = \"{extension}\"\n\
         [[order]]\n[[order.group]]\nid = \"fx-plan-b\"\n[[order.group]]\nid = \"fx-process\"\n\
         [[order-extensions]]\n[[order-extensions.group]]\nid = \"fx-ext\"\n\
         [build]\nimage = \"{}\"\n[[run.images]]\nimage = \"{RUN}\"\n",
        buildpack("fx-plan-b"),
        buildpack("fx-process"),
        buildpack("fx-noop"),
        images::BUILD,
    );
    machine.files("builder", &[("builder.toml", toml.as_str())]);
    let app = machine.app();
    let build = |more: &[&str]| {
        let arguments = [
            "build",
            app.to_str().unwrap(),
            "--tag",
            "vendors/extended",
            "--builder",
            "builder",
        ];
        machine.lifecycle(&[&arguments[..], &["--env", "FX_ONLY_REQUIRES=yes"], more].concat())
    };
    build(&["--dry-run"])
        .succeeds()
        .says("Extensions 1")
        .says("fx-ext@1.0.0");
    let about = "api = \"0.10\"\n[buildpack]\nid = \"looks\"\nversion = \"1\"\n";
    machine.files("looks", &[("buildpack.toml", about)]);
    let says = "echo \"looks: version $(cat /opt/fx-version), user $(id -u)\"";
    for (program, script) in [("detect", ""), ("build", says)] {
        let path = machine.path(&format!("looks/bin/{program}"));
        write_program(&path, &format!("#!/bin/sh\n{script}\n"));
    }
    let built = build(&["--post-buildpack", "looks"]).succeeds();
    built
        .says("EXTENDING (BUILD)")
        .says("fx-ext: build as 0")
        .says("looks: version 7, user 1000")
        .says("EXTENDING (RUN)")
        .says("fx-ext: run as 0");
    // What the Dockerfiles came to is kept for the next build of this image.
    let again = build(&["--post-buildpack", "looks"]).succeeds();
    again
        .says("looks: version 7, user 1000")
        .does_not_say("fx-ext: build as 0")
        .does_not_say("fx-ext: run as 0");
    // Another builder has other extensions, which could have left anything.
    build(&[]).succeeds().says("fx-ext: run as 0");
    build(&["--clear-cache"])
        .succeeds()
        .says("fx-ext: build as 0")
        .says("fx-ext: run as 0");
    let shown = machine.lifecycle(&[
        "run",
        "vendors/extended",
        "--entrypoint",
        "cat",
        "--",
        "/opt/greeting",
        "/opt/data",
    ]);
    shown.succeeds().says("hello\nfrom the context");
    build(&["--env", "FX_EXT_FAIL=yes"])
        .fails(102)
        .says("fx-ext: fails")
        .says("a Dockerfile of an extension could not be carried out");
    machine.store_is_sound();
}
