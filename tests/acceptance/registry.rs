//! Registries that want a password, that speak TLS, that are not there, and that lie.

use std::fs;

use crate::support::fake_registry::{Action, FakeRegistry};
use crate::support::images::{self, RUN};
use crate::support::{Access, Machine, PASSWORD, Port, Registry};

#[test]
fn a_password_opens_and_a_wrong_one_is_told() {
    let machine = Machine::with_builder();
    let registry = Registry::start_with(Access::Password);
    let name = registry.name("secret/app");
    let push = machine.lifecycle(&["push", RUN, &name]);

    let refused = push.fails(1).says("401").says(&registry.host());
    refused.does_not_say(PASSWORD);

    let configuration = machine.files(
        "docker",
        &[("config.json", &registry.credentials("wrong password"))],
    );
    let wrong = push.clone().env("DOCKER_CONFIG", &configuration);
    wrong.fails(1).says("401").does_not_say("wrong password");

    fs::write(configuration.join("config.json"), registry.credentials(PASSWORD)).unwrap();
    push.clone().env("DOCKER_CONFIG", &configuration).succeeds();
    let home = machine.path("home").join(".docker");
    fs::create_dir(&home).unwrap();
    fs::copy(configuration.join("config.json"), home.join("config.json")).unwrap();
    machine
        .lifecycle(&["inspect", &format!("registry:{name}")])
        .succeeds();

    // A build in this registry: the run image is read and the app written with the same credentials.
    let build = machine.build(
        &machine.app(),
        &[
            "--tag",
            &registry.name("secret/built"),
            "--output",
            "registry",
            "--verbose",
        ],
    );
    build.succeeds().does_not_say(PASSWORD);
}

#[test]
fn the_header_of_cnb_registry_auth_opens_too() {
    use base64::Engine as _;
    let machine = Machine::with_builder();
    let registry = Registry::start_with(Access::Password);
    let token = base64::prelude::BASE64_STANDARD.encode(format!("somebody:{PASSWORD}"));
    let auth = format!(r#"{{"{}": "Basic {token}"}}"#, registry.host());
    let push = machine.lifecycle(&["push", RUN, &registry.name("app")]);
    push.fails(1).says("401");
    push.env("CNB_REGISTRY_AUTH", auth).succeeds();
}

#[test]
fn a_private_authority_is_trusted_when_it_is_named() {
    let machine = Machine::with_builder();
    let registry = Registry::start_with(Access::Tls);
    let name = registry.name("tls/app");
    let authority = registry.authority();
    let push = machine.lifecycle(&["push", RUN, &name]);
    push.fails(1).says(&registry.host()).says("certificate");

    push.clone()
        .argument("--registry-ca")
        .argument(&authority)
        .succeeds();
    machine
        .lifecycle(&["inspect", &format!("registry:{name}")])
        .env("SSL_CERT_FILE", &authority)
        .succeeds();
    machine
        .lifecycle(&[
            "inspect",
            &format!("registry:{name}"),
            "--insecure-registry",
            &registry.host(),
        ])
        .succeeds();
    let build = [
        "--tag",
        &registry.name("tls/built"),
        "--output",
        "registry",
        "--registry-ca",
        authority.to_str().unwrap(),
    ];
    machine.build(&machine.app(), &build).succeeds();
}

#[test]
fn a_push_from_the_store_mounts_what_its_registry_has() {
    let registry = Registry::start();
    let run = registry.name("base/run:1");
    Machine::with_builder().lifecycle(&["push", RUN, &run]).succeeds();
    // Another machine that pulls the base and pushes an app that is built on it.
    let machine = Machine::new();
    machine.lifecycle(&["pull", &run]).succeeds();
    let push = |name: &str| {
        let before = registry.requests().len();
        machine
            .lifecycle(&["push", &run, &registry.name(name)])
            .succeeds();
        registry.sent_blobs(before)
    };
    let inspected = machine
        .lifecycle(&["inspect", &run, "--output", "json"])
        .succeeds()
        .json();
    let layers = inspected["layers"].to_string();
    let sent = push("app/one");
    // Configurations are sent.
    assert!(
        sent.len() <= 1 && sent.iter().all(|digest| !layers.contains(digest)),
        "{sent:?} {layers}"
    );
    // What was sent to a repository can be mounted from there.
    let elsewhere = Registry::start();
    let [first, second] = ["x/first", "x/second"].map(|name| {
        let before = elsewhere.requests().len();
        machine
            .lifecycle(&["push", &run, &elsewhere.name(name)])
            .succeeds();
        elsewhere.sent_blobs(before).len()
    });
    assert!(first > 1 && second <= 1, "{first} {second}");
}

#[test]
fn a_registry_that_is_not_there_is_named() {
    let machine = Machine::with_builder();
    let port = Port::reserve();
    let host = format!("127.0.0.1:{}", port.number());
    let name = format!("{host}/app");
    machine.lifecycle(&["push", RUN, &name]).fails(1).says(&host);
    machine.lifecycle(&["pull", &name]).fails(1).says(&host);
    machine
        .lifecycle(&["pull", "registry.invalid/app"])
        .fails(1)
        .says("registry.invalid");
}

#[test]
fn what_is_not_there_is_named() {
    let machine = Machine::with_builder();
    let registry = Registry::start();
    machine
        .lifecycle(&["pull", &registry.name("nothing:here")])
        .fails(1)
        .says(&registry.name("nothing:here"));
    machine
        .lifecycle(&["push", "store-has-no-such-image", &registry.name("app")])
        .fails(1)
        .says("store-has-no-such-image");
}

/// A registry that can be told to fail, with the run image as `app:1`.
fn lying() -> (Machine, FakeRegistry, String) {
    let machine = Machine::new();
    let registry = FakeRegistry::start();
    let name = format!("{}/app:1", registry.address());
    machine
        .lifecycle(&["copy", &format!("oci:{}:run", images::layout().display()), &name])
        .succeeds();
    registry.forget();
    (machine, registry, name)
}

#[test]
fn a_changed_blob_is_refused_and_never_stored() {
    let (machine, registry, name) = lying();
    registry.rule("GET", "/blobs/", 100, Action::FlipByte);
    machine.lifecycle(&["pull", &name]).fails(1).says("sha256:");
    machine.lifecycle(&["images"]).succeeds().does_not_say("/app");
    machine.store_is_sound();
}

#[test]
fn a_changed_manifest_is_refused_by_digest() {
    let (machine, registry, name) = lying();
    let digest = machine.digest(&format!("registry:{name}"));
    registry.rule("GET", "/manifests/", 100, Action::FlipByte);
    let pinned = format!("{}@{digest}", name.trim_end_matches(":1"));
    machine.lifecycle(&["pull", &pinned]).fails(1);
    machine.store_is_sound();
}

#[test]
fn cut_streams_and_busy_answers_are_tried_again() {
    let (machine, registry, name) = lying();
    registry.rule("GET", "/blobs/", 2, Action::CutAnswer(100_000));
    registry.rule(
        "GET",
        "/manifests/",
        1,
        Action::Answer(503, vec![("Retry-After", "0".to_owned())], Vec::new()),
    );
    machine
        .lifecycle(&["pull", &name, "--tag", "registry/again"])
        .succeeds();
    assert_eq!(
        machine.digest("store:registry/again"),
        machine.digest(&format!("registry:{name}"))
    );

    registry.rule("PATCH", "/blobs/uploads/", 1, Action::CutRequest(50_000));
    registry.rule("PUT", "/blobs/uploads/", 1, Action::LoseAnswer);
    registry.rule(
        "PUT",
        "/manifests/",
        1,
        Action::Answer(429, vec![("Retry-After", "0".to_owned())], Vec::new()),
    );
    let copy = format!("{}/copy:1", registry.address());
    registry.change(|options| options.mount = crate::support::fake_registry::Mount::Accepted);
    machine.lifecycle(&["push", "registry/again", &copy]).succeeds();
    machine.store_is_sound();
}

#[test]
fn a_refused_push_leaves_no_tag() {
    let (machine, registry, name) = lying();
    machine
        .lifecycle(&["pull", &name, "--tag", "registry/refused"])
        .succeeds();
    let denied = br#"{"errors":[{"code":"DENIED","message":"quota exceeded"}]}"#.to_vec();
    registry.rule("POST", "/denied/", 100, Action::Answer(403, Vec::new(), denied));
    let to = format!("{}/denied:1", registry.address());
    machine
        .lifecycle(&["push", "registry/refused", &to])
        .fails(1)
        .says("403")
        .says("quota exceeded");
    assert_eq!(registry.tags("denied"), [""; 0]);
}
