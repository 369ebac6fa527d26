//! Results of builds that are kept in a registry: another machine gets the same image and sends nothing.

use std::path::Path;

use crate::support::images;
use crate::support::peers::judge;
use crate::support::{Invocation, Machine, Registry};

const DOCKERFILE: &str = "FROM BASE AS made\nUSER root\nCOPY page.txt /in\nRUN tr a-z A-Z < /in > /out\n\
                          FROM BASE\nUSER root\nCOPY --from=made /out /srv/out\n\
                          RUN --mount=type=cache,target=/c cat /c/seen > /srv/seen; echo seen >> /c/seen; true\n";

/// An app whose Dockerfile stands on the base image of a registry.
fn app(machine: &Machine, registry: &Registry) -> std::path::PathBuf {
    let base = registry.name("base:run");
    let layout = format!("oci:{}:run", images::layout().display());
    machine
        .lifecycle(&["copy", &layout, &format!("registry:{base}")])
        .succeeds();
    let dockerfile = DOCKERFILE.replace("BASE", &base);
    machine.files("app", &[("page.txt", "page\n"), ("Dockerfile", &dockerfile)])
}

fn build(machine: &Machine, app: &Path, tag: &str, arguments: &[&str]) -> Invocation {
    let app = app.to_str().unwrap();
    machine.lifecycle(&[&["build", app, "--tag", tag, "--output", "registry"], arguments].concat())
}

#[test]
fn another_machine_takes_all_results_from_the_registry_q1() {
    let registry = Registry::start();
    let (first, second) = (Machine::new(), Machine::new());
    let app = app(&first, &registry);
    let cache = registry.name("app/cache:main");
    let to = format!("type=registry,ref={cache},mode=max,mounts=true");
    let from = format!("type=registry,ref={cache},mounts=true");
    let tag = registry.name("app:1");
    let built = build(&first, &app, &tag, &["--cache-to", &to, "--cache-from", &from]).succeeds();
    let digest = built.stdout();

    // The cache is an artifact that other people's tools can look at.
    if let Some(raw) = judge(
        "skopeo",
        &[
            "inspect",
            "--raw",
            "--tls-verify=false",
            &registry.docker("app/cache:main"),
        ],
    ) {
        let manifest = raw.json();
        assert_eq!(
            manifest["artifactType"],
            "application/vnd.lifecycle.build-cache.v1"
        );
        assert_eq!(manifest["layers"].as_array().unwrap().len(), 5);
    }

    let before = registry.requests().len();
    let again = build(&second, &app, &registry.name("other:1"), &["--cache-from", &from]).succeeds();
    let again = again.says("0 steps carried out, 4 taken from earlier builds");
    assert_eq!(again.stdout().replace("/other@", "/app@"), digest);
    // Of the layers nothing was read or sent: they were mounted from the cache's repository. The configuration is new
    // in this one.
    assert_eq!(registry.sent_blobs(before).len(), 1);
    let requests = registry.requests().split_off(before);
    let fetched: Vec<_> = requests
        .iter()
        .filter(|request| {
            request.method == "GET" && request.path.contains("/blobs/") && request.status == 200
        })
        .collect();
    assert_eq!(fetched.len(), 2, "the two configurations: {fetched:?}");

    // What was saved of cache mounts is what a step finds that runs again.
    std::fs::write(app.join("page.txt"), "another\n").unwrap();
    let tag = registry.name("other:2");
    build(&second, &app, &tag, &["--cache-from", &from]).succeeds();
    let shown = second.lifecycle(&["pull", &format!("registry:{tag}"), "--tag", "pulled"]);
    shown.succeeds();
    let run = second.lifecycle(&[
        "run",
        "pulled",
        "--entrypoint",
        "/bin/cat",
        "--",
        "/srv/seen",
        "/srv/out",
    ]);
    run.succeeds().says("seen\nANOTHER");
}

#[test]
fn caches_can_be_local_or_in_the_image_and_nothing_is_ignored_q1() {
    let registry = Registry::start();
    let machine = Machine::new();
    let app = app(&machine, &registry);
    let tag = registry.name("app:1");
    let directory = machine.text("cache");
    let local = format!("type=local,dest={directory}");
    let built = build(
        &machine,
        &app,
        &tag,
        &["--cache-to", &local, "--cache-to", "type=inline"],
    )
    .succeeds();
    let digest = built.stdout();

    let from = format!("type=local,src={directory}");
    let other = Machine::new();
    let again = build(
        &other,
        &app,
        &tag,
        &["--cache-from", &from, "--cache-to", "type=inline"],
    )
    .succeeds();
    assert_eq!(again.stdout(), digest);
    let other = Machine::new();
    // The image holds its own layers' results; those of the other stage have to be made again.
    build(&other, &app, &tag, &["--cache-from", &tag])
        .succeeds()
        .says("2 steps carried out, 2 taken from earlier builds");

    for (arguments, text) in [
        (
            ["--cache-to", "type=registry,ref=r.test/a,modus=max"],
            "\"modus\" is not known here",
        ),
        (["--cache-to", "type=s3,bucket=b"], "no cache of type \"s3\""),
        (["--cache-to", "type=inline,mode=max"], "its own layers only"),
        (
            ["--cache-to", "type=registry,ref=r.test/a,oci-mediatypes=false"],
            "cannot be switched off",
        ),
        (
            ["--cache-from", "type=registry,ref=r.test/a,ttl=soon"],
            "ttl is a time span",
        ),
    ] {
        build(&machine, &app, &tag, &arguments).fails(1).says(text);
    }
    // A cache that cannot be written fails the build, unless it was said that it need not.
    let nowhere = "type=registry,ref=127.0.0.1:1/cache";
    build(&machine, &app, &tag, &["--cache-to", nowhere]).fails(1);
    let ignored = format!("{nowhere},ignore-error=true");
    build(
        &machine,
        &app,
        &tag,
        &["--cache-to", &ignored, "--cache-from", nowhere],
    )
    .succeeds()
    .says("the cache 127.0.0.1:1/cache:latest is not used")
    .says("is not written");
}
