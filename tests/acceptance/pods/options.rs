//! What becomes of every option of `lifecycle build` on a cluster.

use std::collections::BTreeSet;

use super::{EXECUTOR, Site};
use crate::support::{Invocation, Machine};

/// The client itself sees to these.
const BY_THE_CLIENT: &[&str] = &[
    "tag",
    "output",
    "path",
    "publish",
    "digest-file",
    "termination-message",
    "metadata-file",
    "iidfile",
    "dry-run",
    "dockerfile",
    "buildpacks-only",
    "on",
    "kubeconfig",
    "context",
    "send-source",
    "source-limit",
    "gitignore",
    "follow",
    "detach",
    "on-interrupt",
    "descriptor",
    // Every build here has it.
    "executor-image",
    // They say that they change nothing.
    "trust-builder",
    "trust-extra-buildpacks",
    // Of the program as a whole, or of how this machine speaks to registries.
    "help",
    "version",
    "store",
    "verbose",
    "quiet",
    "no-color",
    "log-format",
    "pull-policy",
    "insecure-registry",
    "registry-ca",
    "registry-mirror",
    "buildpack-registry",
];

/// In the objects of a build of a Dockerfile.
const OF_A_DOCKERFILE: &[&str] = &[
    "--platform=linux/s390x",
    "--creation-time=7",
    "--namespace=other",
    "--registry-secret=push",
    "--registry-config=/dev/null",
    "--ca-config-map=ca",
    "--pull-secret=pull",
    "--service-account=builder",
    "--pod-security=baseline",
    "--pod-user=7:8",
    "--pod-cpu=2",
    "--pod-memory=2Gi",
    "--ephemeral-storage=3Gi",
    "--node-selector=a=b",
    "--toleration=a",
    "--priority-class=high",
    "--runtime-class=kata",
    "--job-label=a=b",
    "--job-annotation=a=b",
    "--timeout=7",
    "--retries=7",
    "--ttl=7",
    "--suspend",
    "--queue=builds",
    "--cache=pvc:cache",
    "--build-arg=A=b",
    "--target=a",
    "--label=a=b",
    "--secret=id=a,src=/dev/null",
    "--no-cache",
    "--cache-from=type=registry,ref=r.test/a",
    "--cache-to=type=registry,ref=r.test/a",
    "--isolation=none",
    "--shm-size=7m",
    "--add-host=a:192.0.2.7",
    "--build-context=a=docker-image://r.test/a",
    "--allow=network.host",
    "--memory=7m",
    "--cpus=0.7",
    "--network=none",
    "--annotation=a=b",
    "--attest=type=sbom",
    "--sbom",
    "--provenance",
];

/// In those of a build with buildpacks.
const WITH_BUILDPACKS: &[&str] = &[
    "--builder=",
    "--buildpack=fx-noop",
    "--pre-buildpack=fx-noop",
    "--post-buildpack=fx-noop",
    "--exec-env=test",
    "--cache-image=r.test/cache",
    "--uid=7",
    "--gid=7",
    "--workspace=/srv",
    "--env=A=b",
    "--env-file=/dev/null",
    "--clear-cache",
    "--run-image=r.test/run",
    "--process=web",
    "--previous-image=r.test/app:0",
];

/// Refused, with the reason.
const REFUSED: &[(&str, &[&str], &str)] = &[
    (
        "--buildpacks-only",
        &["--extension=a"],
        "no step that extends images",
    ),
    (
        "--buildpacks-only",
        &["--volume=/a:/b"],
        "sees no directory of this machine",
    ),
    ("--buildpacks-only", &["--git-metadata"], "without its repository"),
    (
        "--buildpacks-only",
        &["--disable-system-buildpacks"],
        "own lifecycle decides",
    ),
    (
        "--buildpacks-only",
        &["--sbom-output-dir=a"],
        "the files are in the image",
    ),
    (
        "--buildpacks-only",
        &["--report-output-dir=a"],
        "ends with the pod",
    ),
    ("--dockerfile", &["--ssh=default"], "does not reach into a pod"),
    ("--dockerfile", &["--stack=debian-12"], "store of this machine"),
    ("--dockerfile", &["--check"], "needs no cluster"),
    ("--dockerfile", &["--cdi-spec-dir=a"], "those that the pod has"),
    ("--buildpacks-only", &["--network=none"], "NetworkPolicy"),
    ("--buildpacks-only", &["--annotation=a=b"], "writes none"),
    (
        "--dockerfile",
        &["--memory=1g", "--pod-memory=1Gi"],
        "both be the limit",
    ),
    ("--dockerfile", &["--build-context=a=/"], "outside of it"),
    (
        "--dockerfile",
        &["--build-context=a=oci-layout://a"],
        "no directory of this machine",
    ),
];

/// The name of an option that is given.
fn name(word: &str) -> &str {
    word.trim_start_matches("--").split('=').next().unwrap()
}

/// The objects without the name, which is one of a kind.
fn objects(build: &Invocation) -> String {
    let text = build
        .clone()
        .argument("--dry-run")
        .argument("--output=yaml")
        .succeeds()
        .stdout();
    let id = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("lifecycle.build/id: "))
        .unwrap();
    text.replace(id, "ID")
}

#[test]
fn every_option_of_build_is_passed_on_mapped_onto_the_job_or_refused_with_a_reason() {
    let site = Site::with_builder();
    let source = site.small_source();
    let dockerfile = |more: &[&str]| site.build(&source, &[&["--dockerfile"], more].concat());
    let plain = objects(&dockerfile(&[]));
    assert!(plain.contains(EXECUTOR));
    assert_eq!(
        plain,
        objects(&dockerfile(&[])),
        "the same build is the same objects"
    );
    for option in OF_A_DOCKERFILE {
        assert_ne!(objects(&dockerfile(&[option])), plain, "{option} is in no object");
    }
    let app = site.machine.app();
    let builder = site.builder();
    let buildpacks = |more: &[&str]| {
        let words: Vec<&str> = builder.iter().map(String::as_str).collect();
        site.build(&app, &[&["--buildpacks-only"], &words[..2], more].concat())
    };
    let plain = objects(&buildpacks(&[]));
    for option in WITH_BUILDPACKS.iter().filter(|option| **option != "--builder=") {
        let text = objects(&buildpacks(&[option]));
        // An empty file of variables has none.
        assert_eq!(
            text == plain,
            *option == "--env-file=/dev/null",
            "{option} is in no object"
        );
    }
    for (kind, words, reason) in REFUSED {
        let (source, words) = (
            if *kind == "--dockerfile" { &source } else { &app },
            [&[*kind], *words].concat(),
        );
        let refused = site.build(source, &words).argument("--dry-run").fails(2);
        refused.says(reason).says(name(words[1]));
    }
    let help = site.machine.lifecycle(&["build", "--help"]).succeeds().stdout();
    let options = help.lines().filter_map(|line| {
        let (_, option) = line
            .split_once("--")
            .filter(|(before, _)| before.trim().len() <= 3)?;
        Some(option.split([' ', '[', '=']).next().unwrap())
    });
    let decided = BY_THE_CLIENT.iter().copied();
    let decided = decided.chain(
        OF_A_DOCKERFILE
            .iter()
            .chain(WITH_BUILDPACKS)
            .map(|word| name(word)),
    );
    let decided = decided.chain(REFUSED.iter().map(|(_, words, _)| name(words[0])));
    let decided: BTreeSet<&str> = decided.collect();
    for option in options {
        assert!(
            decided.contains(option),
            "nothing is decided about --{option} on a cluster"
        );
    }
}

#[test]
fn the_dockerfile_that_people_copy_has_no_findings() {
    let machine = Machine::new();
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/executor-git");
    let check = machine.lifecycle(&["build", directory, "--tag", "x", "--check"]);
    check.succeeds().says("no findings");
}
