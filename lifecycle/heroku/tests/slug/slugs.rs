//! Packing, unpacking, and images.

use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use lifecycle_heroku::{HerokuError, ImageOptions, Procfile, SlugOptions, image, slug, unpack_image};
use lifecycle_image::{Image, Meter, NoProgress, Outcome, Platform, Progress};
use lifecycle_layers::{Device, Entry, Kind, Packing, Style, TarWriter};
use lifecycle_spec::MetadataToml;
use lifecycle_spec::label::{self, BuildLabel, LifecycleLabel};

use crate::support::{Fixture, read};

struct NoMeter;

impl Meter for NoMeter {
    fn advance(&self, _: u64) {}
    fn finish(&self, _: Outcome) {}
}

fn pack(directory: &Path, options: &SlugOptions) -> Vec<u8> {
    let mut bytes = Vec::new();
    slug::pack(directory, options, &mut bytes, &NoMeter).unwrap();
    bytes
}

#[test]
fn unchanged_source_gives_the_same_bytes_with_true_times_sl_01_sl_02() {
    let Some(f) = Fixture::of_root() else { return };
    // More than one block of what is compressed at a time, and not all alike.
    let line = |number: u64| format!("{:016x}\n", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let large: String = (0..400_000).map(line).collect();
    f.app(&[("contract", ""), ("static/page.html", "x"), ("large", &large)]);
    let set_time = |name: &str, seconds: u64| {
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        let file = std::fs::File::options()
            .append(true)
            .open(f.path("source").join(name));
        file.unwrap().set_modified(time).unwrap();
    };
    // 2015-05-05, and the newest of all in 2021.
    set_time("static/page.html", 1_430_784_000);
    set_time("large", 1_430_784_000);
    set_time("contract", 1_609_459_200);
    let build = |threads: usize| {
        let built = f.build(f.options(&["second"])).unwrap();
        let packing = Packing {
            threads: Some(threads),
            ..Packing::default()
        };
        let options = SlugOptions {
            latest: Some(built.newest),
            packing,
            ..SlugOptions::default()
        };
        (pack(&built.directory(), &options), built.newest)
    };
    let (first, newest) = build(1);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(first, build(3).0);
    assert_eq!(newest, 1_609_459_200);

    let file = f.path("slug.tgz");
    std::fs::write(&file, &first).unwrap();
    let listed = Command::new("tar")
        .args(["tvzf", file.to_str().unwrap(), "--numeric-owner", "--utc"])
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(
        listed
            .lines()
            .all(|line| line.contains(" 0/0 ") && line.contains(" ./")),
        "{listed}"
    );
    // Times of the source are kept; what the build made is as old as the newest of them, not as old as the hills.
    for line in [
        "2015-05-05 00:00 ./static/page.html",
        "2021-01-01 00:00 ./contract",
        "2021-01-01 00:00 ./second",
    ] {
        assert!(listed.contains(line), "{line}: {listed}");
    }
}

#[test]
fn everything_survives_the_way_there_and_back_sl_07() {
    let f = Fixture::new();
    let app = f.app(&[("a", "same"), ("run", "#!")]);
    let long = "n".repeat(200);
    std::fs::create_dir_all(app.join("empty")).unwrap();
    std::fs::create_dir_all(app.join(&long).join(&long)).unwrap();
    std::fs::write(app.join(&long).join(&long).join(&long), "deep").unwrap();
    std::fs::hard_link(app.join("a"), app.join("b")).unwrap();
    symlink("/app/.heroku/bin", app.join("link")).unwrap();
    let raw = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"not-utf8-\xff");
    std::fs::write(app.join(raw), "raw").unwrap();
    let attribute = |path: &Path| rustix::fs::getxattr(path, "user.mark", &mut [0_u8; 8]).is_ok();
    let flags = rustix::fs::XattrFlags::empty();
    if rustix::fs::setxattr(app.join("a"), "user.mark", b"x", flags).is_ok() {
        assert!(attribute(&app.join("a")));
    }

    let bytes = pack(&app, &SlugOptions::default());
    let into = f.path("into");
    slug::unpack("slug.tgz", bytes.as_slice(), &into).unwrap();
    assert_eq!(read(into.join(&long).join(&long).join(&long)), "deep");
    assert_eq!(
        std::fs::metadata(into.join("a")).unwrap().ino(),
        std::fs::metadata(into.join("b")).unwrap().ino()
    );
    assert_eq!(
        std::fs::read_link(into.join("link")).unwrap(),
        Path::new("/app/.heroku/bin")
    );
    assert!(into.join("empty").is_dir() && into.join(raw).exists());
    assert!(!attribute(&into.join("a")), "a slug has no extended attributes");

    let error = slug::unpack("slug.tgz", bytes.as_slice(), &into).unwrap_err();
    assert!(matches!(error, HerokuError::NotEmpty(_)), "SL-09: {error}");
}

#[test]
fn hostile_slugs_are_refused_sl_08() {
    let f = Fixture::new();
    f.app(&[("f", "x"), ("deep/g", "x")]);
    for (index, (script, reason)) in [
        ("tar cz --transform 's,^f,../f,' f", "leads out of the directory"),
        ("tar czP --transform 's,^f,/escaped-f,' f", ""),
        (
            "ln -s /etc l; tar c l >t; tar r -f t --transform 's,^f,l/f,' f; cat t",
            r#"cannot unpack "l""#,
        ),
        (
            "tar c --hard-dereference f >t; ln f h; tar c --transform 's,^f$,../f,' f h",
            "leads out of the directory",
        ),
    ]
    .iter()
    .enumerate()
    {
        let tar = Command::new("sh")
            .args(["-ec", script])
            .current_dir(f.path("source"))
            .output()
            .unwrap();
        assert!(
            tar.status.success(),
            "{script}: {}",
            String::from_utf8_lossy(&tar.stderr)
        );
        let into = f.path(&format!("into{index}"));
        let unpacked = slug::unpack("slug.tgz", tar.stdout.as_slice(), &into);
        // An absolute name is one below the directory, as tar reads it.
        if reason.is_empty() {
            unpacked.unwrap();
            assert_eq!(read(into.join("escaped-f")), "x");
        } else {
            let error = unpacked.unwrap_err().to_string();
            assert!(error.contains(reason), "{script}: {error}");
        }
        for outside in [f.path("f"), "/etc/f".into(), "/escaped-f".into()] {
            assert!(
                outside.symlink_metadata().is_err(),
                "{script}: {}",
                outside.display()
            );
        }
    }
}

/// Devices need no root in an archive: they are entries like any other.
#[test]
fn devices_of_a_slug_are_refused_sl_08() {
    let f = Fixture::new();
    let null = Device { major: 1, minor: 3 };
    for kind in [Kind::CharDevice(null), Kind::BlockDevice(null)] {
        let mut tar = TarWriter::new(Vec::new(), Style::Oci { latest: None });
        let entry = Entry {
            kind,
            ..Entry::file(&b"deep/device"[..], 0)
        };
        tar.entry(&entry).unwrap();
        let tar = tar.finish().unwrap();
        let into = f.path("into");
        let error = slug::unpack("slug.tgz", tar.as_slice(), &into).unwrap_err();
        assert_eq!(
            error.to_string(),
            "slug.tgz: the archive holds the device \"deep/device\", and devices are refused here"
        );
        assert!(!into.join("deep/device").exists());
        std::fs::remove_dir_all(into).unwrap();
    }
}

#[test]
fn too_large_a_slug_names_its_largest_directories_sl_05_sl_06() {
    let f = Fixture::new();
    let app = f.app(&[("node_modules/x/y", "abc"), ("lib/z", "ab")]);
    let options = SlugOptions {
        limit: Some(10),
        ..SlugOptions::default()
    };
    let error = slug::pack(&app, &options, &mut Vec::new(), &NoMeter).unwrap_err();
    let text = error.to_string();
    assert!(
        text.ends_with(
            "the largest directories: node_modules (3 bytes), node_modules/x (3 bytes), lib (2 bytes)"
        ),
        "{text}"
    );
}

#[test]
fn the_size_report_is_that_of_the_file_sl_05() {
    let f = Fixture::new();
    let app = f.app(&[("a", &"x".repeat(5000))]);
    let mut bytes = Vec::new();
    let size = slug::pack(&app, &SlugOptions::default(), &mut bytes, &NoMeter).unwrap();
    assert_eq!(size.compressed, bytes.len() as u64);
    assert_eq!(
        size.to_string(),
        format!("Compiled slug size is {}B", bytes.len())
    );
}

#[test]
fn an_image_of_a_slug_starts_like_one_of_buildpacks() {
    let Some(f) = Fixture::of_root() else { return };
    f.app(&[("contract", "")]);
    let built = f.build(f.options(&["contract"])).unwrap();
    let mut run = Image::empty(&Platform::host());
    run = lifecycle_image::mutate::configure(run, |config| {
        config.config.user = Some("1001:1000".to_owned());
        config.config.set_env("PATH", "/bin");
    });
    let options = ImageOptions {
        run,
        run_name: "run:latest".to_owned(),
        run_reference: "run@sha256:0".to_owned(),
        launcher: Arc::from(&b"launcher"[..]),
        launcher_version: "1".to_owned(),
        latest: Some(built.newest),
        created: "2020-01-01T00:00:00Z".to_owned(),
        packing: Packing::default(),
    };
    let progress: Arc<dyn Progress> = Arc::new(NoProgress);
    let make = |directory: &Path, processes: &Procfile| {
        image(directory, processes, &options, &f.store, &progress).unwrap()
    };
    let made = make(&built.directory(), &built.processes);
    assert_eq!(
        made.digest().unwrap(),
        make(&built.directory(), &built.processes).digest().unwrap()
    );

    let config = &made.config().config;
    assert_eq!(
        config.entrypoint.as_deref(),
        Some(&["/cnb/process/web".to_owned()][..])
    );
    assert_eq!(
        ["HOME", "PORT", "CNB_APP_DIR"].map(|name| config.env(name).unwrap()),
        ["/app", "5000", "/app"]
    );
    assert_eq!(config.env("PATH"), Some("/cnb/process:/cnb/lifecycle:/bin"));
    let label = BuildLabel::parse(made.config().label(label::BUILD).unwrap()).unwrap();
    let types: Vec<_> = label
        .processes
        .iter()
        .map(|process| process.process_type.as_str())
        .collect();
    assert_eq!(types, ["web", "worker"]);
    let lifecycle = LifecycleLabel::parse(made.config().label(label::LIFECYCLE).unwrap()).unwrap();
    assert_eq!(lifecycle.run_image.source.image, "run:latest");

    // What is in the layers.
    let mut found = std::collections::BTreeMap::new();
    for layer in made.layers() {
        let into = tempfile::tempdir().unwrap();
        let directory = std::fs::File::open(into.path()).unwrap();
        let extracted = lifecycle_layers::extract(
            layer.open(0).unwrap(),
            None,
            std::os::fd::AsFd::as_fd(&directory),
            &lifecycle_layers::ExtractOptions::default(),
            &NoMeter,
        );
        extracted.unwrap();
        for name in [
            "app/built",
            "cnb/process/web",
            "layers/config/metadata.toml",
            "layers/lifecycle_classic/profile/exec.d/profile",
        ] {
            let path = into.path().join(name);
            if path.symlink_metadata().is_ok() {
                let owner = path.symlink_metadata().unwrap().uid();
                found.insert(name, (owner, std::fs::read(&path).unwrap_or_default()));
            }
        }
    }
    assert_eq!(found["app/built"], (1001, b"built\n".to_vec()));
    assert!(
        found.contains_key("cnb/process/web")
            && found.contains_key("layers/lifecycle_classic/profile/exec.d/profile")
    );
    let metadata = MetadataToml::parse(Path::new("m"), &found["layers/config/metadata.toml"].1).unwrap();
    assert_eq!(metadata.default_process.as_deref(), Some("web"));

    // And back to a slug.
    let into = f.path("back");
    unpack_image(&made, &into).unwrap();
    let again = SlugOptions {
        latest: Some(built.newest),
        ..SlugOptions::default()
    };
    assert_eq!(pack(&into, &again), pack(&built.directory(), &again));
    assert!(unpack_image(&options.run, &f.path("other")).is_err());
}
