//! podman as a daemon, with images of its own.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Finished, Invocation, Running};

/// A podman service. It ends, and its images are gone, when the test forgets it.
#[derive(Debug)]
pub(crate) struct PodmanService {
    directory: tempfile::TempDir,
    _service: Running,
}

impl PodmanService {
    /// Starts one that listens at `socket`; nothing where podman is not installed, or cannot serve.
    pub(crate) fn start(socket: &Path) -> Option<Self> {
        if !super::accounts::is_root() || !Path::new("/usr/bin/podman").exists() {
            println!("skipped: podman not found, or its service needs root");
            return None;
        }
        let directory = tempfile::Builder::new()
            .prefix("lifecycle-podman-")
            .tempdir()
            .unwrap();
        let address = format!("unix://{}", socket.display());
        // Nobody reads what it says, and a full pipe would stop it.
        let service = podman(directory.path(), &["system", "service", "--time", "0", &address])
            .under(&["sh", "-c", r#"exec "$@" >/dev/null 2>&1"#, "sh"])
            .start();
        let started = Instant::now();
        while std::os::unix::net::UnixStream::connect(socket).is_err() {
            assert!(
                started.elapsed() < Duration::from_mins(1),
                "podman does not listen"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(Self {
            directory,
            _service: service,
        })
    }

    /// Runs podman on the same images.
    pub(crate) fn podman(&self, arguments: &[&str]) -> Finished {
        podman(self.directory.path(), arguments).succeeds()
    }
}

fn podman(directory: &Path, arguments: &[&str]) -> Invocation {
    let path = |name: &str| -> PathBuf { directory.join(name) };
    let (root, run, settings) = (path("root"), path("run"), path("containers.conf"));
    // Containers do not raise limits, which this machine may not allow, and need no systemd.
    let limits = "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n";
    std::fs::write(&settings, limits).unwrap();
    let places = [
        "--root",
        root.to_str().unwrap(),
        "--runroot",
        run.to_str().unwrap(),
        "--storage-driver",
        "vfs",
        "--cgroup-manager",
        "cgroupfs",
    ];
    Invocation::new("podman", &[&places[..], arguments].concat())
        .env("HOME", directory)
        .env("CONTAINERS_CONF", settings)
}
