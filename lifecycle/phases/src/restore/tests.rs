//! The rules of restoring that need no build before.

use fs_err as fs;
use lifecycle_spec::label::{BuildpackLayers, LayerMetadata, LifecycleLabel};
use lifecycle_spec::{ExitCode, PlatformApi, RunImage};

use super::*;
use crate::testing::{RUN_IMAGE, World};

fn world() -> World {
    let world = World::new();
    world.write(
        "layers/group.toml",
        "[[group]]\nid = 'a'\nversion = '2'\napi = '0.10'\n",
    );
    world
}

fn run(world: &World, options: &RestoreOptions) -> Result<RestoreReport, RestoreError> {
    restore(
        options,
        Some(&world.images()),
        None,
        &world.cache(),
        &*world.recorder,
    )
}

fn analyzed(world: &World, analyzed: &AnalyzedToml) {
    world.write("layers/analyzed.toml", &analyzed.to_toml());
}

fn with_layer(name: &str) -> AnalyzedToml {
    let layer = LayerMetadata {
        sha: "sha256:1".into(),
        launch: true,
        ..LayerMetadata::default()
    };
    let buildpack = BuildpackLayers {
        key: "a".parse().unwrap(),
        version: "1".into(),
        layers: [(name.to_owned(), layer)].into(),
        store: None,
    };
    let metadata = LifecycleLabel {
        buildpacks: vec![buildpack],
        ..LifecycleLabel::default()
    };
    AnalyzedToml {
        metadata,
        ..AnalyzedToml::default()
    }
}

#[test]
fn metadata_comes_back_whatever_the_version_was_lyr_10_lyr_04() {
    let world = world();
    analyzed(&world, &with_layer("x"));
    let report = run(&world, &world.restore_options()).unwrap();
    assert_eq!(report.layers[0].restored, Restored::Metadata);
    assert_eq!(world.read("layers/a/x.toml"), "");
}

#[test]
fn layer_names_that_leave_the_directory_are_refused() {
    let world = world();
    for name in ["../../x", "..", "build", ""] {
        analyzed(&world, &with_layer(name));
        assert_eq!(run(&world, &world.restore_options()).unwrap().layers, []);
    }
    assert!(!world.path("x.toml").exists());
    assert!(
        world
            .recorder
            .has("warning: not restoring \"a:../../x\": that is no layer name")
    );
}

#[test]
fn a_missing_analyzed_toml_is_a_warning_res_09() {
    let world = world();
    run(&world, &world.restore_options()).unwrap();
    assert!(world.recorder.has("analyzed.toml is not there"));
    fs::remove_file(world.path("layers/group.toml")).unwrap();
    assert_eq!(
        run(&world, &world.restore_options()).unwrap_err().exit_code(),
        ExitCode::Generic
    );
}

#[test]
fn without_a_cache_that_is_told_1_3() {
    let world = world();
    let none = CacheOptions::default();
    restore(&world.restore_options(), None, None, &none, &*world.recorder).unwrap();
    assert!(
        world
            .recorder
            .has("warning: No cached data will be used, no cache specified.")
    );
}

#[test]
fn a_run_image_that_an_extension_chose_is_looked_at_res_05_res_06() {
    let mut world = world();
    let chosen = RunImage {
        image: Some(RUN_IMAGE.into()),
        ..RunImage::default()
    };
    analyzed(
        &world,
        &AnalyzedToml {
            run_image: Some(chosen),
            ..AnalyzedToml::default()
        },
    );
    let mut options = world.restore_options();
    options.build_image = Some(RUN_IMAGE.to_owned());
    run(&world, &options).unwrap();
    let found = AnalyzedToml::parse("a".as_ref(), world.read("layers/analyzed.toml").as_bytes()).unwrap();
    let digest = world.image(RUN_IMAGE).digest().unwrap();
    let run_image = found.run_image.unwrap();
    assert_eq!(run_image.reference, format!("registry.example/run@{digest}"));
    assert_eq!(run_image.target.unwrap().os, "linux");
    assert_eq!(
        found.build_image.unwrap().reference,
        format!("registry.example/run@{digest}")
    );

    // One that the builder names must still be readable, since 0.14.
    let gone = "registry.example/gone";
    world.write("run.toml", &format!("[[images]]\nimage = '{gone}'\n"));
    let target = Some(lifecycle_spec::TargetData::default());
    let run_image = RunImage {
        reference: "x".into(),
        image: Some(gone.into()),
        extend: false,
        target,
    };
    analyzed(
        &world,
        &AnalyzedToml {
            run_image: Some(run_image),
            ..AnalyzedToml::default()
        },
    );
    assert_eq!(
        run(&world, &world.restore_options()).unwrap_err().exit_code(),
        ExitCode::Restore
    );
    world.api = PlatformApi::V0_13;
    run(&world, &world.restore_options()).unwrap();
}

#[test]
fn a_link_in_the_place_of_a_layer_is_replaced() {
    let mut world = World::new();
    let script = "mkdir -p $1/x; echo y > $1/x/f; printf '[types]\\ncache = true\\n' > $1/x.toml";
    world.buildpack("a", "0.10", "", "", script);
    world.order(&["a"]);
    world.create().unwrap();
    fs::remove_dir_all(world.path("layers/a/x")).unwrap();
    world.write("outside/keep", "me");
    std::os::unix::fs::symlink(world.path("outside"), world.path("layers/a/x")).unwrap();
    restore(
        &world.restore_options(),
        None,
        None,
        &world.cache(),
        &*world.recorder,
    )
    .unwrap();
    assert_eq!(world.read("layers/a/x/f"), "y\n");
    assert_eq!(world.read("outside/keep"), "me");
    assert!(!world.path("outside/f").exists());
}

#[test]
fn an_interrupted_commit_of_the_cache_is_undone_cache_04() {
    let mut world = World::new();
    let script = "mkdir -p $1/x; echo y > $1/x/f; printf '[types]\\ncache = true\\n' > $1/x.toml";
    world.buildpack("a", "0.10", "", "", script);
    world.order(&["a"]);
    world.create().unwrap();
    fs::rename(
        world.path("cache/committed"),
        world.path("cache/committed-backup"),
    )
    .unwrap();
    world.write("cache/staging/junk", "");
    world.write("cache/lost+found/x", "");
    let report = world.create().unwrap();
    assert_eq!(report.restored.layers[0].restored, Restored::Contents);
    assert!(world.path("cache/committed").is_dir());
    assert!(!world.path("cache/staging").exists() && !world.path("cache/committed-backup").exists());
}
