//! The rules of extensions in detection.

use super::*;

fn with_extensions(world: &World, order: &[&str], extensions: &[&str]) {
    world.order(order);
    let text = world.read("order.toml") + &extension_order_toml(extensions);
    world.write("order.toml", &text);
}

#[test]
fn extensions_generate_and_switch_the_run_image_det_06_det_07_det_10() {
    let world = world();
    world.write(
        "layers/analyzed.toml",
        "[run-image]\nreference = 'r/run@sha256:00'\nimage = 'r/run'\n",
    );
    world.extension(
        "acme/tools",
        &plan_script("[[provides]]\nname = 'curl'"),
        "cp \"$CNB_BP_PLAN_PATH\" given; printf 'FROM other/run:2\\n' > \"$CNB_OUTPUT_DIR/run.Dockerfile\"",
    );
    world.extension(
        "acme/more",
        &plan_script("[[provides]]\nname = 'curl'"),
        "printf 'ARG base_image\\nFROM ${base_image}\\nRUN x\\n' | tee \"$CNB_OUTPUT_DIR/run.Dockerfile\" > \"$CNB_OUTPUT_DIR/build.Dockerfile\"",
    );
    world.extension(
        "acme/unused",
        &plan_script("[[provides]]\nname = 'unused'"),
        "exit 1",
    );
    world.buildpack(
        "needs",
        "0.10",
        "",
        &plan_script("[[requires]]\nname = 'curl'"),
        "",
    );
    with_extensions(&world, &["needs"], &["acme/tools acme/more acme/unused"]);
    let report = run(&world).unwrap();
    let ids: Vec<_> = report
        .group
        .extensions
        .iter()
        .map(|module| module.id.as_str())
        .collect();
    assert_eq!(ids, ["acme/tools", "acme/more"]);
    // UNM-03: what extensions met is not in the plan any more.
    assert_eq!(world.read("layers/plan.toml"), "");
    assert_eq!(world.read("app/given"), "[[entries]]\n  name = \"curl\"\n");
    let analyzed = AnalyzedToml::parse("a".as_ref(), world.read("layers/analyzed.toml").as_bytes()).unwrap();
    let expected = RunImage {
        reference: String::new(),
        image: Some("other/run:2".into()),
        extend: true,
        target: None,
    };
    assert_eq!(analyzed.run_image, Some(expected));
    assert!(analyzed.build_image.unwrap().extend);
    assert!(world.path("layers/generated/acme_tools/run.Dockerfile").exists());
    assert!(
        world
            .recorder
            .has("warning: new runtime base image 'other/run:2' not found in run metadata")
    );
}

#[test]
fn a_failing_generate_is_91_and_wrong_output_92_gnr_01_gnr_07() {
    let world = world();
    world.extension("x", PASS, "echo why; exit 3");
    with_extensions(&world, &["pass"], &["x"]);
    let error = run(&world).unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::ExtensionFailed);
    assert_eq!(
        error.to_string(),
        "failed to generate: extension 'x@1' exited with status 3\n  | why"
    );
    world.extension(
        "x",
        PASS,
        "mkdir \"$CNB_OUTPUT_DIR/context\" \"$CNB_OUTPUT_DIR/context.run\"",
    );
    assert_eq!(run(&world).unwrap_err().exit_code(), ExitCode::Generate);
    world.extension(
        "x",
        PASS,
        "echo '= broken' >\"$CNB_OUTPUT_DIR/extend-config.toml\"",
    );
    let error = run(&world).unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::Generate);
    assert!(error.to_string().contains("extend-config.toml:1:1"), "{error}");
}

#[test]
fn extensions_alone_are_no_group_and_cannot_require_dta_04_pln_06() {
    let world = world();
    world.extension("x", PASS, "");
    world.extension("wants", &plan_script("[[requires]]\nname = 'a'"), "");
    with_extensions(&world, &["fail?"], &["x"]);
    assert_eq!(selected(&world), Err(20));
    with_extensions(&world, &["pass"], &["x wants"]);
    let report = run(&world).unwrap();
    assert_eq!(report.group.extensions.len(), 1);
}

#[test]
fn extensions_were_an_experiment_det_12_mode_01_det_11() {
    let mut world = world();
    world.api = PlatformApi::V0_12;
    world.extension(
        "x",
        PASS,
        "printf 'FROM r/other\\n' > \"$CNB_OUTPUT_DIR/run.Dockerfile\"",
    );
    with_extensions(&world, &["pass"], &["x"]);
    assert_eq!(run(&world).unwrap_err().exit_code(), ExitCode::Generic);
    let mut options = world.detect_options();
    options.experimental = ExperimentalMode::Warn;
    detect(&options, &Cancellation::default(), &*world.recorder).unwrap();
    assert!(
        world
            .recorder
            .has("warning: Platform requested experimental feature 'Dockerfiles'")
    );
    assert_eq!(world.read("layers/generated/run/x/Dockerfile"), "FROM r/other\n");
    world.api = PlatformApi::V0_9;
    assert_eq!(selected(&world).unwrap(), "pass");
}

#[test]
fn ready_made_output_is_put_where_the_extender_looks_gnr_04_iex_01_x_24() {
    let world = world();
    world.write(
        "extensions/static/1/extension.toml",
        "api = '0.11'\n[extension]\nid = 'static'\nversion = '1'\n",
    );
    world.write(
        "extensions/static/1/detect/plan.toml",
        "[[provides]]\nname = 'a'\n",
    );
    world.write(
        "extensions/static/1/generate/build.Dockerfile",
        "ARG base_image\nFROM ${base_image}\n",
    );
    world.write("extensions/static/1/generate/context/f", "x");
    world.buildpack("needs", "0.10", "", &plan_script("[[requires]]\nname = 'a'"), "");
    with_extensions(&world, &["needs"], &["static"]);
    run(&world).unwrap();
    assert_eq!(world.read("layers/generated/static/context/f"), "x");
}

#[test]
fn before_0_12_a_switch_changes_the_reference_only_det_08() {
    let mut world = world();
    world.api = PlatformApi::V0_11;
    world.write(
        "layers/analyzed.toml",
        "[run-image]\nreference = 'r/run@sha256:00'\n",
    );
    for (id, from) in [("x", "first/run:1"), ("y", "other/run:2")] {
        let generate = format!("printf 'FROM {from}\\n' > \"$CNB_OUTPUT_DIR/run.Dockerfile\"");
        world.extension(id, PASS, &generate);
    }
    with_extensions(&world, &["pass"], &["x y"]);
    let mut options = world.detect_options();
    options.experimental = ExperimentalMode::Silent;
    detect(&options, &Cancellation::default(), &*world.recorder).unwrap();
    let analyzed = AnalyzedToml::parse("a".as_ref(), world.read("layers/analyzed.toml").as_bytes()).unwrap();
    let expected = RunImage {
        reference: "other/run:2".into(),
        ..RunImage::default()
    };
    assert_eq!(analyzed.run_image, Some(expected));
}

#[test]
fn extensions_are_asked_as_buildpacks_are_gnr_02_gnr_03_iex_02_xen_02() {
    for (api, directory) in [
        (PlatformApi::V0_15, "layers/generated/x"),
        (PlatformApi::V0_12, "layers/generated/.pending/x"),
    ] {
        let mut world = world();
        world.api = api;
        let dump = "pwd > pwd; echo \"$1 $2 ${3:+plan}\" > args; env | sed -n 's/^\\(CNB_[A-Z_]*\\)=.*/\\1/p' | sort > names; echo \"$CNB_OUTPUT_DIR\" > output";
        world.extension("x", PASS, dump);
        with_extensions(&world, &["pass"], &["x"]);
        let mut options = world.detect_options();
        options.experimental = ExperimentalMode::Silent;
        detect(&options, &Cancellation::default(), &*world.recorder).unwrap();
        let names = world.read("app/names");
        assert_eq!(
            names.split_whitespace().collect::<Vec<_>>(),
            [
                "CNB_BP_PLAN_PATH",
                "CNB_EXTENSION_DIR",
                "CNB_OUTPUT_DIR",
                "CNB_PLATFORM_DIR"
            ]
        );
        let output = world.path(directory);
        assert_eq!(world.read("app/output").trim_end(), output.to_str().unwrap());
        assert_eq!(
            world.read("app/pwd").trim_end(),
            world.path("app").to_str().unwrap()
        );
        let arguments = format!("{} {} plan\n", output.display(), world.path("platform").display());
        assert_eq!(world.read("app/args"), arguments);
    }
}

#[test]
fn the_last_switch_wins_and_what_was_before_is_set_aside_det_07_det_10_x_05() {
    const MORE: &str = "ARG base_image\nFROM ${base_image}\nRUN x\n";
    for (dockerfiles, image, extend, set_aside) in [
        (&[MORE, MORE][..], "r/run", true, &[][..]),
        (&["FROM a\n"], "a", false, &[]),
        (&[MORE, "FROM a\n", "FROM b\n"], "b", false, &["e0", "e1"]),
        (&["FROM a\n", MORE], "a", true, &[]),
        (&[MORE, "FROM a\nRUN x\n"], "a", true, &["e0"]),
    ] {
        let world = world();
        world.write(
            "layers/analyzed.toml",
            "[run-image]\nreference = 'r/run@sha256:00'\nimage = 'r/run'\n",
        );
        let ids: Vec<String> = (0..dockerfiles.len())
            .map(|number| format!("e{number}"))
            .collect();
        for (id, dockerfile) in ids.iter().zip(dockerfiles) {
            let file = world.write(id, dockerfile);
            let generate = format!("cp {} \"$CNB_OUTPUT_DIR/run.Dockerfile\"", file.display());
            world.extension(id, PASS, &generate);
        }
        with_extensions(&world, &["pass"], &[&ids.join(" ")]);
        run(&world).unwrap();
        let analyzed =
            AnalyzedToml::parse("a".as_ref(), world.read("layers/analyzed.toml").as_bytes()).unwrap();
        let run_image = analyzed.run_image.unwrap();
        assert_eq!(
            (run_image.image.as_deref(), run_image.extend),
            (Some(image), extend),
            "{dockerfiles:?}"
        );
        // The reference of another image is for the restorer to find.
        assert_eq!(
            run_image.reference.is_empty(),
            image != "r/run",
            "{dockerfiles:?}"
        );
        for id in &ids {
            let directory = world.path(&format!("layers/generated/{id}"));
            let aside = set_aside.contains(&id.as_str());
            assert_eq!(
                directory.join("run.Dockerfile.ignore").exists(),
                aside,
                "{id} of {dockerfiles:?}"
            );
            assert_eq!(
                directory.join("run.Dockerfile").exists(),
                !aside,
                "{id} of {dockerfiles:?}"
            );
        }
        // No build.Dockerfile, so the build image stays as it is (DET-10).
        assert_eq!(analyzed.build_image, None);
    }
}

#[test]
fn a_common_context_excludes_one_for_each_kind_gnr_07() {
    for (contexts, api, code) in [
        ("context context.run", PlatformApi::V0_13, Some(92)),
        ("context context.build", PlatformApi::V0_13, Some(92)),
        ("context.build context.run", PlatformApi::V0_13, None),
        ("context", PlatformApi::V0_13, None),
        // Before there were contexts, these are names like others.
        ("context context.run", PlatformApi::V0_12, None),
    ] {
        let mut world = world();
        world.api = api;
        world.extension("x", PASS, &format!("cd \"$CNB_OUTPUT_DIR\"; mkdir {contexts}"));
        with_extensions(&world, &["pass"], &["x"]);
        let mut options = world.detect_options();
        options.experimental = ExperimentalMode::Silent;
        let result = detect(&options, &Cancellation::default(), &*world.recorder);
        let found = result.err().map(|error| error.exit_code().number());
        assert_eq!(found, code, "{contexts} {api}");
    }
}

#[test]
fn extensions_keep_to_clear_env_and_exec_env_iex_05() {
    let mut world = world();
    world.write("platform/env/GREETING", "hello");
    let seen = |phase: &str| format!("env | grep -c ^GREETING= > {phase}; exit 0");
    world.extension("x", &seen("detected"), &seen("generated"));
    let describe = |world: &World, more: &str| {
        let toml = format!("api = '0.12'\n[extension]\nid = 'x'\nversion = '1'\n{more}\n");
        world.write("extensions/x/1/extension.toml", &toml);
    };
    with_extensions(&world, &["pass"], &["x"]);
    for (more, count) in [("", "1\n"), ("clear-env = true", "0\n")] {
        describe(&world, more);
        run(&world).unwrap();
        for phase in ["detected", "generated"] {
            assert_eq!(world.read(&format!("app/{phase}")), count, "{phase} {more}");
        }
    }
    describe(&world, "exec-env = ['test']");
    assert_eq!(run(&world).unwrap().group.extensions, []);
    world.exec_env = "test".parse().unwrap();
    assert_eq!(run(&world).unwrap().group.extensions.len(), 1);
}
