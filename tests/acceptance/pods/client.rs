//! The program as the client of a cluster, whose node is played here.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::{EXECUTOR, Site, imposed};
use crate::support::fake_cluster::{FakeCluster, World};
use crate::support::kubelet::{self, Ended, Kubelet};
use crate::support::{Invocation, Machine};

/// Somebody who builds on a scripted cluster.
pub(super) struct Client {
    pub(super) site: Site,
    pub(super) server: FakeCluster,
    kubeconfig: PathBuf,
}

impl Client {
    pub(super) fn new() -> Self {
        let site = Site::new();
        let server = FakeCluster::start();
        let kubeconfig = server.kubeconfig(&site.machine.path(""));
        Self {
            site,
            server,
            kubeconfig,
        }
    }

    /// `lifecycle build` of `app:1` on the cluster.
    pub(super) fn build(&self, source: &Path, arguments: &[&str]) -> Invocation {
        self.on_cluster(self.site.build(source, arguments))
    }

    /// Any command that speaks to the cluster.
    pub(super) fn lifecycle(&self, words: &[&str]) -> Invocation {
        self.on_cluster(self.site.machine.lifecycle(words))
    }

    fn on_cluster(&self, invocation: Invocation) -> Invocation {
        invocation.env("KUBECONFIG", &self.kubeconfig)
    }

    /// Waits until somebody watches a Job.
    pub(super) fn wait_until_followed(&self, job: &str) {
        for _ in 0..6000 {
            let world = self.server.world();
            let mut watches = world
                .seen()
                .iter()
                .filter(|seen| seen.target.contains("watch=true"));
            if watches.any(|seen| seen.target.contains(job)) {
                return;
            }
            drop(world);
            thread::sleep(Duration::from_millis(10));
        }
        panic!("nobody follows {job}");
    }

    /// The requests that the registry carried out.
    pub(super) fn registry_requests(&self, method: &str, path: &str) -> usize {
        let all = self.site.registry.requests();
        let these = all.iter().filter(|request| {
            request.method == method && request.path.contains(path) && request.status < 300
        });
        these.count()
    }
}

/// Moves the one pod of a Job along as a node would, and says what its steps say.
fn play_node(server: &FakeCluster, kubelet: &Kubelet, receive: impl Fn()) {
    let job = server.job();
    server.change(|world| world.pod(&job, "pod-1"));
    let objects = objects(&server.world(), &job);
    server.change(|world| world.run("pod-1", "source"));
    receive();
    for ended in kubelet.run(&objects) {
        server.change(|world| tell(world, &job, "pod-1", &ended));
    }
}

/// What a node has to know of a Job: itself, and the Secret that is its own.
pub(super) fn objects(world: &World, job: &str) -> Vec<Value> {
    let secret = world.object("secrets", job).cloned();
    let mut object = world.object("jobs", job).unwrap().clone();
    object["kind"] = json!("Job");
    secret.into_iter().chain([object]).collect()
}

/// How a step of a pod ended, and what follows from that for its Job.
pub(super) fn tell(world: &mut World, job: &str, pod: &str, ended: &Ended) {
    world.run(pod, &ended.step);
    for line in ended.finished.text().lines() {
        world.say(pod, &ended.step, line);
    }
    let code = ended.finished.status().code().unwrap();
    let reason = if code == 0 { "Completed" } else { "Error" };
    world.end(pod, &ended.step, code, reason, &ended.message);
    if code != 0 {
        world.finish(job, "Failed", "PodFailurePolicy");
    } else if ended.step == "result" {
        world.finish(job, "Complete", "");
    }
}

#[test]
fn build_on_kubernetes_goes_from_the_source_here_to_a_digest_there() {
    if !kubelet::is_possible() {
        return;
    }
    let client = Client::new();
    let source = client.site.small_source();
    let kubelet = client.site.kubelet("node", imposed(None));
    let finished = thread::scope(|scope| {
        scope.spawn(|| play_node(&client.server, &kubelet, || {}));
        client.build(&source, &["--pod-memory", "256Mi"]).succeeds()
    });
    let name = client.site.registry.name("app");
    let expected = format!("{name}@{}\n", client.site.local_digest(&source));
    assert_eq!(finished.stdout(), expected);
    // Steps and their lines are shown, and the source that was sent is gone again.
    finished.says("COPY page.txt").says("Submitted app-");
    assert_eq!(client.registry_requests("PUT", "/manifests/source-"), 1);
    assert_eq!(client.registry_requests("DELETE", "/manifests/"), 1);
}

/// Submits, follows by name, and compares what status, registry and a build of this machine say about the image. Returns
/// the name of the build.
pub(super) fn submit_logs_digest(
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
    let client = Client::new();
    let source = client.site.small_source();
    let variables = [("KUBECONFIG", client.kubeconfig.to_str().unwrap().to_owned())];
    let kubelet = client.site.kubelet("node", imposed(None));
    thread::scope(|scope| {
        scope.spawn(|| play_node(&client.server, &kubelet, || {}));
        let image = client.site.registry.name("app:1");
        let arguments = ["--executor-image", EXECUTOR];
        submit_logs_digest(&client.site.machine, &image, &source, &arguments, &variables);
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
    let client = Client::new();
    let (site, server) = (&client.site, &client.server);
    let source = site.small_source();
    let two = ["--platform", "linux/amd64", "--platform", "linux/arm64"];
    let build = |more: &[&str]| client.build(&source, &[&two, more].concat());
    let requests = |method: &str, path: &str| client.registry_requests(method, path);
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
    client.lifecycle(&["jobs", "delete", ids[0]]).succeeds();
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

/// The document that a name stands for, as it is.
fn index(client: &Client, name: &str) -> Value {
    let url = format!("http://{}/v2/app/manifests/{name}", client.site.registry.host());
    let accept = "Accept: application/vnd.oci.image.index.v1+json";
    Invocation::new("curl", &["--silent", "--header", accept, &url])
        .succeeds()
        .json()
}

#[test]
fn the_index_of_several_platforms_is_that_of_a_build_here() {
    if !kubelet::is_possible() {
        return;
    }
    let client = Client::new();
    let (site, server) = (&client.site, &client.server);
    let source = site.small_source();
    let metadata = site.machine.text("metadata.json");
    let options = [
        "--platform=linux/amd64,linux/arm64",
        "--sbom",
        "--provenance",
        "--annotation=org.example.image=1",
        "--annotation=index:org.example.index=2",
        "--annotation=manifest-descriptor:org.example.member=3",
        "--metadata-file",
        &metadata,
    ];
    let finished = thread::scope(|scope| {
        scope.spawn(|| {
            let jobs = loop {
                let jobs = server.world().names("jobs");
                if jobs.len() == 2 {
                    break jobs;
                }
                thread::sleep(Duration::from_millis(20));
            };
            for job in &jobs {
                let pod = format!("{job}-pod");
                let kubelet = site.kubelet(&pod, imposed(None));
                server.change(|world| world.pod(job, &pod));
                let objects = objects(&server.world(), job);
                for ended in kubelet.run(&objects) {
                    server.change(|world| tell(world, job, &pod, &ended));
                }
            }
        });
        client.build(&source, &options).succeeds()
    });
    let there = index(&client, "1");
    let digest = finished.stdout().trim().rsplit('@').next().unwrap().to_owned();
    let written: Value = serde_json::from_slice(&fs::read(&metadata).unwrap()).unwrap();
    assert_eq!(written["containerimage.digest"], digest);
    assert_eq!(index(&client, &digest), there);
    let here = site.registry.name("app:here");
    let words = [
        "build",
        source.to_str().unwrap(),
        "--tag",
        &here,
        "--output",
        "registry",
    ];
    let local = site.machine.lifecycle(&[&words[..], &options].concat());
    local.env("SOURCE_DATE_EPOCH", "0").succeeds();
    let here = index(&client, "here");
    assert_eq!(there["annotations"], here["annotations"]);
    assert_eq!(there["mediaType"], here["mediaType"]);
    let members = |index: &Value, are_images: bool| -> Vec<Value> {
        let all = index["manifests"].as_array().unwrap().iter();
        let these = all.filter(|member| (member["platform"]["os"] != "unknown") == are_images);
        these.cloned().collect()
    };
    assert_eq!(members(&there, true), members(&here, true));
    let about = |index: &Value| -> Vec<Value> {
        let statements = members(index, false).into_iter();
        statements.map(|member| member["annotations"].clone()).collect()
    };
    assert_eq!(about(&there).len(), 2);
    assert_eq!(about(&there), about(&here));
    for platform in ["linux/amd64", "linux/arm64"] {
        let words = [
            "sbom",
            &format!("registry:{}", site.registry.name("app:1")),
            "--platform",
            platform,
        ];
        let bill = site.machine.lifecycle(&words).succeeds().stdout();
        assert!(bill.contains("SPDXRef-DOCUMENT"), "{bill}");
    }
}

#[test]
fn a_step_that_fails_there_ends_the_command_here_with_its_code_jc_22() {
    if !kubelet::is_possible() {
        return;
    }
    let client = Client::new();
    let (site, server) = (&client.site, &client.server);
    let source = site.source("FROM scratch\nCOPY missing /\n", &[]);
    let kubelet = site.kubelet("node", imposed(None));
    let receive = || {
        // What arrives goes where the receiver puts it.
        let bytes = loop {
            if let Some(bytes) = server.world().uploads().first().cloned() {
                break bytes;
            }
            thread::sleep(Duration::from_millis(20));
        };
        site.send("node", &source);
        fs::write(site.machine.path("node-pod/tmp/source/source.received"), bytes).unwrap();
    };
    let finished = thread::scope(|scope| {
        scope.spawn(|| play_node(server, &kubelet, receive));
        client.build(&source, &["--send-source", "stream"]).fails(1)
    });
    finished.says("missing").says("step build of app-");
}
