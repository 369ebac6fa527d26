//! Whole jobs.

use std::collections::BTreeSet;
use std::fs;

use super::{contains, content, executor, push_shell, read, to_layout};
use crate::support::accounts::{Account, is_root};
use crate::support::executable::copy_program;
use crate::support::peers::{judge, skopeo_digest};
use crate::support::{ExecutorRoot, Machine, Registry};

/// A build as jobs have it: a base from the registry, a file, a command.
fn dockerfile(shell: &str) -> String {
    format!(
        "FROM {shell} AS build\nARG VERSION\nCOPY file /app/file\nRUN echo $VERSION >/app/version && mkdir -p /var/run && echo 1 >/var/run/pid\nFROM {shell}\nCOPY --from=build /app /app\nCMD [\"cat\", \"/app/version\"]\n"
    )
}

#[test]
fn a_job_of_kaniko_runs_as_it_is_1_1() {
    let (machine, registry) = (Machine::new(), Registry::start());
    let shell = push_shell(&machine, &registry);
    let context = machine.files(
        "context",
        &[("file", "content\n"), ("docker/Dockerfile", &dockerfile(&shell))],
    );
    let (one, two) = (registry.name("team/app:1"), registry.name("other:stable"));
    let output = machine.path("cloud");
    fs::create_dir(&output).unwrap();
    let done = executor(
        &machine,
        &[
            &format!("--context=dir://{}", context.display()),
            "--dockerfile",
            "docker/Dockerfile",
            "-d",
            &one,
            &format!("--destination={two}"),
            "--build-arg",
            "VERSION=1=2",
            "--label=org.example.a=b=c",
            "--annotation=org.example.d=e",
            "--digest-file=made/for/digest",
            "--image-name-with-digest-file=names",
            "--image-name-tag-with-digest-file=tags",
            "--tarPath=image.tar",
            "--oci-layout-path=layout",
            "--compression-level=6",
            "--cache=false",
            "--snapshotMode=redo",
            "--use-new-run",
            "--cleanup=true",
            "--verbosity=info",
            "--log-format=text",
            "--log-timestamp=false",
            "--push-retry=3",
            "--skip-tls-verify",
            "--insecure-pull",
            "--force",
        ],
    )
    .env("BUILDER_OUTPUT", &output)
    .env("FF_KANIKO_COPY_AS_ROOT", "0")
    .succeeds();
    let done = done
        .says("--snapshotMode has no effect: see --snapshot-mode\n")
        .says("--cleanup has no effect: ")
        .says("--force has no effect: ")
        .says("FF_KANIKO_COPY_AS_ROOT has no effect: this behaviour cannot be switched off")
        .does_not_say("--compression-level has no effect");
    assert_eq!(done.text().matches("--use-new-run has no effect").count(), 1);
    let digest = read(machine.path("made/for/digest"));
    assert!(
        digest.starts_with("sha256:") && !digest.ends_with('\n'),
        "{digest:?}"
    );
    for name in [&one, &two] {
        if let Some(found) = skopeo_digest(&format!("docker://{name}")) {
            assert_eq!(found, digest);
        }
    }
    let (app, other) = (registry.name("team/app"), registry.name("other"));
    assert_eq!(
        read(machine.path("names")),
        format!("{app}@{digest}\n{other}@{digest}\n")
    );
    assert_eq!(
        read(machine.path("tags")),
        format!("{one}@{digest}\n{two}@{digest}\n")
    );
    let images = read(output.join("images"));
    assert!(
        images.contains(&format!(r#"{{"digest":"{digest}","name":"{one}"}}"#)),
        "{images}"
    );
    let inspect = [
        "inspect",
        "--tls-verify=false",
        "--config",
        &registry.docker("team/app:1"),
    ];
    if let Some(shown) = judge("skopeo", &inspect) {
        let config = shown.json();
        assert_eq!(config["config"]["Labels"]["org.example.a"], "b=c");
        assert_eq!(config["config"]["Cmd"][1], "/app/version");
    }
    let raw = [
        "inspect",
        "--tls-verify=false",
        "--raw",
        &registry.docker("team/app:1"),
    ];
    if let Some(shown) = judge("skopeo", &raw) {
        assert_eq!(shown.json()["annotations"]["org.example.d"], "e");
    }
    for place in ["docker-archive:image.tar", "oci:layout"] {
        let place = place.replace(':', &format!(":{}/", machine.text("")));
        if let Some(shown) = judge("skopeo", &["inspect", "--config", &place]) {
            assert_eq!(
                shown.json()["config"]["Labels"]["org.example.a"],
                "b=c",
                "{place}"
            );
        }
    }
    machine.lifecycle(&["pull", &one, "--tag", "app"]).succeeds();
    machine.lifecycle(&["run", "app"]).succeeds().says("1=2");
}

#[test]
fn jobs_run_in_pods_and_for_ordinary_users_2_2_4() {
    let registry = Registry::start();
    let outside = Machine::new();
    let shell = push_shell(&outside, &registry);
    let mut digests = Vec::new();
    // An ordinary user without anything.
    let account = Account::ordinary();
    let machine = Machine::new();
    let program = machine.path("executor");
    copy_program(env!("CARGO_BIN_EXE_lifecycle"), &program);
    let context = machine.files(
        "context",
        &[("file", "content\n"), ("Dockerfile", &dockerfile(&shell))],
    );
    account.own_tree(&machine.path(""));
    let name = registry.name("user");
    let words = [
        "-c",
        context.to_str().unwrap(),
        "-d",
        &name,
        "--reproducible",
        "--build-arg=VERSION=3",
    ];
    account
        .invoke(machine.lifecycle(&words).program(&program))
        .succeeds();
    digests.extend(skopeo_digest(&registry.docker("user")));
    // Root of a pod, which may not mount, in the root file system of the image. Twice: the first leaves nothing behind
    // that the second could fall over, and its root stays as it was (2.2: 1, 2, 5).
    if is_root() {
        let root = ExecutorRoot::new(&outside);
        fs::write(root.at("workspace/file"), "content\n").unwrap();
        fs::write(root.at("workspace/Dockerfile"), dockerfile(&shell)).unwrap();
        fs::write(root.at("etc/canary"), "CANARY").unwrap();
        for name in ["pod", "pod-again"] {
            let destination = registry.name(name);
            let job = root.executor(&[
                "--destination",
                &destination,
                "--reproducible",
                "--build-arg=VERSION=3",
            ]);
            job.succeeds().says("Pushed");
            digests.extend(skopeo_digest(&registry.docker(name)));
        }
        assert_eq!(read(root.at("etc/canary")), "CANARY");
        assert!(!root.at("app").exists() && !root.at("bin").exists() && !root.at("var").exists());
    }
    digests.dedup();
    assert!(digests.len() <= 1, "{digests:?}");
}

#[test]
fn a_failing_run_ends_the_job_with_its_code() {
    let (machine, registry) = (Machine::new(), Registry::start());
    let shell = push_shell(&machine, &registry);
    let file = format!("FROM {shell}\nRUN exit 42\n");
    let context = machine.files("context", &[("Dockerfile", &file)]);
    let context = context.to_str().unwrap();
    to_layout(&machine, &["-c", context])
        .fails(42)
        .says("Dockerfile:2:1");
    executor(&machine, &["-c", context])
        .fails(1)
        .says("--destination");
    executor(&machine, &["-c", context, "--no-push", "--nonsense"])
        .fails(1)
        .says("unknown flag: --nonsense");
    executor(&machine, &["-c", context, "--no-push", "build"])
        .fails(1)
        .says("unknown command");
    let unknown = to_layout(&machine, &["-c", "nowhere"]);
    unknown.fails(1).says("the build context nowhere is no directory");
}

#[test]
fn results_are_taken_with_cache_alone_1_6() {
    let (machine, registry) = (Machine::new(), Registry::start());
    let shell = push_shell(&machine, &registry);
    let file = format!("FROM {shell}\nCOPY f /f\nRUN echo once >/once\nRUN echo again >/again\n");
    let context = machine.files("context", &[("Dockerfile", &file), ("f", "f")]);
    let context = context.to_str().unwrap();
    let build = |arguments: &[&str], said: &str| {
        let arguments = [&["-c", context, "--no-push-cache"], arguments].concat();
        to_layout(&machine, &arguments).succeeds().says(said);
    };
    build(&[], "3 steps carried out, 0 taken");
    build(&[], "3 steps carried out, 0 taken");
    build(&["--cache"], "0 steps carried out, 3 taken");
    build(
        &["--cache=true", "--cache-run-layers=false"],
        "2 steps carried out",
    );
    let wrong = executor(&machine, &["-c", context, "--no-push", "--cache"]);
    wrong.fails(1).says("specify cache repo with --cache-repo");
}

/// Pods come and go; what they have done stays in the repository.
#[test]
fn results_are_kept_in_a_repository_1_6() {
    let registry = Registry::start();
    let shell = push_shell(&Machine::new(), &registry);
    let file = format!("FROM {shell}\nRUN echo $((1+1)) >/once\nCOPY f /f\nRUN echo again >/again\n");
    let files = Machine::new();
    let context = files.files("context", &[("Dockerfile", &file), ("f", "f")]);
    let name = registry.name("app");
    let layout = format!("--cache-repo=oci:{}", files.text("results"));
    let build = |arguments: &[&str], said: &str| {
        let machine = Machine::new();
        let words = [
            &["-c", context.to_str().unwrap(), "-d", &name, "--cache"],
            arguments,
        ]
        .concat();
        executor(&machine, &words).succeeds().says(said)
    };
    build(&["--no-push-cache"], "3 steps carried out, 0 taken");
    build(&[], "3 steps carried out, 0 taken");
    build(&[], "0 steps carried out, 3 taken");
    build(
        &["--cache-ttl=0s", "--no-push-cache"],
        "3 steps carried out, 0 taken",
    );
    build(&[&layout], "3 steps carried out, 0 taken");
    build(&[&layout, "--no-push"], "0 steps carried out, 3 taken");
    // Commands have results of their own on another platform (G#3350). A COPY on the same layers gives the same on all.
    let other = "--custom-platform=linux/arm64";
    build(
        &[
            other,
            "-f",
            context.join("Dockerfile").to_str().unwrap(),
            "--no-push-cache",
        ],
        "carried out",
    )
    .does_not_say("from an earlier build: RUN");
    let cache = registry.requests();
    assert!(
        cache
            .iter()
            .any(|request| request.method == "PUT" && request.path.contains("/app/cache/manifests/"))
    );
}

#[test]
fn paths_can_be_left_out_of_the_image() {
    let (machine, registry) = (Machine::new(), Registry::start());
    let shell = push_shell(&machine, &registry);
    let file = format!(
        "FROM {shell}\nRUN mkdir -p /var/run /data/sub && echo PID$((1+1)) >/var/run/p && echo DATA$((1+1)) >/data/sub/f && echo KEPT$((1+1)) >/kept\n"
    );
    let context = machine.files("context", &[("Dockerfile", &file)]);
    let context = context.to_str().unwrap();
    to_layout(&machine, &["-c", context]).succeeds();
    let all = content(&machine);
    assert!(
        contains(&all, "PID2") && contains(&all, "DATA2"),
        "volatile paths are kept (2.2: 6)"
    );
    to_layout(
        &machine,
        &["-c", context, "--ignore-var-run", "--ignore-path=/data/sub"],
    )
    .succeeds();
    let all = content(&machine);
    assert!(contains(&all, "KEPT2"));
    assert!(!contains(&all, "PID2") && !contains(&all, "DATA2"));
}

#[test]
fn a_single_snapshot_is_a_single_layer_1_1() {
    let (machine, registry) = (Machine::new(), Registry::start());
    let shell = push_shell(&machine, &registry);
    let file = format!(
        "FROM {shell}\nRUN echo GONE$((1+1)) >/gone && echo KEPT$((1+1)) >/kept\nRUN rm /gone /bin/touch\nCOPY file /file\nENV A=b\n"
    );
    let context = machine.files("context", &[("file", "content\n"), ("Dockerfile", &file)]);
    let context = context.to_str().unwrap();
    let layers = || {
        let manifest = crate::outputs::manifest(&machine.path("out"));
        manifest["layers"].as_array().unwrap().len()
    };
    to_layout(&machine, &["-c", context]).succeeds();
    assert_eq!(layers(), 4);
    assert!(contains(&content(&machine), "GONE2"));
    to_layout(&machine, &["-c", context, "--single-snapshot"]).succeeds();
    assert_eq!(layers(), 2);
    let all = content(&machine);
    assert!(contains(&all, "KEPT2") && contains(&all, ".wh.touch"));
    assert!(!contains(&all, "GONE2"), "what a later step removes is nowhere");
}

#[test]
fn a_plan_is_printed_and_nothing_is_done() {
    let machine = Machine::new();
    let file = "FROM r.test/a AS one\nRUN true\nFROM r.test/b AS unused\nFROM one\nCOPY f /f\n";
    let context = machine.files("context", &[("Dockerfile", file)]);
    let done = executor(
        &machine,
        &["-c", context.to_str().unwrap(), "--dryrun", "-d", "r.test/x"],
    )
    .succeeds();
    assert_eq!(
        done.stdout(),
        "one from r.test/a\n  RUN true\nstage-2 from one\n  COPY f /f\n"
    );
    assert!(!machine.store().exists(), "there is not even a store");
}

/// kaniko's own help, where it is installed, has no flag that is not taken here.
#[test]
fn every_flag_of_kaniko_is_taken_1_1() {
    let machine = Machine::new();
    let Some(theirs) = judge("kaniko-executor", &["--help"]) else {
        return;
    };
    let flags = |text: &str| -> BTreeSet<String> {
        let words = text.split_whitespace().filter_map(|word| word.strip_prefix("--"));
        words
            .map(|word| word.trim_end_matches([',', ':', '"']).to_owned())
            .collect()
    };
    let ours = executor(&machine, &["--help"]).succeeds();
    let (theirs, ours) = (flags(&theirs.stdout()), flags(&ours.stdout()));
    assert!(theirs.len() > 50, "{theirs:?}");
    let missing: Vec<&String> = theirs.difference(&ours).filter(|flag| *flag != "help").collect();
    assert!(missing.is_empty(), "{missing:?}");
}
