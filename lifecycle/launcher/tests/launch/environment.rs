//! The environment that a process gets.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::image::{Image, environment_in, new_image, succeeded, value};

#[test]
fn the_process_sees_the_container_without_the_lifecycle_lau_12() {
    let image = new_image().env_process("web", "acme/new");
    let output = image
        .command("web")
        .env("FOO", "bar")
        .env("CNB_PROCESS_TYPE", "web")
        .output()
        .unwrap();
    let warnings = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(
        warnings.starts_with("Warning: CNB_PROCESS_TYPE has no effect at launch\n"),
        "{warnings}"
    );
    let expected = [("FOO", "bar"), ("PATH", "/usr/bin:/bin")];
    assert_eq!(
        environment_in(&succeeded(output)),
        expected.map(|(name, value)| (name.into(), value.into()))
    );
}

#[test]
fn a_link_in_the_place_of_a_layer_sets_nothing() {
    let image = new_image()
        .env_process("web", "acme/new")
        .directory("elsewhere/bin")
        .file("elsewhere/env/FROM_LINK", "1")
        .directory("layers/acme_new");
    std::os::unix::fs::symlink(image.path("elsewhere"), image.path("layers/acme_new/l")).unwrap();
    let environment = image.environment("web");
    assert_eq!(value(&environment, "FROM_LINK"), None);
    assert_eq!(value(&environment, "PATH").unwrap(), "/usr/bin:/bin");
}

#[test]
fn layer_environment_in_the_order_of_the_rules_emr_04() {
    let image = Image::new()
        .buildpack("acme/a", "0.12")
        .buildpack("acme/b", "0.9")
        .env_process("web", "acme/a")
        .directory("layers/acme_a/one/bin")
        .directory("layers/acme_a/two/bin")
        .directory("layers/acme_b/one/bin")
        .directory("layers/acme_b/one/lib")
        .directory("layers/acme_b/one/include")
        .file("layers/acme_a/one/env/LIST.append", "a1")
        .file("layers/acme_a/one/env.launch/LIST.append", "a2")
        .file("layers/acme_a/one/env.launch/web/LIST.append", "a3")
        .file("layers/acme_a/one/env.launch/worker/LIST.append", "not this")
        .file("layers/acme_a/one/env.build/LIST.append", "not this")
        .file("layers/acme_a/one/env/LIST.delim", ",")
        .file("layers/acme_b/one/env/LIST.append", "b")
        .file("layers/acme_b/one/env/USER_WINS.default", "default")
        .file("layers/acme_b/one/env/BUILDPACK_WINS", "buildpack");
    let output = image
        .command("web")
        .env("USER_WINS", "user")
        .env("BUILDPACK_WINS", "user")
        .output()
        .unwrap();
    let environment = environment_in(&succeeded(output));
    let at = |path: &str| image.path("layers").join(path).into_os_string();
    let mut path = OsString::new();
    for directory in ["acme_b/one/bin", "acme_a/two/bin", "acme_a/one/bin"] {
        path.push(at(directory));
        path.push(":");
    }
    path.push("/usr/bin:/bin");
    assert_eq!(value(&environment, "PATH"), Some(path));
    assert_eq!(value(&environment, "LD_LIBRARY_PATH"), Some(at("acme_b/one/lib")));
    assert_eq!(value(&environment, "CPATH"), None);
    assert_eq!(value(&environment, "LIST"), Some("a1,a2,a3b".into()));
    // EMR-07
    assert_eq!(value(&environment, "USER_WINS"), Some("user".into()));
    assert_eq!(value(&environment, "BUILDPACK_WINS"), Some("buildpack".into()));
}

#[test]
fn the_user_meets_buildpacks_at_launch_emr_07() {
    let mut image = new_image().env_process("web", "acme/new");
    // What a buildpack writes, and what becomes of `user` and of nothing.
    let table = [
        ("PLAIN", "", "layer", "layer"),
        ("OVERRIDE", ".override", "layer", "layer"),
        ("DEFAULT", ".default", "user", "layer"),
        ("APPEND", ".append", "userlayer", "layer"),
        ("PREPEND", ".prepend", "layeruser", "layer"),
    ];
    for (name, suffix, _, _) in table {
        image = image.file(&format!("layers/acme_new/l/env.launch/{name}{suffix}"), "layer");
    }
    let mut given = image.command("web");
    given.envs(table.map(|(name, ..)| (name, "user")));
    let given = environment_in(&succeeded(given.output().unwrap()));
    let absent = environment_in(&succeeded(image.command("web").output().unwrap()));
    for (name, _, with_user, without) in table {
        assert_eq!(value(&given, name), Some(with_user.into()), "{name}");
        assert_eq!(value(&absent, name), Some(without.into()), "{name}");
    }
}

#[test]
fn bytes_that_are_not_utf8_reach_the_process() {
    let bytes = OsStr::from_bytes(b"x\xff\n");
    let image = new_image()
        .env_process("web", "acme/new")
        .file("layers/acme_new/l/env/FILE", bytes.as_bytes());
    let output = image.command("web").env("GIVEN", bytes).output().unwrap();
    let environment = environment_in(&succeeded(output));
    assert_eq!(value(&environment, "FILE"), Some(bytes.into()));
    assert_eq!(value(&environment, "GIVEN"), Some(bytes.into()));

    let output = image
        .command("launcher")
        .args(["--", "printf", "%s"])
        .arg(bytes)
        .output()
        .unwrap();
    assert_eq!(succeeded(output), bytes.as_bytes());
}
