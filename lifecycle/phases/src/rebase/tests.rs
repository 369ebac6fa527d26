//! The rules of rebasing, against a store.

use std::sync::Arc;

use lifecycle_image::{BlobReader, Descriptor, DiffId, Family, Layer, LayerError, MediaType, mutate};
use lifecycle_spec::label::{BASE_DISTRO_NAME, BASE_DISTRO_VERSION};
use lifecycle_spec::{ExitCode, PlatformApi};

use super::*;
use crate::testing::{APP_IMAGE, RUN_IMAGE, World};

const DEBIAN: [(&str, &str); 3] = [
    (BASE_DISTRO_NAME, "debian"),
    (BASE_DISTRO_VERSION, "12"),
    ("io.buildpacks.base.released", "now"),
];

/// A world with an app image, and a newer run image under the old name.
fn world() -> World {
    let mut world = World::of_script("mkdir $1/l; printf '[types]\\nlaunch = true\\n' > $1/l.toml");
    world.create().unwrap();
    world.push_run_image(RUN_IMAGE, "patched\n", &DEBIAN);
    world
}

fn run(world: &World, options: &RebaseOptions) -> Result<RebaseReport, RebaseError> {
    rebase(options, &world.images(), &*world.recorder)
}

#[test]
fn the_base_is_exchanged_and_everything_else_stays_reb_05_reb_06_reb_07() {
    let world = world();
    let old = world.image(APP_IMAGE);
    let report = run(&world, &world.rebase_options(None)).unwrap();
    assert_eq!(report.replaced, 1);
    let (new, base) = (world.image(APP_IMAGE), world.image(RUN_IMAGE));
    let (old_ids, new_ids) = (&old.config().rootfs.diff_ids, &new.config().rootfs.diff_ids);
    assert_eq!(new_ids[0], base.config().rootfs.diff_ids[0]);
    assert_ne!(new_ids[0], old_ids[0]);
    assert_eq!(new_ids[1..], old_ids[1..]);
    assert_eq!(new.config().config.env, old.config().config.env);
    assert_eq!(new.config().label("io.buildpacks.base.released"), Some("now"));
    let label = world.label(APP_IMAGE);
    assert_eq!(label.run_image.top_layer, new_ids[0].to_string());
    assert_eq!(
        label.run_image.reference,
        format!("registry.example/run@{}", base.digest().unwrap())
    );
    assert_eq!(label.run_image.source.image, RUN_IMAGE);
    assert_eq!(report.receipt.digest, new.digest().unwrap());
    assert!(
        world
            .read("report.toml")
            .contains(&format!("digest = \"{}\"", new.digest().unwrap()))
    );
}

/// A layer that may be named but not opened.
#[derive(Debug)]
struct Closed(Arc<dyn Layer>);

impl Layer for Closed {
    fn known(&self) -> Option<Descriptor> {
        self.0.known()
    }

    fn descriptor(&self) -> Result<Descriptor, LayerError> {
        self.0.descriptor()
    }

    fn diff_id(&self) -> Result<DiffId, LayerError> {
        self.0.diff_id()
    }

    fn open(&self, _: u64) -> Result<BlobReader, LayerError> {
        Err(LayerError::new(
            "layer",
            std::io::Error::other("somebody read a blob"),
        ))
    }

    fn media_type(&self) -> MediaType {
        self.0.media_type()
    }
}

#[derive(Debug)]
struct ClosedSource<'a>(&'a World);

impl lifecycle_image::Source for ClosedSource<'_> {
    fn artifact(
        &self,
        reference: &Reference,
    ) -> Result<lifecycle_image::Artifact, lifecycle_image::TransferError> {
        let image = self.0.store.image(reference, &self.0.platform)?;
        let (manifest, config) = (image.encode_manifest()?, image.encode_config()?);
        let mut layers = image.layers().iter();
        let image = Image::read(manifest, config, |_, _| {
            Arc::new(Closed(Arc::clone(layers.next().unwrap())))
        })?;
        Ok(lifecycle_image::Artifact::Image(Box::new(image)))
    }

    fn member(
        &self,
        reference: &Reference,
        digest: &lifecycle_image::Digest,
    ) -> Result<Image, lifecycle_image::TransferError> {
        self.0.store.member(reference, digest)
    }
}

#[test]
fn no_blob_is_read() {
    let world = world();
    let source = ClosedSource(&world);
    let images = Images {
        source: &source,
        ..world.images()
    };
    rebase(&world.rebase_options(None), &images, &crate::Quiet).unwrap();
}

#[test]
fn the_family_variant_annotations_and_history_are_kept() {
    let world = world();
    let app = mutate::annotate(world.image(APP_IMAGE), |annotations| {
        annotations.insert("k".into(), "v".into());
    });
    let app = mutate::configure(mutate::convert(app, Family::Docker), |config| {
        config.variant = Some("v1".into());
    });
    world.push(APP_IMAGE, &app);
    let mut options = world.rebase_options(None);
    options.force = true;
    run(&world, &options).unwrap();
    let new = world.image(APP_IMAGE);
    assert_eq!(
        (new.family(), new.annotations()["k"].as_str()),
        (Family::Docker, "v")
    );
    assert_eq!(new.config().variant.as_deref(), Some("v1"));
    assert_eq!(new.config().history.len(), new.layers().len());
    let families = new
        .layers()
        .iter()
        .map(|layer| layer.descriptor().unwrap().media_type.family());
    assert!(families.eq(new.layers().iter().map(|_| Some(Family::Docker))));
}

#[test]
fn a_base_for_something_else_is_refused_unless_forced_reb_08_reb_09() {
    let world = world();
    world.push_run_image(
        "registry.example/other:1",
        "other\n",
        &[(BASE_DISTRO_NAME, "ubuntu"), (BASE_DISTRO_VERSION, "24.04")],
    );
    let mut options = world.rebase_options(Some("registry.example/other:1"));
    let error = run(&world, &options).unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::Rebase);
    assert_eq!(
        error.to_string(),
        "the distribution of the new base is 'ubuntu', that of the app image 'debian'; use another base, or -force if you know that it works"
    );
    options.force = true;
    run(&world, &options).unwrap();
    assert!(
        world
            .recorder
            .has("warning: the new base image 'registry.example/other:1' is not among the run images")
    );
    let label = world.label(APP_IMAGE);
    assert_eq!(
        label.run_image.source,
        RunImageEntry {
            image: "registry.example/other:1".into(),
            mirrors: Vec::new()
        }
    );
    assert_eq!(
        label.stack.unwrap().run_image,
        label.run_image.source,
        "also where platforms before 0.12 look"
    );
    assert_eq!(
        world.image(APP_IMAGE).config().label(BASE_DISTRO_NAME),
        Some("ubuntu")
    );
}

#[test]
fn an_image_that_says_it_is_not_rebasable_is_not_rebased_reb_03() {
    let world = world();
    let app = mutate::configure(world.image(APP_IMAGE), |config| {
        config.set_label(label::REBASABLE, "false");
    });
    world.push(APP_IMAGE, &app);
    assert!(matches!(
        run(&world, &world.rebase_options(None)),
        Err(RebaseError::Unfit { .. })
    ));
    let mut options = world.rebase_options(None);
    options.force = true;
    run(&world, &options).unwrap();
}

#[test]
fn older_images_are_held_to_stacks_reb_10() {
    let world = world();
    let stack = |id: &str, mixins: &str| {
        vec![
            (label::STACK_ID.to_owned(), id.to_owned()),
            (label::STACK_MIXINS.to_owned(), mixins.to_owned()),
        ]
    };
    for (app, base, fits) in [
        (
            stack("s", "[\"a\",\"build:b\"]"),
            stack("s", "[\"a\",\"c\"]"),
            true,
        ),
        (stack("s", "[\"a\"]"), stack("s", "[\"run:a\"]"), true),
        (stack("s", "[\"a\"]"), stack("s", "[]"), false),
        (stack("s", "null"), stack("t", "null"), false),
    ] {
        let image = mutate::configure(world.image(APP_IMAGE), |config| {
            config.config.set_env("CNB_PLATFORM_API", "0.11");
            for (key, value) in &app {
                config.set_label(key, value);
            }
        });
        world.push("registry.example/app:old", &image);
        let labels: Vec<_> = base
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        world.push_run_image("registry.example/stack:1", "stack\n", &labels);
        let mut options = world.rebase_options(Some("registry.example/stack:1"));
        options.previous_image = Some("registry.example/app:old".to_owned());
        // Stacks cannot be forced, another base's name can.
        options.force = true;
        assert_eq!(run(&world, &options).is_ok(), fits, "{app:?} {base:?}");
    }
}

#[test]
fn the_platform_asks_for_the_name_and_the_app_for_its_target_reb_08_reb_10() {
    for (app_api, platform_api, told) in [
        ("0.11", PlatformApi::V0_11, None),
        ("0.11", PlatformApi::V0_12, Some("is not among the run images")),
        (
            "0.12",
            PlatformApi::V0_11,
            Some("the architecture of the new base is 'odd'"),
        ),
    ] {
        let mut world = world();
        let app = mutate::configure(world.image(APP_IMAGE), |config| {
            config.config.set_env("CNB_PLATFORM_API", app_api);
            config.set_label(label::STACK_ID, "s");
        });
        world.push(APP_IMAGE, &app);
        let labels = [&DEBIAN[..], &[(label::STACK_ID, "s")]].concat();
        world.push_run_image("registry.example/odd:1", "odd\n", &labels);
        let odd = mutate::configure(world.image("registry.example/odd:1"), |config| {
            config.architecture = "odd".into();
        });
        world.push("registry.example/odd:1", &odd);
        world.api = platform_api;
        let rebased = run(&world, &world.rebase_options(Some("registry.example/odd:1")));
        let error = rebased.err().map(|error| error.to_string());
        match told {
            None => assert_eq!(error, None),
            Some(told) => assert!(
                error.as_ref().is_some_and(|error| error.contains(told)),
                "{error:?}"
            ),
        }
    }
}

#[test]
fn the_previous_image_is_the_source_and_stays_reb_02() {
    let world = world();
    let before = world.image(APP_IMAGE).digest().unwrap();
    let mut options = world.rebase_options(None);
    options.previous_image = Some(format!("registry.example/app@{before}"));
    options.images = vec!["registry.example/app:2".parse().unwrap()];
    run(&world, &options).unwrap();
    assert_eq!(world.image(APP_IMAGE).digest().unwrap(), before);
    assert_ne!(world.image("registry.example/app:2").digest().unwrap(), before);
}

#[test]
fn images_that_buildpacks_did_not_make_are_refused_with_3_reb_04() {
    let world = world();
    let error = run(
        &world,
        &RebaseOptions {
            images: vec![RUN_IMAGE.parse().unwrap()],
            ..world.rebase_options(None)
        },
    );
    assert_eq!(error.unwrap_err().exit_code(), ExitCode::InvalidArguments);
    let app = mutate::configure(world.image(APP_IMAGE), |config| {
        config.set_label(label::LIFECYCLE, "{}");
    });
    world.push(APP_IMAGE, &app);
    let error = run(&world, &world.rebase_options(None)).unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::InvalidArguments);
    assert_eq!(
        error.to_string(),
        "-run-image is required when there is no run image metadata available"
    );
    let error = run(&world, &world.rebase_options(Some(RUN_IMAGE))).unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::Rebase);
}

#[test]
fn unknown_keys_of_the_label_survive_reb_13() {
    let world = world();
    let text = world
        .image(APP_IMAGE)
        .config()
        .label(label::LIFECYCLE)
        .unwrap()
        .replacen('{', r#"{"odd":[1],"#, 1);
    let text = text.replacen(r#""app":["#, r#""app":[{"odd":true},"#, 1);
    let app = mutate::configure(world.image(APP_IMAGE), |config| {
        config.set_label(label::LIFECYCLE, &text);
    });
    world.push(APP_IMAGE, &app);
    run(&world, &world.rebase_options(None)).unwrap();
    let image = world.image(APP_IMAGE);
    assert!(
        image
            .config()
            .label(label::LIFECYCLE)
            .unwrap()
            .contains(r#""odd":[1]"#)
    );
}

#[test]
fn before_0_12_the_stack_key_names_the_run_image_reb_04() {
    let mut world = world();
    world.api = PlatformApi::V0_11;
    let label = |config: &mut lifecycle_image::ImageConfig| {
        config.config.set_env("CNB_PLATFORM_API", "0.11");
        config.set_label(label::STACK_ID, "s");
    };
    let app = mutate::configure(world.image(APP_IMAGE), label);
    world.push(APP_IMAGE, &app);
    world.push_run_image(RUN_IMAGE, "patched\n", &[(label::STACK_ID, "s")]);
    run(&world, &world.rebase_options(None)).unwrap();
}

#[test]
fn the_time_is_constant_and_the_report_written_reb_11() {
    let world = world();
    let report = run(&world, &world.rebase_options(None)).unwrap();
    let image = world.image(APP_IMAGE);
    assert_eq!(image.config().created.as_deref(), Some(CREATED));
    let text = world.read("report.toml");
    assert!(text.contains(&format!("tags = [\"{APP_IMAGE}\"]")), "{text}");
    assert!(text.contains(&report.receipt.digest.to_string()), "{text}");
    // Once more is the same image.
    let again = run(&world, &world.rebase_options(None)).unwrap();
    assert_eq!(again.receipt.digest, report.receipt.digest);
}

#[test]
fn labels_of_the_old_base_go_reb_07() {
    let old = [
        (BASE_DISTRO_NAME, "debian"),
        (BASE_DISTRO_VERSION, "12"),
        ("io.buildpacks.base.description", "old"),
        ("io.buildpacks.stack.description", "old"),
        ("io.buildpacks.other", "stays"),
    ];
    let mut world = World::of_script("exit 0");
    world.push_run_image(RUN_IMAGE, "base\n", &old);
    world.create().unwrap();
    world.push_run_image(RUN_IMAGE, "patched\n", &DEBIAN);
    run(&world, &world.rebase_options(None)).unwrap();
    let image = world.image(APP_IMAGE);
    for (key, value) in [
        ("io.buildpacks.base.description", None),
        ("io.buildpacks.stack.description", None),
        ("io.buildpacks.base.released", Some("now")),
        ("io.buildpacks.other", Some("stays")),
    ] {
        assert_eq!(image.config().label(key), value, "{key}");
    }
}

#[test]
fn names_of_run_images_are_compared_by_repository_and_tag_reb_08() {
    let recorded = RunImageEntry {
        image: "run".into(),
        mirrors: vec!["m.example/run:1".into()],
    };
    let digest = format!("sha256:{}", "0".repeat(64));
    for (name, is_named) in [
        ("run".to_owned(), true),
        ("docker.io/library/run:latest".to_owned(), true),
        (format!("run@{digest}"), true),
        (format!("m.example/run:1@{digest}"), true),
        ("run:2".to_owned(), false),
        ("m.example/run".to_owned(), false),
        ("other".to_owned(), false),
        ("NO NAME".to_owned(), false),
    ] {
        assert_eq!(names_image(&recorded, &name), is_named, "{name}");
    }
}
