//! What labels and configuration of an image say.

use super::*;

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
    let mut world = World::of_script(
        "printf '[[processes]]\\ntype = \"web\"\\ncommand = [\"a\"]\\n[[processes]]\\ntype = \"worker\"\\ncommand = [\"b\"]\\n' > $1/launch.toml",
    );
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
fn slices_are_layers_of_their_own_slc_02_slc_04_lbl_01() {
    let mut world = World::of_script(
        "printf '[[slices]]\\npaths = [\"static/*.css\"]\\n[[slices]]\\npaths = [\"none\"]\\n' > $1/launch.toml",
    );
    world.write("app/static/a.css", "a");
    world.write("app/static/b.js", "b");
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
