//! pack as a judge: what it packages, the builders that it makes, and its builds with our lifecycle (platforms.md 1.5, 1.8, 1.9).

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use lifecycle_image::archive::Archive;
use lifecycle_image::{Artifact, Image};
use serde_json::Value;

use crate::support::daemon::PodmanService;
use crate::support::images::{BUILD, RUN, buildpack};
use crate::support::proxy::Proxy;
use crate::support::{BuilderRoot, Invocation, Machine, Registry, peers};

fn pack(machine: &Machine, arguments: &[&str]) -> Option<Invocation> {
    let pack = peers::peer("pack", arguments)?
        .env("HOME", machine.path("home"))
        .env("PACK_HOME", machine.path("pack"))
        .env("PACK_VOLUME_KEY", "test")
        .directory(machine.path(""));
    Some(pack)
}

fn packaged(machine: &Machine, file: &str) -> Image {
    let archive = Archive::open(&machine.path(file), &machine.path("")).unwrap();
    match archive.named(None).unwrap() {
        Artifact::Image(image) => *image,
        Artifact::Index(_) => panic!("{file} holds an index"),
    }
}

/// A label as JSON, without empty members, which pack writes and we do not.
fn label(image: &Image, name: &str) -> Value {
    fn clean(value: &mut Value) {
        match value {
            Value::Object(members) => {
                members.values_mut().for_each(clean);
                members.retain(|_, member| *member != "" && !member.is_null());
            }
            Value::Array(members) => members.iter_mut().for_each(clean),
            _ => {}
        }
    }
    let mut value = serde_json::from_str(image.config().label(name).unwrap()).unwrap();
    clean(&mut value);
    value
}

fn layers(image: &Image) -> BTreeSet<String> {
    let diff_ids = &image.config().rootfs.diff_ids;
    diff_ids.iter().map(ToString::to_string).collect()
}

/// A buildpack of two others, as package.toml describes it.
fn composite(machine: &Machine) {
    let (noop, process) = (buildpack("fx-noop"), buildpack("fx-process"));
    let package = format!(
        "[buildpack]\nuri = \".\"\n[[dependencies]]\nuri = \"{noop}\"\n[[dependencies]]\nuri = \"{process}\"\n"
    );
    let files = [
        (
            "buildpack.toml",
            "api = \"0.10\"\n[buildpack]\nid = \"acme/both\"\nversion = \"2.0.0\"\nname = \"Both\"\nhomepage = \"https://acme.test\"\n\
             [[order]]\n[[order.group]]\nid = \"fx-noop\"\nversion = \"1.0.0\"\n\
             [[order.group]]\nid = \"fx-process\"\nversion = \"1.0.0\"\noptional = true\n",
        ),
        ("package.toml", package.as_str()),
    ];
    machine.files("both", &files);
}

#[test]
fn pack_makes_the_same_packages_pkg_02_to_05() {
    let machine = Machine::with_builder();
    composite(&machine);
    let words = [
        "buildpack",
        "package",
        "theirs.cnb",
        "--format",
        "file",
        "--config",
        "both/package.toml",
    ];
    let Some(packaging) = pack(&machine, &words) else {
        return;
    };
    packaging.succeeds();
    machine
        .lifecycle(&["buildpack", "package", "both", "--output", "ours.cnb"])
        .succeeds();
    let (ours, theirs) = (packaged(&machine, "ours.cnb"), packaged(&machine, "theirs.cnb"));
    assert_eq!(layers(&ours), layers(&theirs));
    for name in [
        "io.buildpacks.buildpackage.metadata",
        "io.buildpacks.buildpack.layers",
    ] {
        assert_eq!(label(&ours, name), label(&theirs, name));
    }
    // Either file is a buildpack for builds.
    for file in ["ours.cnb", "theirs.cnb"] {
        let words = ["--buildpack", file, "--tag", "small/packaged"];
        machine
            .build(&machine.app(), &words)
            .succeeds()
            .says("fx-noop: arguments");
    }
}

/// The tarball of the release, as `make dist` makes it, of a program without what a debugger needs.
fn tarball(machine: &Machine) {
    let root = BuilderRoot::unpack(machine);
    let program = machine.path("stripped");
    fs::copy(root.at("/cnb/lifecycle/lifecycle"), &program).unwrap();
    Invocation::new("strip", &[program.to_str().unwrap()]).succeeds();
    let release = machine.path("release");
    let made = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args([
            "run",
            "--quiet",
            "--package",
            "lifecycle-dist",
            "--",
            "make",
            "--program",
        ])
        .arg(&program)
        .arg("--launcher")
        .arg(root.at("/cnb/lifecycle/launcher"))
        .arg("--out")
        .arg(&release)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut files = fs::read_dir(&release).unwrap().map(|file| file.unwrap().path());
    let tarball = files.find(|file| file.extension().is_some_and(|extension| extension == "tgz"));
    fs::rename(tarball.unwrap(), machine.path("release.tgz")).unwrap();
}

/// Makes a builder with pack and our lifecycle, in the registry.
fn make_builder(machine: &Machine, registry: &Registry, name: &str) -> Option<()> {
    composite(machine);
    let (build, run) = (registry.name("build"), registry.name("run"));
    let toml = format!(
        "description = \"made by pack\"\n[[buildpacks]]\nuri = \"both\"\n[[buildpacks]]\nuri = \"{}\"\n\
         [[buildpacks]]\nuri = \"{}\"\n[[order]]\n[[order.group]]\nid = \"acme/both\"\nversion = \"2.0.0\"\n\
         [build]\nimage = \"{build}\"\n[[build.env]]\nname = \"FROM_BUILDER\"\nvalue = \"yes\"\n\
         [[run.images]]\nimage = \"{run}\"\n[lifecycle]\nuri = \"release.tgz\"\n",
        buildpack("fx-noop"),
        buildpack("fx-process"),
    );
    machine.files(".", &[("builder.toml", &toml)]);
    let words = ["builder", "create", name, "--config", "builder.toml", "--publish"];
    let making = pack(machine, &words)?;
    machine.lifecycle(&["push", BUILD, &build]).succeeds();
    machine.lifecycle(&["push", RUN, &run]).succeeds();
    tarball(machine);
    making.succeeds();
    Some(())
}

#[test]
fn a_builder_that_pack_made_of_our_tarball_builds_here_and_there_lt_01_bu_01_pk_10() {
    let machine = Machine::with_builder();
    let registry = Registry::start();
    let (builder, run) = (registry.name("builder"), registry.name("run"));
    let Some(()) = make_builder(&machine, &registry, &builder) else {
        return;
    };
    let app = machine.app();
    let ours = registry.name("ours");
    let words = ["build", app.to_str().unwrap(), "--builder", &builder];
    let words = [&words[..], &["--tag", &ours, "--output", "registry"]].concat();
    machine.lifecycle(&words).succeeds().says("FROM_BUILDER=yes");

    let Some(daemon) = Daemon::start(&machine, &[&builder, &run]) else {
        return;
    };
    let theirs = registry.name("theirs");
    daemon
        .build(&machine, &theirs, &builder, &["--publish"])
        .succeeds()
        .says("FROM_BUILDER=yes");
    // On top of the run image lie the SBOMs, the launcher's among them. pack's volume gives the app's directory mode 0777,
    // which is in each of the three slices.
    let (ours, theirs) = (
        diff_ids(&machine, &format!("registry:{ours}")),
        diff_ids(&machine, &format!("registry:{theirs}")),
    );
    assert_eq!(ours.len(), theirs.len());
    assert_eq!((&ours[..2], &ours[5..]), (&theirs[..2], &theirs[5..]));
    builds_into_layouts(&machine, &daemon, &registry, &builder, &theirs);
}

/// pack mounts the run image's layout at a path with its name, and a volume's path has no place for the colon of a port: so
/// the registry has another name here, one that a proxy knows. Of what pack writes there, only its own user can read the
/// layers: so that is the builder's user.
fn builds_into_layouts(
    machine: &Machine,
    daemon: &Daemon,
    registry: &Registry,
    builder: &str,
    published: &[String],
) {
    let proxy = Proxy::start(&[("run.local:80", &registry.host())], None);
    let owner = ["-R", "1000:1000", &machine.text("")];
    Invocation::new("chown", &owner).succeeds();
    let as_owner = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"];
    let config = pack(machine, &["config", "experimental", "true"]).unwrap();
    config.under(&as_owner).succeeds();
    let build = |image: &str, more: &[&str]| {
        let words = [&["--run-image", "run.local/run"], more].concat();
        let build = daemon.build(machine, &format!("oci:{image}"), builder, &words);
        let build = build.env("HTTP_PROXY", proxy.url("")).under(&as_owner);
        let built = build.succeeds().says("FROM_BUILDER=yes");
        let layout = format!("oci:{}", machine.text(image));
        assert_eq!(diff_ids(machine, &layout), published);
        built
    };
    build("first", &[])
        .does_not_say("is no OCI layout")
        .does_not_say("Reusing layer");
    build("second", &["--previous-image", "oci:first"])
        .says("Reusing layer 'buildpacksio/lifecycle:launcher'");
}

fn diff_ids(machine: &Machine, image: &str) -> Vec<String> {
    let words = ["inspect", image, "--output", "json"];
    let shown = machine.lifecycle(&words).succeeds().json();
    let layers = shown["layers"].as_array().unwrap();
    layers.iter().map(|layer| layer["diffId"].to_string()).collect()
}

/// podman in the place of docker, with the images that pack looks for there.
struct Daemon {
    _service: PodmanService,
    address: String,
}

impl Daemon {
    fn start(machine: &Machine, images: &[&str]) -> Option<Self> {
        let socket = machine.path("podman.sock");
        let service = PodmanService::start(&socket)?;
        for image in images {
            service.podman(&["pull", "--quiet", "--tls-verify=false", image]);
        }
        Some(Self {
            _service: service,
            address: format!("unix://{}", socket.display()),
        })
    }

    /// `pack build`
    fn build(&self, machine: &Machine, image: &str, builder: &str, more: &[&str]) -> Invocation {
        let app = machine.app();
        let words = [
            "build",
            image,
            "--path",
            app.to_str().unwrap(),
            "--builder",
            builder,
            "--trust-builder",
            "--network",
            "host",
            "--pull-policy",
            "never",
            "--docker-host",
            "inherit",
        ];
        let build = pack(machine, &[&words[..], more].concat()).unwrap();
        build.env("DOCKER_HOST", &self.address)
    }
}
