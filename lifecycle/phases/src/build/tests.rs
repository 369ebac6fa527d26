//! The rules of the build phase, with scripts.

use lifecycle_spec::{ExitCode, PlatformApi};

use super::*;
use crate::reporter::explain;
use crate::testing::World;

fn world(buildpacks: &[&str]) -> World {
    let world = World::new();
    let member = |id: &&str| format!("[[group]]\nid = '{id}'\nversion = '1'\napi = '0.10'\n");
    world.write(
        "layers/group.toml",
        &buildpacks.iter().map(member).collect::<String>(),
    );
    world.write("layers/plan.toml", "");
    world
}

fn run(world: &World) -> Result<BuildReport, BuildError> {
    build(&world.build_options(), &Cancellation::default(), &*world.recorder)
}

fn script(world: &World, id: &str, text: &str) {
    world.buildpack(
        id,
        "0.10",
        "sbom-formats = ['application/vnd.cyclonedx+json']",
        "",
        text,
    );
}

#[test]
fn buildpacks_run_in_order_and_the_first_failure_ends_it_bld_01() {
    let world = world(&["a", "b", "c"]);
    script(&world, "a", "echo a");
    script(&world, "b", "echo b1; echo b2 >&2; exit 7");
    script(&world, "c", "echo c");
    let error = run(&world).unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::BuildpackFailed);
    assert_eq!(
        error.to_string(),
        "buildpack 'b@1' exited with status 7\n  | b1\n  | b2"
    );
    assert!(matches!(error, BuildError::Buildpack { code: Some(7), .. }));
    let output: Vec<_> = world
        .recorder
        .lines()
        .into_iter()
        .filter(|line| line.starts_with("output"))
        .collect();
    assert_eq!(output, ["output: a", "output: b1", "output: b2"]);
}

#[test]
fn a_killed_buildpack_is_told_apart_ps_09() {
    let world = world(&["a"]);
    script(&world, "a", "kill -9 $$");
    let error = run(&world).unwrap_err().to_string();
    assert_eq!(
        error,
        "buildpack 'a@1' was killed by signal 9, as the system does when memory runs out"
    );
}

#[test]
fn root_is_refused_bld_05() {
    let world = world(&[]);
    let mut options = world.build_options();
    options.surroundings.uid = 0;
    let error = build(&options, &Cancellation::default(), &crate::Quiet).unwrap_err();
    assert_eq!(
        (error.to_string().as_str(), error.exit_code()),
        ("refusing to run as root", ExitCode::Generic)
    );
}

#[test]
fn build_layers_are_seen_by_those_who_follow_emr_02_env_08_bpb_04() {
    let world = world(&["acme/a", "b"]);
    script(
        &world,
        "acme/a",
        r#"for l in one two none bare; do
            mkdir -p $1/$l/bin $1/$l/env $1/$l/env.build
            printf $l > $1/$l/env/LAYER.append; printf , > $1/$l/env/LAYER.delim
            printf build > $1/$l/env.build/ONLY
        done
        printf '[types]\nbuild = true\n' | tee $1/one.toml > $1/two.toml
        printf '[types]\nlaunch = true\n' > $1/none.toml"#,
    );
    // `bare` has no file that says what it is for (BPB-04).
    script(&world, "b", "env > env; echo \"$CNB_LAYERS_DIR $1 $PWD\" > args");
    run(&world).unwrap();
    let env = world.read("app/env");
    let layers = world.path("layers").display().to_string();
    assert!(
        env.contains(&format!(
            "PATH={layers}/acme_a/two/bin:{layers}/acme_a/one/bin:/usr/bin:/bin\n"
        )),
        "{env}"
    );
    assert!(
        env.contains("LAYER=one,two\n") && env.contains("ONLY=build\n") && !env.contains("SECRET"),
        "{env}"
    );
    let app = world.path("app").display().to_string();
    assert_eq!(world.read("app/args"), format!("{layers}/b {layers}/b {app}\n"));
}

#[test]
fn layers_for_nothing_are_set_aside_bpb_02() {
    let world = world(&["a"]);
    script(
        &world,
        "a",
        "mkdir $1/old $1/new; echo x > $1/old/f; : > $1/old.toml; printf '[types]\\ncache = true\\n' > $1/new.toml",
    );
    world.write("layers/a/old.ignore/stale", "");
    run(&world).unwrap();
    assert_eq!(world.read("layers/a/old.ignore/f"), "x\n");
    assert!(!world.path("layers/a/old.ignore/stale").exists() && !world.path("layers/a/old").exists());
    assert!(world.path("layers/a/new").exists());
}

const PLAN: &str = "[[entries]]\n[[entries.providers]]\nid = 'a'\nversion = '1'\n[[entries.providers]]\nid = 'b'\nversion = '1'\n[[entries.requires]]\nname = 'x'\n[[entries.requires]]\nname = 'x'\n[entries.requires.metadata]\nv = 1\n[[entries]]\n[[entries.providers]]\nid = 'a'\nversion = '1'\n[[entries.providers]]\nid = 'b'\nversion = '1'\n[[entries.requires]]\nname = 'y'\n";

#[test]
fn unmet_entries_go_to_the_next_provider_unm_01_unm_02() {
    let world = world(&["a", "b"]);
    world.write("layers/plan.toml", PLAN);
    script(
        &world,
        "a",
        "cp $3 a-plan; printf '[[unmet]]\\nname = \"y\"\\n' > $1/build.toml",
    );
    script(&world, "b", "cp $CNB_BP_PLAN_PATH b-plan");
    run(&world).unwrap();
    let all = "[[entries]]\n  name = \"x\"\n\n[[entries]]\n  name = \"x\"\n  [entries.metadata]\n    v = 1\n\n[[entries]]\n  name = \"y\"\n";
    assert_eq!(world.read("app/a-plan"), all);
    assert_eq!(world.read("app/b-plan"), "[[entries]]\n  name = \"y\"\n");
}

#[test]
fn unmet_names_must_have_been_asked_for_unm_04() {
    let world = world(&["a"]);
    script(
        &world,
        "a",
        "printf '[[unmet]]\\nname = \"z\"\\n' > $1/build.toml",
    );
    let error = run(&world).unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::Build);
    assert_eq!(
        error.to_string(),
        "buildpack 'a@1' left 'z' unmet in build.toml, but the plan did not ask it for that"
    );
}

#[test]
fn metadata_collects_processes_labels_and_slices_bld_02_lch_02_lch_03() {
    let mut world = world(&["a", "b"]);
    script(
        &world,
        "a",
        r#"cat > $1/launch.toml <<'EOT'
[[labels]]
key = "k"
value = "a"
[[processes]]
type = "web"
command = ["a"]
default = true
[[processes]]
type = "task"
command = ["t", "fixed"]
args = ["x"]
default = false
[[slices]]
paths = ["static/*"]
EOT"#,
    );
    script(
        &world,
        "b",
        "printf '[[labels]]\\nkey = \"k\"\\nvalue = \"b\"\\n[[processes]]\\ntype = \"web\"\\ncommand = [\"b\"]\\nworking-dir = \"sub\"\\n' > $1/launch.toml",
    );
    world.api = PlatformApi::V0_14;
    run(&world).unwrap();
    let golden = r#"[[buildpacks]]
  id = "a"
  version = "1"
  api = "0.10"

[[buildpacks]]
  id = "b"
  version = "1"
  api = "0.10"

[[labels]]
  key = "k"
  value = "a"

[[labels]]
  key = "k"
  value = "b"

[[processes]]
  type = "task"
  command = ["t", "fixed"]
  args = ["x"]
  direct = true
  buildpack-id = "a"

[[processes]]
  type = "web"
  command = ["b"]
  direct = true
  buildpack-id = "b"
  working-dir = "sub"

[[slices]]
  paths = ["static/*"]
"#;
    assert_eq!(world.read("layers/config/metadata.toml"), golden);
    assert!(world.recorder.has(
        "warning: redefining the following default process type with a process not marked as default: web"
    ));
    world.api = PlatformApi::V0_15;
    let report = run(&world).unwrap();
    // The specification wants `["*"]` here, the reference writes nothing; nothing means the same, and the layer is the same.
    assert!(report.metadata.processes[0].exec_env.is_empty());
}

#[test]
fn sbom_files_go_to_their_trees_1_14_sbom_03() {
    let world = world(&["acme/a"]);
    script(
        &world,
        "acme/a",
        r#"for l in l b c lc; do mkdir $1/$l; echo $l > $1/$l.sbom.cdx.json; done
        for s in launch build gone; do echo $s > $1/$s.sbom.cdx.json; done
        printf '[types]\nlaunch = true\n' > $1/l.toml; printf '[types]\nbuild = true\n' > $1/b.toml
        printf '[types]\ncache = true\n' > $1/c.toml; printf '[types]\nlaunch = true\ncache = true\n' > $1/lc.toml"#,
    );
    world.write("layers/sbom/launch/stale", "");
    run(&world).unwrap();
    let mut found = Vec::new();
    for tree in ["launch", "build", "cache"] {
        for name in crate::contributed::names(&world.path(&format!("layers/sbom/{tree}/acme_a"))).unwrap() {
            found.push(format!("{tree}/{name}"));
        }
    }
    assert_eq!(
        found,
        [
            "launch/l",
            "launch/lc",
            "launch/sbom.cdx.json",
            "build/b",
            "build/c",
            "build/sbom.cdx.json",
            "cache/c",
            "cache/lc"
        ]
    );
    assert_eq!(world.read("layers/sbom/launch/acme_a/l/sbom.cdx.json"), "l\n");
    assert_eq!(world.read("layers/sbom/launch/sbom.legacy.json"), "null\n");
    assert!(!world.path("layers/sbom/launch/stale").exists());
}

#[test]
fn undeclared_and_unknown_sbom_files_fail_the_build_sbom_03() {
    let world = world(&["a"]);
    script(&world, "a", ": > $1/launch.sbom.spdx.json");
    let error = run(&world).unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::Build);
    assert_eq!(
        explain(&error),
        "buildpack 'a@1' left an SBOM file that cannot be used: 'launch.sbom.spdx.json' is of media type application/spdx+json, which `sbom-formats` in buildpack.toml does not list"
    );
    script(&world, "a", "rm -f $1/*.json; : > $1/launch.sbom.txt");
    assert!(matches!(
        run(&world),
        Err(BuildError::Sbom {
            cause: crate::SbomError::UnknownFormat { .. },
            ..
        })
    ));
}

#[test]
fn the_legacy_bill_of_materials_by_api_btm_02() {
    let mut world = world(&["a"]);
    script(
        &world,
        "a",
        "printf '[[bom]]\\nname = \"x\"\\n[bom.metadata]\\nv = \"1\"\\n' | tee $1/launch.toml > $1/build.toml",
    );
    run(&world).unwrap();
    let json =
        "[{\"name\":\"x\",\"metadata\":{\"v\":\"1\"},\"buildpack\":{\"id\":\"a\",\"version\":\"1\"}}]\n";
    assert_eq!(world.read("layers/sbom/launch/sbom.legacy.json"), json);
    assert_eq!(world.read("layers/sbom/build/sbom.legacy.json"), json);
    world.api = PlatformApi::V0_8;
    run(&world).unwrap();
    assert!(!world.path("layers/sbom/launch/sbom.legacy.json").exists());
    assert!(
        world
            .read("layers/config/metadata.toml")
            .contains("[[bom]]\n  name = \"x\"\n")
    );
}

#[test]
fn malformed_files_of_a_buildpack_have_their_place() {
    let world = world(&["a"]);
    for (file, text, place) in [
        ("x.toml", "[types]\\nlaunch = 1\\n", "2:10"),
        ("store.toml", "[metadata]\\nx\\n", "2:2"),
    ] {
        script(
            &world,
            "a",
            &format!("rm -f $1/*.toml; printf '{text}' > $1/{file}"),
        );
        let error = run(&world).unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::Build);
        let path = world.path("layers/a").join(file);
        assert!(
            explain(&error).starts_with(&format!(
                "buildpack 'a@1' left a file that cannot be used: {}:{place}: ",
                path.display()
            )),
            "{error}"
        );
    }
}

#[test]
fn users_come_after_buildpacks_and_the_lifecycle_last_env_05_env_09() {
    let world = world(&["a", "b"]);
    for (name, value) in [
        ("A", "user"),
        ("PATH", "/user/bin"),
        ("BP_A", "user"),
        ("BPL_B", "user"),
        ("CNB_LAYERS_DIR", "/elsewhere"),
        ("CNB_BUILDPACK_DIR", "/elsewhere"),
    ] {
        world.write(&format!("platform/env/{name}"), value);
    }
    script(
        &world,
        "a",
        "mkdir -p $1/l/bin $1/l/env; printf layer > $1/l/env/A; printf '[types]\\nbuild = true\\n' > $1/l.toml",
    );
    script(&world, "b", "env > env");
    run(&world).unwrap();
    let env = world.read("app/env");
    let (layers, home) = (world.path("layers"), world.path("home"));
    let (layers, home) = (layers.display(), home.display());
    for line in [
        "A=user".to_owned(),
        format!("PATH=/user/bin:{layers}/a/l/bin:/usr/bin:/bin"),
        "BP_A=user".to_owned(),
        "BPL_B=user".to_owned(),
        format!("HOME={home}"),
        format!("CNB_LAYERS_DIR={layers}/b"),
        format!("CNB_BUILDPACK_DIR={}", world.path("buildpacks/b/1").display()),
    ] {
        assert!(env.lines().any(|found| found == line), "{line} in {env}");
    }
}

#[test]
fn the_default_process_is_the_last_one_marked_bld_02_lch_02() {
    let process = |process_type: &str, default: bool| {
        format!("[[processes]]\ntype = '{process_type}'\ncommand = ['x']\ndefault = {default}\n")
    };
    for (a, b, expected) in [
        (process("web", true), String::new(), Some("web")),
        (process("web", true), process("task", false), Some("web")),
        (process("web", true), process("task", true), Some("task")),
        (process("web", false), process("web", true), Some("web")),
        // The type is another process now, which is no default.
        (process("web", true), process("web", false), None),
        (process("web", false), process("task", false), None),
    ] {
        let world = world(&["a", "b"]);
        for (id, launch) in [("a", &a), ("b", &b)] {
            let file = world.write(&format!("{id}.toml"), launch);
            script(&world, id, &format!("cp {} $1/launch.toml", file.display()));
        }
        let metadata = run(&world).unwrap().metadata;
        assert_eq!(metadata.default_process.as_deref(), expected, "{a}{b}");
        let written = world.read("layers/config/metadata.toml");
        let line = written.lines().next().unwrap_or_default();
        let key = line.strip_prefix("buildpack-default-process-type = ");
        assert_eq!(key, expected.map(|name| format!("{name:?}")).as_deref());
    }
}
