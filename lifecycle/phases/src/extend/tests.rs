//! Extensions from detection to the app image. Dockerfiles here have no RUN, so that any user can run the tests; those
//! with RUN are among the acceptance tests.

use fs_err as fs;
use lifecycle_image::layout::Layout;
use lifecycle_image::{Artifact, Image};
use lifecycle_spec::{AnalyzedToml, PlatformApi, label};

use super::*;
use crate::testing::{APP_IMAGE, RUN_IMAGE, World};
use crate::{CacheOptions, ExportError, analyze, build, detect, export, rebase, restore};

/// A world whose only extension writes what `generate` says.
fn world(api: PlatformApi, generate: &str) -> World {
    let mut world = World::new();
    world.api = api;
    world.extension(
        "acme/ext",
        "printf '[[provides]]\\nname = \"tool\"\\n' > \"$2\"",
        &format!("cd \"$CNB_OUTPUT_DIR\"\n{generate}"),
    );
    let more = "[[targets]]\nos = 'linux'";
    world.buildpack(
        "a",
        "0.10",
        more,
        "printf '[[requires]]\\nname = \"tool\"\\n' > \"$2\"",
        "printf '[[processes]]\\ntype = \"web\"\\ncommand = [\"run\"]\\ndefault = true\\n' > \"$1/launch.toml\"",
    );
    world.order(&["a"]);
    let order = world.read("order.toml") + &crate::testing::extension_order_toml(&["acme/ext"]);
    world.write("order.toml", &order);
    fs::create_dir(world.path("root")).unwrap();
    world
}

impl World {
    fn analyzed(&self) -> AnalyzedToml {
        let path = self.path("layers/analyzed.toml");
        AnalyzedToml::parse(&path, &fs::read(&path).unwrap()).unwrap()
    }

    /// Everything in front of the extender.
    fn prepare(&self) {
        analyze(&self.analyze_options(), &self.images(), None, &*self.reporter()).unwrap();
        detect(
            &self.detect_options(),
            &Cancellation::default(),
            &*self.reporter(),
        )
        .unwrap();
        let mut options = self.restore_options();
        options.build_image = Some(RUN_IMAGE.to_owned());
        let (images, bases, cache) = (self.images(), self.bases(), CacheOptions::default());
        restore(&options, Some(&images), Some(&bases), &cache, &*self.reporter()).unwrap();
    }

    fn extend(&self, kind: ExtendKind) -> Result<ExtendReport, ExtendError> {
        extend(
            &self.extend_options(kind),
            &self.store,
            &Cancellation::default(),
            &self.reporter(),
        )
    }

    fn export(&self) -> Result<Image, ExportError> {
        build(&self.build_options(), &Cancellation::default(), &*self.reporter()).unwrap();
        let cache = CacheOptions::default();
        export(
            &self.export_options(),
            &self.images(),
            &cache,
            &self.store,
            &self.reporter(),
        )?;
        Ok(self.image(APP_IMAGE))
    }

    /// The one image that the extender left.
    fn extended(&self) -> (Layout, Image) {
        let mut found = fs::read_dir(self.path("layers/extended/run")).unwrap();
        let path = found.next().unwrap().unwrap().path();
        assert!(found.next().is_none());
        let layout = Layout::open(&path).unwrap();
        let Artifact::Image(image) = layout.named(None).unwrap() else {
            panic!("an index")
        };
        let name = path.file_name().unwrap().to_str().unwrap();
        assert_eq!(image.digest().unwrap().to_string(), name);
        (layout, *image)
    }
}

const RUN: &str = r#"mkdir context
echo tool > context/tool
cat > run.Dockerfile <<'EOT'
ARG base_image
FROM ${base_image}
ARG build_id=0
ARG user_id
ARG greeting
COPY tool /opt/tool
ENV GREETING=${greeting}=${user_id}
LABEL io.buildpacks.rebasable=true
EOT
printf '[[run.args]]\nname = "greeting"\nvalue = "hello"\n' > extend-config.toml"#;

#[test]
fn an_extended_run_image_is_the_base_of_the_app_ext_01_ext_04_ext_06_exp_04_exp_11() {
    let world = world(PlatformApi::V0_15, RUN);
    world.prepare();
    let run_image = world.analyzed().run_image.unwrap();
    assert!(
        run_image.extend && run_image.reference.contains('@'),
        "{run_image:?}"
    );
    let original = world.image(RUN_IMAGE);
    // RES-05, RES-07: manifest and configuration, no layer.
    let base = world
        .path("kaniko/cache/base")
        .join(original.digest().unwrap().to_string());
    let layer = original.layers()[0].descriptor().unwrap().digest;
    let layout = Layout::open(base).unwrap();
    assert!(layout.has(&original.encode_config().unwrap().descriptor.digest) && !layout.has(&layer));

    let report = world.extend(ExtendKind::Run).unwrap();
    assert_eq!((report.dockerfiles, report.executed, report.cached), (1, 1, 0));
    assert_eq!(world.read("root/opt/tool"), "tool\n");
    let (layout, extended) = world.extended();
    let own = extended.layers()[1].descriptor().unwrap().digest;
    assert!(layout.has(&own) && !layout.has(&layer));

    let app = world.export().unwrap();
    let config = app.config();
    // Values may hold any number of `=` (DKF-07).
    assert_eq!(config.config.env("GREETING"), Some("hello=1001"));
    assert_eq!(config.label(label::REBASABLE), Some("true"));
    assert_eq!(config.history.len(), app.layers().len());
    let line = config.history[1].created_by.clone().unwrap();
    assert!(
        line.starts_with("Layer: 'COPY tool /opt/tool")
            && line.ends_with("', Created by extension: acme/ext"),
        "{line}"
    );
    let label = world.label(APP_IMAGE);
    assert_eq!(
        label.run_image.top_layer,
        original.config().rootfs.diff_ids[0].to_string()
    );

    // The layers of extensions stay when the base is exchanged, and so does what they are called.
    world.push_run_image(
        RUN_IMAGE,
        "new base\n",
        &[
            (label::BASE_DISTRO_NAME, "debian"),
            (label::BASE_DISTRO_VERSION, "12"),
        ],
    );
    rebase(&world.rebase_options(None), &world.images(), &*world.reporter()).unwrap();
    let rebased = world.image(APP_IMAGE);
    assert_eq!(rebased.config().rootfs.diff_ids[1..], config.rootfs.diff_ids[1..]);
    assert_eq!(rebased.config().history[1].created_by.as_deref(), Some(&*line));
}

#[test]
fn extending_again_gives_the_same_image_own_04() {
    let world = world(PlatformApi::V0_15, RUN);
    world.prepare();
    world.extend(ExtendKind::Run).unwrap();
    let (_, first) = world.extended();
    fs::remove_dir_all(world.path("root")).unwrap();
    fs::create_dir(world.path("root")).unwrap();
    let mut options = world.extend_options(ExtendKind::Run);
    options.build_id = "2".to_owned();
    let report = extend(
        &options,
        &world.store,
        &Cancellation::default(),
        &world.reporter(),
    )
    .unwrap();
    assert_eq!((report.executed, report.cached), (0, 1));
    assert_eq!(world.read("root/opt/tool"), "tool\n");
    assert_eq!(world.extended().1.digest().unwrap(), first.digest().unwrap());
}

#[test]
fn a_build_image_is_extended_where_it_is_ext_03() {
    let generate = "printf 'ARG base_image\\nFROM ${base_image}\\nCOPY hello.txt /hello\\nENV A=b=c\\n' > build.Dockerfile";
    for api in [PlatformApi::V0_11, PlatformApi::V0_13] {
        let mut world = world(api, generate);
        if !api.has_run_toml() {
            world.write("stack.toml", &format!("[run-image]\nimage = '{RUN_IMAGE}'\n"));
        }
        analyze(
            &world.analyze_options(),
            &world.images(),
            None,
            &*world.reporter(),
        )
        .unwrap();
        let mut options = world.detect_options();
        options.experimental = lifecycle_spec::ExperimentalMode::Silent;
        detect(&options, &Cancellation::default(), &*world.reporter()).unwrap();
        let mut options = world.restore_options();
        options.build_image = Some(RUN_IMAGE.to_owned());
        let (images, bases, cache) = (world.images(), world.bases(), CacheOptions::default());
        restore(&options, Some(&images), Some(&bases), &cache, &*world.reporter()).unwrap();
        let build_image = world.analyzed().build_image.unwrap();
        assert_eq!(build_image.extend, api.records_build_image_extend());
        let report = world.extend(ExtendKind::Build).unwrap();
        // The app directory is the context (DKF-03).
        assert_eq!(world.read("root/hello"), "hello\n", "{api}");
        assert!(report.environment.contains(&("A".to_owned(), "b=c".to_owned())));
        assert!(!world.path("layers/extended").exists());
        world.new_recorder();
    }
}

#[test]
fn root_may_not_run_apps_and_not_all_can_be_rebased_ext_04_ext_05() {
    let dockerfile =
        |more: &str| format!("printf 'ARG base_image\\nFROM ${{base_image}}\\n{more}' > run.Dockerfile");
    let root = world(PlatformApi::V0_15, &dockerfile("USER root\\n"));
    root.prepare();
    let error = root.extend(ExtendKind::Run).unwrap_err();
    assert!(
        error.to_string().contains("is \"root\", which is root"),
        "{error}"
    );
    assert_eq!(error.exit_code(), lifecycle_spec::ExitCode::Extend);
    assert!(
        root.recorder.has("warning: ") && root.recorder.has("changed the user from \"1001\" to \"root\"")
    );
    // No name was written for the exporter to find.
    assert!(matches!(root.export().unwrap_err(), ExportError::Extended { .. }));

    // That the run image can be rebased says nothing about what an extension puts on top.
    let other = world(PlatformApi::V0_15, &dockerfile("USER 1002:1000\\n"));
    other.push_run_image(RUN_IMAGE, "base\n", &[(label::REBASABLE, "true")]);
    other.prepare();
    other.extend(ExtendKind::Run).unwrap();
    let app = other.export().unwrap();
    assert_eq!(app.config().label(label::REBASABLE), Some("false"));
    assert_eq!(app.config().config.user.as_deref(), Some("1002:1000"));
    assert!(other.recorder.has("the extensions left \"1002\""));
}

#[test]
fn what_a_dockerfile_may_not_do_is_told_with_its_line_3_3() {
    for (text, expected) in [
        ("COPY missing /x", "run.Dockerfile:3:1: "),
        ("COPY --from=other/image /x /x", "without access to registries"),
    ] {
        let generate = format!("printf 'ARG base_image\\nFROM ${{base_image}}\\n{text}\\n' > run.Dockerfile");
        let world = world(PlatformApi::V0_15, &generate);
        world.prepare();
        let error = world.extend(ExtendKind::Run).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("cannot apply ") && text.contains(expected),
            "{text}"
        );
        assert_eq!(error.exit_code(), lifecycle_spec::ExitCode::Extend);
    }
}

#[test]
fn a_switched_base_can_be_extended_further_x_05_det_07() {
    let other = "registry.example/other:2";
    let generate = format!("printf 'FROM {other}\\nCOPY hello.txt /hello\\n' > run.Dockerfile");
    let world = world(PlatformApi::V0_15, &generate);
    world.push_run_image(other, "other\n", &[]);
    world.prepare();
    let run_image = world.analyzed().run_image.unwrap();
    assert_eq!(run_image.image.as_deref(), Some(other));
    assert!(run_image.extend && run_image.reference.starts_with("registry.example/other@sha256:"));
    world.extend(ExtendKind::Run).unwrap();
    let app = world.export().unwrap();
    let base = world.image(other);
    assert_eq!(app.config().rootfs.diff_ids[0], base.config().rootfs.diff_ids[0]);
    let label = world.label(APP_IMAGE);
    assert_eq!(label.run_image.source.image, other);
    assert_eq!(
        app.layers()[1].diff_id().unwrap(),
        app.config().rootfs.diff_ids[1]
    );
}

#[test]
fn without_the_restorer_there_is_nothing_to_extend_res_05() {
    let world = world(PlatformApi::V0_15, RUN);
    analyze(
        &world.analyze_options(),
        &world.images(),
        None,
        &*world.reporter(),
    )
    .unwrap();
    detect(
        &world.detect_options(),
        &Cancellation::default(),
        &*world.reporter(),
    )
    .unwrap();
    for (kind, expected) in [
        (ExtendKind::Build, "analyzed.toml names no build image to extend"),
        (ExtendKind::Run, "which is to be extended"),
    ] {
        let error = world.extend(kind).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn an_extension_builds_on_what_the_one_before_made_ext_01_ext_04_dkf_01() {
    let dockerfile = |more: &str| {
        format!(
            "printf 'ARG base_image\\nFROM ${{base_image}}\\n{more}' > \"$CNB_OUTPUT_DIR/run.Dockerfile\""
        )
    };
    let first = "ENV A=1\\nUSER 1002:1000\\nCOPY hello.txt /first\\nLABEL io.buildpacks.rebasable=true\\n";
    let world = world(PlatformApi::V0_15, &dockerfile(first));
    let next =
        "ARG user_id\\nARG group_id\\nENV B=${A}2 SEEN=${user_id}:${group_id}\\nCOPY hello.txt /second\\n";
    let provides = "printf '[[provides]]\\nname = \"tool\"\\n' > \"$2\"";
    world.extension("acme/next", provides, &dockerfile(next));
    world.order(&["a"]);
    let order = world.read("order.toml") + &crate::testing::extension_order_toml(&["acme/ext acme/next"]);
    world.write("order.toml", &order);
    world.prepare();
    assert_eq!(world.extend(ExtendKind::Run).unwrap().dockerfiles, 2);
    let app = world.export().unwrap();
    let config = app.config();
    assert_eq!(config.config.env("B"), Some("12"));
    assert_eq!(config.config.env("SEEN"), Some("1002:1000"));
    let lines: Vec<_> = config
        .history
        .iter()
        .filter_map(|line| line.created_by.as_deref())
        .collect();
    let by: Vec<_> = lines
        .iter()
        .filter_map(|line| line.split_once("Created by extension: "))
        .collect();
    assert_eq!(
        by.iter().map(|(_, id)| *id).collect::<Vec<_>>(),
        ["acme/ext", "acme/next"]
    );
    // The second says nothing about rebasing, so the image is not for it.
    assert_eq!(config.label(label::REBASABLE), Some("false"));
}
