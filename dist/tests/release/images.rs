//! The images of a release: what other tools read in them, and the program as they start it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lifecycle_spec::Apis;

use crate::making::{VERSION, done, file, has_busybox, is_installed, launcher, make, small};

#[test]
fn other_tools_read_the_lifecycle_image_lci_03_ka_02() {
    if !is_installed("skopeo") {
        return;
    }
    let archive = format!("oci-archive:{}", file(small(), "lifecycle", ".oci.tar").display());
    let inspected = done(Command::new("skopeo").args(["inspect", "--config", &archive]));
    let config: serde_json::Value = serde_json::from_slice(&inspected.stdout).unwrap();
    let labels = &config["config"]["Labels"];
    assert_eq!(labels["io.buildpacks.lifecycle.version"], VERSION);
    assert_eq!(labels["io.buildpacks.lifecycle.apis"], Apis::own().to_json());
    let old: serde_json::Value =
        serde_json::from_str(labels["io.buildpacks.builder.metadata"].as_str().unwrap()).unwrap();
    assert_eq!(old["lifecycle"]["version"], VERSION);
    assert_eq!(
        old["lifecycle"]["api"]["platform"],
        Apis::own().platform.supported[0]
    );
    assert_eq!(config["config"]["WorkingDir"], "/layers");
    let host = lifecycle_image::Platform::host();
    assert_eq!(
        (config["os"].as_str(), config["architecture"].as_str()),
        (Some(&*host.os), Some(&*host.architecture))
    );

    // The last layer holds what the tarball holds, below /cnb.
    let directory = tempfile::tempdir().unwrap();
    let copy = format!("dir:{}", directory.path().display());
    done(Command::new("skopeo").args(["copy", "--quiet", &archive, &copy]));
    let inspected = done(Command::new("skopeo").args(["inspect", "--raw", &archive]));
    let manifest: serde_json::Value = serde_json::from_slice(&inspected.stdout).unwrap();
    let layer = manifest["layers"].as_array().unwrap().last().unwrap()["digest"]
        .as_str()
        .unwrap();
    let layer = directory.path().join(layer.trim_start_matches("sha256:"));
    let names = |tar: &Path| {
        let listed = done(Command::new("tar").arg("--absolute-names").arg("-tf").arg(tar));
        String::from_utf8(listed.stdout).unwrap()
    };
    let in_image: Vec<String> = names(&layer)
        .lines()
        .filter_map(|name| Some(name.strip_prefix("/cnb/")?.to_owned()))
        .collect();
    let tarball = names(&file(small(), "lifecycle", ".tgz"));
    let in_tarball: Vec<&str> = tarball.lines().map(|name| name.trim_end_matches('/')).collect();
    assert_eq!(in_image, in_tarball);
}

/// Unpacks an image of the release: its root and its configuration.
fn unpack(start: &str, directory: &Path) -> (PathBuf, serde_json::Value) {
    let archive = format!("oci-archive:{}", file(small(), start, ".oci.tar").display());
    let layout = directory.join("layout");
    done(
        Command::new("skopeo")
            .args(["copy", "--quiet", &archive])
            .arg(format!("oci:{}:x", layout.display())),
    );
    let bundle = directory.join("bundle");
    let mut unpack = Command::new("umoci");
    unpack.arg("unpack");
    if !rustix::process::geteuid().is_root() {
        unpack.arg("--rootless");
    }
    done(
        unpack
            .arg("--image")
            .arg(format!("{}:x", layout.display()))
            .arg(&bundle),
    );
    let config = fs::read_to_string(bundle.join("config.json")).unwrap();
    (bundle.join("rootfs"), serde_json::from_str(&config).unwrap())
}

/// What executor images have, whether for debugging or not.
fn is_executor(root: &Path, config: &serde_json::Value) {
    for name in ["executor", "warmer", "lifecycle"] {
        let program = fs::read(root.join("kaniko").join(name)).unwrap();
        assert!(program == fs::read(launcher()).unwrap(), "{name}");
    }
    for directory in ["kaniko/.docker", "kaniko/store", "workspace", "cache", "tmp"] {
        assert!(root.join(directory).is_dir(), "{directory}");
    }
    let roots = fs::read_to_string(root.join("etc/ssl/certs/ca-certificates.crt")).unwrap();
    assert!(roots.matches("-----BEGIN CERTIFICATE-----\n").count() > 50);
    assert!(
        fs::read_to_string(root.join("etc/passwd"))
            .unwrap()
            .starts_with("root:x:0:0:")
    );
    assert_eq!(config["process"]["args"][0], "/kaniko/executor");
    let environment = config["process"]["env"].to_string();
    assert!(
        environment.contains("\"DOCKER_CONFIG=/kaniko/.docker/\""),
        "{environment}"
    );
    assert_eq!(config["process"]["cwd"], "/workspace");
}

#[test]
fn the_executor_image_runs_the_program_with_roots_and_users() {
    if !is_installed("skopeo") || !is_installed("umoci") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (root, config) = unpack("executor-v", directory.path());
    is_executor(&root, &config);
    assert!(!root.join("bin").exists() && !root.join("busybox").exists());
}

#[test]
fn the_debug_image_is_the_executor_image_with_a_shell() {
    if !is_installed("skopeo") || !is_installed("umoci") || !has_busybox() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (root, config) = unpack("executor-debug-v", directory.path());
    is_executor(&root, &config);
    let environment = config["process"]["env"].to_string();
    let path = "/usr/local/bin:/kaniko:/busybox";
    assert!(environment.contains(&format!("\"PATH={path}\"")), "{environment}");
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can enter the image");
        return;
    }
    let script = "for file in /kaniko/*; do basename $file; done; which grep";
    for shell in ["/bin/sh", "/busybox/sh"] {
        let mut enter = Command::new("chroot");
        enter
            .arg(&root)
            .args(["/busybox/env", "-i", &format!("PATH={path}")]);
        let said = done(enter.args([shell, "-c", script])).stdout;
        assert_eq!(
            String::from_utf8(said).unwrap(),
            "executor\nlifecycle\nstore\nwarmer\n/busybox/grep\n"
        );
    }
}

#[test]
fn a_release_without_busybox_says_what_is_not_made() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = make(launcher(), directory.path());
    let said = done(command.args(["--busybox", "/nonexistent"])).stdout;
    let said = String::from_utf8(said).unwrap();
    assert!(
        said.contains(".oci.tar is NOT made: there is no /nonexistent; install the package busybox-static"),
        "{said}"
    );
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 6);
}
