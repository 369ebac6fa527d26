//! What a second build takes over from the first: layers of its image, and caches.

use super::*;

fn origins(report: &CreateReport) -> Vec<(String, LayerOrigin)> {
    report
        .exported
        .layers
        .iter()
        .map(|layer| (layer.name.clone(), layer.origin))
        .collect()
}

#[test]
fn a_second_build_restores_by_the_matrix_and_reuses_every_layer_2_11_own_07() {
    let mut world = world_with_layers();
    let first = world.create().unwrap();
    assert_eq!(world.read("app/found"), "");
    fs::remove_file(world.path("app/found")).unwrap();
    let digest = world.image(APP_IMAGE).digest().unwrap();
    assert_eq!(first.exported.receipt.digest, digest);
    let named = |origin: LayerOrigin| {
        [
            ("run image", Base),
            ("acme/a:bcl", origin),
            ("acme/a:cl", origin),
            ("acme/a:l", origin),
            ("launch.sbom", origin),
            ("app", origin),
            ("buildpacksio/lifecycle:launcher", origin),
            ("buildpacksio/lifecycle:config", origin),
            ("buildpacksio/lifecycle:process-types", origin),
        ]
        .map(|(name, origin)| (name.to_owned(), origin))
        .to_vec()
    };
    assert_eq!(origins(&first), named(Built));

    world.new_recorder();
    world.write("app/found", "");
    let second = world.create().unwrap();
    // LYR-01, LYR-04: cached layers come back with their contents, `l` with its metadata, `b` not at all.
    let found = "bc bc.sbom.cdx.json bc.toml bcl bcl.sbom.cdx.json bcl.toml c c.sbom.cdx.json c.toml \
                 cl cl.sbom.cdx.json cl.toml l.sbom.cdx.json l.toml store.toml ";
    assert_eq!(world.read("app/found"), found);
    let restored: Vec<_> = second
        .restored
        .layers
        .iter()
        .map(|layer| (layer.name.as_str(), layer.restored))
        .collect();
    assert_eq!(
        restored,
        [
            ("bc", Contents),
            ("bcl", Contents),
            ("c", Contents),
            ("cl", Contents),
            ("l", Metadata)
        ]
    );
    let mut expected = named(Reused);
    // The app has another file now, and nothing else has changed.
    expected[5].1 = Built;
    assert_eq!(origins(&second), expected);
    // LYR-05: the layer of the previous image, what is said about it of now.
    let label = world.label(APP_IMAGE);
    let l = &label.buildpacks[0].layers["l"];
    assert_eq!(
        l.data.as_ref().unwrap()["version"],
        lifecycle_spec::Value::from("2")
    );
    assert_eq!(
        label.buildpacks[0].store.as_ref().unwrap().metadata["kept"],
        lifecycle_spec::Value::from("yes")
    );
    assert!(!world.path("layers/sbom/cache/acme_a/l").exists());

    world.new_recorder();
    let third = world.create().unwrap();
    assert_eq!(origins(&third), named(Reused));
    assert_eq!(third.exported.receipt.digest, second.exported.receipt.digest);
    assert!(world.recorder.has("info: Reusing cache layer 'acme/a:bc'"));
    assert!(!world.recorder.has("info: Adding cache layer"));
}

#[test]
fn the_same_source_gives_the_same_image_anywhere_own_04() {
    let digests: Vec<_> = [false, true]
        .into_iter()
        .map(|parallel| {
            let world = world_with_layers();
            let mut options = world.create_options();
            options.export.parallel = parallel;
            options.export.packing.threads = Some(if parallel { 3 } else { 1 });
            // The directory of the build is no part of what is built.
            world.buildpack(
                "acme/a",
                "0.10",
                CYCLONE,
                "",
                &LAYERS.replace("> found", "> /dev/null"),
            );
            world.create_with(&options).unwrap().exported.receipt.digest
        })
        .collect();
    assert_eq!(digests[0], digests[1]);
}

#[test]
fn a_layout_gets_the_base_as_well_lay_03() {
    let mut world = world_with_layers();
    world.identifiers = Identifiers::Layout {
        directory: "/layouts".into(),
    };
    // What is not handed in stays away.
    let layout = Layout::create(world.path("layout")).unwrap().sparse();
    let images = Images {
        sink: &layout,
        ..world.images()
    };
    let report = world.create_among(&world.create_options(), &images, &world.cache());
    let report = report.unwrap().exported;
    let image = layout
        .image(&APP_IMAGE.parse().unwrap(), &world.platform)
        .unwrap();
    assert_eq!(image.digest().unwrap(), report.receipt.digest);
    let here = image
        .layers()
        .iter()
        .map(|layer| layout.has(&layer.descriptor().unwrap().digest));
    assert_eq!(here.collect::<Vec<_>>(), [true; 9]);
    let label = LifecycleLabel::parse(image.config().label(label::LIFECYCLE).unwrap()).unwrap();
    let run = world.image(RUN_IMAGE).digest().unwrap();
    assert_eq!(
        label.run_image.reference,
        format!("/layouts/registry.example/run/1@{run}")
    );
}

#[test]
fn skipping_restores_store_toml_only_cre_03() {
    let mut world = world_with_layers();
    world.create().unwrap();
    let mut options = world.create_options();
    options.restore.skip_layers = true;
    world.create_with(&options).unwrap();
    assert_eq!(world.read("app/found"), "store.toml ");
    world.api = PlatformApi::V0_9;
    let mut options = world.create_options();
    options.restore.skip_layers = true;
    world.write("stack.toml", &format!("[run-image]\nimage = '{RUN_IMAGE}'\n"));
    world.create_with(&options).unwrap();
    assert_eq!(world.read("app/found"), "");
}

#[test]
fn without_a_cache_nothing_is_written_beside_the_image_exp_16_cache_01() {
    let world = world_with_layers();
    build_only(&world);
    let mut options = world.export_options();
    options.parallel = true;
    export_only(&world, &options).unwrap();
    assert!(world.recorder.has(
        "warning: Parallel export has been enabled, but it has not taken effect because no cache has been specified."
    ));
}

#[test]
fn what_a_buildpack_does_not_want_any_more_is_not_in_the_image_lyr_06_lyr_07_lyr_09() {
    let mut world = world_with_layers();
    world.create().unwrap();
    let before = world.label(APP_IMAGE).buildpacks[0].layers.clone();
    assert_eq!(before.keys().collect::<Vec<_>>(), ["bcl", "cl", "l"]);
    let script = r#"ls "$1" > found
mkdir -p "$1/l"; echo new > "$1/l/made"; printf '[types]\nlaunch = true\n' > "$1/l.toml"; rm -f "$1/cl.toml""#;
    world.buildpack("acme/a", "0.10", CYCLONE, "", script);
    world.create().unwrap();
    let after = world.label(APP_IMAGE).buildpacks[0].layers.clone();
    assert_eq!(after.keys().collect::<Vec<_>>(), ["l"]);
    assert_ne!(after["l"].sha, before["l"].sha);
    assert_eq!(after["l"].data, None);
    let found = world.read("app/found");
    assert!(
        !found.contains("launch.sbom") && !found.contains("build.sbom"),
        "{found}"
    );
}

#[test]
fn with_both_caches_the_image_is_read_and_both_are_written_cache_02_pk_30() {
    let mut world = world_with_layers();
    let name = "registry.example/cache";
    let create_with_both = |world: &World| {
        let cache = CacheOptions {
            directory: Some(world.path("cache")),
            unpacked: None,
            image: Some(world.cache_image(name)),
        };
        let created = world.create_among(&world.create_options(), &world.images(), &cache);
        created.unwrap()
    };
    create_with_both(&world);
    let metadata = "cache/committed/io.buildpacks.lifecycle.cache.metadata";
    let written = world.read(metadata);
    let image = world.image(name);
    assert_eq!(image.config().label(label::CACHE).unwrap(), written.trim_end());
    // Only the image has something now.
    fs::remove_dir_all(world.path("cache")).unwrap();
    world.new_recorder();
    let report = create_with_both(&world);
    assert_eq!(count_contents(&report), 4);
    assert_eq!(world.read(metadata), written);
    // And only the directory: the image counts.
    world.store.remove(&name.parse().unwrap()).unwrap();
    let report = create_with_both(&world);
    assert_eq!(count_contents(&report), 0);
    assert_eq!(world.read(metadata), written);
}
