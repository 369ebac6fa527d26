//! The program in front of a real API server with its controllers; only the node is played here.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread;

use serde_json::{Value, json};

use super::client::submit_logs_digest;
use super::{EXECUTOR, Site, imposed};
use crate::support::control_plane::{ControlPlane, NAMESPACE};
use crate::support::kubelet::{self, Ended};
use crate::support::{Finished, Invocation, peers};

/// The control plane's only node.
struct Node<'a> {
    plane: &'a ControlPlane,
    site: &'a Site,
}

impl Node<'_> {
    /// Waits for a pod that no node has, and takes it.
    fn take_pod(&self) -> Value {
        let waiting = || {
            let pods = self.plane.list("pods");
            pods.into_iter().find(|pod| pod["spec"]["nodeName"].is_null())
        };
        self.plane.wait_for("a pod", || waiting().is_some());
        let pod = waiting().unwrap();
        let name = name_of(&pod);
        let target = json!({"apiVersion": "v1", "kind": "Node", "name": "node"});
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target,
        });
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{name}/binding");
        self.plane.create(&path, &binding);
        pod
    }

    /// Carries a pod out, and tells how its steps ended.
    fn carry_out(&self, pod: &Value) {
        let mut job = self.plane.list("jobs").pop().unwrap();
        job["kind"] = json!("Job");
        let ended = self.site.kubelet("node", imposed(None)).run(&[job]);
        self.tell(pod, &ended);
    }

    /// Tells how the steps of a pod ended.
    fn tell(&self, pod: &Value, ended: &[Ended]) {
        for step in ended {
            let text = step.finished.text();
            self.plane.log(name_of(pod), &step.step, &text, true);
        }
        let steps = ended.iter().map(|step| {
            let code = step.finished.status().code().unwrap();
            (step.step.as_str(), code, step.message.as_str())
        });
        self.end(pod, &steps.collect::<Vec<_>>());
    }

    /// A pod's steps ended with these codes and messages; those that are not named have not begun.
    fn end(&self, pod: &Value, steps: &[(&str, i32, &str)]) {
        let is_over = |name: &Value| steps.iter().find(|(step, ..)| name == *step);
        let state = |container: &Value| match is_over(&container["name"]) {
            Some((_, code, message)) => json!({"terminated": {
                "exitCode": code, "reason": if *code == 0 { "Completed" } else { "Error" }, "message": message,
                "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:01Z",
            }}),
            None => json!({"waiting": {"reason": "PodInitializing"}}),
        };
        let all_well = is_over(&json!("result")).is_some_and(|(_, code, _)| *code == 0);
        self.set(pod, if all_well { "Succeeded" } else { "Failed" }, state);
    }

    /// A step of a pod begins.
    fn begin(&self, pod: &Value, step: &str) {
        self.set(pod, "Pending", |container| {
            if container["name"] == step {
                json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}})
            } else {
                json!({"waiting": {"reason": "PodInitializing"}})
            }
        });
    }

    fn set(&self, pod: &Value, phase: &str, state: impl Fn(&Value) -> Value) {
        let statuses = |key: &str| -> Vec<Value> {
            let containers = pod["spec"][key].as_array().unwrap().iter();
            let status = |container: &Value| {
                json!({
                    "name": container["name"], "image": container["image"], "imageID": "", "ready": false,
                    "restartCount": 0, "state": state(container),
                })
            };
            containers.map(status).collect()
        };
        let change = json!({"status": {
            "phase": phase, "initContainerStatuses": statuses("initContainers"),
            "containerStatuses": statuses("containers"),
        }});
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{}", name_of(pod));
        self.plane.patch_status(&path, &change);
    }
}

fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}

/// `lifecycle build` of `app:1` as a user of the control plane.
fn build(plane: &ControlPlane, site: &Site, user: &str, source: &Path, arguments: &[&str]) -> Invocation {
    site.build(source, arguments)
        .env("KUBECONFIG", plane.kubeconfig(user))
}

#[test]
fn a_real_api_server_takes_builds_to_their_digests() {
    if !kubelet::is_possible() {
        return;
    }
    let Some(mut plane) = ControlPlane::start() else {
        return;
    };
    let site = Site::new();
    let source = site.small_source();
    let kubeconfig = plane.kubeconfig("builder").to_str().unwrap().to_owned();
    // Submitted, followed by name, and asked for.
    let image = site.registry.name("app:1");
    let arguments = ["--executor-image", EXECUTOR];
    let id = thread::scope(|scope| {
        let node = Node {
            plane: &plane,
            site: &site,
        };
        scope.spawn(move || node.carry_out(&node.take_pod()));
        let variables = [("KUBECONFIG", kubeconfig.clone())];
        submit_logs_digest(&site.machine, &image, &source, &arguments, &variables)
    });
    let lifecycle = |words: &[&str]| site.machine.lifecycle(words).env("KUBECONFIG", &kubeconfig);
    lifecycle(&["jobs", "list"])
        .succeeds()
        .says(&id)
        .says("Succeeded");
    lifecycle(&["jobs", "delete", &id]).succeeds();
    lifecycle(&["jobs", "status", &id]).fails(114);

    // A pod that is evicted is replaced, by the Job's controller; its log ends, and the next one's is shown.
    let finished = thread::scope(|scope| {
        let node = Node {
            plane: &plane,
            site: &site,
        };
        scope.spawn(move || {
            let first = node.take_pod();
            node.begin(&first, "source");
            node.plane
                .log(name_of(&first), "source", "this pod will be evicted", false);
            let name = name_of(&first);
            let eviction = json!({
                "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name},
                "deleteOptions": {"gracePeriodSeconds": 1},
            });
            let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{name}/eviction");
            node.plane.create(&path, &eviction);
            node.plane.log(name, "source", "evicted", true);
            node.end(&first, &[("source", 143, "")]);
            node.plane
                .kubectl(&["delete", "pod", name, "--force", "--grace-period=0"])
                .succeeds();
            node.carry_out(&node.take_pod());
        });
        build(&plane, &site, "builder", &source, &[]).succeeds()
    });
    let digest = site.local_digest(&source);
    assert!(finished.stdout().trim().ends_with(&digest), "{}", finished.text());

    // While a build runs the API server goes away and comes back.
    let running = build(&plane, &site, "builder", &source, &[]).start();
    let pod = {
        let node = Node {
            plane: &plane,
            site: &site,
        };
        let pod = node.take_pod();
        node.begin(&pod, "source");
        pod
    };
    plane.stop_api_server();
    thread::sleep(std::time::Duration::from_secs(2));
    plane.start_api_server();
    Node {
        plane: &plane,
        site: &site,
    }
    .carry_out(&pod);
    let finished = running.wait().with_code(0);
    assert!(finished.stdout().trim().ends_with(&digest), "{}", finished.text());
    // No uploaded source is left, and no Secret.
    assert_eq!(plane.list("secrets").len(), 0);
    let tags = format!("http://{}/v2/app/tags/list", site.registry.host());
    let tags = Invocation::new("curl", &["--silent", &tags]).succeeds().json();
    assert_eq!(tags["tags"], json!(["1"]));
}

#[test]
fn a_real_controller_begins_again_what_was_killed_and_nothing_else() {
    let Some(plane) = ControlPlane::start() else {
        return;
    };
    let site = Site::new();
    let source = site.small_source();
    let node = Node {
        plane: &plane,
        site: &site,
    };
    for (code, is_repeated) in [(1, false), (130, false), (137, true), (143, true)] {
        let detached = build(&plane, &site, "builder", &source, &["--detach", "--retries", "1"]).succeeds();
        let id = detached.stdout().trim().to_owned();
        let pod = node.take_pod();
        node.end(&pod, &[("source", 0, ""), ("build", code, "")]);
        let of_job = |pods: &[Value]| {
            let mine = pods
                .iter()
                .filter(|pod| pod["metadata"]["labels"]["lifecycle.build/id"] == id.as_str());
            mine.count()
        };
        let failed = || {
            let job = plane
                .kubectl(&["get", "job", &id, "--output=json"])
                .succeeds()
                .json();
            let conditions = job["status"]["conditions"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            conditions
                .into_iter()
                .find(|condition| condition["type"] == "Failed")
        };
        if is_repeated {
            plane.wait_for("a second pod", || of_job(&plane.list("pods")) == 2);
            assert_eq!(failed(), None, "after {code}");
        } else {
            plane.wait_for("the Job's end", || failed().is_some());
            assert_eq!(failed().unwrap()["reason"], "PodFailurePolicy");
            assert_eq!(of_job(&plane.list("pods")), 1);
        }
        let delete = site.machine.lifecycle(&["jobs", "delete", &id]);
        delete.env("KUBECONFIG", plane.kubeconfig("builder")).succeeds();
        plane.wait_for("the end of its pods", || {
            let delete = ["delete", "pods", "--all", "--force", "--grace-period=0"];
            plane.kubectl(&delete).run();
            plane.list("pods").is_empty()
        });
    }
}

#[test]
fn a_real_api_server_takes_what_people_copy_and_its_refusals_are_told_with_their_cause() {
    let Some(plane) = ControlPlane::start() else {
        return;
    };
    let manifests = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/kubernetes"));
    // Before 1.25 kubectl looks for unknown fields by itself; since then the server does.
    let help = plane.kubectl(&["apply", "--help"]).succeeds().stdout();
    let validate = if help.contains("strict") {
        "--validate=strict"
    } else {
        "--validate=true"
    };
    for manifest in fs::read_dir(manifests).unwrap() {
        let path = manifest.unwrap().path();
        let finished = try_out(&plane, validate, &path).succeeds();
        let text = finished.text();
        // What needs more than a restricted namespace says so in its name.
        let is_free = path.to_str().unwrap().contains("host-users");
        assert_eq!(
            text.contains("would violate PodSecurity"),
            is_free,
            "{}: {text}",
            path.display()
        );
    }
    take_tasks(&plane, validate);
    let site = Site::new();
    let source = site.small_source();
    let expect = |finished: Finished, texts: &[&str]| {
        for text in texts {
            assert!(finished.text().contains(text), "{text}: {}", finished.text());
        }
    };
    let refused = build(&plane, &site, "nobody", &source, &[]).fails(114);
    expect(
        refused,
        &["nobody may not create jobs in the namespace builds", "role.yaml"],
    );
    let missing = build(&plane, &site, "admin", &source, &["--namespace", "nowhere"]).fails(114);
    expect(missing, &["nowhere"]);
    let forbidden = build(&plane, &site, "builder", &source, &["--pod-security", "baseline"]).fails(114);
    expect(forbidden, &["violates PodSecurity", "runAsNonRoot"]);
    let quota = ["create", "quota", "small", "--hard=requests.memory=1Mi"];
    plane.kubectl(&quota).succeeds();
    plane.wait_for("the quota", || {
        plane.list("resourcequotas")[0]["status"]["hard"].is_object()
    });
    let exceeded = build(&plane, &site, "builder", &source, &[]).fails(114);
    expect(exceeded, &["exceeded quota: small"]);
    let doctor = site.machine.lifecycle(&["doctor", "--on", "kubernetes"]);
    let doctor = doctor.env("KUBECONFIG", plane.kubeconfig("nobody")).run();
    expect(doctor, &["create jobs", "not allowed", "apiGroups"]);
    // None of the refused builds leaves its source in the registry.
    let tags = format!("http://{}/v2/app/tags/list", site.registry.host());
    let tags = Invocation::new("curl", &["--silent", &tags]).succeeds().text();
    let left: BTreeSet<&str> = tags
        .split('"')
        .filter(|word| word.starts_with("source-"))
        .collect();
    assert_eq!(left, BTreeSet::new());
}

/// Has the API server look at a manifest without keeping it.
fn try_out(plane: &ControlPlane, validate: &str, manifest: &Path) -> Invocation {
    let manifest = manifest.to_str().unwrap();
    plane.kubectl(&["apply", "--dry-run=server", validate, "-f", manifest])
}

/// The API server takes the Tasks for Tekton by Tekton's own definition, and none with a field that is not in that.
fn take_tasks(plane: &ControlPlane, validate: &str) {
    let Some(definition) = peers::file("tekton-task.yaml") else {
        return;
    };
    plane
        .kubectl(&["create", "-f", definition.to_str().unwrap()])
        .succeeds();
    let tasks = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/tekton"));
    let apply = |path: &Path| try_out(plane, validate, path).run();
    for task in fs::read_dir(tasks).unwrap() {
        let path = task.unwrap().path();
        plane.wait_for("the definition of Tasks", || apply(&path).status().success());
        let directory = tempfile::tempdir().unwrap();
        let wrong = directory.path().join("wrong.yaml");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(
            &wrong,
            text.replace("  - name: source\n", "  - name: source\n    optonal: true\n"),
        )
        .unwrap();
        let refused = apply(&wrong);
        assert!(
            !refused.status().success() && refused.text().contains("optonal"),
            "{}",
            refused.text()
        );
    }
}
