//! Packages and archives that try to be more than a buildpack.

use std::os::unix::fs::symlink;

use lifecycle_image::{BytesLayer, Compression, DiffId, Digest, Family, History, Layer, MediaType};
use lifecycle_spec::label;

use super::*;

const TOML: &str = "api = '0.10'\n[buildpack]\nid = 'acme/a'\nversion = '1'\n";
const HOME: &str = "cnb/buildpacks/acme_a/1";

/// An entry of a layer: path, mode, user, content or link.
struct Sample<'a>(&'a str, u32, u64, tar::EntryType, &'a str);

fn file<'a>(path: &'a str, content: &'a str) -> Sample<'a> {
    Sample(path, 0o644, 0, tar::EntryType::Regular, content)
}

/// A package whose label says that its only layer holds acme/a@1.
fn package_of(samples: &[Sample<'_>]) -> Image {
    let mut tar = tar::Builder::new(Vec::new());
    for Sample(path, mode, user, kind, content) in samples {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(*mode);
        header.set_uid(*user);
        header.set_gid(0);
        header.set_mtime(315_532_801);
        // The writer would clean such names.
        let name = &mut header.as_old_mut().name;
        name[..path.len()].copy_from_slice(path.as_bytes());
        let bytes: &[u8] = if *kind == tar::EntryType::Regular {
            content.as_bytes()
        } else {
            let link = &mut header.as_old_mut().linkname;
            link[..content.len()].copy_from_slice(content.as_bytes());
            b""
        };
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        tar.append(&header, bytes).unwrap();
    }
    let bytes = tar.into_inner().unwrap();
    let diff_id = DiffId(Digest::of(&bytes));
    package_with(bytes, diff_id)
}

fn package_with(bytes: Vec<u8>, diff_id: DiffId) -> Image {
    let media_type = MediaType::layer(Family::Oci, Compression::None);
    let layers = format!(r#"{{"acme/a":{{"1":{{"api":"0.10","layerDiffID":"{diff_id}"}}}}}}"#);
    let layer: Arc<dyn Layer> = Arc::new(BytesLayer::new(media_type, bytes, diff_id));
    let image = mutate::append(Image::empty(&Platform::linux("amd64")), layer, History::default());
    mutate::configure(image, |config| {
        config.set_label(label::PACKAGE, r#"{"id":"acme/a","version":"1"}"#);
        config.set_label(label::BUILDPACK_LAYERS, layers);
    })
}

fn refusal(image: &Image) -> String {
    let bench = Bench::new();
    bench.save(image, "x.cnb");
    bench.fetch("x.cnb").unwrap_err().to_string()
}

#[test]
fn a_layer_holds_nothing_but_its_buildpack_pkg_02() {
    use tar::EntryType::{Char, Directory, Link, Symlink};
    let toml = format!("{HOME}/buildpack.toml");
    let own = || file(&toml, TOML);
    let program = format!("{HOME}/bin/build");
    for (sample, reason) in [
        (
            file("cnb/lifecycle/creator", "canary"),
            "does not belong to the modules",
        ),
        (
            file("/cnb/lifecycle/creator", "canary"),
            "does not belong to the modules",
        ),
        (file("etc/passwd", "canary"), "does not belong to the modules"),
        (
            file("cnb/buildpacks/.wh.acme_b", ""),
            "does not belong to the modules",
        ),
        (
            file("cnb/buildpacks/acme_a/2/bin/build", ""),
            "does not belong to the modules",
        ),
        (
            file("cnb/buildpacks/acme_a/1/../../acme_b/x", ""),
            "leads elsewhere",
        ),
        (file("../../canary", ""), "leads elsewhere"),
        (
            Sample("cnb", 0o777, 0, Directory, ""),
            "others than root could write to",
        ),
        (
            Sample("cnb/buildpacks", 0o755, 1000, Directory, ""),
            "others than root could write to",
        ),
        (
            Sample("cnb/buildpacks", 0o755, 0, Symlink, "/tmp"),
            "does not belong to the modules",
        ),
        (
            Sample(&program, 0o4755, 0, tar::EntryType::Regular, ""),
            "would run as another user",
        ),
        (
            Sample(&program, 0o755, 0, Link, "bin/sh"),
            "a link to a file of somebody else",
        ),
        (
            Sample(&program, 0o755, 0, Char, ""),
            "neither file, directory nor link",
        ),
    ] {
        let message = refusal(&package_of(&[own(), sample]));
        assert!(message.contains(reason), "{reason}: {message}");
    }
    // A link may point anywhere: it is followed by the buildpack, with the buildpack's rights.
    let link = Sample(&program, 0o777, 0, Symlink, "/etc/shadow");
    let bench = Bench::new();
    bench.save(
        &package_of(&[Sample("cnb", 0o755, 0, Directory, ""), own(), link]),
        "x.cnb",
    );
    assert_eq!(bench.fetch("x.cnb").unwrap().module.label(), "acme/a@1");
}

#[test]
fn labels_say_the_truth_pkg_06() {
    let toml = format!("{HOME}/buildpack.toml");
    let other = TOML.replace("acme/a", "acme/b");
    let message = refusal(&package_of(&[file(&toml, &other)]));
    assert!(
        message.contains("buildpack.toml is of acme/b@1, but the labels say acme/a@1"),
        "{message}"
    );
    let message = refusal(&package_of(&[file(&format!("{HOME}/readme"), "")]));
    assert!(
        message.contains("it has no /cnb/buildpacks/acme_a/1/buildpack.toml"),
        "{message}"
    );

    let honest = package_of(&[file(&toml, TOML)]);
    let lie = |key: &'static str, text: &'static str| {
        refusal(&mutate::configure(honest.clone(), |config| {
            config.set_label(key, text);
        }))
    };
    assert!(
        lie(
            label::BUILDPACK_LAYERS,
            r#"{"acme/a":{"1":{"layerDiffID":"sha256:00"}}}"#
        )
        .contains("which it does not have")
    );
    assert!(lie(label::BUILDPACK_LAYERS, r#"{"../a":{"..":{}}}"#).contains("is not a"));
    assert!(
        lie(label::PACKAGE, r#"{"id":"acme/b","version":"1"}"#)
            .contains("it is for acme/b@1, which it does not have")
    );
    assert!(lie(label::PACKAGE, "{").contains("io.buildpacks.buildpackage.metadata"));
    assert!(lie(label::BUILDPACK_LAYERS, "[]").contains("io.buildpacks.buildpack.layers"));

    let message = refusal(&package_with(
        b"not a tar".to_vec(),
        DiffId(Digest::of(b"not a tar")),
    ));
    assert!(message.contains("it cannot be read"), "{message}");
}

#[test]
fn an_archive_does_not_reach_out_of_itself() {
    let bench = Bench::new();
    bench.write("canary", "api = 'canary'\n");
    let outside = bench.path("outside");
    fs_err::create_dir_all(outside.join("linux/amd64/bin")).unwrap();
    fs_err::write(outside.join("linux/amd64/bin/build"), "canary").unwrap();
    let pack = |name: &str, make: &dyn Fn(&Path)| {
        let folder = bench.path(name);
        fs_err::create_dir_all(&folder).unwrap();
        make(&folder);
        let tar = bench.path(&format!("{name}.tar"));
        let status = std::process::Command::new("tar")
            .arg("-cf")
            .arg(&tar)
            .arg("-C")
            .arg(&folder)
            .arg(".")
            .status()
            .unwrap();
        assert!(status.success());
        bench
            .fetch(&format!("{name}.tar"))
            .map(drop)
            .unwrap_err()
            .to_string()
    };
    // The description is a link to a file of this machine: its text must not show up in an error.
    let message = pack("description", &|folder| {
        symlink(bench.path("canary"), folder.join("buildpack.toml")).unwrap();
    });
    assert!(
        !message.contains("'canary'") && message.contains("neither a buildpack"),
        "{message}"
    );
    // The folder of the target is a link to a folder of this machine.
    let message = pack("target", &|folder| {
        fs_err::write(folder.join("buildpack.toml"), TOML).unwrap();
        symlink(outside.join("linux"), folder.join("linux")).unwrap();
    });
    assert!(message.contains("has no bin/build"), "{message}");
    let message = pack("path", &|folder| {
        let toml =
            format!("{TOML}[[targets]]\nos = 'linux'\narch = 'amd64'\npath = '../outside/linux/amd64'\n");
        fs_err::write(folder.join("buildpack.toml"), toml).unwrap();
    });
    assert!(message.contains("has no bin/build"), "{message}");
}
