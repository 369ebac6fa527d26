//! Buildpacks and extensions from wherever they are named: `lifecycle buildpack …`, `lifecycle builder create`, and the options
//! of `lifecycle build`.

use std::fs;
use std::process::Command;
use std::sync::Arc;

use lifecycle_image::layout::Layout;
use lifecycle_image::{Artifact, Index, Sink, mutate};

use crate::support::images::{self, BUILD, RUN, buildpack};
use crate::support::{Finished, Machine, Registry, peers};

/// A buildpack that says that it runs, and which files it came with.
fn hello(machine: &Machine, id: &str, more: &str) {
    let folder = id.rsplit('/').next().unwrap();
    let toml = format!("api = \"0.10\"\n[buildpack]\nid = \"{id}\"\nversion = \"1.0.0\"\n{more}");
    let build = format!("#!/bin/sh\necho \"hello from {id}: $(ls \"$CNB_BUILDPACK_DIR\" | tr '\\n' ' ')\"\n");
    machine.files(
        folder,
        &[
            ("buildpack.toml", toml.as_str()),
            ("bin/build", build.as_str()),
            ("bin/detect", "#!/bin/sh\n"),
        ],
    );
    for program in ["bin/build", "bin/detect"] {
        executable(machine, &format!("{folder}/{program}"));
    }
}

fn executable(machine: &Machine, path: &str) {
    let status = Command::new("chmod")
        .arg("+x")
        .arg(machine.path(path))
        .status()
        .unwrap();
    assert!(status.success());
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn build_with(machine: &Machine, buildpack: &str) -> Finished {
    machine
        .build(
            &machine.app(),
            &["--tag", "modules/app", "--buildpack", buildpack],
        )
        .succeeds()
}

#[test]
fn a_buildpack_is_taken_from_wherever_it_is_named() {
    let machine = Machine::with_builder();
    let registry = Registry::start();
    hello(&machine, "acme/hello", "");
    let name = registry.name("acme/hello:1");
    let package = ["buildpack", "package", "hello"];
    let digest = machine
        .lifecycle(&[&package[..], &["--tag", &name, "--output", "registry"]].concat())
        .succeeds()
        .stdout();
    for place in ["hello.cnb", "oci:layout"] {
        let same = machine
            .lifecycle(&[&package[..], &["--output", place]].concat())
            .succeeds();
        assert_eq!(same.stdout(), digest, "{place}");
    }
    run(Command::new("tar")
        .arg("-czf")
        .arg(machine.path("hello.tgz"))
        .arg("-C")
        .arg(machine.path("hello"))
        .arg("."));
    let line = format!(
        "{{\"ns\":\"acme\",\"name\":\"hello\",\"version\":\"1.0.0\",\"yanked\":false,\"addr\":\"{}@{}\"}}\n",
        name.trim_end_matches(":1"),
        digest.trim()
    );
    let index = machine.files("index", &[("he/ll/acme_hello", line.as_str())]);
    for arguments in [
        &["init", "--quiet"][..],
        &["add", "."],
        &["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "t"],
    ] {
        run(Command::new("git").arg("-C").arg(&index).args(arguments));
    }

    let expected = "hello from acme/hello: bin buildpack.toml";
    for address in [
        "hello",
        "./hello",
        "hello.tgz",
        "hello.cnb",
        "layout",
        &name,
        &format!("docker://{name}"),
    ] {
        build_with(&machine, address).says(expected);
    }
    let index = index.to_str().unwrap();
    let from_index = |index: &str, address: &str| {
        let app = machine.app();
        let arguments = [
            "--tag",
            "modules/app",
            "--buildpack-registry",
            index,
            "--buildpack",
            address,
        ];
        machine.build(&app, &arguments)
    };
    from_index(index, "urn:cnb:registry:acme/hello")
        .succeeds()
        .says(expected);
    from_index(index, "acme/hello@1.0.0").succeeds().says(expected);
    from_index(&format!("file://{index}"), "acme/hello@1.0.0")
        .succeeds()
        .says(expected);
    from_index(index, "acme/hello@2.0.0")
        .fails(1)
        .says("it has 1.0.0");
    machine
        .build(
            &machine.app(),
            &["--tag", "x", "--buildpack", "urn:cnb:registry:acme/hello"],
        )
        .fails(1)
        .says("--buildpack-registry");
    machine
        .build(&machine.app(), &["--tag", "x", "--buildpack", "./gone.tgz"])
        .fails(1)
        .says("there is no such file");
    // The package is in the store by now.
    machine
        .build(
            &machine.app(),
            &[
                "--tag",
                "x",
                "--pull-policy",
                "never",
                "--buildpack",
                "docker://r.test/gone",
            ],
        )
        .fails(1)
        .says("--pull-policy never");
}

#[test]
fn buildpacks_go_before_behind_and_in_place_of_the_builders_prj_04() {
    let machine = Machine::with_builder();
    hello(&machine, "acme/first", "");
    hello(&machine, "acme/last", "");
    let app = machine.app();
    let plan = |arguments: &[&str]| {
        let shown = machine
            .build(&app, &[&["--tag", "x", "--dry-run"], arguments].concat())
            .succeeds()
            .stdout();
        let groups = shown.lines().filter(|line| line.starts_with("Group"));
        groups
            .map(|line| line.split_whitespace().skip(2).collect::<String>())
            .collect::<Vec<_>>()
    };
    let own = "fx-layers@1.0.0,fx-process@1.0.0";
    assert_eq!(
        plan(&["--pre-buildpack", "first", "--post-buildpack", "last"]),
        [format!("acme/first@1.0.0,{own},acme/last@1.0.0")]
    );
    assert_eq!(
        plan(&["--buildpack", "first,from=builder", "--buildpack", "fx-noop"]),
        [format!("acme/first@1.0.0,{own},fx-noop@1.0.0")]
    );
    machine
        .build(
            &app,
            &[
                "--tag",
                "x",
                "--buildpack",
                "from=builder",
                "--buildpack",
                "from=builder",
            ],
        )
        .fails(1)
        .says("asked for twice");
    machine
        .build(
            &app,
            &["--tag", "x", "--buildpack", "fx-noop", "--pre-buildpack", "first"],
        )
        .fails(2)
        .says("cannot be used with");
    machine
        .build(&app, &["--tag", "x", "--buildpack", "fx-nope@1"])
        .fails(1)
        .says("fx-nope@1");
    let built = machine.build(
        &app,
        &[
            "--tag",
            "modules/around",
            "--pre-buildpack",
            "first",
            "--post-buildpack",
            "last",
        ],
    );
    built
        .succeeds()
        .says("hello from acme/first")
        .says("hello from acme/last");
}

#[test]
fn project_toml_has_inline_buildpacks_and_groups_prj_03_to_06() {
    let machine = Machine::with_builder();
    hello(&machine, "acme/first", "");
    let project = r#"[_]
schema-version = "0.3"
[io.buildpacks]
[[io.buildpacks.pre.group]]
uri = "../first"
[[io.buildpacks.group]]
id = "acme/inline"
[io.buildpacks.group.script]
api = "0.10"
inline = '''
echo "inline in $PWD with $MESSAGE"
printf '[[processes]]\ntype = "web"\ncommand = ["cat", "made"]\ndefault = true\n' >"$1/launch.toml"
echo made >made
'''
[[io.buildpacks.group]]
id = "fx-noop"
exec-env = ["test"]
[[io.buildpacks.build.env]]
name = "MESSAGE"
value = "production"
exec-env = ["production"]
[[io.buildpacks.build.env]]
name = "MESSAGE"
value = "test"
exec-env = ["test"]
"#;
    let app = machine.files("app", &[("project.toml", project), ("page.txt", "page\n")]);
    let built = machine.build(&app, &["--tag", "modules/inline"]).succeeds();
    built
        .says("hello from acme/first")
        .says("inline in /workspace with production")
        .does_not_say("fx-noop:");
    machine
        .lifecycle(&["run", "modules/inline"])
        .succeeds()
        .says("made");
    let test = machine
        .build(&app, &["--tag", "modules/inline", "--exec-env", "test"])
        .succeeds();
    test.says("inline in /workspace with test")
        .says("fx-noop: arguments");
    let file = machine
        .files("other", &[(".env", "MESSAGE=from file\n")])
        .join(".env");
    machine
        .build(
            &app,
            &["--tag", "modules/inline", "--env-file", file.to_str().unwrap()],
        )
        .succeeds()
        .says("with from file");
}

#[test]
fn a_builder_is_made_of_packages_and_others_read_it_bu_04() {
    let machine = Machine::with_builder();
    let registry = Registry::start();
    hello(&machine, "acme/one", "");
    hello(&machine, "acme/two", "");
    machine.files(
        "both",
        &[
            (
                "buildpack.toml",
                "api = \"0.10\"\n[buildpack]\nid = \"acme/both\"\nversion = \"1.0.0\"\n[[order]]\n[[order.group]]\nid = \"acme/one\"\nversion = \"1.0.0\"\n[[order.group]]\nid = \"acme/two\"\nversion = \"1.0.0\"\n",
            ),
            (
                "package.toml",
                "[buildpack]\nuri = \".\"\n[[dependencies]]\nuri = \"../one\"\n[[dependencies]]\nuri = \"../two\"\n[[targets]]\nos = \"linux\"\narch = \"amd64\"\n[[targets]]\nos = \"linux\"\narch = \"arm64\"\n",
            ),
        ],
    );
    // An index of two images, and a file for each.
    let name = registry.name("acme/both:1");
    let package = ["buildpack", "package", "both"];
    machine
        .lifecycle(&[&package[..], &["--tag", &name, "--output", "registry"]].concat())
        .succeeds();
    machine
        .lifecycle(&[&package[..], &["--output", "both.cnb"]].concat())
        .succeeds();
    assert!(machine.path("both-linux-arm64.cnb").exists());
    if let Some(raw) = peers::judge(
        "skopeo",
        &[
            "inspect",
            "--raw",
            "--tls-verify=false",
            &registry.docker("acme/both:1"),
        ],
    ) {
        let index: serde_json::Value = raw.json();
        let architectures: Vec<&str> = index["manifests"]
            .as_array()
            .unwrap()
            .iter()
            .map(|member| member["platform"]["architecture"].as_str().unwrap())
            .collect();
        assert_eq!(architectures, ["amd64", "arm64"]);
    }
    machine
        .lifecycle(&["buildpack", "inspect", &name])
        .succeeds()
        .says("acme/both@1.0.0")
        .says("stands for 1 groups");

    let toml = format!(
        "[[buildpacks]]\nuri = \"docker://{name}\"\n[[order]]\n[[order.group]]\nid = \"acme/both\"\n\
         [build]\nimage = \"{BUILD}\"\n[[run.images]]\nimage = \"{RUN}\"\n"
    );
    machine.files("builder", &[("builder.toml", toml.as_str())]);
    let create = [
        "builder",
        "create",
        "builder/builder.toml",
        "--tag",
        "modules/builder",
        "--label",
        "a=b",
    ];
    let digest = machine.lifecycle(&create).succeeds().stdout();
    // The document may have any name.
    machine.files(
        "builder",
        &[("small.config", toml.as_str()), ("small.toml", toml.as_str())],
    );
    let mut other = create;
    other[2] = "builder/small.config";
    assert_eq!(machine.lifecycle(&other).succeeds().stdout(), digest);
    machine
        .lifecycle(&["builder", "inspect", "modules/builder"])
        .succeeds()
        .says("acme/both@1.0.0");
    let app = machine.app();
    let build = |builder: &str| {
        machine
            .lifecycle(&[
                "build",
                app.to_str().unwrap(),
                "--tag",
                "modules/composite",
                "--builder",
                builder,
            ])
            .succeeds()
            .says("hello from acme/one")
            .says("hello from acme/two");
    };
    build("modules/builder");
    build("builder/small.toml");
    let flat = [
        "--flatten",
        "acme/one@1.0.0,acme/two@1.0.0",
        "--tag",
        "modules/flat",
    ];
    machine
        .lifecycle(&[&["builder", "create", "builder/builder.toml"], &flat[..]].concat())
        .succeeds();
    build("modules/flat");

    // Another architecture needs a lifecycle of its own.
    machine
        .lifecycle(&[&create[..], &["--target", "linux/riscv64"]].concat())
        .fails(1)
        .says("riscv64");
    fs::write(
        machine.path("builder/builder.toml"),
        format!("{toml}colour = \"red\"\n"),
    )
    .unwrap();
    machine
        .lifecycle(&create)
        .fails(1)
        .says("builder.toml:10:1")
        .says("unknown key `run.images.colour`");
}

#[test]
fn new_modules_build_at_once() {
    let machine = Machine::with_builder();
    machine
        .lifecycle(&["buildpack", "new", "acme/fresh", "--target", "linux"])
        .succeeds();
    build_with(&machine, "fresh").says("Hello from /cnb/buildpacks/acme_fresh/1.0.0");
    machine
        .lifecycle(&["buildpack", "new", "acme/fresh"])
        .fails(1)
        .says("is there already");
    machine.lifecycle(&["extension", "new", "acme/curl"]).succeeds();
    machine
        .lifecycle(&["extension", "package", "curl", "--output", "curl.cnb"])
        .succeeds();
    machine
        .lifecycle(&["buildpack", "package", "curl", "--output", "curl.cnb"])
        .fails(1)
        .says("is not a buildpack");
    machine
        .build(&machine.app(), &["--tag", "x", "--buildpack", "curl.cnb"])
        .fails(1)
        .says("--extension");
    // The fixtures lie outside of the machine's directory.
    build_with(&machine, &buildpack("fx-noop")).says("fx-noop:");
}

/// The base image of the small stack as an index for two architectures, in the store under `name`.
fn base_for_two_architectures(machine: &Machine, name: &str) {
    let from = Layout::open(images::layout()).unwrap();
    let Artifact::Image(image) = from.named(Some("build")).unwrap() else {
        panic!("the base is an image");
    };
    let layout = Layout::create(machine.path("bases")).unwrap();
    let mut upload = layout.begin(&[name.parse().unwrap()]).unwrap();
    let mut members = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let member = mutate::configure((*image).clone(), |config| {
            architecture.clone_into(&mut config.architecture);
        });
        for layer in member.layers() {
            upload.layer(Arc::clone(layer));
        }
        upload.member(&member).unwrap();
        let mut descriptor = member.encode_manifest().unwrap().descriptor;
        descriptor.platform = Some(member.platform());
        members.push(descriptor);
    }
    upload.finish_index(&Index::new(image.family(), members)).unwrap();
    let place = format!("oci:{}:{name}", machine.text("bases"));
    machine.lifecycle(&["pull", &place, "--tag", name]).succeeds();
}

#[test]
fn a_builder_for_two_architectures_is_an_index_and_carries_another_lifecycle_lt_01() {
    let machine = Machine::with_builder();
    hello(&machine, "acme/one", "");
    base_for_two_architectures(&machine, "modules/base");
    let programs = [
        "analyzer", "builder", "creator", "detector", "exporter", "launcher", "restorer",
    ];
    let descriptor = "[apis.buildpack]\nsupported = [\"0.10\"]\n[apis.platform]\nsupported = [\"0.12\"]\n[lifecycle]\nversion = \"0.20.0\"\n";
    let files: Vec<(String, &str)> = programs
        .iter()
        .map(|program| (format!("lifecycle/{program}"), "#!/bin/sh\n"))
        .chain([("lifecycle.toml".to_owned(), descriptor)])
        .collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), *text)).collect();
    let folder = machine.files("other", &files);
    run(Command::new("tar")
        .arg("-czf")
        .arg(machine.path("other.tgz"))
        .arg("-C")
        .arg(&folder)
        .arg("lifecycle.toml")
        .arg("lifecycle"));
    let toml = format!(
        "[lifecycle]\nuri = \"../other.tgz\"\n[[targets]]\nos = \"linux\"\narch = \"amd64\"\n[[targets]]\nos = \"linux\"\narch = \"arm64\"\n\
         [[buildpacks]]\nuri = \"../one\"\n[[order]]\n[[order.group]]\nid = \"acme/one\"\n\
         [build]\nimage = \"modules/base\"\n[[run.images]]\nimage = \"{RUN}\"\n"
    );
    machine.files("builder", &[("builder.toml", toml.as_str())]);
    let create = ["builder", "create", "builder", "--tag", "modules/both"];
    machine.lifecycle(&create).succeeds();
    let shown = machine
        .lifecycle(&["inspect", "modules/both", "--output", "json"])
        .succeeds()
        .json();
    let platforms: Vec<&str> = shown["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|image| image["platform"].as_str().unwrap())
        .collect();
    assert_eq!(platforms, ["linux/amd64", "linux/arm64"]);
    machine
        .lifecycle(&["builder", "inspect", "modules/both"])
        .succeeds()
        .says("Lifecycle       0.20.0");
    // An API that this lifecycle does not know.
    hello(&machine, "acme/one", "# newer\n");
    let path = machine.path("one/buildpack.toml");
    let newer = fs::read_to_string(&path).unwrap().replace("0.10", "0.11");
    fs::write(path, newer).unwrap();
    machine
        .lifecycle(&create)
        .fails(1)
        .says("acme/one@1.0.0 is written for Buildpack API");
}
