//! Caches that are damaged, refused or kept in a registry, through whole builds.

use fs_err as fs;
use lifecycle_image::{DiffId, Layer};
use lifecycle_spec::label;

use super::*;
use crate::Restored;
use crate::testing::{World, count_contents, world_with_layers};

#[test]
fn a_corrupt_cache_costs_a_warning_res_09_lyr_02() {
    let mut world = world_with_layers();
    world.create().unwrap();
    let label =
        fs::read_to_string(world.path("cache/committed/io.buildpacks.lifecycle.cache.metadata")).unwrap();
    let label = lifecycle_spec::label::CacheLabel::parse(&label).unwrap();
    let sha = label.buildpacks[0].layers["bc"].sha.clone();
    let tar = world.path(&format!("cache/committed/{sha}.tar"));
    let mut bytes = fs::read(&tar).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    // A new file, because the old one may be linked.
    fs::remove_file(&tar).unwrap();
    fs::write(&tar, bytes).unwrap();
    let gone = label.buildpacks[0].layers["c"].sha.clone();
    fs::remove_file(world.path(&format!("cache/committed/{gone}.tar"))).unwrap();
    world.new_recorder();
    let report = world.create().unwrap();
    let damaged: Vec<_> = report
        .restored
        .layers
        .iter()
        .filter(|layer| layer.restored == Restored::Damaged)
        .map(|layer| layer.name.as_str())
        .collect();
    assert_eq!(damaged, ["bc", "c"]);
    assert!(!world.read("app/found").contains("bc.toml"));
    assert!(
        world
            .recorder
            .has("warning: not restoring \"acme/a:bc\" from the cache: ")
    );
    // What was damaged is whole again.
    let report = world.create().unwrap();
    assert!(
        report
            .restored
            .layers
            .iter()
            .all(|layer| layer.restored != Restored::Damaged)
    );
    for junk in ["{", "", "null"] {
        world.write("cache/committed/io.buildpacks.lifecycle.cache.metadata", junk);
        world.create().unwrap();
    }
}

#[test]
fn a_cache_that_cannot_be_written_costs_a_warning_ps_07() {
    let mut world = world_with_layers();
    world.write("cache", "not a directory");
    world.create().unwrap();
    assert!(
        world.recorder.has("warning: Failed to export cache: "),
        "{:?}",
        world.recorder.lines()
    );
}

#[test]
fn a_cache_image_is_read_and_written_cache_02_cache_03() {
    let world = world_with_layers();
    let cache = CacheOptions {
        directory: None,
        image: Some(world.cache_image("registry.example/cache")),
        unpacked: None,
    };
    let run = || {
        let created = world.create_among(&world.create_options(), &world.images(), &cache);
        created.unwrap()
    };
    run();
    let image = world.image("registry.example/cache");
    let text = image.config().label(label::CACHE).unwrap();
    let label = lifecycle_spec::label::CacheLabel::parse(text).unwrap();
    let names: Vec<_> = label.buildpacks[0].layers.keys().collect();
    assert_eq!(names, ["bc", "bcl", "c", "cl"]);
    // Four layers and the SBOM, none of them twice.
    let mut diff_ids: Vec<DiffId> = image
        .layers()
        .iter()
        .map(|layer| layer.diff_id().unwrap())
        .collect();
    assert_eq!(diff_ids.len(), 5);
    diff_ids.sort();
    diff_ids.dedup();
    assert_eq!(diff_ids.len(), 5);
    let report = run();
    assert_eq!(count_contents(&report), 4);
    assert_eq!(
        world.image("registry.example/cache").digest().unwrap(),
        image.digest().unwrap()
    );
}

#[test]
fn an_empty_cache_image_has_one_empty_layer_lifecycle_1_9() {
    let world = World::of_script("");
    let cache = CacheOptions {
        directory: Some(world.path("cache")),
        image: Some(world.cache_image("registry.example/cache")),
        unpacked: None,
    };
    let created = world.create_among(&world.create_options(), &world.images(), &cache);
    created.unwrap();
    let image = world.image("registry.example/cache");
    let layer: &dyn Layer = &*image.layers()[0];
    assert_eq!(
        layer.diff_id().unwrap().as_str(),
        "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
    );
    // Both are written.
    let file = world.read("cache/committed/io.buildpacks.lifecycle.cache.metadata");
    assert_eq!(
        file,
        "{\"sbom\":{\"sha\":\"\"},\"buildpacks\":[{\"key\":\"a\",\"version\":\"1\",\"layers\":{}}]}\n"
    );
}
