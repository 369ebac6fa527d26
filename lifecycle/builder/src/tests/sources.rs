//! Where modules come from.

use super::*;

fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, path, content.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap()
}

const TOML: &str = "api = '0.10'\n[buildpack]\nid = 'acme/tar'\nversion = '1'\n";

#[test]
fn an_archive_is_the_folder_in_it() {
    let bench = Bench::new();
    let bytes = tar(&[
        ("./buildpack.toml", TOML),
        ("bin/build", "#!/bin/sh\n"),
        ("lib/x", "x"),
    ]);
    bench.write("bp.tar", &bytes);
    let mut gzip = std::process::Command::new("gzip");
    let status = gzip.arg("--keep").arg(bench.path("bp.tar")).status().unwrap();
    assert!(status.success());
    let layers: Vec<_> = ["bp.tar", "bp.tar.gz", "https://acme.test/bp.tar.gz"]
        .iter()
        .map(|address| contents(&bench.package(address, &[]).unwrap()))
        .collect();
    assert_eq!(layers[0], layers[1]);
    assert_eq!(layers[0], layers[2]);
    // Programs run, whatever the archive says of their mode.
    assert!(layers[0][0].contains(&"755 0:0 /cnb/buildpacks/acme_tar/1/bin/build".to_owned()));
}

#[test]
fn what_is_no_module_is_said() {
    let bench = Bench::new();
    bench.write("empty/readme", "");
    bench.write("bp.tar", tar(&[("readme", "")]));
    bench.write("noise.cnb", b"\0\x01\x02 noise");
    bench.write("scriptless/buildpack.toml", TOML);
    bench.write("flawed/buildpack.toml", "api = '0.10'\n[buildpack]\nid = 'a b'\n");
    let error = |address: &str| bench.fetch(address).unwrap_err().to_string();
    assert!(error("empty").ends_with(
        "empty is neither a buildpack nor an extension: it has no buildpack.toml and no extension.toml"
    ));
    let message = error("bp.tar");
    assert!(
        message.contains("bp.tar/ is neither a buildpack nor an extension"),
        "{message}"
    );
    assert!(error("noise.cnb").contains("noise.cnb"));
    assert!(error("scriptless").starts_with("the buildpack acme/tar@1 has no bin/build in "));
    assert!(error("flawed").contains("buildpack.toml:3:6: `id`: `a b` is not a buildpack id"));
    assert!(error("missing folder").contains("names no module"));
    assert!(error("acme/x@1").starts_with("cannot fetch acme/x@1"));
    assert!(error("urn:cnb:builder:acme/x").contains("there is no builder here"));
}

#[test]
fn a_new_buildpack_can_be_packaged_at_once() {
    let bench = Bench::new();
    for kind in Kind::ALL {
        let skeleton = Skeleton {
            kind,
            id: "acme/new".parse().unwrap(),
            version: "0.1.0".parse().unwrap(),
            api: lifecycle_spec::BuildpackApi::LATEST,
            targets: vec![target("amd64")],
        };
        let folder = bench.path(kind.word());
        skeleton.write(&folder).unwrap();
        let image = bench.package(kind.word(), &[]).unwrap();
        assert_eq!(image.layers().len(), 1);
        assert!(matches!(
            skeleton.write(&folder),
            Err(BuilderError::Exists { .. })
        ));
    }
}

#[test]
fn an_inline_script_is_a_buildpack_that_always_fits_prj_05() {
    let bench = Bench::new();
    let script = lifecycle_spec::Script {
        api: "0.10".to_owned(),
        inline: "echo 'quote \" and backslash \\'\necho two".to_owned(),
        shell: "/bin/bash".to_owned(),
    };
    let folder = bench.path("inline");
    inline(
        &folder,
        &"acme/inline".parse().unwrap(),
        &"0.0.0".parse().unwrap(),
        &script,
    )
    .unwrap();
    let module = bench.fetch("inline").unwrap().module;
    assert_eq!(module.label(), "acme/inline@0.0.0");
    let build = fs_err::read_to_string(folder.join("bin/build")).unwrap();
    assert_eq!(build, format!("#!/bin/bash\n\n{}\n", script.inline));
    assert_eq!(
        fs_err::read_to_string(folder.join("bin/detect")).unwrap(),
        "#!/bin/sh\n\nexit 0\n"
    );
}
