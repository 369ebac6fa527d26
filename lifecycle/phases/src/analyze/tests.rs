//! The rules of analysis, against a store.

use lifecycle_image::{Artifact, Digest, Image, Source, TransferError, TransferErrorKind, mutate};
use lifecycle_spec::{Distro, ExitCode, PlatformApi, RunImageEntry, TargetData};

use super::*;
use crate::reporter::explain;
use crate::testing::{APP_IMAGE, RUN_IMAGE, World, reference, world_with_layers};
use crate::{Access, Identifiers};

fn run(world: &World, options: &AnalyzeOptions) -> Result<AnalyzedToml, AnalyzeError> {
    analyze(options, &world.images(), None, &*world.recorder).map(|report| report.analyzed)
}

#[test]
fn a_first_build_has_no_previous_image_an_06_an_08_an_09() {
    let world = World::new();
    let analyzed = run(&world, &world.analyze_options()).unwrap();
    assert_eq!(analyzed.previous_image, None);
    let digest = world.image(RUN_IMAGE).digest().unwrap();
    let golden = format!(
        r#"[image]
  reference = ""

[metadata]
  [metadata.config]
    sha = ""
  [metadata.launcher]
    sha = ""
  [metadata.process-types]
    sha = ""
  [metadata.run-image]
    top-layer = ""
    reference = ""

[run-image]
  reference = "registry.example/run@{digest}"
  image = "registry.example/run:1"
  [run-image.target]
    os = "linux"
    arch = "amd64"
    [run-image.target.distro]
      name = "debian"
      version = "12"
"#
    );
    assert_eq!(world.read("layers/analyzed.toml"), golden);
}

#[test]
fn before_0_12_the_run_image_is_a_reference_only_run_03() {
    let mut world = World::new();
    world.api = PlatformApi::V0_11;
    world.write(
        "stack.toml",
        &format!("[run-image]\nimage = 'elsewhere.example/run'\nmirrors = ['{RUN_IMAGE}']\n"),
    );
    let run_image = run(&world, &world.analyze_options()).unwrap().run_image.unwrap();
    assert_eq!((run_image.image, run_image.target), (None, None));
    assert!(run_image.reference.starts_with("registry.example/run@sha256:"));
    // The first that can be read, as since 0.12; the reference does not wait for that version.
    world.write(
        "stack.toml",
        &format!(
            "[run-image]\nimage = 'registry.example/gone'\nmirrors = ['x.example/gone', '{RUN_IMAGE}']\n"
        ),
    );
    let images = Images {
        access: Some(&Everything),
        ..world.images()
    };
    let options = world.analyze_options();
    let found = analyze(&options, &images, None, &crate::Quiet).unwrap();
    let reference = found.analyzed.run_image.unwrap().reference;
    assert!(
        reference.starts_with("registry.example/run@sha256:"),
        "{reference}"
    );
    world.write("stack.toml", "[run-image]\nimage = 'registry.example/gone'\n");
    let error = analyze(&options, &images, None, &crate::Quiet).unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::InvalidArguments);
}

#[test]
fn registries_are_compared_by_their_full_names_run_05() {
    let world = World::new();
    for (app, image, mirror, chosen) in [
        ("me/app", "r.example/run", "stack/run", "stack/run"),
        (
            "me/app",
            "r.example/run",
            "docker.io/stack/run",
            "docker.io/stack/run",
        ),
        ("index.docker.io/me/app", "r.example/run", "run", "run"),
        ("r.example/app", "run", "r.example:443/run", "run"),
        (
            "localhost:5000/app",
            "localhost/run",
            "localhost:5000/run",
            "localhost:5000/run",
        ),
    ] {
        let candidates = RunImageEntry {
            image: image.into(),
            mirrors: vec![mirror.into()],
        };
        let found = world.images().choose_run_image(&candidates, &reference(app));
        assert_eq!(found.unwrap(), chosen, "{app}");
    }
}

#[test]
fn a_damaged_label_only_means_that_nothing_is_reused_an_11() {
    // TOML is not read as deep as JSON.
    let deep = format!("{}1{}", "{\"a\":".repeat(100), "}".repeat(100));
    let deep = format!(
        r#"{{"buildpacks":[{{"key":"a","version":"1","layers":{{"x":{{"sha":"","data":{deep},"launch":true}}}}}}]}}"#
    );
    for label in ["{", &deep] {
        let world = World::new();
        let image = mutate::configure(Image::empty(&world.platform), |config| {
            config.set_label(label::LIFECYCLE, label);
        });
        world.push(APP_IMAGE, &image);
        let analyzed = run(&world, &world.analyze_options()).unwrap();
        assert_eq!(analyzed.metadata, LifecycleLabel::default());
        assert!(analyzed.previous_image.is_some());
        assert!(world.recorder.has("warning: nothing of the previous image"));
        // The next phase can read what this one wrote.
        let path = world.analyze_options().analyzed;
        AnalyzedToml::parse(&path, &std::fs::read(&path).unwrap()).unwrap();
    }
}

#[derive(Debug)]
struct Everything;

impl Access for Everything {
    fn check_write(&self, _: &Reference) -> Result<(), TransferError> {
        Ok(())
    }
}

#[derive(Debug)]
struct AllBut(&'static str);

impl Access for AllBut {
    fn check_write(&self, reference: &Reference) -> Result<(), TransferError> {
        if reference.to_string() != self.0 {
            return Ok(());
        }
        Err(TransferError::new(
            TransferErrorKind::Unauthorized,
            format!("{reference}: denied"),
        ))
    }
}

#[test]
fn run_image_choice_run_01_run_04_run_05() {
    let world = World::new();
    world.push_run_image("other.example/run:1", "base\n", &[]);
    for (run_toml, chosen) in [
        // the same registry first, if it can be read
        (
            "image = 'other.example/run:1'\nmirrors = ['registry.example/run:1']",
            Ok(RUN_IMAGE),
        ),
        (
            "image = 'other.example/run:1'\nmirrors = ['registry.example/gone']",
            Ok("other.example/run:1"),
        ),
        (
            "image = 'x.example/gone'\nmirrors = ['other.example/run:1']",
            Ok("other.example/run:1"),
        ),
        ("image = 'x.example/gone'", Err(3)),
    ] {
        world.write(
            "run.toml",
            &format!("[[images]]\n{run_toml}\n[[images]]\nimage = 'second'\n"),
        );
        let images = Images {
            access: Some(&Everything),
            ..world.images()
        };
        let found = analyze(&world.analyze_options(), &images, None, &crate::Quiet);
        let found = found.map(|report| report.analyzed.run_image.unwrap().image.unwrap());
        let found = found.map_err(|error| {
            let told = "failed to find accessible run image\n  x.example/gone: ";
            assert!(error.to_string().starts_with(told), "{error}");
            error.exit_code().number()
        });
        assert_eq!(found.as_deref(), chosen.as_ref().copied(), "{run_toml}");
    }
    world.write("run.toml", "");
    let error = run(&world, &world.analyze_options()).unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::InvalidArguments);
    assert_eq!(
        error.to_string(),
        "-run-image is required when there is no run metadata available"
    );
}

#[test]
fn what_cannot_be_written_fails_before_the_build_an_07() {
    let world = World::new();
    let mut options = world.analyze_options();
    options.tags = vec![reference("registry.example/app:2")];
    for denied in ["registry.example/app:1", "registry.example/app:2"] {
        let access = AllBut(denied);
        let images = Images {
            access: Some(&access),
            ..world.images()
        };
        let error = analyze(&options, &images, None, &crate::Quiet).unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::Analyze);
        assert_eq!(
            explain(&error),
            format!("no write access to {denied}: {denied}: denied")
        );
    }
    // Where the app's place is not asked, a daemon or a directory, the registry of the cache is.
    let cache = CacheImage {
        reference: reference("registry.example/cache"),
        source: &world.store,
        sink: &world.store,
        access: Some(&AllBut("registry.example/cache:latest")),
        platform: &world.platform,
    };
    let error = analyze(
        &world.analyze_options(),
        &world.images(),
        Some(&cache),
        &crate::Quiet,
    )
    .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("no write access to registry.example/cache:latest"),
        "{error}"
    );
}

#[test]
fn names_on_two_registries_are_refused_an_02() {
    let world = World::new();
    let mut options = world.analyze_options();
    options.tags = vec![reference("other.example/app")];
    let error = run(&world, &options).unwrap_err();
    assert_eq!(error.to_string(), "writing to multiple registries is unsupported");
    assert_eq!(error.exit_code(), ExitCode::InvalidArguments);
    let daemon = Identifiers::Daemon(std::sync::Arc::new(crate::testing::ConfigIds));
    let images = Images {
        identifiers: &daemon,
        ..world.images()
    };
    analyze(&options, &images, None, &crate::Quiet).unwrap();
}

#[test]
fn a_run_image_that_is_not_there_or_says_nothing_is_an_error_an_09() {
    let world = World::new();
    let mut options = world.analyze_options();
    options.run_image = Some("registry.example/gone".to_owned());
    assert_eq!(run(&world, &options).unwrap_err().exit_code(), ExitCode::Analyze);
    let image = mutate::configure(Image::empty(&world.platform), |config| config.os.clear());
    world.push("registry.example/nothing", &image);
    options.run_image = Some("registry.example/nothing".to_owned());
    assert!(matches!(
        run(&world, &options),
        Err(AnalyzeError::NoOperatingSystem { .. })
    ));
}

#[test]
fn the_sbom_of_the_previous_image_comes_back_unless_skipped_an_04_an_10() {
    let mut world = crate::testing::world_with_layers();
    world.create().unwrap();
    let restored = |world: &World, options: &AnalyzeOptions| {
        fs_err::remove_dir_all(world.path("layers")).unwrap();
        run(world, options).unwrap();
        world.path("layers/sbom/launch/acme_a/l/sbom.cdx.json").exists()
    };
    let mut options = world.analyze_options();
    assert!(restored(&world, &options));
    options.skip_layers = true;
    assert!(!restored(&world, &options));
    options.skip_layers = false;
    options.api = PlatformApi::V0_7;
    options.run_image = Some(RUN_IMAGE.to_owned());
    assert!(!restored(&world, &options));
}

#[test]
fn without_any_run_image_the_flag_is_asked_for_an_05() {
    let world = World::new();
    for text in ["", "[[images]]\n"] {
        world.write("run.toml", text);
        let error = run(&world, &world.analyze_options()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "-run-image is required when there is no run metadata available"
        );
        assert_eq!(error.exit_code(), ExitCode::InvalidArguments);
    }
}

#[test]
fn the_previous_image_and_its_label_are_recorded_an_08() {
    let mut world = world_with_layers();
    world.create().unwrap();
    let analyzed = run(&world, &world.analyze_options()).unwrap();
    let digest = world.image(APP_IMAGE).digest().unwrap();
    let reference = format!("registry.example/app@{digest}");
    assert_eq!(analyzed.previous_image.as_deref(), Some(&*reference));
    assert_eq!(analyzed.metadata, world.label(APP_IMAGE));
    let path = world.path("layers/analyzed.toml");
    let written = AnalyzedToml::parse(&path, &fs_err::read(&path).unwrap()).unwrap();
    assert_eq!(written, analyzed);
}

#[test]
fn the_target_is_what_the_run_image_says_of_itself_an_09() {
    let world = World::new();
    let plain = world.image(RUN_IMAGE);
    let image = mutate::configure(plain, |config| {
        config.architecture = "arm64".into();
        config.variant = Some("v8".into());
        config.set_label(label::BASE_ID, "acme.base");
    });
    world.push(RUN_IMAGE, &image);
    let target = run(&world, &world.analyze_options())
        .unwrap()
        .run_image
        .unwrap()
        .target;
    let expected = TargetData {
        id: Some("acme.base".into()),
        os: "linux".into(),
        arch: "arm64".into(),
        variant: Some("v8".into()),
        distro: Some(Distro {
            name: "debian".into(),
            version: "12".into(),
        }),
    };
    assert_eq!(target, Some(expected));
}

/// A registry whose app image is damaged.
#[derive(Debug)]
struct Damaged<'a>(&'a World, TransferErrorKind);

impl Source for Damaged<'_> {
    fn artifact(&self, reference: &Reference) -> Result<Artifact, TransferError> {
        if reference.to_string() == APP_IMAGE {
            return Err(TransferError::new(self.1, "not as it should be"));
        }
        self.0.store.artifact(reference)
    }

    fn member(&self, reference: &Reference, digest: &Digest) -> Result<Image, TransferError> {
        self.0.store.member(reference, digest)
    }
}

#[test]
fn a_corrupt_previous_image_is_none_but_a_registry_that_fails_is_told_an_11() {
    let world = World::new();
    for (kind, goes_on) in [
        (TransferErrorKind::Corrupt, true),
        (TransferErrorKind::Unsupported, true),
        (TransferErrorKind::Unavailable, false),
    ] {
        let source = Damaged(&world, kind);
        let images = Images {
            source: &source,
            ..world.images()
        };
        let found = analyze(&world.analyze_options(), &images, None, &*world.recorder);
        match found {
            Ok(report) => assert!(goes_on && report.analyzed.previous_image.is_none(), "{kind:?}"),
            Err(error) => assert!(
                !goes_on && error.exit_code() == ExitCode::Analyze,
                "{kind:?}: {error}"
            ),
        }
    }
    assert!(
        world
            .recorder
            .has("warning: ignoring the previous image \"registry.example/app:1\": not as it should be")
    );
}
