//! The rules of restoring that need no build before.

use fs_err as fs;
use lifecycle_spec::label::{BuildpackLayers, LayerMetadata, LifecycleLabel};
use lifecycle_spec::{ExitCode, PlatformApi, RunImage, StoreToml};

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
fn a_buildpack_api_that_nobody_speaks_ends_with_12_bpc_01() {
    let world = world();
    for api in ["api = '0.99'", "api = 'x'", ""] {
        let group = format!("[[group]]\nid = 'a'\nversion = '2'\n{api}\n");
        world.write("layers/group.toml", &group);
        let error = run(&world, &world.restore_options()).unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::BuildpackApi, "{api}");
    }
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
    let script = "mkdir -p $1/x; echo y > $1/x/f; printf '[types]\\ncache = true\\n' > $1/x.toml";
    let mut world = World::of_script(script);
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

/// What keeps a layer from being unpacked may have nothing to do with the layer.
#[test]
fn only_a_damaged_layer_leaves_the_cache() {
    let script = "mkdir -p $1/x; echo y > $1/x/f; printf '[types]\\ncache = true\\n' > $1/x.toml";
    let mut world = World::of_script(script);
    world.create().unwrap();
    let mut files = fs::read_dir(world.path("cache/committed")).unwrap();
    let is_tar = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "tar");
    let cached = files.find_map(|file| Some(file.unwrap().path()).filter(is_tar));
    let cached = cached.unwrap();
    let bring_back = |options: &RestoreOptions| {
        let report = restore(options, None, None, &world.cache(), &*world.recorder).unwrap();
        report.layers[0].restored
    };
    // The layer's names are paths of another directory than this one.
    let mut elsewhere = world.restore_options();
    elsewhere.layers.shown = "/elsewhere".into();
    assert_eq!(bring_back(&elsewhere), Restored::Damaged);
    assert!(cached.exists());
    assert_eq!(bring_back(&world.restore_options()), Restored::Contents);
    let whole = fs::read(&cached).unwrap();
    fs::write(&cached, &whole[..whole.len() - 512]).unwrap();
    assert_eq!(bring_back(&world.restore_options()), Restored::Damaged);
    assert!(!cached.exists());
}

#[test]
fn an_interrupted_commit_of_the_cache_is_undone_cache_04() {
    let script = "mkdir -p $1/x; echo y > $1/x/f; printf '[types]\\ncache = true\\n' > $1/x.toml";
    let mut world = World::of_script(script);
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

/// A cache directory as the reference writes it: Go's JSON with a newline behind it, and the layer of one of its own
/// golden files.
#[test]
fn a_cache_of_the_reference_is_restored_cache_03_cache_04_res_03_res_04() {
    const GOLDEN: &str = "sha256:258dfa0cc987efebc17559694866ebc91139e7c0e574f60d1d4092f53d7dff59";
    let world = World::new();
    world.write(
        "layers/group.toml",
        "[[group]]\nid = 'corrupted_buildpack'\nversion = '2'\napi = '0.10'\n",
    );
    world.write("made/data", "digest-not-match-data\n");
    for (path, mode) in [("made", 0o755), ("made/data", 0o644)] {
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(world.path(path), permissions).unwrap();
    }
    let owner = lifecycle_layers::Owner::new(1234, 1000);
    let place = "/layers/corrupted_buildpack/corrupted-layer";
    let contents = lifecycle_layers::DirectoryLayer::new(world.path("made"), place)
        .owners(lifecycle_layers::Owners::Fixed(owner))
        .parents(lifecycle_layers::Parents::Fixed { mode: 0o755, owner });
    let packing = lifecycle_layers::Packing {
        compression: lifecycle_image::Compression::None,
        ..lifecycle_layers::Packing::default()
    };
    let mut tar = Vec::new();
    let meter = lifecycle_image::Progress::begin(
        &lifecycle_image::NoProgress,
        lifecycle_image::Step::Pack,
        "x",
        None,
    );
    let packed = lifecycle_layers::pack(&contents, &packing, &mut tar, &*meter).unwrap();
    assert_eq!(packed.diff_id.as_str(), GOLDEN);
    fs::create_dir_all(world.path("cache/committed")).unwrap();
    fs::write(world.path(&format!("cache/committed/{GOLDEN}.tar")), &tar).unwrap();
    let metadata = format!(
        r#"{{"sbom":{{"sha":""}},"buildpacks":[{{"key":"corrupted_buildpack","version":"1","layers":{{"corrupted-layer":{{"sha":"{GOLDEN}","data":{{"k":"v \u0026"}},"build":false,"launch":false,"cache":true}}}}}}]}}"#
    );
    world.write(
        "cache/committed/io.buildpacks.lifecycle.cache.metadata",
        &(metadata + "\n"),
    );
    let report = run(&world, &world.restore_options()).unwrap();
    assert_eq!(report.layers[0].restored, Restored::Contents);
    let layer = "layers/corrupted_buildpack/corrupted-layer";
    assert_eq!(world.read(&format!("{layer}/data")), "digest-not-match-data\n");
    assert_eq!(
        world.read(&format!("{layer}.toml")),
        "[metadata]\n  k = \"v &\"\n"
    );
    // What unpacked SBOM trees were is gone.
    assert!(!world.path("layers/sbom").exists());
}

#[test]
fn ten_thousand_layers_of_metadata_are_restored_bad_input() {
    let world = world();
    let mut with_many = with_layer("x");
    let layer = with_many.metadata.buildpacks[0].layers["x"].clone();
    for number in 0..10_000 {
        let layers = &mut with_many.metadata.buildpacks[0].layers;
        layers.insert(format!("layer-{number}"), layer.clone());
    }
    analyzed(&world, &with_many);
    let report = run(&world, &world.restore_options()).unwrap();
    assert_eq!(report.layers.len(), 10_001);
    assert!(world.path("layers/a/layer-9999.toml").exists());
}

/// Files as lifecycles of older, this and later versions write them.
#[test]
fn an_analyzed_toml_of_any_version_is_restored_from_bad_input() {
    let world = world();
    let layer = "[metadata]\n[[metadata.buildpacks]]\nkey = 'a'\nversion = '1'\n\
        [metadata.buildpacks.layers.x]\nsha = 'sha256:1'\nlaunch = true\n";
    for (version, rest) in [
        (
            "0.7",
            "[image]\nreference = 'r/app@sha256:0'\n[run-image]\nreference = 'r/run@sha256:1'\n",
        ),
        ("without a run image", "[image]\nreference = ''\n"),
        (
            "0.12",
            "[run-image]\nreference = 'r/run@sha256:1'\nimage = 'r/run'\n[run-image.target]\nos = 'linux'\n\
             arch = 'arm'\narch-variant = 'v7'\n",
        ),
        ("0.13", "[build-image]\nreference = 'r/build'\nextend = true\n"),
        (
            "later",
            "later = 1\n[run-image]\nreference = 'r/run@sha256:1'\nlater = {}\n[later-image]\nreference = 'x'\n",
        ),
    ] {
        // Keys without a table come first.
        let (first, tables) = rest.split_at(rest.find('[').unwrap());
        world.write("layers/analyzed.toml", &format!("{first}{layer}{tables}"));
        let report = run(&world, &world.restore_options()).unwrap();
        assert_eq!(report.layers[0].restored, Restored::Metadata, "{version}");
    }
    for broken in ["[image", "image = 1\n", "[metadata]\nbuildpacks = 'none'\n"] {
        world.write("layers/analyzed.toml", broken);
        let error = run(&world, &world.restore_options()).unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::Generic);
        let text = crate::reporter::explain(&error);
        assert!(text.contains("layers/analyzed.toml:"), "{text}");
    }
}

#[test]
fn a_cache_whose_label_is_broken_costs_a_warning_res_09() {
    let world = world();
    analyzed(&world, &AnalyzedToml::default());
    let told = |text: &str| {
        let lines = world.recorder.lines();
        lines.iter().filter(|line| line.contains(text)).count()
    };
    for (number, label) in ["{", "7", "{\"buildpacks\": 7}", ""].into_iter().enumerate() {
        world.write("cache/committed/io.buildpacks.lifecycle.cache.metadata", label);
        let report = run(&world, &world.restore_options()).unwrap();
        assert_eq!(report.layers, []);
        assert_eq!(told("/cache is not used: "), number + 1, "{label:?}");
        // The same as the label of an image.
        let image = Image::empty(&world.platform);
        let image = lifecycle_image::mutate::configure(image, |config| {
            config.set_label(lifecycle_spec::label::CACHE, label);
        });
        world.push("registry.example/broken-cache", &image);
        let cache = CacheOptions {
            image: Some(crate::CacheImage {
                reference: "registry.example/broken-cache".parse().unwrap(),
                source: &world.store,
                sink: &world.store,
                access: None,
                platform: &world.platform,
            }),
            ..CacheOptions::default()
        };
        let options = world.restore_options();
        let report = restore(&options, Some(&world.images()), None, &cache, &*world.recorder).unwrap();
        assert_eq!(report.layers, []);
        let image = "warning: the cache image registry.example/broken-cache:latest is not used: ";
        assert_eq!(told(image), number + 1, "{label:?}");
    }
}

/// A source whose layers end too early.
#[derive(Debug)]
struct Truncated<'a>(&'a World);

impl lifecycle_image::Source for Truncated<'_> {
    fn artifact(
        &self,
        reference: &Reference,
    ) -> Result<lifecycle_image::Artifact, lifecycle_image::TransferError> {
        let image = self.0.image(&reference.to_string());
        let layers = image.layers().iter().map(|layer| {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut layer.open(0).unwrap(), &mut bytes).unwrap();
            bytes.truncate(bytes.len() / 2);
            let layer = lifecycle_image::BytesLayer::new(layer.media_type(), bytes, layer.diff_id().unwrap());
            std::sync::Arc::new(layer) as std::sync::Arc<dyn lifecycle_image::Layer>
        });
        let image = Image::assemble(image.encode_config()?, layers.collect())?;
        Ok(lifecycle_image::Artifact::Image(Box::new(image)))
    }

    fn member(
        &self,
        reference: &Reference,
        _: &lifecycle_image::Digest,
    ) -> Result<Image, lifecycle_image::TransferError> {
        Ok(self.0.image(&reference.to_string()))
    }
}

#[test]
fn a_truncated_cache_image_costs_a_warning_res_09() {
    let world = crate::testing::world_with_layers();
    let cache = |source| CacheOptions {
        directory: None,
        unpacked: None,
        image: Some(crate::CacheImage {
            reference: "registry.example/cache".parse().unwrap(),
            source,
            sink: &world.store,
            access: None,
            platform: &world.platform,
        }),
    };
    let options = world.create_options();
    let create = |cache: &CacheOptions<'_>| {
        fs::remove_dir_all(world.path("layers")).unwrap();
        fs::create_dir_all(world.path("layers")).unwrap();
        crate::create(
            &options,
            &world.images(),
            cache,
            &world.store,
            &crate::Cancellation::default(),
            &world.reporter(),
        )
        .unwrap()
    };
    create(&cache(&world.store));
    let truncated = Truncated(&world);
    let report = create(&cache(&truncated));
    let damaged = report
        .restored
        .layers
        .iter()
        .filter(|layer| layer.restored == Restored::Damaged);
    assert_eq!(damaged.count(), 4);
    assert!(!world.read("app/found").contains("bc.toml"));
    assert!(
        world
            .recorder
            .has("warning: not restoring \"acme/a:bc\" from the cache: ")
    );
}

#[test]
fn the_sbom_of_a_layer_goes_to_it_and_the_trees_go_res_04_res_10() {
    let world = world();
    analyzed(&world, &with_layer("x"));
    for path in [
        "launch/a/x/sbom.cdx.json",
        "launch/a/y/sbom.cdx.json",
        "build/a/sbom.cdx.json",
    ] {
        world.write(&format!("layers/sbom/{path}"), "{}");
    }
    run(&world, &world.restore_options()).unwrap();
    assert_eq!(world.read("layers/a/x.sbom.cdx.json"), "{}");
    assert!(!world.path("layers/a/y.sbom.cdx.json").exists());
    assert!(!world.path("layers/sbom").exists());
}

#[test]
fn what_comes_back_is_not_written_through_links() {
    let world = world();
    let mut all = with_layer("x");
    all.metadata.buildpacks[0].store = Some(StoreToml::default());
    analyzed(&world, &all);
    world.write("outside", "canary");
    world.write("layers/a/y", "");
    for name in ["x.toml", "store.toml"] {
        std::os::unix::fs::symlink(world.path("outside"), world.path("layers/a").join(name)).unwrap();
    }
    run(&world, &world.restore_options()).unwrap();
    assert_eq!(world.read("outside"), "canary");
    for name in ["x.toml", "store.toml"] {
        assert!(!world.path("layers/a").join(name).is_symlink(), "{name}");
    }
}

#[test]
fn a_link_in_the_place_of_an_sbom_is_none() {
    let world = world();
    analyzed(&world, &with_layer("x"));
    world.write("outside/sbom.cdx.json", "canary");
    world.write("outside/x/sbom.cdx.json", "canary");
    let outside = world.path("outside");
    for (link, target) in [
        ("launch/a/x/sbom.cdx.json", outside.join("sbom.cdx.json")),
        ("launch/a/x", outside.join("x")),
        ("launch/a", outside.clone()),
        ("cache/a/x/sbom.cdx.json", outside.join("sbom.cdx.json")),
    ] {
        let link = world.path("layers/sbom").join(link);
        std::fs::create_dir_all(link.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, &link).unwrap();
        let report = run(&world, &world.restore_options()).unwrap();
        assert_eq!(report.layers.len(), 1, "the layer comes back");
        assert!(
            !world.path("layers/a/x.sbom.cdx.json").exists(),
            "{}",
            link.display()
        );
        assert_eq!(world.read("outside/sbom.cdx.json"), "canary");
    }
}

#[test]
fn layers_of_buildpacks_outside_the_group_stay_away_res_03() {
    let world = world();
    let mut both = with_layer("x");
    let mut other = both.metadata.buildpacks[0].clone();
    other.key = "b".parse().unwrap();
    both.metadata.buildpacks.push(other);
    analyzed(&world, &both);
    let report = run(&world, &world.restore_options()).unwrap();
    let names: Vec<_> = report
        .layers
        .iter()
        .map(|layer| layer.buildpack.as_str())
        .collect();
    assert_eq!(names, ["a"]);
    assert!(!world.path("layers/b").exists());
}
