//! Ctrl-C at each moment of a build on a cluster (JC-24, JC-25). Registry and cluster hold the program there, without an end
//! unless a test says so: what it does meanwhile, it does without waiting for them.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use super::EXECUTOR;
use crate::support::fake_cluster::{FakeCluster, Fault};
use crate::support::fake_registry::{Action, FakeRegistry};
use crate::support::{Finished, Invocation, Machine, Running};

const DETACH: &[&str] = &["--on-interrupt", "detach"];
const TWO: &[&str] = &["--platform", "linux/amd64", "--platform", "linux/arm64"];
const STREAM: &[&str] = &["--send-source", "stream"];
const STOPPING: &str = "stopping, and removing";
const DETACHING: &str = "detaching as soon as";

/// Somebody who builds on a cluster, and presses Ctrl-C.
struct Person {
    machine: Machine,
    registry: FakeRegistry,
    cluster: FakeCluster,
    kubeconfig: PathBuf,
    source: PathBuf,
}

impl Person {
    fn new() -> Self {
        let (machine, cluster) = (Machine::new(), FakeCluster::start());
        let files = [
            ("Dockerfile", "FROM scratch\nCOPY page.txt /\n"),
            ("page.txt", "first\n"),
        ];
        Self {
            registry: FakeRegistry::start(),
            kubeconfig: cluster.kubeconfig(&machine.path("")),
            source: machine.files("source", &files),
            machine,
            cluster,
        }
    }

    fn build(&self, arguments: &[&[&str]]) -> Invocation {
        let name = format!("{}/app:1", self.registry.address());
        let words = ["build", self.source.to_str().unwrap(), "--tag", &name];
        let on = ["--on", "kubernetes", "--executor-image", EXECUTOR];
        let build = self
            .machine
            .lifecycle(&[&words[..], &on, &arguments.concat()].concat());
        build.env("KUBECONFIG", &self.kubeconfig)
    }

    fn hold(&self, method: &'static str, part: &str) {
        self.registry.rule(method, part, 1, Action::Hold);
    }

    fn wait_until_the_registry_holds(&self, part: &str) {
        for _ in 0..6000 {
            if self.registry.waiting(part) > 0 {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("{part} never came:\n{}", self.registry.log());
    }

    fn jobs(&self) -> Vec<String> {
        self.cluster.world().names("jobs")
    }

    /// Waits until so many Jobs may run.
    fn wait_for_jobs(&self, count: usize) -> Vec<String> {
        for _ in 0..6000 {
            let jobs = self.jobs();
            if jobs.len() == count {
                return jobs;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("there are only {:?}", self.jobs());
    }

    /// A Job's pod runs its first step.
    fn run_pod(&self, job: &str) {
        let pod = format!("{job}-pod");
        self.cluster.change(|world| {
            world.pod(job, &pod);
            world.run(&pod, "source");
        });
    }

    /// A Job's pod has made an image.
    fn succeed(&self, job: &str) {
        let pod = format!("{job}-pod");
        let digest = lifecycle_image::Digest::of(job.as_bytes()).to_string();
        let message = json!({"digest": digest, "tags": []}).to_string();
        self.cluster.change(|world| {
            world.pod(job, &pod);
            for step in ["source", "build"] {
                world.end(&pod, step, 0, "Completed", "");
            }
            world.end(&pod, "result", 0, "Completed", &message);
            world.set_pod(&pod, &json!({"phase": "Succeeded"}));
            world.finish(job, "Complete", "");
        });
    }

    #[track_caller]
    fn nothing_is_left(&self) {
        assert_eq!(self.jobs(), [""; 0]);
        assert_eq!(self.cluster.world().names("secrets"), [""; 0]);
        assert_eq!(self.registry.manifests(), [""; 0], "{}", self.registry.log());
    }

    /// Jobs, and the sources of as many.
    #[track_caller]
    fn all_is_kept(&self, jobs: usize, sources: usize) {
        assert_eq!(self.jobs().len(), jobs);
        let kept = self.registry.manifests();
        let tags = kept.iter().filter(|name| name.starts_with("source-"));
        assert_eq!(tags.count(), sources, "{kept:?}");
        assert_eq!(self.registry.count("DELETE", "/manifests/"), 0);
    }
}

/// Presses Ctrl-C, and waits until that was heard.
fn interrupt(running: &mut Running, says: &str) {
    running.signal(Signal::INT);
    running.wait_until_it_says(says);
}

fn interrupted(mut running: Running, code: i32) -> Finished {
    interrupt(&mut running, STOPPING);
    running.wait().with_code(code)
}

#[test]
fn while_the_source_goes_up_there_is_nothing_to_detach_from_jc_24() {
    for (arguments, signal, code) in [
        (&[][..], Signal::INT, 130),
        (DETACH, Signal::INT, 130),
        (&["--detach"], Signal::INT, 130),
        (&[], Signal::TERM, 143),
    ] {
        let person = Person::new();
        person.hold("POST", "/blobs/uploads");
        let running = person.build(&[arguments]).start();
        person.wait_until_the_registry_holds("/blobs/uploads");
        running.signal(signal);
        running
            .wait()
            .with_code(code)
            .says("before anything was submitted");
        person.nothing_is_left();
    }
}

#[test]
fn a_source_that_gets_its_name_just_then_is_removed_jc_25() {
    for arguments in [&[][..], TWO] {
        let person = Person::new();
        person.hold("PUT", "/manifests/source-");
        let mut running = person.build(&[arguments]).start();
        person.wait_until_the_registry_holds("/manifests/source-");
        interrupt(&mut running, STOPPING);
        person.registry.release();
        running.wait().with_code(130);
        assert_eq!(person.registry.count("PUT", "/manifests/source-"), 1);
        person.nothing_is_left();
    }
}

#[test]
fn a_job_that_is_made_just_then_is_removed_with_its_source_jc_25() {
    // Credentials that are sent along are in a Secret, which is made after the Job.
    let secret = &["--registry-config", "/dev/null"][..];
    for (arguments, held) in [
        (&[][..], "/jobs"),
        (secret, "/jobs"),
        (secret, "/secrets"),
        (&["--detach"], "/jobs"),
        (STREAM, "/jobs"),
    ] {
        let person = Person::new();
        person.cluster.fault("POST", held, Fault::Hold);
        let mut running = person.build(&[arguments]).start();
        person.cluster.wait_until_held(1);
        interrupt(&mut running, STOPPING);
        person.cluster.release();
        running.wait().with_code(110).says("was cancelled");
        assert!(
            person
                .cluster
                .world()
                .seen()
                .iter()
                .any(|seen| seen.method == "POST")
        );
        person.nothing_is_left();
    }
}

#[test]
fn who_detaches_while_a_build_is_submitted_leaves_a_whole_one_jc_24() {
    for (arguments, jobs) in [(&[][..], 1), (TWO, 2), (&["--detach"], 1)] {
        let person = Person::new();
        person.cluster.fault("POST", "/jobs", Fault::Hold);
        let mut running = person.build(&[arguments, DETACH]).start();
        person.cluster.wait_until_held(1);
        interrupt(&mut running, DETACHING);
        person.cluster.release();
        let finished = running.wait().with_code(0);
        for job in person.jobs() {
            assert!(finished.text().contains(&job), "{}", finished.text());
        }
        person.all_is_kept(jobs, jobs);
    }
}

#[test]
fn between_two_submissions_both_are_given_up_jc_25() {
    let person = Person::new();
    for _ in 0..2 {
        person.cluster.fault("POST", "/jobs", Fault::Hold);
    }
    let mut running = person.build(&[TWO]).start();
    person.cluster.wait_until_held(1);
    person.cluster.release();
    person.cluster.wait_until_held(2);
    interrupt(&mut running, STOPPING);
    person.cluster.release();
    running.wait().with_code(110);
    assert_eq!(person.registry.count("DELETE", "/manifests/"), 2);
    person.nothing_is_left();
}

#[test]
fn a_source_that_is_streamed_is_not_waited_for_jc_24() {
    for has_pod in [false, true] {
        let person = Person::new();
        person.cluster.fault("GET", "/exec", Fault::Hold);
        let mut running = person.build(&[STREAM]).start();
        let job = person.wait_for_jobs(1).remove(0);
        if has_pod {
            person.run_pod(&job);
            person.cluster.wait_until_held(1);
        } else {
            running.wait_until_it_says("Submitted");
        }
        interrupted(running, 110);
        person.nothing_is_left();
    }
}

#[test]
fn who_detaches_while_the_source_is_streamed_does_so_when_it_is_there_jc_24() {
    let person = Person::new();
    person.cluster.fault("GET", "/exec", Fault::Hold);
    let mut running = person.build(&[STREAM, DETACH]).start();
    let job = person.wait_for_jobs(1).remove(0);
    person.run_pod(&job);
    person.cluster.wait_until_held(1);
    interrupt(&mut running, DETACHING);
    person.cluster.release();
    running.wait().with_code(0).says("runs on");
    assert_eq!(person.cluster.world().uploads().len(), 1);
    person.all_is_kept(1, 0);
}

#[test]
fn between_two_builds_that_are_followed_both_end_or_run_on_jc_24() {
    for (arguments, code) in [(&[][..], 110), (DETACH, 0)] {
        let person = Person::new();
        let running = person.build(&[TWO, arguments]).start();
        let of_amd = |job: &String| {
            let world = person.cluster.world();
            let spec = &world.object("jobs", job).unwrap()["spec"]["template"]["spec"];
            spec["nodeSelector"]["kubernetes.io/arch"] == "amd64"
        };
        let jobs = person.wait_for_jobs(2);
        let (first, second): (Vec<String>, Vec<String>) = jobs.into_iter().partition(of_amd);
        let second = format!("metadata.name%3D{}", second[0]);
        person.cluster.fault("GET", &second, Fault::Hold);
        person.succeed(&first[0]);
        person.cluster.wait_until_held(1);
        running.signal(Signal::INT);
        running.wait().with_code(code);
        if code == 0 {
            person.all_is_kept(2, 2);
        } else {
            assert_eq!(person.jobs(), [""; 0]);
            // The first removed its own, or would have.
            assert_eq!(person.registry.count("DELETE", "/manifests/"), 1);
        }
    }
}

#[test]
fn while_the_index_is_made_nothing_runs_that_could_run_on_jc_24() {
    for arguments in [&[][..], DETACH] {
        let person = Person::new();
        person.hold("GET", "/manifests/sha256:");
        let running = person.build(&[TWO, arguments]).start();
        for job in person.wait_for_jobs(2) {
            person.succeed(&job);
        }
        person.wait_until_the_registry_holds("/manifests/sha256:");
        interrupted(running, 110);
        assert_eq!(person.jobs(), [""; 0]);
        assert_eq!(person.registry.count("PUT", "/manifests/1"), 0);
    }
}

#[test]
fn a_detached_build_that_is_cancelled_later_takes_its_source_along_jc_25() {
    let person = Person::new();
    let id = person.build(&[&["--detach"]]).succeeds().stdout();
    let id = id.trim();
    person.all_is_kept(1, 1);
    person.run_pod(id);
    let words = ["jobs", "logs", id, "--follow"];
    let logs = person
        .machine
        .lifecycle(&words)
        .env("KUBECONFIG", &person.kubeconfig);
    person.cluster.fault("GET", "watch=true", Fault::Hold);
    let running = logs.start();
    person.cluster.wait_until_held(1);
    interrupted(running, 110);
    person.nothing_is_left();
}
