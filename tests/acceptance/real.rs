//! Real apps with the embedded builder: its stack from Debian packages, its buildpacks, the package registries.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::support::images::buildpack;
use crate::support::{Invocation, Machine, Port, Running};

/// The store of these tests lies below target and stays, because its stack takes minutes to make. One that was made of
/// another definition of the stack is not used.
pub(super) fn machine() -> Machine {
    let mut hasher = DefaultHasher::new();
    for file in ["stack.toml", "customize"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("stacks/debian-12")
            .join(file);
        std::fs::read(path).unwrap().hash(&mut hasher);
    }
    let store =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("real-store-{:08x}", hasher.finish() >> 32));
    let machine = Machine::with_store(&store);
    machine
        .lifecycle(&["stack", "create", "debian-12"])
        .with_network_settings()
        .succeeds();
    machine
}

pub(super) fn app(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/apps")
        .join(name)
}

/// An image that runs, with the port that it listens on.
pub(super) struct Server {
    process: Running,
    port: Port,
}

impl Server {
    /// Starts an image.
    pub(super) fn start(machine: &Machine, image: &str) -> Self {
        Self::with_port(machine, |port| {
            vec!["run".into(), image.into(), "--port".into(), port]
        })
    }

    /// Starts the program with words that name the port.
    pub(super) fn with_port(machine: &Machine, words: impl FnOnce(String) -> Vec<String>) -> Self {
        let port = Port::reserve();
        let words = words(port.number().to_string());
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let process = machine.lifecycle(&words).start();
        Self { process, port }
    }

    /// The body of a page, as soon as the app answers with 200.
    pub(super) fn page(&mut self, path: &str) -> String {
        let started = Instant::now();
        loop {
            if let Some(body) = self.try_page(path) {
                return body;
            }
            assert!(self.process.is_alive(), "the app ended before it answered");
            assert!(
                started.elapsed() < Duration::from_mins(5),
                "{path} is not answered with 200"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn try_page(&self, path: &str) -> Option<String> {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port.number())).ok()?;
        write!(connection, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n").ok()?;
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).ok()?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.lines().next()?.contains(" 200 ").then(|| body.to_owned())
    }

    /// Asks it to end, and waits.
    pub(super) fn stop(self) {
        self.process.signal(rustix::process::Signal::TERM);
        self.process.wait();
    }
}

/// Builds an app and asks it for its page; the next build has the same digest.
fn is_built_and_answers(machine: &Machine, name: &str, text: &str, package: &str) -> Server {
    let image = format!("real/{name}");
    let source = app(name);
    let words = ["build", source.to_str().unwrap(), "--tag", &image];
    let build = machine.lifecycle(&words).with_network_settings();
    build.succeeds();
    let digest = machine.digest(&image);
    let mut server = Server::start(machine, &image);
    let page = server.page("/");
    assert!(page.contains(text), "{page}");
    build.succeeds();
    assert_eq!(machine.digest(&image), digest, "{name} again");
    let sbom = machine.lifecycle(&["sbom", &image]).succeeds().stdout();
    assert!(sbom.to_lowercase().contains(package), "{sbom}");
    server
}

#[test]
fn django_and_node_apps_are_built_and_answer() {
    let machine = machine();
    let mut django = is_built_and_answers(&machine, "django", "Hello from a row in SQLite", "\"django\"");
    let page = django.page("/");
    let link = page.split('"').find(|part| part.starts_with("/static/")).unwrap();
    assert!(!django.page(link).is_empty());
    django.stop();
    is_built_and_answers(&machine, "node", "Hello from Node", "\"escape-html\"").stop();
}

/// What is kept from the first build must not hide what changed since (buildpacks/python).
#[test]
fn a_changed_style_sheet_of_a_django_app_is_collected_again() {
    let machine = machine();
    let source = machine.path("django");
    Invocation::new(
        "cp",
        &["-r", app("django").to_str().unwrap(), source.to_str().unwrap()],
    )
    .succeeds();
    let words = ["build", source.to_str().unwrap(), "--tag", "real/django-changed"];
    let build = machine.lifecycle(&words).with_network_settings();
    build.succeeds();
    std::fs::write(
        source.join("guestbook/static/guestbook/style.css"),
        "p { color: teal }\n",
    )
    .unwrap();
    build
        .succeeds()
        .says("Reusing the virtual environment")
        .says("Django 5.2.19, found by manage.py");
    let mut server = Server::start(&machine, "real/django-changed");
    let page = server.page("/");
    let link = page.split('"').find(|part| part.starts_with("/static/")).unwrap();
    assert!(server.page(link).contains("teal"));
    server.stop();
}

/// The SBOM of Python packages is kept with them, and made anew with them.
#[test]
fn the_sbom_of_python_packages_is_that_of_a_first_build() {
    let machine = machine();
    let cache = machine.path("cache");
    let build = |tag: &str, version: &str| {
        let requirements = format!("tabulate=={version}\n");
        let source = machine.files("app", &[("requirements.txt", &requirements)]);
        let (source, cache) = (source.to_str().unwrap(), cache.to_str().unwrap());
        machine
            .lifecycle(&["build", source, "--cache", cache, "--tag", tag])
            .with_network_settings()
            .succeeds()
    };
    let sbom = |image: &str| machine.lifecycle(&["sbom", image]).succeeds().stdout();
    let reuses = "Reusing the virtual environment";
    build("real/sbom-first", "0.9.0").does_not_say(reuses);
    let first = sbom("real/sbom-first");
    assert!(first.contains("pkg:pypi/tabulate@0.9.0"), "{first}");

    // Under another name there is no previous image, so the cache alone has it.
    build("real/sbom-kept", "0.9.0").says(reuses);
    assert_eq!(
        machine.digest("real/sbom-kept"),
        machine.digest("real/sbom-first")
    );

    let committed = cache.join("committed");
    let label = std::fs::read(committed.join("io.buildpacks.lifecycle.cache.metadata")).unwrap();
    let label: serde_json::Value = serde_json::from_slice(&label).unwrap();
    let tar = format!("{}.tar", label["sbom"]["sha"].as_str().unwrap());
    std::fs::write(committed.join(tar), "no tar").unwrap();
    // An earlier run of this test may have left the image, which has the SBOM as well.
    machine.lifecycle(&["rmi", "real/sbom-lost"]).run();
    build("real/sbom-lost", "0.9.0").does_not_say(reuses);
    assert_eq!(
        machine.digest("real/sbom-lost"),
        machine.digest("real/sbom-first")
    );

    build("real/sbom-first", "0.8.10").does_not_say(reuses);
    let changed = sbom("real/sbom-first");
    assert!(changed.contains("pkg:pypi/tabulate@0.8.10"), "{changed}");
    assert!(!changed.contains("tabulate@0.9.0"), "{changed}");
}

#[test]
fn go_and_java_apps_are_built_and_answer() {
    let machine = machine();
    is_built_and_answers(&machine, "go", "communicate by sharing memory", "rsc.io/quote").stop();
    is_built_and_answers(&machine, "java-maven", "Hello from Java", "commons-lang3").stop();
}

/// A Dockerfile that compiles nginx from Debian's source package in one stage and puts it on a run image in the next.
#[test]
fn nginx_is_built_from_source_by_a_dockerfile_and_answers() {
    let machine = machine();
    let context = app("nginx");
    let words = [
        "build",
        context.to_str().unwrap(),
        "--dockerfile",
        "--tag",
        "real/nginx",
    ];
    let build = machine.lifecycle(&words).with_network_settings();
    // The store remembers what an earlier run of this test has built.
    let built = build.clone().argument("--no-cache").succeeds();
    built.says("9 steps carried out, 0 taken from earlier builds");
    let digest = machine.digest("real/nginx");
    let mut server = Server::start(&machine, "real/nginx");
    let page = server.page("/");
    assert!(page.contains("Hello from nginx, compiled from source"), "{page}");
    server.stop();
    let again = build.succeeds();
    again.says("0 steps carried out, 9 taken from earlier builds");
    assert_eq!(machine.digest("real/nginx"), digest, "nginx again");
}

/// Buildpacks that use what they find in the build image, with the registries of three languages (platforms.md 4.1).
#[test]
fn apps_are_built_with_the_build_images_npm_pip_and_cargo() {
    let machine = machine();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let context = fixtures.join("toolchain");
    let certificates = "id=certificates,src=/etc/ssl/certs/ca-certificates.crt";
    let tools = [
        "build",
        context.to_str().unwrap(),
        "--dockerfile",
        "--secret",
        certificates,
        "--tag",
        "real/toolchain",
    ];
    machine.lifecycle(&tools).with_network_settings().succeeds();
    let groups = ["npm", "pip", "cargo"].map(|kind| {
        let directory = buildpack(&format!("fx-{kind}"));
        format!("[[buildpacks]]\nuri = \"{directory}\"\n[[order]]\n[[order.group]]\nid = \"fx-{kind}\"\n")
    });
    let toml = format!(
        "[build]\nimage = \"real/toolchain\"\n[[run.images]]\nimage = \"lifecycle/debian-12:run\"\n{}",
        groups.concat()
    );
    let definition = machine
        .files("toolchain", &[("builder.toml", &toml)])
        .join("builder.toml");
    let create = [
        "builder",
        "create",
        definition.to_str().unwrap(),
        "--tag",
        "real/toolchain-builder",
    ];
    machine.lifecycle(&create).succeeds();

    for (kind, source, text) in [
        ("npm", "node", "Hello from Node"),
        ("pip", "pip", "Hello from"),
        ("cargo", "cargo", "Hello from Cargo"),
    ] {
        let (source, image) = (app(source), format!("real/fx-{kind}"));
        let words = [
            "build",
            source.to_str().unwrap(),
            "--builder",
            "real/toolchain-builder",
            "--tag",
            &image,
        ];
        let build = machine.lifecycle(&words).with_network_settings();
        build
            .clone()
            .argument("--clear-cache")
            .succeeds()
            .does_not_say("from the cache");
        let mut server = Server::start(&machine, &image);
        let page = server.page("/");
        assert!(page.contains(text), "{page}");
        server.stop();
        build.succeeds().says("from the cache");
    }
}
