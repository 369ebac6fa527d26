//! Debian's docker-registry on a free port of loopback.

use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::certificates::make_certificates;
use super::port::Port;

/// Who may use a registry, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Anybody, over plain HTTP.
    Plain,
    /// The [`USER`] with the [`PASSWORD`], over plain HTTP.
    Password,
    /// Anybody, over TLS with a certificate of a private authority.
    Tls,
}

/// Who may use a registry with [`Access::Password`].
pub(crate) const USER: &str = "somebody";
/// Their password.
pub(crate) const PASSWORD: &str = "correct horse";

/// A running registry. It is stopped, and what it stored is gone, when the test forgets it.
#[derive(Debug)]
pub(crate) struct Registry {
    directory: tempfile::TempDir,
    process: Child,
    port: Port,
}

/// A request that a registry answered, from its access log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// `GET`, `PUT`, …
    pub(crate) method: String,
    /// Path with query.
    pub(crate) path: String,
    /// What was answered.
    pub(crate) status: u16,
}

impl Registry {
    /// Anybody may use it, over plain HTTP.
    pub(crate) fn start() -> Self {
        Self::start_with(Access::Plain)
    }

    /// A registry with this access.
    pub(crate) fn start_with(access: Access) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("lifecycle-registry-")
            .tempdir()
            .unwrap();
        let port = Port::reserve();
        configure(directory.path(), port.number(), access);
        let mut process = spawn(directory.path());
        assert!(
            answers(&mut process, port.number()),
            "docker-registry does not start:\n{}",
            read(&directory.path().join("log"))
        );
        Self {
            directory,
            process,
            port,
        }
    }

    /// It goes away, and keeps what it has.
    pub(crate) fn stop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }

    /// It comes back at the same place. What it says about requests begins anew.
    pub(crate) fn start_again(&mut self) {
        self.process = spawn(self.directory.path());
        assert!(
            answers(&mut self.process, self.port.number()),
            "docker-registry does not come back:\n{}",
            read(&self.directory.path().join("log"))
        );
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port.number())
    }

    /// The name of an image in it.
    pub(crate) fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.host())
    }

    /// The same as skopeo writes it.
    pub(crate) fn docker(&self, image: &str) -> String {
        format!("docker://{}", self.name(image))
    }

    /// The certificate of the authority of a registry with [`Access::Tls`].
    pub(crate) fn authority(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// The `auths` of a docker configuration that opens a registry with [`Access::Password`].
    pub(crate) fn credentials(&self, password: &str) -> String {
        use base64::Engine as _;
        let auth = base64::prelude::BASE64_STANDARD.encode(format!("{USER}:{password}"));
        format!(r#"{{"auths": {{"{}": {{"auth": "{auth}"}}}}}}"#, self.host())
    }

    /// The requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        let log = read(&self.directory.path().join("log"));
        log.lines().filter_map(Request::parse).collect()
    }

    /// The digests of blobs that were sent since `earlier` requests.
    pub(crate) fn sent_blobs(&self, earlier: usize) -> Vec<String> {
        let requests = self.requests().split_off(earlier);
        let sent = |request: Request| {
            let finished =
                request.method == "PUT" && request.path.contains("/blobs/uploads/") && request.status == 201;
            let (_, digest) = request.path.split_once("digest=").filter(|_| finished)?;
            Some(digest.split('&').next().unwrap_or(digest).replace("%3A", ":"))
        };
        requests.into_iter().filter_map(sent).collect()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Request {
    /// Reads a line as web servers have written them since CERN's: `… "METHOD PATH HTTP/1.1" STATUS …`.
    fn parse(line: &str) -> Option<Self> {
        let (_, rest) = line.split_once("] \"")?;
        let (request, rest) = rest.split_once("\" ")?;
        let (method, path) = request.strip_suffix(" HTTP/1.1")?.split_once(' ')?;
        let status = rest.split(' ').next()?.parse().ok()?;
        Some(Self {
            method: method.to_owned(),
            path: path.to_owned(),
            status,
        })
    }
}

fn spawn(directory: &Path) -> Child {
    let log = fs::File::create(directory.join("log")).unwrap();
    // Not even a killed test leaves a registry behind.
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "docker-registry", "serve"])
        .arg(directory.join("config.yml"))
        .env("OTEL_TRACES_EXPORTER", "none")
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|cause| panic!("docker-registry cannot be started (run tests/setup): {cause}"))
}

/// Waits until the registry takes connections; false if it ends instead.
fn answers(process: &mut Child, port: u16) -> bool {
    let started = Instant::now();
    while process.try_wait().unwrap().is_none() {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return true;
        }
        assert!(
            started.elapsed() < Duration::from_mins(5),
            "docker-registry takes no connections"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

fn configure(directory: &Path, port: u16, access: Access) {
    let shown = directory.display();
    let auth = if access == Access::Password {
        let hash = run("htpasswd", &["-B", "-C", "5", "-b", "-n", USER, PASSWORD]);
        fs::write(directory.join("htpasswd"), hash).unwrap();
        format!("auth: {{htpasswd: {{realm: test, path: {shown}/htpasswd}}}}")
    } else {
        String::new()
    };
    let tls = if access == Access::Tls {
        make_certificates(directory);
        format!(", tls: {{certificate: {shown}/server.pem, key: {shown}/server.key}}")
    } else {
        String::new()
    };
    let config = format!(
        "version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {shown}/data}}, delete: {{enabled: true}}}}
http: {{addr: '127.0.0.1:{port}'{tls}}}
{auth}
"
    );
    fs::write(directory.join("config.yml"), config).unwrap();
}

fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).output();
    let output =
        output.unwrap_or_else(|cause| panic!("{program} cannot be started (run tests/setup): {cause}"));
    assert!(
        output.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

fn read(path: &Path) -> String {
    let mut text = Vec::new();
    fs::File::open(path).unwrap().read_to_end(&mut text).unwrap();
    String::from_utf8_lossy(&text).into_owned()
}
