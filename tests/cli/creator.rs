//! The creator as root starts it: whose processes run, and what they can see.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use lifecycle_image::layout::Layout;
use lifecycle_image::{Image, Platform, Sink};

use crate::phases::phase;
use crate::{lifecycle, scratch};

/// A buildpack that tells what it can see of the lifecycle that runs it.
const BUILD: &str = r#"#!/bin/sh
cat /proc/$PPID/environ >/dev/null 2>&1 && echo "LEAK: the lifecycle's environment"
env | grep -q s3cr3t && echo "LEAK: in the environment"
mkdir "$CNB_LAYERS_DIR/deps" && echo dep > "$CNB_LAYERS_DIR/deps/file"
printf '[types]\nlaunch = true\n' > "$CNB_LAYERS_DIR/deps.toml"
echo '{"bomFormat":"CycloneDX","specVersion":"1.5","components":[{"name":"x","version":"1"}]}' > "$CNB_LAYERS_DIR/deps.sbom.cdx.json"
printf '[[processes]]\ntype = "web"\ncommand = ["/bin/web"]\ndefault = true\n' > "$CNB_LAYERS_DIR/launch.toml"
echo "built as $(id -u)"
"#;

/// Everything that the creator needs: an app, a buildpack, its order, a launcher, and a run image without layers.
fn builder(directory: &Path) {
    let write = |path: &str, text: &str, mode: u32| {
        let path = directory.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    };
    let module =
        "[buildpack]\nid = 'acme/a'\nversion = '1.0.0'\nsbom-formats = ['application/vnd.cyclonedx+json']\n";
    write(
        "buildpacks/acme_a/1.0.0/buildpack.toml",
        &format!("api = '0.10'\n{module}"),
        0o644,
    );
    write("buildpacks/acme_a/1.0.0/bin/detect", "#!/bin/sh\nexit 0\n", 0o755);
    write("buildpacks/acme_a/1.0.0/bin/build", BUILD, 0o755);
    write(
        "order.toml",
        "[[order]]\n[[order.group]]\nid = 'acme/a'\nversion = '1.0.0'\n",
        0o644,
    );
    write("app/index", "hello\n", 0o644);
    write("launcher", "launcher\n", 0o755);
    let layout = Layout::create(directory.join("layouts/r.test/run/1")).unwrap();
    let image = Image::empty(&Platform::host());
    layout
        .begin(&["r.test/run:1".parse().unwrap()])
        .unwrap()
        .finish(&image)
        .unwrap();
    for shared in ["", "app", "layouts", "layouts/r.test", "layers"] {
        let path = directory.join(shared);
        std::fs::create_dir_all(&path).unwrap();
        let mode = if shared == "layers" { 0o755 } else { 0o777 };
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
}

#[test]
fn the_creator_gives_up_root_and_keeps_its_secrets_1_12_auth_04() {
    let directory = scratch();
    builder(directory.path());
    let is_root = rustix::process::geteuid().is_root();
    let uid = if is_root {
        1234
    } else {
        rustix::process::geteuid().as_raw()
    };
    let gid = if is_root {
        1235
    } else {
        rustix::process::getegid().as_raw()
    };
    let create = phase("creator", directory.path())
        .env("PATH", "/usr/bin:/bin")
        .env("CNB_EXPERIMENTAL_MODE", "silent")
        .env("CNB_REGISTRY_AUTH", r#"{"r.test": "Bearer s3cr3t"}"#)
        .args([
            "-app",
            "app",
            "-layers",
            "layers",
            "-buildpacks",
            "buildpacks",
            "-order",
            "order.toml",
        ])
        .args([
            "-platform",
            "platform",
            "-launcher",
            "launcher",
            "-launcher-sbom",
            "sboms",
        ])
        .args(["-layout", "-layout-dir", "layouts", "-run-image", "r.test/run:1"])
        .args([
            format!("-uid={uid}"),
            format!("-gid={gid}"),
            "r.test/app:1".to_owned(),
        ]);
    let output = create.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        text.contains("===> ANALYZING") && text.contains(&format!("built as {uid}\n")),
        "{text}"
    );
    assert!(!text.contains("LEAK"), "{text}");

    let image = "oci:layouts/r.test/app/1";
    let inspect = lifecycle(directory.path())
        .args(["inspect", image, "--output", "json"])
        .output()
        .unwrap();
    let report: serde_json::Value = serde_json::from_slice(&inspect.stdout).unwrap();
    assert_eq!(report["buildpacks"][0]["id"], "acme/a");
    assert_eq!(report["processes"][0]["command"][0], "/bin/web");
    assert_eq!(report["layers"][0]["origin"], "buildpack");
    assert_eq!(report["layers"][0]["name"], "deps");
    assert_eq!(report["sbom"]["components"], 1);
    let sbom = lifecycle(directory.path())
        .args(["sbom", image])
        .output()
        .unwrap();
    let sbom: serde_json::Value = serde_json::from_slice(&sbom.stdout).unwrap();
    assert_eq!(sbom["components"][0]["name"], "x");
}
