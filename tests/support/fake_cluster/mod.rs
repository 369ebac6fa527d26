//! A Kubernetes API server that does what a test tells it: it keeps Jobs, pods and Secrets, answers lists, watches and
//! log streams, takes what is sent into a pod, and fails on demand.
//!
//! No controller and no kubelet runs: the test moves the pods along.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod routes;
mod serve;

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::wire::{self, Server};

/// What a request is met with in place of an answer.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// This status, with a `Status` object of this reason and message.
    Answer(u16, &'static str, String),
    /// The connection is closed.
    Drop,
    /// The request is carried out, but the connection is closed before the answer.
    DropAnswer,
    /// Nothing comes for so long, then the connection is closed.
    Stall(Duration),
    /// Nothing comes until [`FakeCluster::release`]; then the request is carried out.
    Hold,
    /// A stream is closed after so many bytes.
    Cut(usize),
}

/// A request that was seen.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) body: Value,
}

/// What the server knows.
#[derive(Default)]
pub(crate) struct World {
    version: u64,
    /// Objects by `kind/name`.
    objects: BTreeMap<String, Value>,
    /// What happened to them: version, type and object.
    history: Vec<(u64, &'static str, Value)>,
    /// Lines with their times, by `pod/container`.
    logs: BTreeMap<String, Vec<String>>,
    faults: VecDeque<(String, String, Fault)>,
    /// How many requests have been held so far, and how often those that were held have been released.
    held: usize,
    releases: usize,
    seen: Vec<Seen>,
    /// What was sent into pods.
    uploads: Vec<Vec<u8>>,
    /// Verbs and resources that are not allowed, as in `create jobs`.
    forbidden: Vec<String>,
    /// Bearer tokens that are accepted; any if there is none.
    token: Option<String>,
    /// Connections are refused.
    is_down: bool,
    /// The last time that a line was said at.
    clock: u64,
}

/// The server. It ends with the test.
#[derive(Clone)]
pub(crate) struct FakeCluster {
    server: Arc<Server>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    world: Mutex<World>,
    changed: Condvar,
}

impl FakeCluster {
    /// Starts one on a free port of loopback.
    pub(crate) fn start() -> Self {
        let shared = Arc::new(Shared::default());
        shared.world.lock().unwrap().version = 100;
        let own = Arc::clone(&shared);
        let server = Server::start(move |connection, request| serve::serve(connection, request, &own));
        Self {
            server: Arc::new(server),
            shared,
        }
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.shared.world.lock().unwrap()
    }

    /// Changes something, and tells whoever watches.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let result = change(&mut self.world());
        self.shared.changed.notify_all();
        result
    }

    /// Writes a kubeconfig for this server, with the token `secret`.
    pub(crate) fn kubeconfig(&self, directory: &Path) -> PathBuf {
        self.kubeconfig_with_token(directory, "secret")
    }

    pub(crate) fn kubeconfig_with_token(&self, directory: &Path, token: &str) -> PathBuf {
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{}", self.server.address())}}],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "builds"}}],
            "current-context": "x",
        });
        let path = directory.join("kubeconfig");
        fs::write(&path, config.to_string()).unwrap();
        path
    }

    /// The next request of this method whose target contains `target` is met with a fault.
    pub(crate) fn fault(&self, method: &str, target: &str, fault: Fault) {
        self.world()
            .faults
            .push_back((method.to_owned(), target.to_owned(), fault));
    }

    /// Waits until so many requests were held.
    pub(crate) fn wait_until_held(&self, count: usize) {
        for _ in 0..6000 {
            if self.world().held >= count {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("only {} requests were held", self.world().held);
    }

    /// Lets requests that are held go on.
    pub(crate) fn release(&self) {
        self.change(|world| world.releases += 1);
    }

    /// Waits for a Job that may run, and gives its name.
    pub(crate) fn job(&self) -> String {
        for _ in 0..6000 {
            let ready = |job: &&Value| job["spec"]["suspend"] != true;
            let name = |job: &Value| job["metadata"]["name"].as_str().unwrap().to_owned();
            if let Some(name) = self.world().of("jobs").find(ready).map(name) {
                return name;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("no Job was submitted");
    }

    /// The server goes away, with all connections.
    pub(crate) fn stop(&self) {
        self.change(|world| world.is_down = true);
    }

    /// It comes back.
    pub(crate) fn start_again(&self) {
        self.change(|world| world.is_down = false);
    }
}

impl World {
    fn of(&self, resource: &str) -> impl Iterator<Item = &Value> {
        let prefix = format!("{resource}/");
        self.objects
            .iter()
            .filter(move |(key, _)| key.starts_with(&prefix))
            .map(|(_, object)| object)
    }

    pub(crate) fn object(&self, resource: &str, name: &str) -> Option<&Value> {
        self.objects.get(&format!("{resource}/{name}"))
    }

    pub(crate) fn names(&self, resource: &str) -> Vec<String> {
        let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
        self.of(resource).map(name).collect()
    }

    pub(crate) fn seen(&self) -> &[Seen] {
        &self.seen
    }

    pub(crate) fn uploads(&self) -> &[Vec<u8>] {
        &self.uploads
    }

    pub(crate) fn forbid(&mut self, what: &str) {
        self.forbidden.push(what.to_owned());
    }

    /// Only this token is accepted from now on.
    pub(crate) fn require_token(&mut self, token: &str) {
        self.token = Some(token.to_owned());
    }

    /// Writes an object under its name.
    pub(crate) fn put(&mut self, resource: &str, mut object: Value) -> Value {
        self.version += 1;
        let key = format!("{resource}/{}", object["metadata"]["name"].as_str().unwrap());
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let is_new = self.objects.insert(key, object.clone()).is_none();
        let kind = if is_new { "ADDED" } else { "MODIFIED" };
        self.history.push((self.version, kind, object.clone()));
        object
    }

    pub(crate) fn remove(&mut self, resource: &str, name: &str) -> Option<Value> {
        let object = self.objects.remove(&format!("{resource}/{name}"))?;
        self.version += 1;
        self.history.push((self.version, "DELETED", object.clone()));
        Some(object)
    }

    /// Forgets what happened: watches from before get 410.
    pub(crate) fn compact(&mut self) {
        self.version += 1;
        self.history.clear();
        self.history.push((self.version, "BOOKMARK", Value::Null));
    }

    /// The Job's controller makes a pod.
    pub(crate) fn pod(&mut self, job: &str, pod: &str) {
        let job = self.object("jobs", job).unwrap().clone();
        let template = &job["spec"]["template"];
        let waiting = |container: &Value| {
            json!({
                "name": container["name"], "image": container["image"], "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": {"reason": "PodInitializing"}},
            })
        };
        let statuses = |key: &str| -> Vec<Value> {
            template["spec"][key]
                .as_array()
                .into_iter()
                .flatten()
                .map(waiting)
                .collect()
        };
        let minute = self.version % 60;
        let object = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": pod, "namespace": "builds", "labels": template["metadata"]["labels"],
                "creationTimestamp": format!("2026-01-01T00:{minute:02}:00Z"),
            },
            "spec": template["spec"],
            "status": {
                "phase": "Pending",
                "initContainerStatuses": statuses("initContainers"),
                "containerStatuses": statuses("containers"),
            },
        });
        self.put("pods", object);
    }

    /// Changes one container's state.
    pub(crate) fn set_state(&mut self, pod: &str, container: &str, state: Value) {
        let mut object = self.object("pods", pod).unwrap().clone();
        for key in ["initContainerStatuses", "containerStatuses"] {
            for status in object["status"][key].as_array_mut().into_iter().flatten() {
                if status["name"] == container {
                    status["state"] = state.clone();
                }
            }
        }
        self.put("pods", object);
    }

    /// A container starts.
    pub(crate) fn run(&mut self, pod: &str, container: &str) {
        self.set_state(
            pod,
            container,
            json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}}),
        );
    }

    /// A container says a line.
    pub(crate) fn say(&mut self, pod: &str, container: &str, text: &str) {
        // Two lines of one time are as usual as two of one second.
        self.clock += 1;
        let (seconds, nanoseconds) = (self.clock / 6, (self.clock % 6 / 2) * 1000);
        let line = format!("2026-01-01T00:00:{seconds:02}.{nanoseconds:09}Z {text}\n");
        self.logs
            .entry(format!("{pod}/{container}"))
            .or_default()
            .push(line);
    }

    /// A container ends.
    pub(crate) fn end(&mut self, pod: &str, container: &str, code: i32, reason: &str, message: &str) {
        self.set_state(
            pod,
            container,
            json!({"terminated": {"exitCode": code, "reason": reason, "message": message}}),
        );
    }

    /// Changes the status of a pod.
    pub(crate) fn set_pod(&mut self, pod: &str, changes: &Value) {
        let mut object = self.object("pods", pod).unwrap().clone();
        routes::merge(&mut object["status"], changes);
        self.put("pods", object);
    }

    /// The Job's controller ends the Job.
    pub(crate) fn finish(&mut self, job: &str, condition: &str, reason: &str) {
        let mut object = self.object("jobs", job).unwrap().clone();
        object["status"] = json!({
            "startTime": "2026-01-01T00:00:00Z",
            "conditions": [{
                "type": condition, "status": "True", "reason": reason, "message": reason,
                "lastTransitionTime": "2026-01-01T00:01:30Z",
            }],
        });
        self.put("jobs", object);
    }

    /// Something is said about an object.
    pub(crate) fn event(&mut self, about: &str, reason: &str, message: &str) {
        let name = format!("{about}.{}", self.version);
        let event = json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"name": name, "namespace": "builds"},
            "involvedObject": {"name": about}, "reason": reason, "message": message, "type": "Warning",
        });
        self.put("events", event);
    }

    fn take_fault(&mut self, method: &str, target: &str) -> Option<Fault> {
        let matches =
            |(of, part, _): &(String, String, Fault)| of == method && target.contains(part.as_str());
        let position = self.faults.iter().position(matches)?;
        Some(self.faults.remove(position)?.2)
    }

    fn is_ended(&self, pod: &str, container: &str) -> bool {
        let Some(object) = self.object("pods", pod) else {
            return true;
        };
        let lists = ["initContainerStatuses", "containerStatuses"];
        let mut statuses = lists
            .iter()
            .flat_map(|key| object["status"][key].as_array().into_iter().flatten());
        statuses.any(|status| status["name"] == container && status["state"]["terminated"].is_object())
    }
}
