//! Builds from source to image and again, through all phases.

mod contents;

use fs_err as fs;
use lifecycle_image::Source as _;
use lifecycle_image::layout::Layout;
use lifecycle_spec::label::{self, AppLayers, BuildLabel, LifecycleLabel};
use lifecycle_spec::{ExitCode, PlatformApi};

use super::*;
use crate::LayerOrigin::{self, Base, Built, Reused};
use crate::Restored::{Contents, Metadata};
use crate::testing::{APP_IMAGE, CYCLONE, LAYERS, RUN_IMAGE, World, world_with_layers};
use crate::{ExportError, Identifiers};

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
fn labels_and_configuration_lifecycle_3_4_3_5() {
    let mut world = world_with_layers();
    world.write(
        "project-metadata.toml",
        "[source]\ntype = 'git'\n[source.version]\ncommit = 'abc'\n",
    );
    let report = world.create().unwrap();
    let image = world.image(APP_IMAGE);
    let config = image.config();
    assert_eq!(
        config.config.env.as_ref().unwrap(),
        &[
            "PATH=/cnb/process:/cnb/lifecycle:/usr/bin:/bin",
            "CNB_LAYERS_DIR=/layers",
            "CNB_APP_DIR=/workspace",
            "CNB_PLATFORM_API=0.15",
            "CNB_DEPRECATION_MODE=quiet",
        ]
    );
    assert_eq!(config.config.entrypoint.as_ref().unwrap(), &["/cnb/process/web"]);
    assert_eq!(
        (config.config.cmd.as_ref(), config.config.working_dir.as_deref()),
        (None, Some("/workspace"))
    );
    assert_eq!(config.config.user.as_deref(), Some("1001:1000"));
    assert_eq!(config.created.as_deref(), Some("1980-01-01T00:00:01Z"));
    assert_eq!(config.label("own"), Some("label"));
    assert_eq!(config.label(label::EXEC_ENV), Some("production"));
    assert_eq!(config.label(label::REBASABLE), None);
    let project = r#"{"source":{"type":"git","version":{"commit":"abc"}}}"#;
    assert_eq!(config.label(label::PROJECT), Some(project));
    let build = BuildLabel::parse(config.label(label::BUILD).unwrap()).unwrap();
    assert_eq!(
        (
            build.buildpacks[0].api.as_str(),
            build.processes[0].process_type.as_str()
        ),
        ("0.10", "web")
    );

    let history: Vec<_> = config
        .history
        .iter()
        .map(|line| line.created_by.clone().unwrap_or_default())
        .collect();
    assert_eq!(
        history,
        [
            "",
            "Layer: 'bcl', Created by buildpack: acme/a@1",
            "Layer: 'cl', Created by buildpack: acme/a@1",
            "Layer: 'l', Created by buildpack: acme/a@1",
            "Software Bill-of-Materials",
            "Application Layer",
            "Buildpacks Application Launcher",
            "Buildpacks Launcher Config",
            "Buildpacks Process Types",
        ]
    );

    let sha = |at: usize| config.rootfs.diff_ids[at].to_string();
    let run = world.image(RUN_IMAGE);
    let golden = format!(
        concat!(
            r#"{{"app":[{{"sha":"{}"}}],"sbom":{{"sha":"{}"}},"buildpacks":[{{"key":"acme/a","version":"1","layers":{{"#,
            r#""bcl":{{"sha":"{}","data":{{"version":"1"}},"build":true,"launch":true,"cache":true}},"#,
            r#""cl":{{"sha":"{}","data":{{"version":"1"}},"build":false,"launch":true,"cache":true}},"#,
            r#""l":{{"sha":"{}","data":{{"version":"1"}},"build":false,"launch":true,"cache":false}}}},"#,
            r#""store":{{"metadata":{{"kept":"yes"}}}}}}],"config":{{"sha":"{}"}},"exec-env":"production","launcher":{{"sha":"{}"}},"#,
            r#""process-types":{{"sha":"{}"}},"runImage":{{"topLayer":"{}","reference":"registry.example/run@{}","image":"registry.example/run:1"}},"#,
            r#""stack":{{"runImage":{{"image":"registry.example/run:1"}}}}}}"#
        ),
        sha(5),
        sha(4),
        sha(1),
        sha(2),
        sha(3),
        sha(7),
        sha(6),
        sha(8),
        sha(0),
        run.digest().unwrap()
    );
    assert_eq!(config.label(label::LIFECYCLE), Some(golden.as_str()));

    let digest = image.digest().unwrap();
    let size = image.encode_manifest().unwrap().descriptor.size;
    let golden = format!(
        "[image]\n  tags = [\"registry.example/app:1\"]\n  digest = \"{digest}\"\n  manifest-size = {size}\n"
    );
    assert_eq!(world.read("report.toml"), golden);
    assert_eq!(report.exported.entrypoint, "/cnb/process/web");
    assert_eq!(report.exported.processes, ["web"]);
}

#[test]
fn launcher_and_process_types_are_the_golden_layers_lifecycle_3_3() {
    let mut world = World::new();
    world.buildpack(
        "a",
        "0.10",
        "",
        "",
        "printf '[[processes]]\\ntype = \"web\"\\ncommand = [\"a\"]\\n[[processes]]\\ntype = \"worker\"\\ncommand = [\"b\"]\\n' > $1/launch.toml",
    );
    world.order(&["a"]);
    world.create().unwrap();
    let label = world.label(APP_IMAGE);
    assert_eq!(
        label.launcher.sha,
        "sha256:29ab6994a205a7ca19089f346ccd2ef69bbf4f321758ff6e0685970210d5e9b4"
    );
    assert_eq!(
        label.process_types.sha,
        "sha256:c32b6c6d08c5d84a980a518d1dd9093c22b9e003f2b6b468f12fe1e7cd918b3f"
    );
    // No process is the default, so the launcher starts.
    let image = world.image(APP_IMAGE);
    assert_eq!(
        image.config().config.entrypoint.as_ref().unwrap(),
        &["/cnb/lifecycle/launcher"]
    );
    let compressed = image.layers().iter().map(|layer| layer.media_type());
    let families: Vec<_> = compressed.map(|media_type| media_type.family()).collect();
    assert!(
        families.iter().all(|family| *family == families[0]),
        "never mixed: {families:?}"
    );
}

#[test]
fn a_sparse_layout_gets_what_is_new_only_lay_03() {
    let mut world = world_with_layers();
    world.identifiers = Identifiers::Layout {
        directory: "/layouts".into(),
    };
    let layout = Layout::create(world.path("layout")).unwrap().sparse();
    let images = Images {
        sink: &layout,
        ..world.images()
    };
    let options = world.create_options();
    let report = create(
        &options,
        &images,
        &world.cache(),
        &world.store,
        &Cancellation::default(),
        &world.reporter(),
    );
    let report = report.unwrap().exported;
    let image = layout
        .image(&APP_IMAGE.parse().unwrap(), &world.platform)
        .unwrap();
    assert_eq!(image.digest().unwrap(), report.receipt.digest);
    let here = image
        .layers()
        .iter()
        .map(|layer| layout.has(&layer.descriptor().unwrap().digest));
    assert_eq!(
        here.collect::<Vec<_>>(),
        [false, true, true, true, true, true, true, true, true]
    );
    let label = LifecycleLabel::parse(image.config().label(label::LIFECYCLE).unwrap()).unwrap();
    let run = world.image(RUN_IMAGE).digest().unwrap();
    assert_eq!(
        label.run_image.reference,
        format!("/layouts/registry.example/run/1@{run}")
    );
}

#[test]
fn slices_are_layers_of_their_own_slc_02_slc_04_lbl_01() {
    let mut world = World::new();
    world.write("app/static/a.css", "a");
    world.write("app/static/b.js", "b");
    world.buildpack("a", "0.10", "", "", "printf '[[slices]]\\npaths = [\"static/*.css\"]\\n[[slices]]\\npaths = [\"none\"]\\n' > $1/launch.toml");
    world.order(&["a"]);
    let report = world.create().unwrap();
    let names: Vec<_> = report
        .exported
        .layers
        .iter()
        .map(|layer| layer.name.as_str())
        .collect();
    assert!(
        names
            .windows(3)
            .any(|three| three == ["slice-1", "slice-2", "slice-3"]),
        "{names:?}"
    );
    let empty = report
        .exported
        .layers
        .iter()
        .find(|layer| layer.name == "slice-2")
        .unwrap();
    assert_eq!(
        empty.diff_id,
        "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
    );
    let image = world.image(APP_IMAGE);
    let history = &image.config().history;
    assert!(
        history
            .iter()
            .any(|line| line.created_by.as_deref() == Some("Application Slice: 3"))
    );
    // LBL-01: an entry for each of them.
    let slices = report
        .exported
        .layers
        .iter()
        .filter(|layer| layer.name.starts_with("slice-"));
    let made: Vec<_> = slices.map(|layer| layer.diff_id.clone()).collect();
    let AppLayers::Layers(app) = world.label(APP_IMAGE).app else {
        panic!("what we wrote is no odd shape")
    };
    assert_eq!(
        app.iter().map(|layer| layer.sha.clone()).collect::<Vec<_>>(),
        made
    );
}

#[test]
fn a_process_that_does_not_exist_fails_and_names_those_that_do_kb_06() {
    let world = world_with_layers();
    let mut options = world.create_options();
    options.export.process_type = Some("wbe".to_owned());
    let error = world.create_with(&options).unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::Export);
    assert_eq!(
        error.to_string(),
        "there is no process of type 'wbe'; the image has web; choose one with -process-type, or leave it empty for the buildpacks' default"
    );
    options.export.process_type = Some(String::new());
    world.create_with(&options).unwrap();
}

#[test]
fn a_launch_layer_without_contents_needs_the_previous_image_exp_19() {
    let mut world = World::new();
    world.buildpack(
        "a",
        "0.10",
        "",
        "",
        "printf '[types]\\nlaunch = true\\n' > $1/x.toml",
    );
    world.order(&["a"]);
    let error = world.create().unwrap_err();
    assert!(
        matches!(&error, CreateError::Export(ExportError::NoContents { layer, .. }) if layer == "a:x"),
        "{error}"
    );
    assert_eq!(error.exit_code(), ExitCode::Export);
    // The previous image has it now, but the cache cannot hold what is not there.
    let types =
        |more: &str, make: &str| format!("{make}; printf '[types]\\nlaunch = true\\n{more}' > $1/x.toml");
    world.buildpack("a", "0.10", "", "", &types("", "mkdir $1/x"));
    world.create().unwrap();
    world.buildpack("a", "0.10", "", "", &types("cache = true\\n", "rm -rf $1/x"));
    let error = world.create().unwrap_err();
    assert!(
        matches!(&error, CreateError::Export(ExportError::NoContents { layer, .. }) if layer == "a:x"),
        "{error}"
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
fn older_platform_apis_write_what_they_know_lbl_02_own_05() {
    let mut world = world_with_layers();
    world.api = PlatformApi::V0_11;
    world.write(
        "stack.toml",
        &format!("[run-image]\nimage = '{RUN_IMAGE}'\nmirrors = ['m.example/run']\n"),
    );
    world.create().unwrap();
    let image = world.image(APP_IMAGE);
    let label = image.config().label(label::LIFECYCLE).unwrap();
    let end = format!(
        r#""reference":"registry.example/run@{}"}},"stack":{{"runImage":{{"image":"{RUN_IMAGE}","mirrors":["m.example/run"]}}}}}}"#,
        world.image(RUN_IMAGE).digest().unwrap()
    );
    assert!(label.ends_with(&end), "{label}");
    assert!(
        image
            .config()
            .history
            .iter()
            .all(|line| line.created_by.is_none())
    );
    assert_eq!(image.config().label(label::EXEC_ENV), None);
}

#[test]
fn before_0_9_the_report_has_the_bill_of_materials_of_the_build_file_04() {
    let mut world = World::new();
    world.api = PlatformApi::V0_8;
    world.write("stack.toml", &format!("[run-image]\nimage = '{RUN_IMAGE}'\n"));
    let script = "printf '[[bom]]\\nname = \"tool\"\\n' > $1/build.toml; printf '[[bom]]\\nname = \"lib\"\\n' > $1/launch.toml";
    world.buildpack("a", "0.9", "", "", script);
    world.order(&["a"]);
    let report = world.create().unwrap();
    let names: Vec<_> = report
        .exported
        .report
        .bom
        .iter()
        .map(|entry| entry.name.as_str())
        .collect();
    assert_eq!(names, ["tool"]);
    let image = world.image(APP_IMAGE);
    let build = image.config().label(label::BUILD).unwrap();
    assert!(build.starts_with(r#"{"bom":[{"name":"lib","#), "{build}");
}

#[test]
fn source_date_epoch_changes_the_creation_time_only_own_03() {
    let world = world_with_layers();
    let mut options = world.create_options();
    let plain = world.create_with(&options).unwrap();
    options.export.source_date_epoch = Some("1700000000".to_owned());
    let dated = world.create_with(&options).unwrap();
    let image = world.image(APP_IMAGE);
    assert_eq!(image.config().created.as_deref(), Some("2023-11-14T22:13:20Z"));
    assert!(
        image
            .config()
            .history
            .iter()
            .all(|line| line.created.as_deref() == Some("2023-11-14T22:13:20Z"))
    );
    let launcher = |report: &CreateReport| report.exported.layers[6].diff_id.clone();
    assert_eq!(launcher(&plain), launcher(&dated));
    options.export.source_date_epoch = Some("now".to_owned());
    world.create_with(&options).unwrap();
    assert!(
        world
            .recorder
            .has("warning: ignoring SOURCE_DATE_EPOCH: \"now\" is not a number of seconds")
    );
    assert_eq!(
        world.image(APP_IMAGE).config().created.as_deref(),
        Some("1980-01-01T00:00:01Z")
    );
}

#[test]
fn extensions_are_refused_cre_04() {
    let mut world = world_with_layers();
    world.extension("x", "exit 0", "exit 0");
    let text = world.read("order.toml") + &crate::testing::extension_order_toml(&["x"]);
    world.write("order.toml", &text);
    let error = world.create().unwrap_err();
    assert_eq!(
        (error.exit_code(), error.phase()),
        (ExitCode::Detect, crate::Phase::Detect)
    );
}

#[test]
fn a_failed_build_leaves_the_old_image_and_cache_alone() {
    let mut world = world_with_layers();
    world.create().unwrap();
    let digest = world.image(APP_IMAGE).digest().unwrap();
    let cache = world.read("cache/committed/io.buildpacks.lifecycle.cache.metadata");
    world.buildpack("acme/a", "0.10", CYCLONE, "", "exit 1");
    let error = world.create().unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::BuildpackFailed);
    assert_eq!(world.image(APP_IMAGE).digest().unwrap(), digest);
    assert_eq!(
        world.read("cache/committed/io.buildpacks.lifecycle.cache.metadata"),
        cache
    );
}

#[test]
fn the_lifecycles_own_sboms_join_sbom_03() {
    let mut world = world_with_layers();
    world.write("sbom/launcher.sbom.cdx.json", "{}");
    world.write("sbom/lifecycle.sbom.cdx.json", "{}");
    world.create().unwrap();
    assert!(
        world
            .path("layers/sbom/launch/buildpacksio_lifecycle/launcher/sbom.cdx.json")
            .exists()
    );
    assert!(
        world
            .path("layers/sbom/build/buildpacksio_lifecycle/sbom.cdx.json")
            .exists()
    );
    assert!(world.recorder.has("warning: there is no SBOM of the lifecycle: "));
}

/// All phases but the last.
fn build_only(world: &World) {
    let cancellation = Cancellation::default();
    crate::analyze(
        &world.analyze_options(),
        &world.images(),
        None,
        &*world.reporter(),
    )
    .unwrap();
    crate::detect(&world.detect_options(), &cancellation, &*world.reporter()).unwrap();
    crate::build(&world.build_options(), &cancellation, &*world.reporter()).unwrap();
}

fn export_only(world: &World, options: &crate::ExportOptions) -> Result<crate::ExportReport, ExportError> {
    let cache = CacheOptions::default();
    crate::export(options, &world.images(), &cache, &world.store, &world.reporter())
}

#[test]
fn what_makes_no_sense_fails_the_export_exp_02_exp_22() {
    let world = world_with_layers();
    build_only(&world);
    world.write("layers/acme_a/l.toml", "[types\n");
    let error = export_only(&world, &world.export_options()).unwrap_err();
    assert!(error.to_string().contains("l.toml:1:"), "{error}");
    assert_eq!(error.exit_code(), ExitCode::Export);
    world.write("layers/analyzed.toml", "[image]\nreference = ''\n");
    let error = export_only(&world, &world.export_options()).unwrap_err();
    assert_eq!(error.to_string(), "run image not found in analyzed metadata");
    assert_eq!(error.exit_code(), ExitCode::InvalidArguments);
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
fn the_label_has_the_run_images_entry_with_mirrors_run_02() {
    let world = world_with_layers();
    let entry = |text: &str| {
        world.write("run.toml", text);
        build_only(&world);
        export_only(&world, &world.export_options()).unwrap();
        world.label(APP_IMAGE).run_image.source
    };
    let first = "[[images]]\nimage = 'first.example/run'\n";
    let mut options = world.analyze_options();
    options.run_image = Some(RUN_IMAGE.to_owned());
    let listed = format!("[[images]]\nimage = '{RUN_IMAGE}'\nmirrors = ['m.example/run']\n{first}");
    let found = entry(&listed);
    assert_eq!(
        (&*found.image, &found.mirrors[..]),
        (RUN_IMAGE, &["m.example/run".to_owned()][..])
    );
    // The entry of which it is a mirror.
    let mirror = format!("[[images]]\nimage = 'registry.example/main'\nmirrors = ['{RUN_IMAGE}']\n");
    world.push_run_image("registry.example/main", "main\n", &[]);
    let found = entry(&mirror);
    assert_eq!(found.image, "registry.example/main");
    // None names it: the first one stands for it.
    crate::analyze(&options, &world.images(), None, &*world.reporter()).unwrap();
    world.write("run.toml", first);
    export_only(&world, &world.export_options()).unwrap();
    assert_eq!(world.label(APP_IMAGE).run_image.source.image, "first.example/run");
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
    let reference = || "registry.example/cache".parse().unwrap();
    let create_with_both = |world: &World| {
        fs::remove_dir_all(world.path("layers")).unwrap();
        fs::create_dir_all(world.path("layers")).unwrap();
        let cache = CacheOptions {
            directory: Some(world.path("cache")),
            unpacked: None,
            image: Some(crate::CacheImage {
                reference: reference(),
                source: &world.store,
                sink: &world.store,
                access: None,
                platform: &world.platform,
            }),
        };
        let options = world.create_options();
        let images = world.images();
        create(
            &options,
            &images,
            &cache,
            &world.store,
            &Cancellation::default(),
            &world.reporter(),
        )
        .unwrap()
    };
    create_with_both(&world);
    let metadata = "cache/committed/io.buildpacks.lifecycle.cache.metadata";
    let written = world.read(metadata);
    let image = world.image("registry.example/cache");
    assert_eq!(image.config().label(label::CACHE).unwrap(), written.trim_end());
    // Only the image has something now.
    fs::remove_dir_all(world.path("cache")).unwrap();
    world.new_recorder();
    let report = create_with_both(&world);
    assert_eq!(
        report
            .restored
            .layers
            .iter()
            .filter(|layer| layer.restored == Contents)
            .count(),
        4
    );
    assert_eq!(world.read(metadata), written);
    // And only the directory: the image counts.
    world.store.remove(&reference()).unwrap();
    let report = create_with_both(&world);
    assert_eq!(
        report
            .restored
            .layers
            .iter()
            .filter(|layer| layer.restored == Contents)
            .count(),
        0
    );
    assert_eq!(world.read(metadata), written);
}
