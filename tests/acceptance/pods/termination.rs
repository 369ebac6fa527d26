//! Pods that are ended at a moment that nobody chose.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;
use serde_json::json;

use super::{Job, Site, imposed};
use crate::support::kubelet;

#[test]
fn sigterm_at_any_moment_leaves_a_cache_that_the_next_pod_can_use_ps_08() {
    if !kubelet::is_possible() {
        return;
    }
    let site = Site::with_builder();
    let arguments = [&site.builder()[..], &["--cache=pvc:cache".to_owned()]].concat();
    let job = site.job(&site.machine.app(), &arguments);
    interrupt(&job, &["restore", "build", "export"]);
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
    let source = site.source(&dockerfile, &[("page.txt", "1\n")]);
    let job = site.job(&source, &["--pod-security", "baseline", "--cache", "pvc:cache"]);
    interrupt(&job, &["build"]);
}

/// Builds, ends steps at moments that nobody chose, and builds again to the same digest each time. What was ended has a
/// code that the Job takes for that, so that its controller begins again.
#[expect(clippy::print_stdout, reason = "a failure is repeated with its seed")]
fn interrupt(job: &Job<'_>, steps: &[&str]) {
    let expected = job.digest("pod", None);
    let spec = &job.object()["spec"];
    let pod = &spec["template"]["spec"];
    // Whatever is not among these is a build that failed by itself, and not repeated.
    let broken = &spec["podFailurePolicy"]["rules"][1]["onExitCodes"];
    assert_eq!(broken["operator"], "NotIn");
    let killed = broken["values"].as_array().unwrap();
    let kubelet = job.site.kubelet("pod", imposed(None));
    let log = job.site.machine.path("pod-pod/termination-log");
    let seed = u64::from(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .subsec_nanos(),
    );
    println!("seed of the moments: {seed}");
    let mut number = seed;
    for _ in 0..5 {
        for step in steps {
            // A linear congruential generator: the high bits are even enough.
            number = number
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let moment = Duration::from_millis((number >> 33) % 500);
            // So that the store of a Dockerfile's build is cut off while it is filled, not while it is read.
            let store = job.site.machine.path("pod-pod/cache/lifecycle");
            if store.exists() {
                fs::remove_dir_all(store).unwrap();
            }
            let containers = pod["initContainers"].as_array().unwrap();
            let is_step = |container: &&serde_json::Value| container["name"] == *step;
            let container = containers.iter().find(is_step).unwrap();
            let running = kubelet.container(pod, container, &job.objects, &log).start();
            thread::sleep(moment);
            running.signal(Signal::TERM);
            let finished = running.wait();
            let status = finished.status();
            println!("SIGTERM to {step} after {moment:?}: {status}");
            // Before the program listens, the signal itself ends it.
            let code = status.code().or(status.signal().map(|signal| 128 + signal));
            let code = code.unwrap();
            assert!(
                code == 0 || killed.contains(&json!(code)),
                "{step} ended with {code}, seed {seed}\n{}",
                finished.text()
            );
        }
        assert_eq!(job.digest("pod", None), expected, "seed {seed}");
    }
}
