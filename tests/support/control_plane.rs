//! A real Kubernetes control plane on loopback: etcd, API server and controllers, and one node that a test plays.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Invocation;
use super::peers::{find, peer};
use super::port::Port;

/// Longer than it takes to start, also on a busy machine.
const LIMIT: Duration = Duration::from_mins(3);

/// The namespace of builds.
pub(crate) const NAMESPACE: &str = "builds";

/// A running control plane. It is stopped, and what it knows is gone, when the test forgets it.
#[derive(Debug)]
pub(crate) struct ControlPlane {
    directory: tempfile::TempDir,
    etcd: Port,
    /// Of the API server.
    port: Port,
    /// Of etcd for its like, and of the node.
    others: [Port; 2],
    processes: Vec<Child>,
    api_server: Option<Child>,
}

impl ControlPlane {
    /// Starts one, with a namespace whose pods must be restricted. Nothing, and a line that says so, where its programs are
    /// not installed.
    pub(crate) fn start() -> Option<Self> {
        for program in [
            "etcd",
            "kube-apiserver",
            "kube-controller-manager",
            "kubectl",
            "openssl",
        ] {
            peer(program, &[])?;
        }
        let mut plane = Self {
            directory: tempfile::tempdir().unwrap(),
            etcd: Port::reserve(),
            port: Port::reserve(),
            others: [Port::reserve(), Port::reserve()],
            processes: Vec::new(),
            api_server: None,
        };
        let (key, public) = (plane.text("accounts.key"), plane.text("accounts.pub"));
        Invocation::new("openssl", &["genrsa", "-out", &key, "2048"]).succeeds();
        Invocation::new("openssl", &["rsa", "-in", &key, "-pubout", "-out", &public]).succeeds();
        let tokens = "secret-admin,admin,admin,\"system:masters\"\nsecret-builder,builder,builder\n\
                      secret-nobody,nobody,nobody\n";
        fs::write(plane.path("tokens"), tokens).unwrap();
        plane.start_etcd();
        plane.start_api_server();
        plane.start_controllers();
        plane.make_namespace();
        plane.start_node();
        Some(plane)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn spawn(&self, program: &str, arguments: &[String]) -> Child {
        let log = File::create(self.path(&format!("{program}.log"))).unwrap();
        let mut command = Command::new(find(program).unwrap());
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        command
            .spawn()
            .unwrap_or_else(|cause| panic!("{program}: {cause}"))
    }

    fn start_etcd(&mut self) {
        let client = format!("http://127.0.0.1:{}", self.etcd.number());
        let peers = format!("http://127.0.0.1:{}", self.others[0].number());
        let etcd = self.spawn(
            "etcd",
            &[
                format!("--data-dir={}", self.text("etcd")),
                format!("--listen-client-urls={client}"),
                format!("--advertise-client-urls={client}"),
                format!("--listen-peer-urls={peers}"),
                format!("--initial-advertise-peer-urls={peers}"),
                format!("--initial-cluster=default={peers}"),
                "--unsafe-no-fsync".to_owned(),
            ],
        );
        self.processes.push(etcd);
    }

    /// Starts the API server, also after [`Self::stop_api_server`].
    pub(crate) fn start_api_server(&mut self) {
        let server = self.spawn(
            "kube-apiserver",
            &[
                format!("--etcd-servers=http://127.0.0.1:{}", self.etcd.number()),
                format!("--secure-port={}", self.port.number()),
                "--bind-address=127.0.0.1".to_owned(),
                "--advertise-address=192.0.2.1".to_owned(),
                format!("--cert-dir={}", self.text("certificates")),
                format!("--token-auth-file={}", self.text("tokens")),
                "--authorization-mode=RBAC".to_owned(),
                format!("--service-account-key-file={}", self.text("accounts.pub")),
                format!("--service-account-signing-key-file={}", self.text("accounts.key")),
                "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
                "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
                "--kubelet-preferred-address-types=InternalIP".to_owned(),
            ],
        );
        self.api_server = Some(server);
        for user in ["admin", "builder", "nobody"] {
            self.write_kubeconfig(user);
        }
        self.wait_for("the API server", || {
            let ready = self.kubectl(&["get", "--raw", "/readyz"]).run();
            ready.status().success()
        });
    }

    /// Ends the API server as a machine's failure would.
    pub(crate) fn stop_api_server(&mut self) {
        if let Some(server) = self.api_server.take() {
            end(server);
        }
    }

    fn write_kubeconfig(&self, user: &str) {
        let certificate = self.text("certificates/apiserver.crt");
        let server = format!("https://127.0.0.1:{}", self.port.number());
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "x",
            "clusters": [{"name": "c", "cluster": {"server": server, "certificate-authority": certificate}}],
            "users": [{"name": "u", "user": {"token": format!("secret-{user}")}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": NAMESPACE}}],
        });
        fs::write(self.kubeconfig(user), config.to_string()).unwrap();
    }

    fn start_controllers(&mut self) {
        let controllers = self.spawn(
            "kube-controller-manager",
            &[
                format!("--kubeconfig={}", self.text("kubeconfig-admin")),
                "--controllers=job-controller,garbage-collector-controller,resourcequota-controller,\
                 namespace-controller,serviceaccount-controller,ttl-after-finished-controller"
                    .to_owned(),
                "--leader-elect=false".to_owned(),
                "--secure-port=0".to_owned(),
            ],
        );
        self.processes.push(controllers);
    }

    fn make_namespace(&self) {
        self.kubectl(&["create", "namespace", NAMESPACE]).succeeds();
        let label = "pod-security.kubernetes.io/enforce=restricted";
        self.kubectl(&["label", "namespace", NAMESPACE, label]).succeeds();
        let role = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/kubernetes/role.yaml");
        self.kubectl(&["apply", "-f", role]).succeeds();
        let bind = [
            "create",
            "rolebinding",
            "builder",
            "--role=lifecycle",
            "--user=builder",
        ];
        self.kubectl(&bind).succeeds();
        self.wait_for("the default service account", || {
            self.kubectl(&["get", "serviceaccount", "default"])
                .run()
                .status()
                .success()
        });
    }

    fn start_node(&mut self) {
        let port = self.others[1].number();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/node.py");
        fs::create_dir(self.path("logs")).unwrap();
        let node = self.spawn(
            "python3",
            &[
                script.to_owned(),
                port.to_string(),
                self.text("certificates/apiserver.crt"),
                self.text("certificates/apiserver.key"),
                self.text("logs"),
            ],
        );
        self.processes.push(node);
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node"}});
        self.create("/api/v1/nodes", &node);
        let status = json!({"status": {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
            "conditions": [{"type": "Ready", "status": "True"}],
        }});
        self.patch_status("/api/v1/nodes/node", &status);
    }

    /// The configuration of `admin`, of `builder`, who has the role of `deploy/kubernetes/role.yaml`, or of `nobody`.
    pub(crate) fn kubeconfig(&self, user: &str) -> PathBuf {
        self.path(&format!("kubeconfig-{user}"))
    }

    /// `kubectl` as the administrator.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Invocation {
        Invocation::new(find("kubectl").unwrap(), arguments)
            .env("KUBECONFIG", self.kubeconfig("admin"))
            .env("HOME", self.directory.path())
    }

    /// Makes an object at a path of the API.
    pub(crate) fn create(&self, path: &str, object: &Value) {
        let file = tempfile::NamedTempFile::new_in(self.directory.path()).unwrap();
        fs::write(&file, object.to_string()).unwrap();
        let file = file.path().to_str().unwrap();
        self.kubectl(&["create", "--raw", path, "-f", file]).succeeds();
    }

    /// Changes the status of the object at a path of the API: `kubectl` can do that only since 1.24, which distributions may
    /// not have.
    pub(crate) fn patch_status(&self, path: &str, change: &Value) {
        let url = format!("https://127.0.0.1:{}{path}/status", self.port.number());
        let change = change.to_string();
        let words = [
            "--silent",
            "--show-error",
            "--fail-with-body",
            "--insecure",
            "--request",
            "PATCH",
            "--header",
            "Authorization: Bearer secret-admin",
            "--header",
            "Content-Type: application/merge-patch+json",
            "--data",
            &change,
            &url,
        ];
        Invocation::new("curl", &words).succeeds();
    }

    /// The objects of a kind, the oldest first.
    pub(crate) fn list(&self, kind: &str) -> Vec<Value> {
        let words = [
            "get",
            kind,
            "--sort-by=.metadata.creationTimestamp",
            "--output=json",
        ];
        let listed = self.kubectl(&words).succeeds().json();
        listed["items"].as_array().unwrap().clone()
    }

    /// A container of a pod says more lines; the last ones if it has ended.
    pub(crate) fn log(&self, pod: &str, container: &str, text: &str, has_ended: bool) {
        let directory = self.path("logs").join(pod);
        fs::create_dir_all(&directory).unwrap();
        let now = Invocation::new("date", &["-u", "+%Y-%m-%dT%H:%M:%S.%NZ"])
            .succeeds()
            .stdout();
        let log = directory.join(format!("{container}.log"));
        let mut log = File::options().create(true).append(true).open(log).unwrap();
        for line in text.lines() {
            writeln!(log, "{} {line}", now.trim()).unwrap();
        }
        if has_ended {
            fs::write(directory.join(format!("{container}.ended")), "").unwrap();
        }
    }

    /// Asks until the answer is yes.
    pub(crate) fn wait_for(&self, what: &str, is_so: impl Fn() -> bool) {
        let begin = Instant::now();
        while !is_so() {
            assert!(
                begin.elapsed() < LIMIT,
                "{what} does not come\n{}",
                tail(&self.path("kube-apiserver.log"))
            );
            thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        for process in self.processes.drain(..).rev().chain(self.api_server.take()) {
            end(process);
        }
    }
}

fn end(mut process: Child) {
    // It may have ended already.
    drop(process.kill());
    drop(process.wait());
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(20).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}
