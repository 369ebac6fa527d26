//! The rules of detection, with scripts.

mod extensions;

use super::*;
use crate::testing::{World, extension_order_toml};
use lifecycle_spec::{ExitCode, PlatformApi, RunImage};

const PASS: &str = "exit 0";
const FAIL: &str = "echo 'no manifest found'; exit 100";
const ERROR: &str = "echo 'cannot read' >&2; exit 1";

fn world() -> World {
    let world = World::new();
    for (id, detect) in [
        ("pass", PASS),
        ("pass2", PASS),
        ("pass3", PASS),
        ("fail", FAIL),
        ("error", ERROR),
    ] {
        world.buildpack(id, "0.10", "", detect, "");
    }
    world
}

fn plan_script(plan: &str) -> String {
    format!("cat > \"$CNB_BUILD_PLAN_PATH\" <<'EOT'\n{plan}\nEOT")
}

fn run(world: &World) -> Result<DetectReport, DetectError> {
    detect(
        &world.detect_options(),
        &Cancellation::default(),
        &*world.recorder,
    )
}

/// The selected group as words, or the exit code.
fn selected(world: &World) -> Result<String, u8> {
    let report = run(world).map_err(|error| error.exit_code().number())?;
    let ids: Vec<_> = report
        .group
        .buildpacks
        .iter()
        .map(|module| module.id.to_string())
        .collect();
    Ok(ids.join(" "))
}

#[test]
fn groups_and_orders_2_6_2_7() {
    let world = world();
    world.composite("o", &["fail", "pass2"]);
    world.composite("p", &["o pass3", "pass"]);
    world.composite("none", &["fail", "error"]);
    for (order, expected) in [
        // DTA-01
        (&["pass", "pass2"][..], Ok("pass")),
        (&["fail", "pass2"], Ok("pass2")),
        (&["fail", "pass fail"], Err(20)),
        (&["error", "fail"], Err(21)),
        (&["fail?"], Err(20)),
        // DTA-02: an optional one that errs is only left out; DTA-01: but remembered if nothing passes
        (&["pass error?"], Ok("pass")),
        (&["error?"], Err(21)),
        (&["pass fail? pass2"], Ok("pass pass2")),
        // ORD-01
        (&["pass o pass3"], Ok("pass pass2 pass3")),
        (&["p"], Ok("pass2 pass3")),
        (&["p o"], Ok("pass2 pass3")),
        // ORD-02: a composite that never passes is left out at last
        (&["pass none?"], Ok("pass")),
        (&["pass none"], Err(21)),
        // ORD-04
        (&["pass pass pass2 pass"], Ok("pass pass2")),
        (&["o o"], Ok("pass2")),
        // DTA-04
        (&[""], Err(20)),
    ] {
        world.order(order);
        assert_eq!(selected(&world), expected.map(str::to_owned), "{order:?}");
    }
}

#[test]
fn the_last_of_two_composites_varies_fastest_ord_01() {
    let world = world();
    let (provides, requires) = (
        |name: &str| format!("[[provides]]\nname = '{name}'"),
        |name: &str| format!("[[requires]]\nname = '{name}'"),
    );
    for (id, plan) in [
        ("o1", provides("second")),
        ("o2", provides("first")),
        ("p1", requires("first")),
        ("p2", requires("second")),
    ] {
        world.buildpack(id, "0.10", "", &plan_script(&plan), "");
    }
    world.composite("o", &["o1", "o2"]);
    world.composite("p", &["p1", "p2"]);
    world.order(&["o p"]);
    // Of o1 p1, o1 p2, o2 p1 and o2 p2, the second and the third fit.
    assert_eq!(selected(&world).unwrap(), "o1 p2");
}

#[test]
fn files_are_written_dta_03() {
    let world = world();
    world.buildpack(
        "provides",
        "0.12",
        "homepage = 'https://x.example'",
        &plan_script("[[provides]]\nname = 'a'"),
        "",
    );
    world.buildpack(
        "requires",
        "0.9",
        "",
        &plan_script("[[requires]]\nname = 'a'\n[requires.metadata]\nv = '1'"),
        "",
    );
    world.order(&["provides fail? requires"]);
    run(&world).unwrap();
    let group = "[[group]]\n  id = \"provides\"\n  version = \"1\"\n  api = \"0.12\"\n  homepage = \"https://x.example\"\n\n[[group]]\n  id = \"requires\"\n  version = \"1\"\n  api = \"0.9\"\n";
    assert_eq!(world.read("layers/group.toml"), group);
    let plan = "[[entries]]\n\n  [[entries.providers]]\n    id = \"provides\"\n    version = \"1\"\n\n  [[entries.requires]]\n    name = \"a\"\n    [entries.requires.metadata]\n      v = \"1\"\n";
    assert_eq!(world.read("layers/plan.toml"), plan);
    world.order(&["pass"]);
    run(&world).unwrap();
    assert_eq!(world.read("layers/plan.toml"), "");
}

#[test]
fn composites_that_refer_to_each_other_are_an_error_ord_05() {
    let world = world();
    world.composite("a", &["fail", "b"]);
    world.composite("b", &["a pass"]);
    world.order(&["a"]);
    let error = run(&world).unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::Detect);
    assert_eq!(
        error.to_string(),
        "the order never ends: composite buildpacks refer to each other: a@1 → b@1 → a@1"
    );
}

#[test]
fn a_missing_buildpack_and_a_wrong_api_are_told_at_once_ord_06_det_14() {
    let world = world();
    world.order(&["pass", "gone"]);
    let error = run(&world).unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::Detect);
    assert!(
        error.to_string().starts_with("Buildpack 'gone@1' is not in "),
        "{error}"
    );
    world.buildpack("old", "0.2", "", PASS, "");
    world.order(&["pass", "old"]);
    let error = run(&world).unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::BuildpackApi);
    let text = "failed to set API for Buildpack 'old@1': buildpack API version '0.2' is incompatible with the lifecycle";
    assert_eq!(error.to_string(), text);
    // An extension is no buildpack (BPT-01).
    world.extension("x", PASS, "");
    world.order(&["pass", "x"]);
    let error = run(&world).unwrap_err().to_string();
    assert!(error.starts_with("Buildpack 'x@1' is not in "), "{error}");
}

#[test]
fn a_module_has_the_name_of_its_order_and_directory_dta_03() {
    let world = world();
    let toml = "api = '0.10'\n[buildpack]\nid = 'other'\nversion = '9'\nhomepage = 'https://h.example'\n";
    world.write("buildpacks/pass/1/buildpack.toml", toml);
    world.order(&["pass"]);
    run(&world).unwrap();
    let group = world.read("layers/group.toml");
    let expected = "[[group]]\n  id = \"pass\"\n  version = \"1\"\n  api = \"0.10\"\n  homepage = \"https://h.example\"\n";
    assert_eq!(group, expected);
}

#[test]
fn root_is_refused_det_13() {
    let world = world();
    let mut options = world.detect_options();
    options.surroundings.uid = 0;
    let error = detect(&options, &Cancellation::default(), &crate::Quiet).unwrap_err();
    assert_eq!(
        (error.to_string().as_str(), error.exit_code()),
        ("refusing to run as root", ExitCode::Generic)
    );
}

#[test]
fn a_failure_says_what_every_buildpack_looked_for_dti_01() {
    let world = world();
    world.order(&["fail pass", "error"]);
    let error = run(&world).unwrap_err();
    assert_eq!(
        error.to_string(),
        "No buildpack groups passed detection.\n  fail@1 does not want it: no manifest found\n  pass@1 passed, but its group did not\n  error@1 exited with status 1: cannot read"
    );
    assert_eq!(
        world.recorder.lines(),
        [
            "phase: DETECTING",
            "info: ======== Output: fail@1 ========",
            "info: no manifest found",
            "info: ======== Results ========",
            "info: fail: fail@1",
            "info: pass: pass@1",
            "info: ======== Output: error@1 ========",
            "info: cannot read",
            "info: ======== Results ========",
            "info: err:  error@1 (1)",
        ]
    );
}

#[test]
fn a_success_tells_the_group_and_details_only_who_asks() {
    let world = world();
    world.order(&["pass fail? pass2"]);
    run(&world).unwrap();
    assert!(world.recorder.has("debug: no manifest found"));
    let info: Vec<_> = world
        .recorder
        .lines()
        .into_iter()
        .filter(|line| line.starts_with("info"))
        .collect();
    assert_eq!(
        info,
        [
            "info: 2 of 3 buildpacks participating",
            "info: pass  1",
            "info: pass2 1"
        ]
    );
}

#[test]
fn every_script_runs_once_dti_02() {
    let world = world();
    world.buildpack("counts", "0.10", "", "echo x >> ../count; exit 0", "");
    world.order(&["counts fail", "counts fail", "counts pass"]);
    assert_eq!(selected(&world).unwrap(), "counts pass");
    assert_eq!(world.read("count"), "x\n");
}

#[test]
fn an_unreadable_plan_is_an_error_dti_01_pln_08() {
    let world = world();
    world.buildpack("broken", "0.10", "", "echo '[[' > \"$2\"", "");
    world.buildpack(
        "versioned",
        "0.10",
        "",
        &plan_script("[[requires]]\nname = 'a'\nversion = '1'"),
        "",
    );
    for id in ["broken", "versioned"] {
        world.order(&[id]);
        assert_eq!(selected(&world), Err(21), "{id}");
    }
}

#[test]
fn scripts_see_what_they_should_and_nothing_else_env_03_env_08() {
    let world = world();
    world.write("platform/env/USER_VAR", "from user\n");
    world.write("platform/env/PATH", "/user/bin");
    world.write("build-config/env/OPERATOR", "default");
    world.write("build-config/env/USER_VAR.override", "operator");
    world.write(
        "layers/analyzed.toml",
        "[run-image]\nreference = 'r'\n[run-image.target]\nos = 'linux'\narch = 'amd64'\n",
    );
    let dump = "env | sort > \"$(basename $CNB_BUILDPACK_DIR/..)env\"; pwd > pwd; echo \"$0 $1\" > args";
    world.buildpack(
        "new",
        "0.12",
        "",
        &dump.replace("$(basename $CNB_BUILDPACK_DIR/..)", "new."),
        "",
    );
    world.buildpack(
        "old",
        "0.7",
        "clear-env = true",
        &dump.replace("$(basename $CNB_BUILDPACK_DIR/..)", "old."),
        "",
    );
    world.order(&["new old"]);
    run(&world).unwrap();
    let names = |file: &str| -> Vec<String> {
        let shell = ["PWD", "OLDPWD", "SHLVL", "_"];
        let text = world.read(file);
        let names = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, _)| name.to_owned());
        names.filter(|name| !shell.contains(&name.as_str())).collect()
    };
    assert_eq!(
        names("app/new.env"),
        [
            "CNB_BUILDPACK_DIR",
            "CNB_BUILD_PLAN_PATH",
            "CNB_EXEC_ENV",
            "CNB_PLATFORM_DIR",
            "CNB_TARGET_ARCH",
            "CNB_TARGET_DISTRO_NAME",
            "CNB_TARGET_DISTRO_VERSION",
            "CNB_TARGET_OS",
            "HOME",
            "OPERATOR",
            "PATH",
            "USER_VAR"
        ]
    );
    let new = world.read("app/new.env");
    assert!(
        new.contains("PATH=/user/bin:/usr/bin:/bin\n") && new.contains("USER_VAR=operator\n"),
        "{new}"
    );
    assert!(new.contains("CNB_TARGET_DISTRO_VERSION=12\n"), "{new}");
    // ENV-06: the operator's variables stay.
    assert_eq!(
        names("app/old.env"),
        ["CNB_BUILDPACK_DIR", "HOME", "OPERATOR", "PATH", "USER_VAR"]
    );
    assert_eq!(
        world.read("app/pwd").trim_end(),
        world.path("app").to_str().unwrap()
    );
    assert!(world.read("app/args").contains("/bin/detect "));
}

#[test]
fn operators_have_variables_for_one_execution_environment() {
    let mut world = world();
    world.write("build-config/env/A.override", "all");
    world.write("build-config/env.test/A.append", "test");
    world.write("build-config/env.test/A.delim", ",");
    world.write("build-config/env.test/B", "test");
    world.buildpack("tells", "0.10", "", "echo \"$A $B\" > told", "");
    world.order(&["tells"]);
    for (exec_env, api, told) in [
        ("production", PlatformApi::V0_15, "all \n"),
        ("test", PlatformApi::V0_15, "all,test test\n"),
        ("test", PlatformApi::V0_14, "all \n"),
    ] {
        world.exec_env = exec_env.parse().unwrap();
        world.api = api;
        run(&world).unwrap();
        assert_eq!(world.read("app/told"), told, "{exec_env} {api}");
    }
}

#[test]
fn targets_are_told_as_far_as_they_are_known_det_02_tgt_06() {
    let world = world();
    world.write("os-release", "");
    world.buildpack("tells", "0.10", "", "env | grep ^CNB_TARGET_ | sort > told", "");
    world.order(&["tells"]);
    for (target, told) in [
        (
            "os = 'linux'\narch = 'amd64'\n",
            "CNB_TARGET_ARCH=amd64\nCNB_TARGET_OS=linux\n",
        ),
        (
            "os = 'linux'\narch = 'arm64'\nvariant = 'v8'\n[run-image.target.distro]\nname = 'd'\nversion = '1'\n",
            "CNB_TARGET_ARCH=arm64\nCNB_TARGET_ARCH_VARIANT=v8\nCNB_TARGET_DISTRO_NAME=d\n\
             CNB_TARGET_DISTRO_VERSION=1\nCNB_TARGET_OS=linux\n",
        ),
    ] {
        let run_image = format!("[run-image]\nreference = 'r'\n[run-image.target]\n{target}");
        world.write("layers/analyzed.toml", &run_image);
        run(&world).unwrap();
        assert_eq!(world.read("app/told"), told);
    }
}

#[test]
fn targets_decide_before_scripts_do_tgt_04_x_17() {
    let world = world();
    let target = "[run-image]\nreference = 'r'\n[run-image.target]\nos = 'linux'\narch = 'amd64'\n";
    world.write("layers/analyzed.toml", target);
    world.buildpack(
        "arm",
        "0.10",
        "[[targets]]\nos = 'linux'\narch = 'arm64'",
        "touch ran",
        "",
    );
    world.order(&["arm pass"]);
    let error = run(&world).unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::DetectFailedWithErrors);
    assert!(
        error.to_string().contains(
            "arm@1 is for other run images: none of its targets is the run image (linux/amd64, debian 12)"
        ),
        "{error}"
    );
    world.order(&["arm? pass"]);
    assert_eq!(selected(&world).unwrap(), "pass");
    assert!(!world.path("app/ran").exists());
}

#[test]
fn before_0_12_targets_are_not_looked_at() {
    let mut world = world();
    world.api = PlatformApi::V0_11;
    world.write(
        "layers/analyzed.toml",
        "[run-image]\nreference = 'r'\n[run-image.target]\nos = 'linux'\narch = 'amd64'\n",
    );
    world.buildpack(
        "arm",
        "0.10",
        "[[targets]]\nos = 'linux'\narch = 'arm64'",
        PASS,
        "",
    );
    world.order(&["arm"]);
    assert_eq!(selected(&world).unwrap(), "arm");
}

#[test]
fn system_buildpacks_surround_each_group_det_03_det_04_x_03() {
    let mut world = world();
    world.write(
        "system.toml",
        "[[system.pre.buildpacks]]\nid = 'pass'\nversion = '1'\n[[system.post.buildpacks]]\nid = 'fail'\nversion = '1'\noptional = true\n",
    );
    world.order(&["pass2"]);
    assert_eq!(selected(&world).unwrap(), "pass pass2");
    // A system buildpack makes a group pass that else would not.
    world.order(&["fail?"]);
    assert_eq!(selected(&world).unwrap(), "pass");
    // An id of the group is not put there again.
    world.order(&["pass2 pass"]);
    assert_eq!(selected(&world).unwrap(), "pass2 pass");
    // The id counts, whatever the version: the builder does not even have this one.
    world.write(
        "system.toml",
        "[[system.post.buildpacks]]\nid = 'pass'\nversion = '9'\n",
    );
    assert_eq!(selected(&world).unwrap(), "pass2 pass");
    // What has to pass and does not fails every group.
    world.write(
        "system.toml",
        "[[system.pre.buildpacks]]\nid = 'fail'\nversion = '1'\n",
    );
    world.order(&["pass2", "pass"]);
    assert_eq!(selected(&world), Err(20));
    world.api = PlatformApi::V0_14;
    assert_eq!(selected(&world).unwrap(), "pass2");
}

#[test]
fn execution_environments_leave_buildpacks_out_det_05_x_04_x_18() {
    let mut world = world();
    world.buildpack("tests", "0.12", "exec-env = ['test']", PASS, "");
    world.buildpack("old", "0.11", "exec-env = ['test']", PASS, "");
    world.order(&["tests old", "pass"]);
    assert_eq!(selected(&world).unwrap(), "old");
    // A group of which all are left out fails, and the next one follows.
    world.order(&["tests", "pass"]);
    assert_eq!(selected(&world).unwrap(), "pass");
    world.exec_env = "test".parse().unwrap();
    assert_eq!(selected(&world).unwrap(), "tests");
    world.write("order.toml", "[[order]]\n[[order.group]]\nid = 'pass'\nversion = '1'\nexec-env = ['production']\n[[order.group]]\nid = 'pass2'\nversion = '1'\n");
    assert_eq!(selected(&world).unwrap(), "pass2");
    world.api = PlatformApi::V0_14;
    world.order(&["tests"]);
    assert_eq!(selected(&world).unwrap(), "tests");
}

#[test]
fn an_entry_of_a_composite_can_be_for_one_execution_environment_ord_07_x_18() {
    let mut world = world();
    world.write(
        "buildpacks/both/1/buildpack.toml",
        "api = '0.12'\n[buildpack]\nid = 'both'\nversion = '1'\n[[order]]\n\
         [[order.group]]\nid = 'pass'\nversion = '1'\nexec-env = ['test']\n\
         [[order.group]]\nid = 'pass2'\nversion = '1'\n",
    );
    world.order(&["both"]);
    assert_eq!(selected(&world).unwrap(), "pass2");
    world.exec_env = "test".parse().unwrap();
    assert_eq!(selected(&world).unwrap(), "pass pass2");
}
