//! How registries are spoken to (kaniko.md 1.1, 1.2, 5.4).

use std::fs;

use super::{contains, content, executor, push_shell, to_layout};
use crate::support::fake_registry::{Action, FakeRegistry};
use crate::support::{Access, Machine, Registry};

#[test]
fn mirrors_stand_for_any_registry_1_1() {
    let (machine, registry) = (Machine::new(), Registry::start());
    push_shell(&machine, &registry);
    let context = machine.files(
        "context",
        &[
            ("Dockerfile", "FROM r.invalid/shell\nLABEL a=b\n"),
            ("Hub", "FROM shell\nLABEL a=b\n"),
        ],
    );
    let context = context.to_str().unwrap();
    let host = registry.host();
    let map = format!("--registry-map=other.invalid=x.invalid;r.invalid={host}");
    to_layout(&machine, &["-c", context, &map]).succeeds();
    to_layout(&machine, &["-c", context])
        .env("KANIKO_REGISTRY_MAP", format!("r.invalid={host}"))
        .succeeds();
    // The mirror of docker.io has no `library/shell`, so the path is mapped as well.
    let hub = format!("--registry-map=docker.io/library={host}");
    to_layout(&machine, &["-c", context, "-f", &format!("{context}/Hub"), &hub]).succeeds();
    let asked = registry.requests().len();
    let mirror = format!("--registry-mirror={host}");
    let alone = [
        "-c",
        context,
        "-f",
        &format!("{context}/Hub"),
        &mirror,
        "--skip-default-registry-fallback",
    ];
    to_layout(&machine, &alone).fails(1).says("shell");
    assert!(
        registry.requests()[asked..]
            .iter()
            .any(|request| request.path.contains("/library/shell/"))
    );
}

#[test]
fn certificates_are_of_single_registries_1_1() {
    let (machine, registry) = (Machine::new(), Registry::start_with(Access::Tls));
    let context = machine.files("context", &[("Dockerfile", "FROM scratch\nLABEL a=b\n")]);
    let name = registry.name("app");
    let job = |arguments: &[&str]| {
        executor(
            &machine,
            &[&["-c", context.to_str().unwrap(), "-d", &name], arguments].concat(),
        )
    };
    let authority = registry.authority();
    let certificate = |host: &str| format!("--registry-certificate={host}={}", authority.display());
    job(&[]).fails(1).says("certificate");
    job(&[&certificate("other.invalid")]).fails(1);
    job(&["--skip-tls-verify-pull"]).fails(1).says("certificate");
    job(&[&certificate(&registry.host())]).succeeds();
    job(&["--skip-tls-verify"]).succeeds();
    job(&["--skip-tls-verify-registry", &registry.host()]).succeeds();
    job(&["--registry-certificate=r.test=/nowhere"])
        .fails(1)
        .says("/nowhere");
    job(&["--registry-client-cert=r.test=/one"])
        .fails(1)
        .says("HOST=CERTIFICATE,KEY");
}

/// A registry that writes down every request before it answers, with an image of a shell.
fn registry_of_shell(machine: &Machine) -> (FakeRegistry, String) {
    let (real, fake) = (Registry::start(), FakeRegistry::start());
    let from = push_shell(&Machine::new(), &real);
    let name = format!("{}/shell", fake.address());
    machine.lifecycle(&["copy", &from, &name]).succeeds();
    (fake, name)
}

/// The warmer's images are used, and when their registry is gone they are enough.
#[test]
fn warm_images_need_no_registry_1_6() {
    let machine = Machine::new();
    let (registry, shell) = registry_of_shell(&machine);
    let file = format!("ARG BASE={shell}\nFROM $BASE AS a\nFROM scratch\nCOPY --from=a /bin/busybox /b\n");
    let context = machine.files("context", &[("Dockerfile", &file)]);
    let dockerfile = context.join("Dockerfile");
    let cache = machine.text("cache");
    let warm =
        |arguments: &[&str]| machine.lifecycle(&[&["warmer", "--cache-dir", &cache], arguments].concat());
    warm(&[]).fails(1);
    warm(&["--dockerfile", dockerfile.to_str().unwrap()])
        .succeeds()
        .says(&format!("brought {shell}"));
    warm(&["--image", &shell]).succeeds().says("is there already");
    warm(&["-i", &shell, "--force"]).succeeds().says("brought");
    registry.forget();
    let build = || {
        to_layout(
            &machine,
            &["-c", context.to_str().unwrap(), "--cache-dir", &cache],
        )
    };
    build().succeeds();
    assert!(
        registry.count("GET", "/blobs/") <= 1,
        "at most the configuration is read from the registry:\n{}",
        registry.log()
    );
    drop(registry);
    build().succeeds().says("its registry cannot be reached");
    let stale = to_layout(
        &machine,
        &[
            "-c",
            context.to_str().unwrap(),
            "--cache-dir",
            &cache,
            "--cache-ttl=0s",
        ],
    );
    stale.fails(1);
}

/// 5.4: a layer that is cut short or changed on its way is never part of an image.
#[test]
fn base_layers_are_what_their_digests_say_5_4() {
    let machine = Machine::new();
    let (fake, name) = registry_of_shell(&machine);
    let context = machine.files(
        "context",
        &[(
            "Dockerfile",
            &format!("FROM {name}\nRUN echo DONE$((1+1)) >/done\n"),
        )],
    );
    let layer = {
        let shown = machine
            .lifecycle(&["inspect", &name, "--output", "json"])
            .succeeds()
            .json();
        shown["layers"][0]["digest"].as_str().unwrap().to_owned()
    };
    for action in [Action::FlipByte, Action::Append(7)] {
        fake.rule("GET", &layer, 1, action);
        to_layout(&machine, &["-c", context.to_str().unwrap()])
            .fails(1)
            .says(&layer);

        assert!(!machine.path("out").exists() || !contains(&content(&machine), "DONE2"));
    }
    fs::remove_dir_all(machine.path("out")).ok();
    to_layout(&machine, &["-c", context.to_str().unwrap()]).succeeds();
}
