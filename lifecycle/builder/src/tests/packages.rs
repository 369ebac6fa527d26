//! What is in a package, and how it is read again (cnb.md 4.3).

use lifecycle_spec::label::{self, ModuleLayers, PackageLabel};

use super::*;

fn bench() -> Bench {
    let bench = Bench::new();
    bench.buildpack(
        "acme/one",
        "1",
        "name = 'One'\ndescription = 'First'\nkeywords = ['k']\n[[stacks]]\nid = '*'\n",
    );
    bench.buildpack("acme/two", "2", "[[targets]]\nos = 'linux'\n");
    bench.buildpack(
        "acme/all",
        "3",
        "homepage = 'https://acme.test'\n[[order]]\n[[order.group]]\nid = 'acme/one'\nversion = '1'\n[[order.group]]\nid = 'acme/two'\nversion = '2'\noptional = true\n",
    );
    bench
}

#[test]
fn labels_layers_and_annotations_pkg_02_to_05_pkg_09() {
    let bench = bench();
    let image = bench.package("all", &["one", "two"]).unwrap();
    let config = image.config();
    assert_eq!(
        config.label(label::PACKAGE),
        Some(r#"{"id":"acme/all","version":"3","homepage":"https://acme.test","stacks":[{"id":"*"}]}"#)
    );
    let layers = ModuleLayers::parse(config.label(label::BUILDPACK_LAYERS).unwrap()).unwrap();
    let all = layers.0.values().next().unwrap().values().next().unwrap();
    assert_eq!(all.order[0].group[1].id.as_str(), "acme/two");
    assert!(all.order[0].group[1].optional);
    assert_eq!(image.layers().len(), 3);
    assert!(contents(&image)[0].contains(&"644 0:0 /cnb/buildpacks/acme_all/3/buildpack.toml".to_owned()));
    assert_eq!(image.annotations()["org.opencontainers.image.version"], "3");
    assert_eq!(
        image.annotations()["org.opencontainers.image.url"],
        "https://acme.test"
    );
    let options = PackageOptions {
        annotations: vec![("org.opencontainers.image.revision".to_owned(), "abc".to_owned())],
        ..PackageOptions::default()
    };
    // A buildpack with a name and a description, from a repository.
    let one = bench.package_with("one", &[], &options).unwrap();
    let annotations: Vec<_> = one
        .annotations()
        .iter()
        .filter_map(|(key, value)| Some((key.strip_prefix("org.opencontainers.image.")?, value.as_str())))
        .collect();
    assert_eq!(
        annotations,
        [
            ("description", "First"),
            ("revision", "abc"),
            ("title", "One"),
            ("version", "1")
        ]
    );
    assert_eq!(image.platform(), Platform::linux("amd64"));
    assert_eq!(
        image.digest().unwrap(),
        super::packages::bench()
            .package("all", &["two", "one"])
            .unwrap()
            .digest()
            .unwrap()
    );
}

/// The same archive with a slash in front of every name, as pack writes packages.
fn slashed(bytes: &[u8]) -> Vec<u8> {
    let mut slashed = tar::Builder::new(Vec::new());
    for entry in tar::Archive::new(bytes).entries().unwrap() {
        let entry = entry.unwrap();
        let mut header = entry.header().clone();
        let name = [b"/", &*entry.path_bytes()].concat();
        let field = &mut header.as_old_mut().name;
        field.fill(0);
        field[..name.len()].copy_from_slice(&name);
        header.set_cksum();
        slashed.append(&header, entry).unwrap();
    }
    slashed.into_inner().unwrap()
}

#[test]
fn a_package_comes_back_from_file_layout_and_registry_pkg_01() {
    let bench = bench();
    let image = bench.package("all", &["one", "two"]).unwrap();
    bench.save(&image, "all.cnb");
    let bytes = fs_err::read(bench.path("all.cnb")).unwrap();
    bench.write("slashed.cnb", slashed(&bytes));
    bench.push(&image, "r.test/all:3");
    let layout = Layout::create(bench.path("layout")).unwrap();
    write(&layout, &[], &image);
    bench.write(
        "index/3/al/acme_all",
        format!(
            r#"{{"ns":"acme","name":"all","version":"3","yanked":false,"addr":"r.test/all@{}"}}"#,
            image.digest().unwrap()
        ),
    );
    for address in [
        "all.cnb",
        "slashed.cnb",
        "file://all.cnb",
        "layout",
        "docker://r.test/all:3",
        "r.test/all:3",
        "urn:cnb:registry:acme/all",
        "acme/all@3",
        "https://acme.test/files/all.cnb",
    ] {
        let package = bench.fetch(address).unwrap();
        assert_eq!(package.module.label(), "acme/all@3", "{address}");
        let mut labels: Vec<String> = package.dependencies.iter().map(Module::label).collect();
        labels.sort();
        assert_eq!(labels, ["acme/one@1", "acme/two@2"], "{address}");
        let one = package
            .dependencies
            .iter()
            .find(|module| module.label() == "acme/one@1")
            .unwrap();
        // The label has no description; the buildpack itself does.
        assert_eq!(one.descriptor.info.description.as_deref(), Some("First"));
        assert_eq!(one.descriptor.info.keywords, ["k"]);
    }
    // A builder of the package has the package's own layers.
    let builder = bench.builder(
        "[[buildpacks]]\nuri = 'all.cnb'\n[[order]]\n[[order.group]]\nid = 'acme/all'\n",
        base(),
    );
    let builder = builder.unwrap();
    let known = |image: &Image| -> Vec<_> {
        image
            .layers()
            .iter()
            .map(|layer| layer.known().unwrap().digest)
            .collect()
    };
    let layers = known(&builder);
    assert!(known(&image).iter().all(|layer| layers.contains(layer)));
    // A dependency that is also named by itself is there once.
    let both = bench.builder(
        "[[buildpacks]]\nuri = 'all.cnb'\n[[buildpacks]]\nuri = 'one'\n[[order]]\n[[order.group]]\nid = 'acme/all'\n",
        base(),
    );
    assert_eq!(both.unwrap().layers().len(), builder.layers().len());
}

#[test]
fn flattened_modules_come_back_from_one_layer_bdr_06() {
    let bench = bench();
    let options = |but: &[&str]| PackageOptions {
        flatten: Flatten::AllBut(but.iter().map(|name| name.parse().unwrap()).collect()),
        ..PackageOptions::default()
    };
    let image = bench.package_with("all", &["one", "two"], &options(&[])).unwrap();
    assert_eq!(image.layers().len(), 1);
    bench.save(&image, "flat.cnb");
    let package = bench.fetch("flat.cnb").unwrap();
    assert_eq!(package.dependencies.len(), 2);
    let toml = "[[buildpacks]]\nuri = 'flat.cnb'\n[[order]]\n[[order.group]]\nid = 'acme/one'\n";
    let builder = bench.builder(toml, base()).unwrap();
    let apart = bench
        .builder(
            "[[buildpacks]]\nuri = 'one'\n[[order]]\n[[order.group]]\nid = 'acme/one'\n",
            base(),
        )
        .unwrap();
    assert_eq!(builder.layers().len(), apart.layers().len());
    let but_one = bench
        .package_with("all", &["one", "two"], &options(&["acme/one"]))
        .unwrap();
    assert_eq!(but_one.layers().len(), 2);
    // What was flattened once can be flattened again, with others.
    bench.buildpack(
        "acme/more",
        "4",
        "[[order]]\n[[order.group]]\nid = 'acme/all'\nversion = '3'\n",
    );
    let more = bench.package_with("more", &["flat.cnb"], &options(&[])).unwrap();
    assert_eq!(more.layers().len(), 1);
    bench.save(&more, "more.cnb");
    assert_eq!(bench.fetch("more.cnb").unwrap().dependencies.len(), 3);
}

#[test]
fn what_a_package_may_not_be_pkg_06_pkg_07() {
    let bench = bench();
    bench.buildpack(
        "acme/a",
        "1",
        "[[order]]\n[[order.group]]\nid = 'acme/b'\nversion = '1'\n",
    );
    bench.buildpack(
        "acme/b",
        "1",
        "[[order]]\n[[order.group]]\nid = 'acme/a'\nversion = '1'\n",
    );
    bench.buildpack("acme/x", "1", "[[stacks]]\nid = 'x'\n");
    bench.buildpack("acme/y", "1", "[[stacks]]\nid = 'y'\n");
    bench.buildpack(
        "acme/xy",
        "1",
        "[[order]]\n[[order.group]]\nid = 'acme/x'\nversion = '1'\n[[order.group]]\nid = 'acme/y'\nversion = '1'\n",
    );
    bench.write(
        "curl/extension.toml",
        "api = '0.10'\n[extension]\nid = 'acme/curl'\nversion = '3'\n",
    );
    for (module, dependencies, message) in [
        (
            "all",
            &["one"][..],
            "acme/all@3 refers to acme/two@2, which is there nowhere; add it to the builder or to the dependencies of the package",
        ),
        (
            "one",
            &["two"],
            "acme/one@1 is not a buildpackage that can be used: it does not refer to its dependency acme/two@2",
        ),
        (
            "a",
            &["b"],
            "buildpacks refer to each other in a circle: acme/a@1 → acme/b@1 → acme/a@1",
        ),
        (
            "xy",
            &["x", "y"],
            "acme/xy@1 is not a buildpackage that can be used: no stack fits acme/y@1 and the other buildpacks in it",
        ),
        (
            "curl",
            &["one"],
            "acme/curl@3 is not a buildpackage that can be used: an extension has no dependencies",
        ),
    ] {
        assert_eq!(
            bench.package(module, dependencies).unwrap_err().to_string(),
            message
        );
    }
    let image = bench.package("curl", &[]).unwrap();
    assert!(
        image
            .config()
            .label(label::EXTENSION_LAYERS)
            .unwrap()
            .contains("acme/curl")
    );
    let label = PackageLabel::parse(image.config().label(label::PACKAGE).unwrap()).unwrap();
    assert_eq!(label.id.as_str(), "acme/curl");
}

#[test]
fn sources_for_several_targets_pkg_08() {
    let bench = Bench::new();
    let toml = "api = '0.10'\n[buildpack]\nid = 'acme/multi'\nversion = '1'\n[[targets]]\nos = 'linux'\narch = 'amd64'\n\
                [[targets]]\nos = 'linux'\narch = 'arm64'\n[[targets]]\nos = 'linux'\narch = 's390x'\npath = 'elsewhere'\n";
    bench.write("multi/buildpack.toml", toml);
    for (folder, text) in [
        ("linux/amd64/bin/build", "amd64"),
        ("linux/arm64/bin/build", "arm64"),
        ("linux/arm64/v8/bin/build", "arm64/v8"),
        ("linux/arm64/v8/debian@12/bin/build", "debian"),
        ("elsewhere/bin/build", "elsewhere"),
    ] {
        bench.write(&format!("multi/{folder}"), text);
    }
    let build = |target: &Target| {
        let package = bench.fetch_for("multi", target).unwrap();
        let module::ModuleContent::Files { folder, .. } = &package.module.content else {
            panic!("a folder has files")
        };
        let platform = platform(target);
        let image =
            package::package(&package, &platform, &PackageOptions::default(), &bench.bench()).unwrap();
        let layer = contents(&image).remove(0);
        assert!(
            layer.contains(&"644 0:0 /cnb/buildpacks/acme_multi/1/buildpack.toml".to_owned()),
            "{layer:?}"
        );
        assert!(
            layer.contains(&"755 0:0 /cnb/buildpacks/acme_multi/1/bin/build".to_owned()),
            "{layer:?}"
        );
        String::from_utf8(folder.read("bin/build").unwrap()).unwrap()
    };
    let arm = |variant: &str, distro: &str| Target {
        variant: variant.to_owned(),
        distros: vec![lifecycle_spec::Distro {
            name: distro.to_owned(),
            version: "12".to_owned(),
        }],
        ..target("arm64")
    };
    assert_eq!(build(&target("amd64")), "amd64");
    assert_eq!(build(&target("arm64")), "arm64");
    assert_eq!(build(&arm("v8", "ubuntu")), "arm64/v8");
    assert_eq!(build(&arm("v8", "debian")), "debian");
    assert_eq!(build(&target("s390x")), "elsewhere");
    let error = bench.fetch_for("multi", &target("riscv64")).unwrap_err();
    assert!(matches!(error, BuilderError::NoPrograms { .. }), "{error}");
}
