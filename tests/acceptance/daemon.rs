//! `-daemon` with podman's service, whose socket only root may open (lifecycle.md 1.7).

use crate::support::daemon::PodmanService;
use crate::support::{Finished, Pod};

#[test]
fn phases_write_into_podman_and_reuse_what_it_has_an_03_an_13_cache_06() {
    let pod = Pod::new();
    pod.root
        .prepare("mkdir -p /var/run /launch-cache; rm -rf /layers/*; chown 1000:1000 /launch-cache");
    let socket = pod.root.at("/var/run/docker.sock");
    let Some(daemon) = PodmanService::start(&socket) else {
        return;
    };
    daemon.podman(&["pull", "--quiet", "--tls-verify=false", &pod.run_image()]);
    let name = "example.test/in/daemon:1";
    let inspect = |name: &str| -> serde_json::Value {
        let shown = daemon.podman(&["image", "inspect", name]);
        shown.json()[0].clone()
    };
    let create = || -> Finished {
        let words = [
            "creator",
            "-app",
            "/workspace",
            "-cache-dir",
            "/cache",
            "-launch-cache",
            "/launch-cache",
            "-daemon",
            "-run-image",
            &pod.run_image(),
            "-uid",
            "1000",
            "-gid",
            "1000",
            "-tag",
            "example.test/in/daemon:2",
            name,
        ];
        pod.phase_as_root(&words)
            .env("CNB_PLATFORM_API", "0.12")
            .succeeds()
    };
    create();
    let image = inspect(name);
    let id = image["Id"].as_str().unwrap().to_owned();
    let report = pod.read("/layers/report.toml");
    assert!(
        report.contains(&format!("image-id = \"{id}\"")) && !report.contains("digest"),
        "{report}"
    );
    assert_eq!(inspect("example.test/in/daemon:2")["Id"], id.as_str());
    assert_eq!(image["Config"]["Entrypoint"][0], "/cnb/process/web");
    // The layers of the run image are those that podman had.
    let run_image = inspect(&pod.run_image());
    let layers = image["RootFS"]["Layers"].as_array().unwrap().clone();
    assert_eq!(layers[0], run_image["RootFS"]["Layers"][0]);

    // Again, on a fresh machine: the previous image and the caches give everything back.
    pod.root.prepare("rm -rf /layers/*");
    let again = create();
    again
        .says("Reusing layer")
        .says("fx-layers: only-cache: metadata=yes contents=yes");
    assert_eq!(inspect(name)["Id"], id.as_str());
    // A layer without contents, which buildpacks leave to the previous image, comes from the launch cache, and stays there.
    let own = run_image["RootFS"]["Layers"].as_array().unwrap().len();
    for layer in &layers[own..] {
        let kept = format!("/launch-cache/committed/{}.tar", layer.as_str().unwrap());
        assert!(pod.root.at(&kept).exists(), "{kept}");
    }

    // The previous image may be named by its id (AN-03).
    let words = [
        "analyzer",
        "-daemon",
        "-previous-image",
        &id,
        "-run-image",
        &pod.run_image(),
        "-uid",
        "1000",
        "-gid",
        "1000",
        name,
    ];
    pod.phase_as_root(&words).succeeds();
    let analyzed = pod.read("/layers/analyzed.toml");
    assert!(analyzed.contains(&format!("reference = \"{id}\"")), "{analyzed}");

    // And without the launch cache: then podman saves the image.
    pod.root.prepare("rm -rf /layers/* /launch-cache/*");
    create();
    assert_eq!(inspect(name)["Id"], id.as_str());

    // The base is exchanged there, too.
    let words = [
        "rebaser",
        "-daemon",
        "-force",
        "-run-image",
        &pod.run_image(),
        name,
    ];
    pod.phase_as_root(&words)
        .env("CNB_PLATFORM_API", "0.12")
        .succeeds();
    assert_eq!(inspect(name)["RootFS"]["Layers"], image["RootFS"]["Layers"]);
}

#[test]
fn a_daemon_that_is_not_there_is_named_1_3() {
    let pod = Pod::new();
    let words = ["analyzer", "-daemon", "-run-image", "x", "y"];
    pod.phase(&words)
        .fails(1)
        .says("failed to initialize docker client: cannot reach a daemon at unix:///var/run/docker.sock");
    pod.phase(&words)
        .env("DOCKER_HOST", "npipe:////./pipe/docker")
        .fails(1)
        .says("none of unix://, tcp:// and ssh://");
    // There is no ssh in a builder.
    pod.phase(&words)
        .env("DOCKER_HOST", "ssh://me@host")
        .fails(1)
        .says("cannot reach a daemon at ssh://me@host")
        .says("ssh cannot be run");
    pod.phase(&words)
        .env("DOCKER_HOST", "tcp://127.0.0.1:9")
        .env("DOCKER_TLS_VERIFY", "1")
        .env("DOCKER_CERT_PATH", "/no/such")
        .fails(1)
        .says("/no/such/ca.pem is not there, but DOCKER_TLS_VERIFY is set");
    pod.phase(&[
        "analyzer",
        "-daemon",
        "-layout",
        "-layout-dir",
        "/l",
        "-run-image",
        "x",
        "y",
    ])
    .fails(3)
    .says("exclude each other");
}
