//! Builds in a pod without a cluster: the Jobs of `lifecycle build --on kubernetes`, carried out under what pods are restricted by.

mod client;
mod control_plane;
mod deploy;
mod doctor;
mod interruption;
mod jobs;
mod options;
mod restrictions;
mod source;
mod survival;
mod termination;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::executable::copy_program;
use crate::support::kubelet::{Ended, Imposed, Kubelet};
use crate::support::{BuilderRoot, Finished, Invocation, Machine, Registry, images};

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

    /// A Dockerfile and what is beside it.
    fn source(&self, dockerfile: &str, files: &[(&str, &str)]) -> PathBuf {
        let all = [&[("Dockerfile", dockerfile)], files].concat();
        self.machine.files("source", &all)
    }

    /// The smallest source of an image.
    fn small_source(&self) -> PathBuf {
        self.source("FROM scratch\nCOPY page.txt /\n", &[("page.txt", "first\n")])
    }

    /// `--builder` and `--run-image`.
    fn builder(&self) -> [String; 4] {
        let name = |name: &str| self.registry.name(name);
        [
            "--builder".into(),
            name("builder"),
            "--run-image".into(),
            name("run"),
        ]
    }

    /// A pod of its own, on a fresh node.
    fn kubelet(&self, pod: &str, imposed: Imposed) -> Kubelet {
        let root = self.machine.path(&format!("{pod}-executor"));
        for directory in ["kaniko", "etc", "tmp"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        copy_program(env!("CARGO_BIN_EXE_lifecycle"), root.join("kaniko/lifecycle"));
        fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/sbin/nologin\n").unwrap();
        let directory = self.machine.path(&format!("{pod}-pod"));
        let kubelet = Kubelet::new(&directory, imposed).image(EXECUTOR, &root);
        match &self.builder_root {
            Some(builder) => kubelet.image(&self.registry.name("builder"), builder),
            None => kubelet,
        }
    }

    /// What `lifecycle build --on kubernetes` would make for `app:1`.
    fn job<S: AsRef<str>>(&self, source: &Path, arguments: &[S]) -> Job<'_> {
        let printed = self
            .build(source, arguments)
            .argument("--dry-run")
            .argument("--output=json");
        self.job_of(&printed.succeeds(), source)
    }

    /// The build whose objects were printed.
    fn job_of(&self, printed: &Finished, source: &Path) -> Job<'_> {
        Job {
            site: self,
            source: source.to_owned(),
            objects: printed.json()["items"].as_array().unwrap().clone(),
        }
    }

    fn build<S: AsRef<str>>(&self, source: &Path, arguments: &[S]) -> Invocation {
        let name = self.registry.name("app:1");
        let words = ["build", source.to_str().unwrap(), "--tag", &name];
        let on = ["--on", "kubernetes", "--executor-image", EXECUTOR];
        let build = self.machine.lifecycle(&[&words[..], &on].concat());
        arguments
            .iter()
            .fold(build, |build, word| build.argument(word.as_ref()))
            .env("SOURCE_DATE_EPOCH", "0")
    }

    /// The digest of the same Dockerfile, built here.
    fn local_digest(&self, source: &Path) -> String {
        let words = ["build", source.to_str().unwrap(), "--tag", "app"];
        let build = self.machine.lifecycle(&words).env("SOURCE_DATE_EPOCH", "0");
        build.succeeds();
        self.machine.digest("app")
    }

    /// Puts an archive of the source where the receiver puts it.
    fn send(&self, pod: &str, source: &Path) {
        // What one pod had is not what the next one has.
        for volume in ["workspace", "layers", "tmp", "store"] {
            let volume = self.machine.path(&format!("{pod}-pod/{volume}"));
            if volume.exists() {
                fs::remove_dir_all(volume).unwrap();
            }
        }
        let scratch = self.machine.path(&format!("{pod}-pod/tmp/source"));
        fs::create_dir_all(&scratch).unwrap();
        let above = scratch.parent().unwrap().to_str().unwrap();
        Invocation::new("chmod", &["-R", "2777", above]).succeeds();
        archive(source, &scratch.join("source.received"));
    }
}

/// A build, and the objects that it is on a cluster.
struct Job<'a> {
    site: &'a Site,
    source: PathBuf,
    objects: Vec<Value>,
}

impl Job<'_> {
    fn object(&self) -> &Value {
        self.objects
            .iter()
            .find(|object| object["kind"] == "Job")
            .unwrap()
    }

    /// Carries it out in one pod; the source is sent before the step that waits for it begins.
    fn run(&self, pod: &str, user: Option<u32>) -> Vec<Ended> {
        self.site.send(pod, &self.source);
        self.site.kubelet(pod, imposed(user)).run(&self.objects)
    }

    /// The same; all steps must end well. The digest is in the message of the last.
    fn digest(&self, pod: &str, user: Option<u32>) -> String {
        digest(&self.run(pod, user))
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
        room: None,
    }
}

/// Makes a tar of a directory.
fn archive(directory: &Path, to: &Path) {
    let (from, to) = (directory.to_str().unwrap(), to.to_str().unwrap());
    Invocation::new("tar", &["-c", "-C", from, "-f", to, "."]).succeeds();
}
