//! I. RUN: flags and mounts, as far as the language decides.

use lifecycle_dockerfile::{MountKind, Network, Origin, PlacedMount, Security, Sharing};

use crate::build::{Build, command_error, strings};

fn mount(spec: &str) -> PlacedMount {
    Build::on_base(&format!("WORKDIR /w\nRUN --mount={spec} x"))
        .run()
        .mounts
        .remove(0)
}

fn mount_error(spec: &str) -> String {
    Build::on_base(&format!("RUN --mount={spec} x")).error()
}

#[test]
fn forms_of_the_command_i1() {
    let arguments = |text: &str| Build::on_base(text).run().arguments;
    assert_eq!(arguments("RUN a \\\n b"), strings(&["/bin/sh", "-c", "a  b"]));
    assert_eq!(arguments("RUN [\"a\", \"b c\"]"), strings(&["a", "b c"]));
    assert_eq!(arguments("RUN"), strings(&["/bin/sh", "-c", ""]));
    assert_eq!(Build::on_base("RUN []").error(), "2:1 RUN has no command");
}

#[test]
fn environment_is_env_and_args_i4() {
    let run = Build::on_base("ENV A=1\nARG B=2\nARG C\nRUN x")
        .base_env(&["D=3"])
        .run();
    let mut names: Vec<&str> = run.environment.names().collect();
    names.sort_unstable();
    assert_eq!(names, ["A", "B", "D", "PATH"]);
}

#[test]
fn keys_and_types_in_any_case_i7() {
    let placed = mount("TYPE=Cache,Target=/x,Sharing=LOCKED");
    assert_eq!(
        (placed.mount.kind, placed.mount.sharing),
        (MountKind::Cache, Sharing::Locked)
    );
    assert_eq!(mount("target=rel").target, "/w/rel");
    for spec in ["src=a,dst=/t", "source=a,destination=/t", "source=a,target=/t"] {
        assert_eq!(
            (mount(spec).mount.source.as_str(), mount(spec).target.as_str()),
            ("a", "/t"),
            "{spec}"
        );
    }
    assert_eq!(mount("\\\"target=/a,b\\\"").target, "/a,b");
}

#[test]
fn unknown_and_misplaced_options_are_errors_i7() {
    for (spec, message) in [
        (
            "type=bnd,target=/x",
            "unsupported mount type \"bnd\" (did you mean bind?)",
        ),
        (
            "tarrget=/x",
            "unexpected key 'tarrget' in --mount (did you mean target?)",
        ),
        ("target=/", "invalid mount target \"/\""),
        ("type=cache", "invalid mount target \"\""),
        ("target=/x,uid=1", "uid not allowed for \"bind\" type mounts"),
        (
            "type=tmpfs,target=/x,mode=1777",
            "mode not allowed for \"tmpfs\" type mounts",
        ),
        ("target=/x,size=1m", "unexpected key 'size' for mount type 'bind'"),
        (
            "target=/x,required",
            "unexpected key 'required' for mount type 'bind'",
        ),
        (
            "target=/x,sharing=locked",
            "invalid cache sharing set for bind mount",
        ),
        (
            "type=cache,target=/x,sharing=odd",
            "unsupported sharing value \"odd\"",
        ),
        ("type=cache,target=/x,mode=9", "invalid value for mode: 9"),
        ("type=cache,target=/x,uid=x", "invalid value for uid: x"),
        ("target=/x,ro=maybe", "invalid value for ro: maybe"),
        (
            "target=/x,lonely",
            "invalid field 'lonely' must be a key=value pair",
        ),
        ("type=secret", "one of id, source, target required"),
        ("type=secret,id=a,source=b", "both source and id"),
        ("type=secret,id=a,from=b", "secret mount should not have a from"),
        ("type=ssh,source=a", "ssh does not support source"),
    ] {
        let error = mount_error(spec);
        assert!(
            error.starts_with("2:5 ") && error.contains(message),
            "{spec}: {error}"
        );
    }
    assert!(
        command_error("RUN --mount=\\\"a x").contains("no closing"),
        "{}",
        command_error("RUN --mount=\\\"a x")
    );
}

#[test]
fn bind_is_read_only_by_default_i8() {
    let placed = mount("target=/x");
    assert_eq!(
        (placed.mount.kind, placed.mount.read_only, placed.origin),
        (MountKind::Bind, true, Origin::Context)
    );
    assert!(!mount("target=/x,rw").mount.read_only);
    assert!(!mount("target=/x,ro=false").mount.read_only);
    assert_eq!(
        mount("target=/x,from=img").origin,
        Origin::Image("img".to_owned())
    );
    let stage = Build::new("FROM base AS a\nFROM base\nRUN --mount=from=a,target=/x y").run();
    assert_eq!(stage.mounts[0].origin, Origin::Stage(0));
}

#[test]
fn cache_id_defaults_to_the_cleaned_target_i9() {
    let placed = mount("type=cache,target=/a/../b/,uid=5,mode=0700");
    assert_eq!((placed.id.as_str(), placed.mount.read_only), ("/b", false));
    assert_eq!(
        (placed.mount.uid, placed.mount.mode, placed.origin),
        (Some(5), Some(0o700), Origin::Scratch)
    );
    assert_eq!(mount("type=cache,target=/a,id=x").id, "x");
    assert_eq!(
        mount("type=cache,target=/a,from=img,source=/s").origin,
        Origin::Image("img".to_owned())
    );
}

#[test]
fn tmpfs_size_i10() {
    let placed = mount("type=tmpfs,target=/t,size=64m");
    assert_eq!((placed.mount.size, placed.mount.read_only), (64 << 20, false));
}

#[test]
fn secret_defaults_i11() {
    let placed = mount("type=secret,id=a/b");
    assert_eq!(
        (placed.id.as_str(), placed.target.as_str()),
        ("a/b", "/run/secrets/b")
    );
    assert_eq!(mount("type=secret,target=/x/name").id, "name");
    let variable = mount("type=secret,id=a,env=A");
    assert_eq!(
        (variable.target.as_str(), variable.mount.env.as_deref()),
        ("", Some("A"))
    );
    assert_eq!(mount("type=secret,id=a,env=A,target=/t").target, "/t");
    assert!(mount("type=secret,id=a,required").mount.required);
    assert!(!mount("type=secret,id=a,required=false").mount.required);
}

#[test]
fn ssh_defaults_i12() {
    assert_eq!(mount("type=ssh").id, "default");
    assert_eq!(
        (
            mount("type=ssh,id=x").id.as_str(),
            mount("type=ssh,target=/s").target.as_str()
        ),
        ("x", "/s")
    );
}

#[test]
fn network_i14() {
    assert_eq!(
        Build::on_base("RUN --network=none x").run().network,
        Network::None
    );
    assert_eq!(Build::on_base("RUN x").run().network, Network::Default);
    assert!(command_error("RUN --network=hots x").starts_with("2:5 --network \"hots\" is not valid"));
}

#[test]
fn security_i15() {
    assert_eq!(
        Build::on_base("RUN --security=insecure x").run().security,
        Security::Insecure
    );
    assert!(command_error("RUN --security=none x").contains("use one of sandbox, insecure"));
}

#[test]
fn devices_i16() {
    let run = Build::on_base(
        "RUN --device=vendor.test/class=a --device=name=x,required --device=y,required=false z",
    )
    .run();
    let devices: Vec<_> = run
        .devices
        .iter()
        .map(|device| (device.name.as_str(), device.required))
        .collect();
    assert_eq!(
        devices,
        [("vendor.test/class=a", false), ("x", true), ("y", false)]
    );
    assert!(command_error("RUN --device=a,requird=1 x").contains("did you mean required?"));
}
