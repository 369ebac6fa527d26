//! Image extensions as pack runs them for builders that it does not trust: one container for each phase, two of which extend
//! (platforms.md 1.5, cnb.md EXT-*, DKF-*).

use lifecycle_image::Artifact;
use lifecycle_image::layout::Layout;

use crate::support::images::buildpack;
use crate::support::{Finished, Invocation, Machine, Pod};

const LIFECYCLE: &str = "io.buildpacks.lifecycle.metadata";
const BUILD: &str = "io.buildpacks.build.metadata";

/// Gives a pod's builder an extension, and an order of buildpacks that want what it provides.
pub(crate) fn with_extension(pod: Pod) -> Pod {
    pod.install_extension("fx-ext");
    pod.order("/cnb/order.toml", &["fx-plan-b", "fx-noop", "fx-process"]);
    pod.root.prepare(
        "cat >>/cnb/order.toml <<'EOT'
[[order-extensions]]
[[order-extensions.group]]
id = \"fx-ext\"
version = \"1.0.0\"
EOT
         printf yes >/platform/env/FX_ONLY_REQUIRES
         mkdir /kaniko",
    );
    pod
}

/// pack's flow for builders that it does not trust, up to the extenders. Returns what the detector said.
fn pack_prepares(pod: &Pod, name: &str) -> Finished {
    let ids = ["-uid", "1000", "-gid", "1000"];
    let run_toml = format!("[[images]]\n  image = \"{}\"\n", pod.run_image());
    pod.write("/layers/run.toml", &run_toml);
    let as_root = |words: &[&str]| {
        pod.phase_as_root(&[words, &ids].concat())
            .env("CNB_USER_ID", "1000")
            .env("CNB_GROUP_ID", "1000")
    };
    let analyze = ["analyzer", "-run", "/layers/run.toml", "-log-level", "debug"];
    as_root(&analyze).argument(name).succeeds();
    let detected = pod.phase(&["detector", "-app", "/workspace"]).succeeds();
    as_root(&[
        "restorer",
        "-cache-dir",
        "/cache",
        "-build-image",
        &pod.run_image(),
    ])
    .succeeds();
    detected
}

fn pack_extends(pod: &Pod, kind: &[&str]) -> Invocation {
    let words = [&["extender", "-app", "/workspace"], kind].concat();
    pod.phase_as_root(&words)
        .env("CNB_USER_ID", "1000")
        .env("CNB_GROUP_ID", "1000")
}

#[test]
fn pack_extends_build_and_run_image_pk_30_ext_01_ext_03_dkf_01_dkf_06() {
    let pod = with_extension(Pod::new());
    let name = pod.registry.name("extended");
    let round = || {
        pack_prepares(&pod, &name).says("fx-ext");
        let analyzed = pod.read("/layers/analyzed.toml");
        assert!(
            analyzed.contains("[build-image]") && analyzed.matches("extend = true").count() == 2,
            "{analyzed}"
        );
        // The containers of the two extenders have roots of their own; here is one, so what the run image gets is undone.
        let ran = pack_extends(&pod, &["-kind", "run"]).succeeds();
        pod.root
            .prepare("rm -r /opt; printf 'ID=busybox\\nVERSION_ID=1\\n' >/etc/os-release");
        let built = pack_extends(&pod, &[]).succeeds();
        pod.root.prepare("rm -r /opt /bin/fx-tool");
        pod.phase_as_root(&[
            "exporter",
            "-app",
            "/workspace",
            "-cache-dir",
            "/cache",
            "-run",
            "/layers/run.toml",
            "-uid",
            "1000",
            "-gid",
            "1000",
            "-process-type",
            "no-arguments",
            &name,
        ])
        .succeeds();
        (ran, built)
    };
    let (ran, built) = round();
    let built = built
        .says("fx-ext: build as 0")
        // The build goes on as the builder's user, with the variables of the extended image.
        .says("fx-noop: env: HOME=/home/cnb")
        .does_not_say("empty or invalid base image");
    assert!(!built.text().contains("CNB_REGISTRY_AUTH"), "{}", built.text());
    ran.says("fx-ext: run as 0").says("fx-ext: build ");
    let image = pod.image(&name);
    let config = image.config();
    assert_eq!(config.label("io.buildpacks.rebasable"), Some("true"));
    assert_eq!(config.config.user.as_deref(), Some("1001:1000"));
    let lines: Vec<_> = config
        .history
        .iter()
        .filter_map(|line| line.created_by.clone())
        .collect();
    assert_eq!(
        lines
            .iter()
            .filter(|line| line.ends_with("Created by extension: fx-ext"))
            .count(),
        3,
        "{lines:?}"
    );
    let label = pod.label(&name, BUILD);
    assert_eq!(label["extensions"][0]["id"], "fx-ext");
    let run_image = pod.image(&pod.run_image());
    assert_eq!(
        pod.label(&name, LIFECYCLE)["runImage"]["topLayer"],
        run_image.config().rootfs.diff_ids.last().unwrap().as_str()
    );

    // The steps in front of the one with the build's id are taken from the volume, that one is not.
    pod.root.prepare("rm -rf /layers/*");
    let (ran, _) = round();
    assert_eq!(
        ran.text().matches("taken from an earlier build").count(),
        2,
        "{}",
        ran.text()
    );
    ran.says("fx-ext: build ");
    let again = pod.image(&name);
    let layers = |image: &lifecycle_image::Image| image.config().rootfs.diff_ids[..3].to_vec();
    assert_eq!(layers(&image), layers(&again));
}

/// Extensions, when run image and app are layouts.
#[test]
fn an_extended_run_image_goes_into_a_layout_ext_06_lay_05() {
    let pod = with_extension(Pod::new());
    let (run, app) = ("small.test/run:1", "small.test/app");
    pod.root.prepare(&format!(
        "mkdir -p /layout-repo/small.test/run
         LIFECYCLE_STORE=/tmp/store /cnb/lifecycle/lifecycle copy registry:{} oci:/layout-repo/small.test/run/1:1
         chown -R 1000:1000 /layout-repo",
        pod.run_image()
    ));
    pod.write("/layers/run.toml", &format!("[[images]]\n  image = \"{run}\"\n"));
    let with_layouts = |words: &[&str]| {
        pod.phase_as_root(&[words, &["-uid", "1000", "-gid", "1000"]].concat())
            .env("CNB_USE_LAYOUT", "true")
            .env("CNB_LAYOUT_DIR", "/layout-repo")
            .env("CNB_EXPERIMENTAL_MODE", "warn")
    };
    with_layouts(&["analyzer", "-run", "/layers/run.toml"])
        .argument(app)
        .succeeds();
    pod.phase(&["detector", "-app", "/workspace"]).succeeds();
    with_layouts(&["restorer", "-cache-dir", "/cache", "-build-image", run]).succeeds();
    pack_extends(&pod, &["-kind", "run"]).succeeds();
    pod.root
        .prepare("rm -r /opt; printf 'ID=busybox\\nVERSION_ID=1\\n' >/etc/os-release");
    pack_extends(&pod, &[]).succeeds();
    with_layouts(&["exporter", "-app", "/workspace", "-run", "/layers/run.toml"])
        .argument(app)
        .succeeds();
    let named = |path: &str| {
        let layout = Layout::open(pod.root.at(path)).unwrap();
        let Artifact::Image(image) = layout.named(None).unwrap() else {
            panic!("{path} is an index")
        };
        image
    };
    let (base, image) = (
        named("/layout-repo/small.test/run/1"),
        named("/layout-repo/small.test/app/latest"),
    );
    let config = image.config();
    assert_eq!(config.label("io.buildpacks.rebasable"), Some("true"));
    let of_extension = |line: &&lifecycle_image::History| {
        line.created_by
            .as_deref()
            .is_some_and(|text| text.ends_with("Created by extension: fx-ext"))
    };
    assert_eq!(config.history.iter().filter(of_extension).count(), 3);
    // The run image's layers, what the extension made of it, and the app are there to be read.
    let own = base.config().rootfs.diff_ids.len();
    assert_eq!(config.rootfs.diff_ids[..own], base.config().rootfs.diff_ids);
    for layer in image.layers() {
        std::io::copy(&mut layer.open(0).unwrap(), &mut std::io::sink()).unwrap();
    }
}

#[test]
fn what_extenders_refuse_ends_with_102_exit_01_ext_05_kb_12() {
    let pod = with_extension(Pod::new());
    let name = pod.registry.name("refused");
    pod.root
        .prepare("printf yes >/platform/env/FX_EXT_ROOT; printf yes >/platform/env/FX_EXT_FAIL");
    pack_prepares(&pod, &name);
    pack_extends(&pod, &["-kind", "run"])
        .fails(102)
        .says("which is root");
    pack_extends(&pod, &[])
        .fails(102)
        .says("fx-ext: fails")
        .says("exit code: 9");
    pack_extends(&pod, &["-kind", "other"])
        .fails(3)
        .says("-kind is build or run");
    pack_extends(&pod, &["-kaniko-cache-ttl", "soon"])
        .fails(3)
        .says("is a duration");
    // A restricted pod: no root, no capability.
    pod.root.prepare("chown -R 1000:1000 /kaniko");
    pod.phase(&["extender", "-kind", "run"])
        .fails(102)
        .says("running a command is not possible");
    pod.root.prepare("rm -r /kaniko");
    pack_extends(&pod, &[]).fails(102).says("/kaniko is not there");
    // The exporter does not put an app on a run image that should have been extended.
    pod.phase(&["exporter", &name])
        .fails(62)
        .says("run the extender with -kind run");
}

#[test]
fn a_build_on_this_machine_extends_both_images_ext_01_ext_03() {
    let machine = Machine::with_builder();
    let extension = format!("{}/tests/fixtures/extensions/fx-ext", env!("CARGO_MANIFEST_DIR"));
    let (wants, uses) = (buildpack("fx-plan-b"), buildpack("fx-noop"));
    let options = [
        "--extension",
        &extension,
        "--buildpack",
        &wants,
        "--buildpack",
        &uses,
        "--env",
        "FX_ONLY_REQUIRES=yes",
        "--tag",
        "extended/app",
    ];
    machine
        .build(&machine.app(), &options)
        .succeeds()
        .says("fx-ext: build as 0")
        .says("fx-ext: run as 0");
    let show = [
        "run",
        "extended/app",
        "--entrypoint",
        "/bin/cat",
        "--",
        "/opt/greeting",
    ];
    machine.lifecycle(&show).succeeds().says("hello");
}
