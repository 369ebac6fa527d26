//! Builds in a pod without a cluster: the Jobs of `lifecycle build --on kubernetes`, carried out under what pods are restricted by.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::fake_cluster::FakeCluster;
use crate::support::kubelet::{self, Ended, Imposed, Kubelet};
use crate::support::{BuilderRoot, Invocation, Machine, Registry, images};

const EXECUTOR: &str = "executor.test/lifecycle:1";
/// A user that no file knows, as namespaces of some distributions have them.
const RANDOM_USER: u32 = 1_000_660_000;
const MEBIBYTES_256: u64 = 256 << 20;

/// A node that knows the executor and the builder, and a registry with builder and run image.
struct Site {
    machine: Machine,
    registry: Registry,
    builder_root: Option<PathBuf>,
}

impl Site {
    fn new() -> Self {
        Self {
            machine: Machine::new(),
            registry: Registry::start(),
            builder_root: None,
        }
    }

    fn with_builder() -> Self {
        let mut site = Self::new();
        site.builder_root = Some(BuilderRoot::unpack(&site.machine).path);
        for (image, name) in [(images::BUILDER, "builder"), (images::RUN, "run")] {
            let push = ["push", image, &site.registry.name(name)];
            Machine::with_builder().lifecycle(&push).succeeds();
        }
        site
    }

    /// A pod of its own, on a fresh node.
    fn kubelet(&self, name: &str, imposed: Imposed) -> Kubelet {
        let root = self.machine.path(&format!("{name}-executor"));
        for directory in ["kaniko", "etc", "tmp"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        fs::copy(env!("CARGO_BIN_EXE_lifecycle"), root.join("kaniko/lifecycle")).unwrap();
        fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/sbin/nologin\n").unwrap();
        let kubelet =
            Kubelet::new(&self.machine.path(&format!("{name}-pod")), imposed).image(EXECUTOR, &root);
        match &self.builder_root {
            Some(builder) => kubelet.image(&self.registry.name("builder"), builder),
            None => kubelet,
        }
    }

    /// The objects that `lifecycle build --on kubernetes` would make, with the source where a stream puts it.
    fn objects(&self, source: &Path, tag: &str, arguments: &[&str]) -> Vec<Value> {
        let printed = self.build(
            source,
            tag,
            &[&["--dry-run", "--output", "json"], arguments].concat(),
        );
        printed.succeeds().json()["items"].as_array().unwrap().clone()
    }

    fn build(&self, source: &Path, tag: &str, arguments: &[&str]) -> Invocation {
        let source = source.to_str().unwrap();
        let name = self.registry.name(tag);
        let words = [
            "build",
            source,
            "--tag",
            &name,
            "--on",
            "kubernetes",
            "--executor-image",
            EXECUTOR,
        ];
        self.machine
            .lifecycle(&[&words[..], arguments].concat())
            .env("SOURCE_DATE_EPOCH", "0")
    }

    /// The digest of the same Dockerfile, built here.
    fn local_digest(&self, source: &Path) -> String {
        let words = ["build", source.to_str().unwrap(), "--tag", "app"];
        self.machine
            .lifecycle(&words)
            .env("SOURCE_DATE_EPOCH", "0")
            .succeeds();
        self.machine.digest("app")
    }

    /// Carries a build out in one pod; the source is sent before the step that waits for it begins.
    fn run(&self, kubelet_name: &str, imposed: Imposed, source: &Path, objects: &[Value]) -> Vec<Ended> {
        self.send(kubelet_name, source);
        self.kubelet(kubelet_name, imposed).run(objects)
    }

    /// Puts an archive of the source where the receiver puts it.
    fn send(&self, kubelet_name: &str, source: &Path) {
        // What one pod had is not what the next one has.
        for volume in ["workspace", "layers", "tmp", "store"] {
            let volume = self.machine.path(&format!("{kubelet_name}-pod/{volume}"));
            if volume.exists() {
                fs::remove_dir_all(volume).unwrap();
            }
        }
        let scratch = self.machine.path(&format!("{kubelet_name}-pod/tmp/source"));
        fs::create_dir_all(&scratch).unwrap();
        Invocation::new(
            "chmod",
            &["-R", "2777", scratch.parent().unwrap().to_str().unwrap()],
        )
        .succeeds();
        let archive = scratch.join("source.received");
        let words = [
            "-c",
            "-C",
            source.to_str().unwrap(),
            "-f",
            archive.to_str().unwrap(),
            ".",
        ];
        Invocation::new("tar", &words).succeeds();
    }
}

/// What the last step said, after all steps ended well.
fn message(ended: &[Ended]) -> Value {
    let last = ended.last().unwrap();
    assert!(
        last.finished.status().success(),
        "step {}: {}",
        last.step,
        last.finished.text()
    );
    assert_eq!(last.step, "result");
    serde_json::from_str(&last.message).unwrap()
}

fn digest(ended: &[Ended]) -> String {
    message(ended)["digest"].as_str().unwrap().to_owned()
}

fn imposed(user: Option<u32>) -> Imposed {
    Imposed {
        user,
        memory: Some(MEBIBYTES_256),
    }
}

#[test]
fn a_dockerfile_without_run_is_built_in_a_restricted_pod_ps_01_ps_02_ps_03() {
    if !kubelet::is_possible() {
        return;
    }
    let site = Site::new();
    let source = site.machine.files(
        "source",
        &[
            (
                "Dockerfile",
                "FROM scratch\nCOPY --chown=7:8 page.txt /srv/\nENV A=1\n",
            ),
            ("page.txt", "first\n"),
            (".dockerignore", "secret\n"),
            ("secret", "no\n"),
        ],
    );
    let mut digests = Vec::new();
    for (name, user) in [("nonroot", None), ("random", Some(RANDOM_USER))] {
        let objects = site.objects(&source, "app:1", &[]);
        let ended = site.run(name, imposed(user), &source, &objects);
        digests.push(digest(&ended));
        assert_eq!(message(&ended)["tags"][0], site.registry.name("app:1"));
    }
    assert_eq!(
        digests[0],
        site.local_digest(&source),
        "the same as on this machine"
    );
    assert_eq!(digests[0], digests[1], "whoever the user is");
}

#[test]
fn buildpacks_build_in_a_restricted_pod_ps_01_ps_02_ps_03_ps_04_ps_05() {
    if !kubelet::is_possible() {
        return;
    }
    let site = Site::with_builder();
    let source = site.machine.app();
    let builder = site.registry.name("builder");
    let run_image = site.registry.name("run");
    let credentials = site
        .machine
        .files("credentials", &[("config.json", r#"{"auths": {}}"#)]);
    let config = credentials.join("config.json").to_str().unwrap().to_owned();
    let arguments = [
        "--builder",
        &builder,
        "--run-image",
        &run_image,
        "--env",
        "FX_KEY=7",
        "--registry-config",
        &config,
        "--cache",
        "pvc:cache",
    ];
    let mut digests = Vec::new();
    for (name, user) in [("builder-user", None), ("random", Some(RANDOM_USER))] {
        let objects = site.objects(&source, "app:1", &arguments);
        let ended = site.run(name, imposed(user), &source, &objects);
        digests.push(digest(&ended));
        let steps: Vec<&str> = ended.iter().map(|ended| ended.step.as_str()).collect();
        assert_eq!(
            steps,
            [
                "source", "analyze", "detect", "restore", "build", "export", "result"
            ]
        );
        // The variable reached the buildpacks through a Secret's links.
        let built = ended[4].finished.text();
        assert!(built.contains("fx-layers: none: metadata=no"), "{built}");
        // The next pod, with another user of the same group, reads the cache.
        if user.is_none() {
            let again = site.run(name, imposed(Some(RANDOM_USER)), &source, &objects);
            assert_eq!(digest(&again), digests[0], "with layers from the cache");
            let restored = again[4].finished.text();
            assert!(
                restored.contains("build-cache: metadata=yes contents=yes"),
                "{restored}"
            );
        }
    }
    assert_eq!(digests[0], digests[1], "whoever the user is");
}

#[test]
fn run_needs_more_than_restricted_and_the_error_names_the_line_that_grants_it() {
    if !kubelet::is_possible() {
        return;
    }
    let site = Site::with_builder();
    let base = site.registry.name("run");
    let dockerfile = format!("FROM {base}\nUSER root\nRUN echo made >/made && chown 5:6 /made\n");
    let source = site.machine.files("source", &[("Dockerfile", &dockerfile)]);
    let build = |name: &str, security: &str| {
        let objects = site.objects(&source, &format!("{name}:1"), &["--pod-security", security]);
        site.run(name, imposed(None), &source, &objects)
    };
    let refused = build("restricted", "restricted");
    let last = refused.last().unwrap();
    assert_eq!(last.step, "build");
    assert!(!last.finished.status().success());
    assert!(
        last.finished.text().contains("hostUsers: false"),
        "{}",
        last.finished.text()
    );
    let chroot = digest(&build("baseline", "baseline"));
    let full = digest(&build("user-namespace", "user-namespace"));
    assert!(chroot.starts_with("sha256:") && full.starts_with("sha256:"));
}

#[test]
fn sigterm_at_any_moment_leaves_a_cache_that_the_next_pod_can_use_ps_08() {
    if !kubelet::is_possible() {
        return;
    }
    let site = Site::with_builder();
    let source = site.machine.app();
    let (builder, run_image) = (site.registry.name("builder"), site.registry.name("run"));
    let arguments = [
        "--builder",
        &builder,
        "--run-image",
        &run_image,
        "--cache",
        "pvc:cache",
    ];
    interrupt(&site, &source, &arguments, &["restore", "build", "export"]);
}

#[test]
fn sigterm_at_any_moment_leaves_a_store_that_the_next_dockerfile_build_can_use_ps_08() {
    if !kubelet::is_possible() {
        return;
    }
    let site = Site::with_builder();
    let base = site.registry.name("run");
    let dockerfile = format!(
        "FROM {base}\nUSER root\nCOPY page.txt /\nRUN echo made >/made\nRUN cat /made /page.txt >/both\n"
    );
    let files = [("Dockerfile", dockerfile.as_str()), ("page.txt", "1\n")];
    let source = site.machine.files("source", &files);
    let arguments = ["--pod-security", "baseline", "--cache", "pvc:cache"];
    interrupt(&site, &source, &arguments, &["build"]);
}

/// Builds, ends steps at moments that nobody chose, and builds again to the same digest each time.
#[expect(clippy::print_stdout, reason = "a failure is repeated with its seed")]
fn interrupt(site: &Site, source: &Path, arguments: &[&str], steps: &[&str]) {
    let objects = site.objects(source, "app:1", arguments);
    let expected = digest(&site.run("pod", imposed(None), source, &objects));
    let job = objects.iter().find(|object| object["kind"] == "Job").unwrap();
    let pod = &job["spec"]["template"]["spec"];
    // What the Job takes for killed from outside; it repeats that, and nothing else.
    let broken = &job["spec"]["podFailurePolicy"]["rules"][1]["onExitCodes"];
    assert_eq!(broken["operator"], "NotIn");
    let killed = broken["values"].as_array().unwrap();
    let kubelet = site.kubelet("pod", imposed(None));
    let log = site.machine.path("pod-pod/termination-log");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seed = u64::from(now.unwrap().subsec_nanos());
    println!("seed of the moments: {seed}");
    let mut number = seed;
    for _ in 0..5 {
        for step in steps {
            // A linear congruential generator: the high bits are even enough.
            number = number
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let moment = Duration::from_millis((number >> 33) % 300);
            // So that the store of a Dockerfile's build is cut off while it is filled, not while it is read.
            let store = site.machine.path("pod-pod/cache/lifecycle");
            if store.exists() {
                fs::remove_dir_all(store).unwrap();
            }
            let containers = pod["initContainers"].as_array().unwrap();
            let container = containers
                .iter()
                .find(|container| container["name"] == *step)
                .unwrap();
            let running = kubelet.container(pod, container, &objects, &log).start();
            thread::sleep(moment);
            running.signal(rustix::process::Signal::TERM);
            let finished = running.wait();
            let status = finished.status();
            println!("SIGTERM to {step} after {moment:?}: {status}");
            // Before the program listens, the signal itself ends it.
            let code = status.code().unwrap_or(128 + status.signal().unwrap());
            assert!(
                code == 0 || killed.contains(&json!(code)),
                "{step} ended with {code}, seed {seed}\n{}",
                finished.text()
            );
        }
        let again = site.run("pod", imposed(None), source, &objects);
        assert_eq!(digest(&again), expected, "seed {seed}");
    }
}

#[test]
fn a_streamed_source_is_taken_whole_or_not_at_all_jc_02_jc_03() {
    let machine = Machine::new();
    let source = machine.files("source", &[("page.txt", "first\n")]);
    let archive = machine.path("source.tar");
    let words = [
        "-c",
        "-C",
        source.to_str().unwrap(),
        "-f",
        archive.to_str().unwrap(),
        ".",
    ];
    Invocation::new("tar", &words).succeeds();
    let bytes = fs::read(&archive).unwrap();
    let size = bytes.len().to_string();
    let digest = lifecycle_image::Digest::of(&bytes).to_string();
    let temporary = machine.path("tmp");
    fs::create_dir(&temporary).unwrap();
    let (short, long, other) = (machine.path("short"), machine.path("long"), machine.path("other"));
    fs::write(&short, &bytes[..bytes.len() - 1]).unwrap();
    fs::write(&long, [&bytes[..], b"and more"].concat()).unwrap();
    let mut changed = bytes.clone();
    changed[0] ^= 1;
    fs::write(&other, changed).unwrap();
    let pod = |words: &[&str]| {
        machine
            .lifecycle(&[&["pod"], words].concat())
            .env("TMPDIR", &temporary)
    };
    let receive = |input: &Path| pod(&["receive", "--size", &size, "--digest", &digest]).input(input);
    let received = || fs::read_dir(&temporary).unwrap().count();
    let into = machine.text("workspace");
    // What is cut off, or something else, is not shown to the step that waits; it gives up in the end.
    for wrong in [&short, &other] {
        receive(wrong).fails(1);
        assert_eq!(received(), 0, "{}", wrong.display());
    }
    pod(&["source", &into, "--wait", "1"])
        .fails(1)
        .says("no source came within 1 seconds");
    // The client's end of the stream stays open: no more is read than was announced.
    let waiting = pod(&["source", &into, "--wait", "60"]).start();
    receive(&long).succeeds().says("received");
    let waited = waiting.wait();
    assert!(waited.status().success(), "{}", waited.text());
    assert_eq!(
        fs::read_to_string(machine.path("workspace/page.txt")).unwrap(),
        "first\n"
    );
    assert_eq!(received(), 0, "the archive is gone when it is unpacked");
}

/// Moves the pods of a fake cluster along as a node would, and says what they say.
fn play_node(server: &FakeCluster, kubelet: &Kubelet, receive: impl Fn()) {
    let job = server.job();
    server.change(|world| world.pod(&job, "pod-1"));
    let objects: Vec<Value> = {
        let world = server.world();
        let secret = world.object("secrets", &job).cloned();
        let mut object = world.object("jobs", &job).unwrap().clone();
        object["kind"] = json!("Job");
        secret.into_iter().chain([object]).collect()
    };
    server.change(|world| world.run("pod-1", "source"));
    receive();
    for ended in kubelet.run(&objects) {
        let step = ended.step.as_str();
        server.change(|world| {
            world.run("pod-1", step);
            for line in ended.finished.text().lines() {
                world.say("pod-1", step, line);
            }
            let code = ended.finished.status().code().unwrap();
            world.end(
                "pod-1",
                step,
                code,
                if code == 0 { "Completed" } else { "Error" },
                &ended.message,
            );
            if code != 0 {
                world.finish(&job, "Failed", "PodFailurePolicy");
            } else if step == "result" {
                world.finish(&job, "Complete", "");
            }
        });
    }
}

#[test]
fn build_on_kubernetes_goes_from_the_source_here_to_a_digest_there() {
    if !kubelet::is_possible() {
        return;
    }
    let site = Site::new();
    let files = [
        ("Dockerfile", "FROM scratch\nCOPY page.txt /\n"),
        ("page.txt", "first\n"),
    ];
    let source = site.machine.files("source", &files);
    let server = FakeCluster::start();
    let kubeconfig = server.kubeconfig(&site.machine.path(""));
    let kubelet = site.kubelet("node", imposed(None));
    let build = site
        .build(&source, "app:1", &["--pod-memory", "256Mi"])
        .env("KUBECONFIG", &kubeconfig);
    let finished = thread::scope(|scope| {
        let node = scope.spawn(|| play_node(&server, &kubelet, || {}));
        let finished = build.succeeds();
        node.join().unwrap();
        finished
    });
    let expected = format!("{}@{}\n", site.registry.name("app"), site.local_digest(&source));
    assert_eq!(finished.stdout(), expected);
    // Steps and their lines are shown, and the source that was sent is gone again.
    let finished = finished.says("COPY page.txt").says("Submitted app-");
    drop(finished);
    let requests = site.registry.requests();
    let removed = requests
        .iter()
        .filter(|request| request.method == "DELETE" && request.status == 202);
    assert_eq!(removed.count(), 1);
    let pushed = requests
        .iter()
        .filter(|request| request.method == "PUT" && request.path.contains("/manifests/source-"));
    assert_eq!(pushed.count(), 1);
}

/// Submits, follows by name, and compares what status, registry and a build of this machine say about the image. Returns
/// the name of the build.
fn submit_logs_digest(
    machine: &Machine,
    image: &str,
    source: &Path,
    arguments: &[&str],
    variables: &[(&str, String)],
) -> String {
    let source = source.to_str().unwrap();
    let lifecycle = |words: &[&str]| {
        let invocation = machine.lifecycle(words).env("SOURCE_DATE_EPOCH", "0");
        variables.iter().fold(invocation, |invocation, (name, value)| {
            invocation.env(name, value)
        })
    };
    let words = ["build", source, "--tag", image, "--on", "kubernetes", "--detach"];
    let id = lifecycle(&[&words[..], arguments].concat()).succeeds().stdout();
    let id = id.trim();
    let followed = lifecycle(&["jobs", "logs", id, "--follow"]).succeeds();
    let followed = followed.says("COPY page.txt").stdout();
    lifecycle(&["build", source, "--tag", "here"]).succeeds();
    let digest = machine.digest("here");
    assert!(followed.trim().ends_with(&format!("@{digest}")), "{followed}");
    let status = lifecycle(&["jobs", "status", id, "--output", "json"])
        .succeeds()
        .json();
    assert_eq!(status["digest"], digest);
    let remote = format!("registry:{image}");
    let remote = lifecycle(&["inspect", &remote, "--output", "json"])
        .succeeds()
        .json();
    assert_eq!(remote["digest"], digest);
    id.to_owned()
}

#[test]
fn a_detached_build_is_followed_by_its_name_to_its_digest() {
    if !kubelet::is_possible() {
        return;
    }
    let site = Site::new();
    let files = [
        ("Dockerfile", "FROM scratch\nCOPY page.txt /\n"),
        ("page.txt", "1\n"),
    ];
    let source = site.machine.files("source", &files);
    let server = FakeCluster::start();
    let kubeconfig = server.kubeconfig(&site.machine.path(""));
    let variables = [("KUBECONFIG", kubeconfig.to_str().unwrap().to_owned())];
    let kubelet = site.kubelet("node", imposed(None));
    thread::scope(|scope| {
        scope.spawn(|| play_node(&server, &kubelet, || {}));
        let image = site.registry.name("app:1");
        let arguments = ["--executor-image", EXECUTOR];
        submit_logs_digest(&site.machine, &image, &source, &arguments, &variables);
    });
}

/// Needs a cluster, and with `LIFECYCLE_TEST_IMAGE` the name of an image that its pods and this machine may push, so that no
/// cluster that somebody happens to be logged in to gets builds. `LIFECYCLE_TEST_ON_KUBERNETES` has more options of the
/// build, such as `--registry-secret push --executor-image IMAGE`.
#[test]
fn a_real_cluster_builds_and_tells_the_digest() {
    let variable = |name: &str| {
        let found = std::env::vars_os().find(|(own, _)| own == name);
        found.and_then(|(_, value)| value.into_string().ok())
    };
    let Some(kubeconfig) = variable("KUBECONFIG") else {
        println!("skipped: KUBECONFIG is not set");
        return;
    };
    let Some(image) = variable("LIFECYCLE_TEST_IMAGE") else {
        println!("skipped: LIFECYCLE_TEST_IMAGE is not set");
        return;
    };
    let machine = Machine::new();
    let files = [
        ("Dockerfile", "FROM scratch\nCOPY page.txt /\n"),
        ("page.txt", "1\n"),
    ];
    let source = machine.files("source", &files);
    let options = variable("LIFECYCLE_TEST_ON_KUBERNETES").unwrap_or_default();
    let options: Vec<&str> = options.split_whitespace().collect();
    let mut variables = vec![("KUBECONFIG", kubeconfig)];
    variables.extend(variable("DOCKER_CONFIG").map(|directory| ("DOCKER_CONFIG", directory)));
    let id = submit_logs_digest(&machine, &image, &source, &options, &variables);
    let (name, kubeconfig) = &variables[0];
    machine
        .lifecycle(&["jobs", "delete", &id])
        .env(name, kubeconfig)
        .succeeds();
}

#[test]
fn each_platform_has_a_source_of_its_own_and_all_end_with_the_command_jc_25() {
    let site = Site::new();
    let files = [
        ("Dockerfile", "FROM scratch\nCOPY page.txt /\n"),
        ("page.txt", "1\n"),
    ];
    let source = site.machine.files("source", &files);
    let server = FakeCluster::start();
    let kubeconfig = server.kubeconfig(&site.machine.path(""));
    let two = ["--platform", "linux/amd64", "--platform", "linux/arm64"];
    let build = |more: &[&str]| {
        site.build(&source, "app:1", &[&two, more].concat())
            .env("KUBECONFIG", &kubeconfig)
    };
    let requests = |method: &str, path: &str| {
        let all = site.registry.requests();
        let these = all.iter().filter(|request| {
            request.method == method && request.path.contains(path) && request.status < 300
        });
        these.count()
    };
    let detached = build(&["--detach"]).succeeds().stdout();
    let ids: Vec<&str> = detached.lines().collect();
    let source_of = |id: &str| {
        let world = server.world();
        let job = world.object("jobs", id).unwrap();
        job["metadata"]["annotations"]["lifecycle.build/source"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let sources = [source_of(ids[0]), source_of(ids[1])];
    assert_ne!(sources[0], sources[1]);
    assert_eq!(requests("PUT", "/manifests/source-"), 2);
    let is_there = |source: &str| {
        let inspected = site
            .machine
            .lifecycle(&["inspect", &format!("registry:{source}")])
            .run();
        inspected.status().success()
    };
    // What one build is through with, the other still has.
    site.machine
        .lifecycle(&["jobs", "delete", ids[0]])
        .env("KUBECONFIG", &kubeconfig)
        .succeeds();
    assert!(!is_there(&sources[0]));
    assert!(is_there(&sources[1]));
    // When one platform fails there will be no index: the others are cancelled, and no source is left.
    let before = requests("DELETE", "/manifests/");
    let known = server.world().names("jobs");
    thread::scope(|scope| {
        scope.spawn(|| {
            let new = loop {
                let names = server.world().names("jobs");
                let new: Vec<String> = names.into_iter().filter(|name| !known.contains(name)).collect();
                if new.len() == 2 {
                    break new;
                }
                thread::sleep(Duration::from_millis(20));
            };
            for job in &new {
                let of_amd = {
                    let world = server.world();
                    let spec = &world.object("jobs", job).unwrap()["spec"]["template"]["spec"];
                    spec["nodeSelector"]["kubernetes.io/arch"] == "amd64"
                };
                if of_amd {
                    server.change(|world| {
                        world.pod(job, "pod-1");
                        world.run("pod-1", "source");
                        world.end("pod-1", "source", 1, "Error", "no room");
                        world.finish(job, "Failed", "PodFailurePolicy");
                    });
                }
            }
        });
        build(&[]).fails(1).says("no room");
    });
    assert_eq!(requests("DELETE", "/manifests/"), before + 2);
    let world = server.world();
    let suspended = world.names("jobs").into_iter().filter(|name| {
        let job = world.object("jobs", name).unwrap();
        !known.contains(name) && job["spec"]["suspend"] == true
    });
    assert_eq!(suspended.count(), 1);
}

#[test]
fn a_step_that_fails_there_ends_the_command_here_with_its_code_jc_22() {
    if !kubelet::is_possible() {
        return;
    }
    let site = Site::new();
    let source = site
        .machine
        .files("source", &[("Dockerfile", "FROM scratch\nCOPY missing /\n")]);
    let server = FakeCluster::start();
    let kubeconfig = server.kubeconfig(&site.machine.path(""));
    let kubelet = site.kubelet("node", imposed(None));
    let (site, server, kubelet) = (&site, &server, &kubelet);
    let arguments = ["--send-source", "stream", "--registry-secret", "push"];
    // The Secret is the cluster's own.
    let build = site
        .build(&source, "app:1", &arguments[..2])
        .env("KUBECONFIG", &kubeconfig);
    let finished = thread::scope(|scope| {
        let source = &source;
        let receive = move || {
            // What arrives goes where the receiver puts it.
            let bytes = loop {
                if let Some(bytes) = server.world().uploads().first().cloned() {
                    break bytes;
                }
                thread::sleep(Duration::from_millis(20));
            };
            site.send("node", source);
            fs::write(site.machine.path("node-pod/tmp/source/source.received"), bytes).unwrap();
        };
        let node = scope.spawn(move || play_node(server, kubelet, receive));
        let finished = build.fails(1);
        node.join().unwrap();
        finished
    });
    finished.says("missing").says("step build of app-");
}
