//! What is in a builder (platforms.md 1.8, cnb.md 4.2).

use lifecycle_spec::label::{self, BuilderLabel, ModuleLayers, OrderLabel};
use lifecycle_store::Record;

use super::*;

const TWO: &str = "[[buildpacks]]\nuri = 'one'\n[[buildpacks]]\nuri = 'two'\n[[extensions]]\nuri = 'curl'\n\
    [[order]]\n[[order.group]]\nid = 'acme/one'\n[[order.group]]\nid = 'acme/two'\noptional = true\n\
    [[order-extensions]]\n[[order-extensions.group]]\nid = 'acme/curl'\n\
    [[system.pre.buildpacks]]\nid = 'acme/two'\n\
    [[build.env]]\nname = 'A'\nvalue = 'v'\nsuffix = 'append'\ndelim = ':'\n[[build.env]]\nname = 'B'\nvalue = 'w'\n";

fn bench() -> Bench {
    let bench = Bench::new();
    bench.buildpack(
        "acme/one",
        "1.0.0",
        "name = 'One'\nhomepage = 'https://acme.test/one'\n",
    );
    bench.write("one/empty/.keep", "");
    fs_err::remove_file(bench.path("one/empty/.keep")).unwrap();
    bench.write("one/.git/HEAD", "ref");
    bench.buildpack(
        "acme/two",
        "2.0.0",
        "[[targets]]\nos = 'linux'\narch = 'amd64'\n[[targets.distros]]\nname = 'debian'\nversion = '12'\n",
    );
    bench.write(
        "curl/extension.toml",
        "api = '0.10'\n[extension]\nid = 'acme/curl'\nversion = '3'\n",
    );
    bench.write("curl/bin/generate", "#!/bin/sh\n");
    bench
}

#[test]
fn layers_in_the_order_of_platforms_1_8() {
    let bench = bench();
    let image = bench.builder(TWO, base()).unwrap();
    let expected: &[&[&str]] = &[
        &[
            "755 1000:1001 /workspace/",
            "755 1000:1001 /layers/",
            "755 0:0 /cnb/",
            "755 0:0 /cnb/buildpacks/",
            "755 0:0 /cnb/extensions/",
            "755 0:0 /platform/",
            "755 0:0 /platform/env/",
            "755 0:0 /cnb/build-config/",
            "755 0:0 /cnb/build-config/env/",
        ],
        &[
            "777 0:0 /lifecycle -> /cnb/lifecycle",
            "755 0:0 /cnb/",
            "755 0:0 /cnb/lifecycle/",
            "777 0:0 /cnb/lifecycle/analyzer -> lifecycle",
            "777 0:0 /cnb/lifecycle/builder -> lifecycle",
            "777 0:0 /cnb/lifecycle/creator -> lifecycle",
            "777 0:0 /cnb/lifecycle/detector -> lifecycle",
            "777 0:0 /cnb/lifecycle/exporter -> lifecycle",
            "777 0:0 /cnb/lifecycle/extender -> lifecycle",
            "755 0:0 /cnb/lifecycle/launcher",
            "755 0:0 /cnb/lifecycle/lifecycle",
            "777 0:0 /cnb/lifecycle/rebaser -> lifecycle",
            "777 0:0 /cnb/lifecycle/restorer -> lifecycle",
        ],
        &[
            "755 0:0 /cnb/buildpacks/acme_one/",
            "755 0:0 /cnb/buildpacks/acme_one/1.0.0/",
            "755 0:0 /cnb/buildpacks/acme_one/1.0.0/bin/",
            "755 0:0 /cnb/buildpacks/acme_one/1.0.0/bin/build",
            "755 0:0 /cnb/buildpacks/acme_one/1.0.0/bin/detect",
            "644 0:0 /cnb/buildpacks/acme_one/1.0.0/buildpack.toml",
            "755 0:0 /cnb/buildpacks/acme_one/1.0.0/empty/",
        ],
        &[
            "755 0:0 /cnb/buildpacks/acme_two/",
            "755 0:0 /cnb/buildpacks/acme_two/2.0.0/",
            "755 0:0 /cnb/buildpacks/acme_two/2.0.0/bin/",
            "755 0:0 /cnb/buildpacks/acme_two/2.0.0/bin/build",
            "755 0:0 /cnb/buildpacks/acme_two/2.0.0/bin/detect",
            "644 0:0 /cnb/buildpacks/acme_two/2.0.0/buildpack.toml",
        ],
        &[
            "755 0:0 /cnb/extensions/acme_curl/",
            "755 0:0 /cnb/extensions/acme_curl/3/",
            "755 0:0 /cnb/extensions/acme_curl/3/bin/",
            "755 0:0 /cnb/extensions/acme_curl/3/bin/generate",
            "644 0:0 /cnb/extensions/acme_curl/3/extension.toml",
        ],
        &["755 0:0 /cnb/", "644 0:0 /cnb/order.toml"],
        &["755 0:0 /cnb/", "644 0:0 /cnb/system.toml"],
        &["755 0:0 /cnb/", "644 0:0 /cnb/stack.toml"],
        &["755 0:0 /cnb/", "644 0:0 /cnb/run.toml"],
        &[
            "755 0:0 /cnb/",
            "755 0:0 /cnb/build-config/",
            "755 0:0 /cnb/build-config/env/",
            "644 0:0 /cnb/build-config/env/A.append",
            "644 0:0 /cnb/build-config/env/A.delim",
            "644 0:0 /cnb/build-config/env/B",
        ],
        &["755 0:0 /platform/", "755 0:0 /platform/env/"],
    ];
    assert_eq!(contents(&image), expected);
    assert_eq!(image.config().history.len(), image.layers().len());
}

fn diff_ids(image: &Image) -> Vec<String> {
    let diff_id = |layer: &Arc<dyn lifecycle_image::Layer>| layer.diff_id().unwrap().to_string();
    image.layers().iter().map(diff_id).collect()
}

#[test]
fn labels_of_platforms_1_8_bdr_02_to_05_bu_05_bu_06() {
    let bench = bench();
    let image = bench.builder(TWO, base()).unwrap();
    let config = image.config();
    let diff_ids = diff_ids(&image);
    let label = |key: &str| config.label(key).unwrap_or_default().to_owned();
    assert_eq!(
        label(label::BUILDPACK_ORDER),
        r#"[{"group":[{"id":"acme/one","version":"1.0.0"},{"id":"acme/two","version":"2.0.0","optional":true}]}]"#
    );
    assert_eq!(
        label(label::EXTENSION_ORDER),
        r#"[{"group":[{"id":"acme/curl","version":"3"}]}]"#
    );
    assert_eq!(
        label(label::BUILDPACK_SYSTEM),
        r#"{"pre":{"buildpacks":[{"id":"acme/two","version":"2.0.0"}]},"post":{}}"#
    );
    assert_eq!(
        label(label::BUILDPACK_LAYERS),
        format!(
            concat!(
                r#"{{"acme/one":{{"1.0.0":{{"api":"0.10","targets":[{{"os":"linux"}}],"layerDiffID":"{}","#,
                r#""homepage":"https://acme.test/one","name":"One"}}}},"#,
                r#""acme/two":{{"2.0.0":{{"api":"0.10","targets":[{{"os":"linux","arch":"amd64","#,
                r#""distros":[{{"name":"debian","version":"12"}}]}}],"layerDiffID":"{}"}}}}}}"#,
            ),
            diff_ids[2], diff_ids[3]
        )
    );
    assert_eq!(
        label(label::EXTENSION_LAYERS),
        format!(
            r#"{{"acme/curl":{{"3":{{"api":"0.10","layerDiffID":"{}"}}}}}}"#,
            diff_ids[4]
        )
    );
    let apis = lifecycle_spec::Apis::own().to_json();
    assert_eq!(
        label(label::BUILDER),
        format!(
            concat!(
                r#"{{"description":"","buildpacks":[{{"id":"acme/one","name":"One","version":"1.0.0","#,
                r#""homepage":"https://acme.test/one"}},{{"id":"acme/two","version":"2.0.0"}}],"#,
                r#""extensions":[{{"id":"acme/curl","version":"3"}}],"#,
                r#""stack":{{"runImage":{{"image":"r.test/run","mirrors":["m.test/run"]}}}},"#,
                r#""lifecycle":{{"version":"1.2.3","api":{{"buildpack":"0.7","platform":"0.7"}},"apis":{}}},"#,
                r#""createdBy":{{"name":"lifecycle","version":"{}"}},"images":[{{"image":"r.test/run","mirrors":["m.test/run"]}}]}}"#,
            ),
            apis,
            env!("CARGO_PKG_VERSION")
        )
    );
    assert_eq!(label(label::LIFECYCLE_VERSION), "1.2.3");
    assert_eq!(label(label::LIFECYCLE_APIS), apis);
    assert_eq!(label(label::STACK_MIXINS), "[]");
    assert_eq!(label(label::BASE_DISTRO_NAME), "debian");
    assert_eq!(config.config.working_dir.as_deref(), Some("/layers"));
    assert_eq!(config.config.env("CNB_USER_ID"), Some("1000"));
    assert_eq!((&config.config.cmd, &config.config.entrypoint), (&None, &None));
}

#[test]
fn without_extensions_the_labels_are_those_that_others_compare_bu_06() {
    let bench = bench();
    let image = bench.builder(
        "[[buildpacks]]\nuri = 'one'\n[[order]]\n[[order.group]]\nid = 'acme/one'\n",
        base(),
    );
    let image = image.unwrap();
    assert_eq!(image.config().label(label::EXTENSION_LAYERS), Some("{}"));
    assert_eq!(image.config().label(label::EXTENSION_ORDER), Some("null"));
}

#[test]
fn the_embedded_builder_is_the_same_twice_bu_04() {
    let folder = Folder::find("builder", "debian-12", "builder.toml").unwrap();
    let digest = || {
        let bench = Bench::new();
        let text = folder.read("builder.toml").unwrap();
        let (toml, warnings) = BuilderToml::parse(Path::new("builder.toml"), &text).unwrap();
        assert_eq!(warnings, []);
        let modules = toml.buildpacks.iter().map(|entry| {
            let address = Address::parse(&entry.uri, &folder, &|_| false).unwrap();
            fetch(&address, &folder, &target("amd64"), &bench, &bench.bench())
                .unwrap()
                .module
        });
        let definition = Definition::new(toml.clone(), modules.collect()).unwrap();
        let image = create(&definition, base(), &bench.lifecycle(), &bench.bench()).unwrap();
        let order = OrderLabel::parse(image.config().label(label::BUILDPACK_ORDER).unwrap()).unwrap();
        assert_eq!(order.0[0].group[0].id.as_str(), "lifecycle/classic");
        image.digest().unwrap()
    };
    assert_eq!(digest(), digest());
}

#[test]
fn the_lifecycle_is_read_once_and_again_when_it_has_changed() {
    let bench = bench();
    let lifecycle = bench.lifecycle();
    let build = |lifecycle: &Lifecycle| {
        let image = bench.builder_with(TWO, base(), &Flatten::Nothing, Some(lifecycle.clone()));
        image.unwrap().layers().to_vec()
    };
    let diff_id = |layer: &Arc<dyn lifecycle_image::Layer>| layer.diff_id().unwrap();
    let first = build(&lifecycle);
    assert_eq!(diff_id(&build(&lifecycle)[1]), diff_id(&first[1]));

    // Of the same size, and with the same time of its content.
    let old = fs_err::File::open(bench.path("program")).unwrap();
    bench.write("another", "PROGRAM");
    let times = std::fs::FileTimes::new().set_modified(old.metadata().unwrap().modified().unwrap());
    let file = fs_err::OpenOptions::new()
        .write(true)
        .open(bench.path("another"))
        .unwrap();
    file.file().set_times(times).unwrap();
    fs_err::rename(bench.path("another"), bench.path("program")).unwrap();
    let changed = build(&lifecycle);
    assert_ne!(diff_id(&changed[1]), diff_id(&first[1]));

    // Whatever is remembered is believed, so nothing is read.
    bench
        .store
        .remember(&Record {
            key: lifecycle.key().unwrap(),
            value: diff_id(&first[0]).to_string().into(),
            blobs: Vec::new(),
        })
        .unwrap();
    assert_eq!(diff_id(&build(&lifecycle)[1]), diff_id(&first[0]));
}

#[test]
fn a_build_image_names_its_user_bu_01() {
    let bench = bench();
    let nameless = mutate::configure(base(), |config| config.config.env = None);
    let error = bench.builder("", nameless).unwrap_err().to_string();
    assert!(error.contains("has no variable CNB_USER_ID"), "{error}");
    let odd = mutate::configure(base(), |config| config.config.set_env("CNB_GROUP_ID", "staff"));
    let error = bench.builder("", odd).unwrap_err().to_string();
    assert!(
        error.contains("CNB_GROUP_ID=staff, which is not a number"),
        "{error}"
    );
}

#[test]
fn a_stack_is_that_of_the_build_image_bu_05() {
    let bench = bench();
    let toml = "[stack]\nid = 'acme.stack'\n";
    let image = bench.builder(toml, base()).unwrap();
    assert_eq!(image.config().label(label::STACK_ID), Some("acme.stack"));
    assert_eq!(image.config().config.env("CNB_STACK_ID"), Some("acme.stack"));
    let other = mutate::configure(base(), |config| config.set_label(label::STACK_ID, "other"));
    let error = bench.builder(toml, other.clone()).unwrap_err().to_string();
    assert_eq!(
        error,
        "the build image base is of stack other, but builder.toml says acme.stack"
    );
    let image = bench.builder("", other).unwrap();
    assert_eq!(image.config().config.env("CNB_STACK_ID"), Some("other"));
}

#[test]
fn what_does_not_go_together_is_said_bdr_08_bu_02_bu_03() {
    let bench = bench();
    bench.buildpack("acme/new", "1", "");
    let new = fs_err::read_to_string(bench.path("new/buildpack.toml")).unwrap();
    bench.write("new/buildpack.toml", new.replace("0.10", "9.9"));
    bench.buildpack("acme/arm", "1", "[[targets]]\nos = 'linux'\narch = 'arm64'\n");
    bench.buildpack("acme/old", "1", "[[stacks]]\nid = 'acme.stack'\n");
    bench.buildpack(
        "acme/mixed",
        "1",
        "[[stacks]]\nid = 'other'\nmixins = ['m', 'build:b', 'run:r']\n",
    );
    bench.buildpack(
        "acme/many",
        "1",
        "[[order]]\n[[order.group]]\nid = 'acme/gone'\nversion = '1'\n",
    );
    let stacked = || mutate::configure(base(), |config| config.set_label(label::STACK_ID, "other"));
    let use_of = |name: &str| format!("[[buildpacks]]\nuri = '{name}'\n");
    let order = |entry: &str| format!("{}[[order]]\n[[order.group]]\n{entry}\n", use_of("one"));
    for (toml, base, message) in [
        (
            order("id = 'acme/x'"),
            base(),
            "the order names acme/x, of which the builder has none",
        ),
        (
            order("id = 'acme/one'\nversion = '2'"),
            base(),
            "the order names acme/one@2, of which the builder has none",
        ),
        (
            use_of("new"),
            base(),
            "acme/new@1 is written for Buildpack API \"9.9\", but the lifecycle of the builder knows 0.7, 0.8, 0.9, 0.10, 0.11, 0.12",
        ),
        (
            use_of("arm"),
            base(),
            "acme/arm@1 is for linux/arm64, but the build image is linux/amd64 (debian 12)",
        ),
        (
            use_of("old"),
            stacked(),
            "acme/old@1 is for stack acme.stack, but the build image is linux/amd64 (debian 12), stack other",
        ),
        (
            use_of("mixed"),
            stacked(),
            "acme/mixed@1 is for stack other with m, build:b, run:r, but the build image is linux/amd64 (debian 12), stack other",
        ),
        (
            use_of("many"),
            base(),
            "acme/many@1 refers to acme/gone@1, which is there nowhere; add it to the builder or to the dependencies of the package",
        ),
    ] {
        assert_eq!(bench.builder(&toml, base).unwrap_err().to_string(), message);
    }
    assert!(bench.builder(&use_of("old"), base()).is_ok());
    let with_mixins = mutate::configure(stacked(), |config| {
        config.set_label(label::STACK_MIXINS, "[\"build:m\",\"b\"]");
    });
    assert!(bench.builder(&use_of("mixed"), with_mixins).is_ok());
}

#[test]
fn buildpacks_that_share_a_layer_bdr_06() {
    let bench = bench();
    let names = |names: &[&str]| {
        names
            .iter()
            .map(|name| name.parse().unwrap())
            .collect::<Vec<ModuleName>>()
    };
    let flatten = Flatten::Groups(vec![names(&["acme/one@1.0.0", "acme/two"])]);
    let image = bench.builder_with(TWO, base(), &flatten, None).unwrap();
    let apart = bench.builder(TWO, base()).unwrap();
    assert_eq!(image.layers().len() + 1, apart.layers().len());
    let layers = ModuleLayers::parse(image.config().label(label::BUILDPACK_LAYERS).unwrap()).unwrap();
    let diff_ids: Vec<&str> = layers
        .0
        .values()
        .flat_map(|versions| versions.values().map(|layer| layer.layer_diff_id.as_str()))
        .collect();
    assert_eq!(diff_ids[0], diff_ids[1]);
    let (one, both) = (contents(&apart), contents(&image));
    let files = |lines: &[String]| {
        lines
            .iter()
            .filter(|line| !line.ends_with('/'))
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(files(&both[2]), [files(&one[2]), files(&one[3])].concat());
    let unknown = Flatten::Groups(vec![names(&["acme/zero"])]);
    let error = bench
        .builder_with(TWO, base(), &unknown, None)
        .unwrap_err()
        .to_string();
    assert_eq!(error, "--flatten names acme/zero, which is not among the modules");
}

#[test]
fn a_module_that_is_there_is_kept_or_replaced_whole_bdr_07() {
    let bench = bench();
    let one = bench.fetch("one").unwrap().module;
    let image = place(
        base(),
        std::slice::from_ref(&one),
        &Flatten::Nothing,
        &bench.bench(),
    )
    .unwrap();
    let again = place(image.clone(), &[one], &Flatten::Nothing, &bench.bench()).unwrap();
    assert_eq!(again.digest().unwrap(), image.digest().unwrap());

    fs_err::remove_dir_all(bench.path("one/empty")).unwrap();
    let changed = bench.fetch("one").unwrap().module;
    let image = place(
        image,
        std::slice::from_ref(&changed),
        &Flatten::Nothing,
        &bench.bench(),
    )
    .unwrap();
    let layers = contents(&image);
    assert_eq!(
        layers[1].last().unwrap(),
        "644 0:0 /cnb/buildpacks/acme_one/.wh.1.0.0"
    );
    assert!(!layers[2].iter().any(|line| line.contains("empty")));
    let top = diff_ids(&image).pop().unwrap();
    assert!(
        image
            .config()
            .label(label::BUILDPACK_LAYERS)
            .unwrap()
            .contains(&top)
    );

    let mut twin = changed.clone();
    twin.descriptor.api = "0.11".to_owned();
    let error = place(base(), &[changed, twin], &Flatten::Nothing, &bench.bench()).unwrap_err();
    assert!(matches!(error, BuilderError::Twins { .. }));
}

#[test]
fn another_lifecycle_goes_in_with_what_it_speaks_lt_01_lci_01() {
    let bench = bench();
    let tar = |leave_out: &str| {
        let mut tar = tar::Builder::new(Vec::new());
        let mut add = |path: &str, content: &str| {
            let mut header = tar::Header::new_ustar();
            header.set_mode(0o755);
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, path, content.as_bytes()).unwrap();
        };
        add(
            "lifecycle.toml",
            "[apis.buildpack]\nsupported = ['0.9', '0.10']\n[apis.platform]\nsupported = ['0.9']\n[lifecycle]\nversion = '0.20.1'\n",
        );
        let programs = [
            "analyzer", "builder", "creator", "detector", "exporter", "launcher", "restorer",
        ];
        for program in programs.iter().filter(|program| **program != leave_out) {
            add(&format!("./lifecycle/{program}"), program);
        }
        add("lifecycle/lifecycle.sbom.cdx.json", "{}");
        add("lifecycle/deep/file", "dropped");
        tar.into_inner().unwrap()
    };
    let lifecycle = Lifecycle::read(&tar("")[..], "l.tgz").unwrap();
    let image = bench
        .builder_with(TWO, base(), &Flatten::Nothing, Some(lifecycle))
        .unwrap();
    let label = BuilderLabel::parse(image.config().label(label::BUILDER).unwrap()).unwrap();
    assert_eq!(label.lifecycle.version, "0.20.1");
    assert_eq!(label.lifecycle.apis.buildpack.supported, ["0.9", "0.10"]);
    let files = &contents(&image)[1];
    assert!(
        files.contains(&"755 0:0 /cnb/lifecycle/detector".to_owned()),
        "{files:?}"
    );
    assert!(
        !files
            .iter()
            .any(|line| line.contains("deep") || line.contains("dropped"))
    );
    for program in [
        "analyzer", "builder", "creator", "detector", "exporter", "launcher", "restorer",
    ] {
        let error = Lifecycle::read(&tar(program)[..], "l.tgz")
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            format!("l.tgz is not a lifecycle that can be used: it has no program {program}")
        );
    }

    bench.buildpack("acme/late", "1", "");
    let late = fs_err::read_to_string(bench.path("late/buildpack.toml")).unwrap();
    bench.write("late/buildpack.toml", late.replace("0.10", "0.11"));
    let lifecycle = Lifecycle::read(&tar("")[..], "l.tgz").unwrap();
    let toml = "[[buildpacks]]\nuri = 'late'\n";
    let error = bench
        .builder_with(toml, base(), &Flatten::Nothing, Some(lifecycle))
        .unwrap_err();
    assert!(matches!(error, BuilderError::Unspoken { .. }), "{error}");
}

#[test]
fn variables_for_some_execution_environments_lie_apart() {
    let bench = bench();
    let toml = "[[buildpacks]]\nuri = 'one'\n[[build.env]]\nname = 'A'\nvalue = 'all'\n\
        [[build.env]]\nname = 'A'\nvalue = 'x'\nsuffix = 'append'\ndelim = ','\nexec-env = ['test', 'development']\n\
        [[build.env]]\nname = 'B'\nvalue = 'y'\nexec-env = ['*']\n";
    let image = bench.builder(toml, base()).unwrap();
    let all = contents(&image).concat();
    let files: Vec<_> = all
        .iter()
        .filter_map(|line| line.strip_prefix("644 0:0 /cnb/build-config/"))
        .collect();
    assert_eq!(
        files,
        [
            "env.development/A.append",
            "env.development/A.delim",
            "env.test/A.append",
            "env.test/A.delim",
            "env/A",
            "env/B",
        ]
    );
}
